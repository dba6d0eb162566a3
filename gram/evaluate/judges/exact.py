"""How many answers are the right one, where an input has one right answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gram.evaluate.judges.base import ACCURACY, BEST, LPRM, VOTE, Chunk, Judge, Metric, in_bins
from gram.evaluate.metrics import Samples, ratio
from gram.evaluate.votes import answer_numbers, most_frequent
from gram.system.errors import GramError
from gram.tasks.base import PAD


class Exact(Judge):
    """Of inputs with one right answer: how many samples are it, and how many of the answers that
    are chosen among an input's W samples.

    ``accuracy`` is the model's number, of single samples. A majority vote and the LPRM value choose
    among samples without knowing the answer. ``accuracy_best`` knows it, and ``accuracy_verified``
    knows the rules: both are searches whose checker is not the model, and stand beside its number.

    Where the family names bins of a fact, such as the number of givens, the section ``by_fact`` has
    the same metrics for the inputs in each of them.
    """

    METRICS: ClassVar[Mapping[str, Metric]] = {
        "accuracy": ACCURACY,
        "accuracy_tokens": Metric(
            "tokens that are those of the one right answer among all tokens of all samples, given"
            " ones too"
        ),
        "accuracy_vote": VOTE,
        "accuracy_vote2": Metric(
            "inputs of whose two most frequent answers one is right: two attempts, as ARC allows"
        ),
        "accuracy_lprm": LPRM,
        "accuracy_best": BEST,
        "accuracy_verified": Metric(
            "inputs whose first sample that keeps all rules is right: a search with a checker, not"
            " a choice of the model; the first sample where none does"
        ),
    }
    CAPTION = "accuracies"
    HEADLINES: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "accuracy_vote": "by majority vote",
        "accuracy_best": "any of the samples",
    }
    SENTENCE = (
        "Of the answers of {method}, {accuracy} are right; a majority vote among the samples of an"
        " input is right on {accuracy_vote}."
    )

    def columns(self, chunk: Chunk) -> dict[str, NDArray[Any]]:
        """``right_tokens`` [n, W] and, of the right answer, ``tokens`` [n], both without padding;
        ``second`` [n], the first sample of the second most frequent answer; and the facts of which
        there are bins.

        Raises:
            GramError: an input has several right answers, or none.
        """
        split = chunk.split
        if (split.counts != 1).any():
            number = split.input_ids[split.counts != 1][0]
            raise GramError(
                f"the judge exact compares with one right answer, and input {number} has"
                f" {split.counts[split.counts != 1][0]}; use the judge completions"
            )
        asked = split.completions != PAD
        equal = (chunk.tokens == split.completions[:, None]) & asked[:, None]
        return {
            "right_tokens": equal.sum(axis=2),
            "tokens": asked.sum(axis=1),
            "second": most_frequent(answer_numbers(chunk.tokens), count=2)[:, 1],
        } | {name: values for name, values in split.facts.items() if name in self.bins}

    def sections(self, scored: Samples, independent: bool) -> dict[str, Any]:
        """See :class:`gram.evaluate.judges.base.Judge`."""
        sections: dict[str, Any] = {"metrics": measured(scored)}
        rows = []
        for fact in self.bins:
            if fact not in scored.columns:
                raise GramError(f"the inputs have no {fact}, of which bins are asked for")
            for name, mask in in_bins(fact, scored.columns[fact], self.bins[fact]).items():
                row = {"fact": fact, "least": self.bins[fact][name], "bin": name}
                rows.append(row | {"inputs": int(mask.sum())} | measured(scored.where(mask)))
        return sections | ({"by_fact": rows} if rows else {})


def measured(scored: Samples) -> dict[str, dict[str, float | None]]:
    """All metrics over the inputs of ``scored``, and the mean of each violation."""
    N, W = scored.found.shape
    # Of one right answer the number is 0; what has another number keeps all rules and is not it.
    right, valid = scored.found == 0, scored.found >= 0
    inputs = np.arange(N)
    vote, lprm = (scored.answers[rule] for rule in ("vote", "lprm"))
    attempts = right[inputs, vote] | right[inputs, scored.columns["second"]]
    verified = valid.argmax(axis=1)  # the first, where none is
    result = {
        "accuracy": ratio(right.sum(), right.size),
        "accuracy_tokens": ratio(
            scored.columns["right_tokens"].sum(), W * scored.columns["tokens"].sum()
        ),
        "accuracy_vote": ratio(right[inputs, vote].sum(), N),
        "accuracy_vote2": ratio(attempts.sum(), N),
        "accuracy_lprm": ratio(right[inputs, lprm].sum(), N),
        "accuracy_best": ratio(right.any(axis=1).sum(), N),
        "accuracy_verified": ratio(right[inputs, verified].sum(), N),
    }
    for name, times in scored.violations.items():
        result[f"{name}_mean"] = ratio(times.sum(), times.size)
    return result


JUDGE = Exact
