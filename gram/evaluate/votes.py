"""Votes among the samples of an input: which answers are equal, and which are most frequent."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gram.tasks import Tokens


def answer_numbers(tokens: Tokens) -> NDArray[np.int64]:
    """A number for every answer, the same for equal ones: in canonical form [N, W, L] -> [N, W]."""
    N, W, L = tokens.shape
    return np.unique(tokens.reshape(-1, L), axis=0, return_inverse=True)[1].reshape(N, W)


def most_frequent(answers: NDArray[np.int64], count: int = 1) -> NDArray[np.int64]:
    """The first samples of the most frequent answers to every input, the most frequent first and of
    equally frequent ones the earliest: :func:`answer_numbers` [N, W] -> [N, count].

    Where an input has fewer different answers than ``count``, the last of them stands again.
    """
    chosen = np.empty((len(answers), count), dtype=np.int64)
    for i, row in enumerate(answers):
        _, first, times = np.unique(row, return_index=True, return_counts=True)
        order = np.lexsort((first, -times))
        chosen[i] = first[order[np.minimum(np.arange(count), len(order) - 1)]]
    return chosen


def majority(answers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sample that most samples of the same input equal, the earliest of them: [N, W] -> [N]."""
    return most_frequent(answers)[:, 0]
