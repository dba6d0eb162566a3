"""What a task offers to the rest of the package; a new task is one file that provides this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint8]
PAD = 0  # token 0 is padding in every task


@dataclass(frozen=True)
class Examples:
    """The unique inputs of a task with their completions.

    Attributes:
        inputs: [N, L] tokens, in ascending order of their content, so that a row number is a stable
        input id.
        completions: [M, L_out] tokens; those of input i are rows ``offsets[i]:offsets[i + 1]``, in
        ascending order.
        offsets: [N + 1] int64.
        given: [N] int64, how much the input gives (queens kept, edges), for stratified splits.
        tested: [N], which inputs are the test split, of a task that draws its inputs; None leaves
        that to the section split.
        groups: [N] int64, inputs of one group stand in the same split, as the symmetric forms of
            one puzzle do; None: each is alone.
        split_by: what is split: the inputs, each with all of its completions; or the (input,
            completion) pairs, of a task whose few inputs have so many completions that it is these
            which a network may or may not have seen.
        facts: what is known of the inputs, by name, such as their rating: integers, [N] each; they
            stand in the data set, and a judge may count by them.
        counted: what is worth knowing of how the inputs came about, for the card of the data set.
    """

    inputs: Tokens
    completions: Tokens
    offsets: NDArray[np.int64]
    given: NDArray[np.int64]
    tested: NDArray[np.bool_] | None = None
    groups: NDArray[np.int64] | None = None
    split_by: Literal["inputs", "pairs"] = "inputs"
    facts: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    counted: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Completions per input, [N]."""
        return np.diff(self.offsets)


class Symmetries(Protocol):
    """Ways to change a puzzle and its answer alike, such as an exchange of two digits of a Sudoku.

    One of them is two small tables, so that thousands can be applied on the device: the position
    that comes to each place, and what becomes of each token.
    """

    def draw(self, random: Random) -> tuple[NDArray[np.int64], Tokens]:
        """A random one: ``places`` [L], ``tokens`` [vocabulary]; the new token at i is
        tokens[old[places[i]]].
        """
        ...


class Task(Protocol):
    """A generator, an encoder and an exact verifier."""

    name: str
    length: int  # tokens per input, L
    vocabulary: int
    draws_tests: bool  # whether the examples say themselves which inputs are tested
    complete: bool  # whether the examples hold every completion of every input
    answers: slice  # positions of the input at which the answer is read: L_out tokens
    coordinates: NDArray[
        np.int64
    ]  # [L, axes], where each token of the input is, on the axes that the task has

    @classmethod
    def from_settings(cls, name: str, size: int, settings: Any) -> Task:
        """The task of a size, from the dataclass of its family's section ``generator``; a GramError
        says why there is none.
        """
        ...

    def examples(self, sources: Path | None = None) -> Examples:
        """Inputs and completions, the same on every machine.

        Args:
            sources: the folder with the files of the family's ``sources``, for a family that has
                some.
        """
        ...

    def symmetries(self) -> Symmetries | None:
        """What changes a puzzle of this task into another one with the answer changed alike; None
        if nothing is known.
        """
        ...

    def is_valid(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """Whether each output [B, L_out] satisfies all constraints and keeps what its input [B, L]
        gives: [B].
        """
        ...

    def canonical(self, inputs: Tokens, outputs: Tokens) -> Tokens:
        """The one form, among those that mean the same, in which outputs [B, L_out] are compared
        with completions: [B, L_out].
        """
        ...

    def violations(self, inputs: Tokens, outputs: Tokens) -> dict[str, NDArray[np.int64]]:
        """By name, how often each output [B, L_out] breaks a rule: [B] each; empty for a task that
        only tells right from wrong.
        """
        ...

    # A puzzle of one's own, as text: for gram.solve. The task's file says how its text is written.

    @classmethod
    def size_of(cls, text: str) -> int:
        """The size of the puzzle in ``text``; a GramError says what is no puzzle of this family."""
        ...

    def parse(self, text: str) -> Tokens:
        """The puzzle in ``text``: [L]; a GramError says what is wrong with it, or that it has
        another size.
        """
        ...

    def format(self, inputs: Tokens, outputs: Tokens) -> str:
        """The answer [L_out] to a puzzle [L], as lines of text."""
        ...

    def describe(self, inputs: Tokens) -> str:
        """A puzzle [L] in a few words: ``7x7 board with 2 queens``."""
        ...

    def contradiction(self, inputs: Tokens) -> str:
        """Why a puzzle [L] can have no completion, where that can be seen in it; "" elsewhere."""
        ...

    def unfamiliar(self, inputs: Tokens) -> str:
        """How a puzzle [L] differs from all of the generator, so that a network saw none like it;
        "" if it does not.
        """
        ...

    def completions(self, inputs: Tokens) -> Tokens:
        """All completions of a puzzle [L], in canonical form and ascending order: [m, L_out]; none
        if it has none.
        """
        ...


@runtime_checkable
class FromNothing(Protocol):
    """A task whose one input says nothing, as an empty board does: what answers it is drawn from
    nothing.

    Attributes:
        nothing: that input, [L].
    """

    nothing: Tokens
