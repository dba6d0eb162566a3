"""Who judges the answers of a task: what of them stands in an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gram.data.splits import Split
from gram.evaluate import metrics
from gram.tasks import Tokens

WIDTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


def by_completions(
    scored: metrics.Samples, known: Callable[[], NDArray[np.bool_]], independent: bool
) -> dict[str, Any]:
    """Which of the completions of each input were found, with the sections ``by_completions`` and
    ``by_width``.
    """
    # What fewer samples would have found can be told from subsets of independent samples only.
    widths = WIDTHS if independent else (scored.width,)
    return {
        "metrics": metrics.slices(scored),
        "by_completions": metrics.by_completions(scored),
        "by_width": metrics.by_width(scored, widths),
    }


def by_validity(
    scored: metrics.Samples, known: Callable[[], NDArray[np.bool_]], independent: bool
) -> dict[str, Any]:
    """How many answers are valid, and how many of these are new."""
    return {"metrics": metrics.validity(scored, known())}


# From the scored samples, a function that tells which of them training has met (:func:`met`), and
# whether they are independent, to sections of an evaluation.
Judge = Callable[[metrics.Samples, Callable[[], NDArray[np.bool_]], bool], dict[str, Any]]
# By the name that gram.settings.tasks gives them.
JUDGES: dict[str, Judge] = {"completions": by_completions, "validity": by_validity}


def met(train: Split, split: Split, tokens: Tokens) -> NDArray[np.bool_]:
    """Whether each answer is, in training, a completion of the same input.

    Args:
        train: the training split.
        split: the inputs that were answered, N.
        tokens: [N, W, L_out], in canonical form.

    Returns:
        bool [N, W].
    """
    place = {row.tobytes(): index for index, row in enumerate(train.inputs)}
    found = np.zeros(tokens.shape[:2], dtype=bool)
    for i, row in enumerate(split.inputs):
        index = place.get(row.tobytes())
        if index is not None:
            known = {completion.tobytes() for completion in train.of(index)}
            found[i] = [answer.tobytes() in known for answer in tokens[i]]
    return found
