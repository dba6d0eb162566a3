"""How many answers are valid, and how many of these are new."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gram.data.splits import Split
from gram.evaluate import metrics
from gram.evaluate.judges.base import ACCURACY, Chunk, Judge, Metric


class Validity(Judge):
    """Of inputs that have more answers than can be found, as an empty board has: how many answers
    are valid, how many of these differ, and how many stand in training (section D.5).
    """

    METRICS: ClassVar[Mapping[str, Metric]] = {
        "accuracy": ACCURACY,
        "distinct": Metric("different answers among the valid samples"),
        "seen": Metric("valid samples that stand in training as answers", better=None),
        "seen_answers": Metric(
            "the same of the different answers, each of which counts once", better=None
        ),
        "entropy": Metric(
            "entropy of the valid samples, in nats: how evenly the answers are drawn, the log of"
            " their number at most",
            unit="nats",
        ),
    }
    CAPTION = "answers"
    HEADLINES: ClassVar[Mapping[str, str]] = {
        "accuracy": "valid answers",
        "distinct": "different ones among these",
        "seen": "of these in training",
    }
    SENTENCE = (
        "Of the answers of {method}, {accuracy} are valid; {seen} of these stand in training."
    )

    def __init__(self, train: Split, bins: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__(train, bins)
        self.place = {row.tobytes(): index for index, row in enumerate(train.inputs)}

    def columns(self, chunk: Chunk) -> dict[str, NDArray[np.bool_]]:
        """``known`` [n, W]: whether each answer is, in training, a completion of the same input."""
        found = np.zeros(chunk.tokens.shape[:2], dtype=bool)
        for i, row in enumerate(chunk.split.inputs):
            index = self.place.get(row.tobytes())
            if index is not None:
                known = {completion.tobytes() for completion in self.train.of(index)}
                found[i] = [answer.tobytes() in known for answer in chunk.tokens[i]]
        return {"known": found}

    def sections(self, scored: metrics.Samples, independent: bool) -> dict[str, Any]:
        """See :class:`gram.evaluate.judges.base.Judge`."""
        known = scored.columns["known"]
        listed = {
            "seen": sum(len(self.train.of(index)) for index in self.place.values()),
            "new": int(scored.counts.sum()),
        }
        return {
            "metrics": metrics.validity(scored, known),
            "by_times": metrics.by_times(scored, known),
            "listed": listed,
        }


JUDGE = Validity
