"""What each sample is: checked by the task's verifier and found among the completions, some inputs
at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gram.data.splits import Split
from gram.evaluate.judges import Chunk, Judge
from gram.evaluate.metrics import Samples
from gram.evaluate.votes import answer_numbers, majority
from gram.system.errors import GramError
from gram.tasks import Task, Tokens

# Inputs that are scored at a time: what is kept of their tokens is a few numbers per sample.
CHUNK = 1000


class Drawn(NamedTuple):
    """All samples of a split, N inputs times W, read at one stop."""

    tokens: Tokens  # [N, W, L]
    value: NDArray[np.float32]  # [N, W]
    steps: NDArray[np.int64]  # [N, W]
    halted: NDArray[np.bool_]  # [N, W]

    def of(self, inputs: slice) -> Drawn:
        """The samples of some inputs."""
        return Drawn(
            self.tokens[inputs], self.value[inputs], self.steps[inputs], self.halted[inputs]
        )


def canonical(task: Task, split: Split, drawn: Drawn) -> Tokens:
    """All samples in the task's canonical form, in which equal answers are equal tokens: [N, W,
    L].
    """
    N, W, L = drawn.tokens.shape
    return task.canonical(np.repeat(split.inputs, W, axis=0), drawn.tokens.reshape(-1, L)).reshape(
        N, W, L
    )


def score(task: Task, split: Split, drawn: Drawn, judge: Judge | None = None) -> Samples:
    """Check every sample with the task's verifier and find out which completion it is, in the
    task's canonical form.

    Args:
        task: with its verifier.
        split: the inputs.
        drawn: the answers to them.
        judge: whose columns the result has.

    Raises:
        GramError: verifier and examples disagree, which would make every coverage wrong.
    """
    parts = [
        _scored(task, split.of_inputs(inputs), drawn.of(inputs), judge)
        for inputs in chunks(len(split.inputs))
    ]
    return Samples(
        split.counts,
        np.concatenate([part.found for part in parts]),
        answers=_joined([part.answers for part in parts]),
        violations=_joined([part.violations for part in parts]),
        columns=_joined([part.columns for part in parts]),
    )


def chunks(count: int) -> Iterator[slice]:
    """``count`` inputs in parts of :data:`CHUNK`; one part of no inputs."""
    return (slice(start, start + CHUNK) for start in range(0, max(count, 1), CHUNK))


def _joined(parts: Sequence[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Chunks of several columns, column by column."""
    joined = {}
    for name in parts[0]:
        joined[name] = np.concatenate([part[name] for part in parts])
    return joined


def _scored(task: Task, split: Split, drawn: Drawn, judge: Judge | None) -> Samples:
    """:func:`score` of a few inputs."""
    N, W, L = drawn.tokens.shape
    inputs, outputs = np.repeat(split.inputs, W, axis=0), drawn.tokens.reshape(-1, L)
    tokens = canonical(task, split, drawn)
    valid = task.is_valid(inputs, outputs).reshape(N, W)
    found = np.full((N, W), -1, dtype=np.int64)
    for i in range(N):
        known = {completion.tobytes(): number for number, completion in enumerate(split.of(i))}
        found[i] = [known.get(answer.tobytes(), -1) for answer in tokens[i]]
    unlisted = valid & (found < 0)
    if ((found >= 0) & ~valid).any() or (task.complete and unlisted.any()):
        raise GramError(
            f"{task.name}: the verifier and the list of completions disagree: a bug in gram/tasks,"
            " please report it"
        )
    for row in np.flatnonzero(unlisted.any(axis=1)):
        _, number = np.unique(tokens[row][unlisted[row]], axis=0, return_inverse=True)
        found[row][unlisted[row]] = split.counts[row] + number.reshape(-1)
    answers = {"vote": majority(answer_numbers(tokens)), "lprm": drawn.value.argmax(axis=1)}
    violations = {
        name: times.reshape(N, W) for name, times in task.violations(inputs, outputs).items()
    }
    columns = judge.columns(Chunk(split, tokens)) if judge else {}
    return Samples(split.counts, found, answers, violations, columns)
