"""Answers to symmetric forms of one input: ``evaluate: {forms: 8}``.

A Sudoku with its rows in another order is another input to a network, and the same puzzle: its
answer, changed back, is an answer to the first. The W samples of an input are spread over its
forms, and whatever is counted of them, a majority vote among them first, sees answers to the input
itself.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gram.settings import EvaluateConfig
from gram.settings.agreement import check_forms
from gram.system.errors import GramError
from gram.system.seeds import child_seed
from gram.tasks import Task, Tokens


class Forms(NamedTuple):
    """The forms of every input, of which the first is the input itself.

    Attributes:
        places: [K, L] int64, the position that comes to each place.
        tokens: [K, vocabulary] uint8, what becomes of each token.
    """

    places: NDArray[np.int64]
    tokens: Tokens

    def changed(self, inputs: Tokens, form: NDArray[np.int64]) -> Tokens:
        """Inputs [B, L] in the form whose number stands in ``form`` [B]: [B, L]."""
        moved = np.take_along_axis(inputs, self.places[form], axis=1)
        return np.take_along_axis(self.tokens[form], moved.astype(np.int64), axis=1)

    def undone(self, outputs: Tokens, form: NDArray[np.int64]) -> Tokens:
        """Answers [B, L] to inputs in these forms, as answers to the inputs themselves: [B, L]."""
        back = np.argsort(self.tokens, axis=1).astype(np.uint8)[form]
        named = np.take_along_axis(back, outputs.astype(np.int64), axis=1)
        found = np.empty_like(named)
        np.put_along_axis(found, self.places[form], named, axis=1)
        return found


def draw_forms(task: Task, config: EvaluateConfig) -> Forms | None:
    """As many forms as the settings ask for, drawn by their seed; None where it is the input alone.

    Raises:
        GramError: a task without symmetries, one whose answers are not as long as its inputs, or
            forms that the trajectories of an input cannot be spread over.
    """
    if config.forms == 1:
        return None
    check_forms(config)
    known = task.symmetries()
    if known is None or task.answers != slice(0, task.length):
        raise GramError(
            f"evaluate: forms: {config.forms}, but no symmetries of {task.name} are known; use"
            " forms: 1"
        )
    random = Random(child_seed(config.seed, "forms"))
    itself = np.arange(task.length), np.arange(task.vocabulary, dtype=np.uint8)
    drawn = [itself, *(known.draw(random) for _ in range(config.forms - 1))]
    places, tokens = (np.stack(tables) for tables in zip(*drawn, strict=True))
    return Forms(places.astype(np.int64), tokens.astype(np.uint8))
