"""What an optimizer step minimises; each family of methods registers its own function."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from typing import NamedTuple

from torch import Tensor

from gram.models.network import Given, Network, State, Step
from gram.settings import TrainConfig, agreement


class Rolled(NamedTuple):
    """A rollout of the prior beside some rows, on which heads learn."""

    state: State  # [B, L', D]
    noise: Tensor | None  # from Network.draw_noise
    completions: Tensor  # [B, m, L_out] int64, all right answers of each row, some of them repeated

    def part(self, rows: slice) -> Rolled:
        """That of some of the rows."""
        return Rolled(
            self.state.part(rows),
            None if self.noise is None else self.noise[rows],
            self.completions[rows],
        )


class Rows(NamedTuple):
    """Some rows of the carry, as a supervision step takes them."""

    state: State  # where they stand, [B, L', D]
    given: Given
    targets: Tensor  # [B, L_out] int64
    noise: Tensor | None  # from Network.training_noise
    last: Tensor  # [B] bool, whether this is the N_sup-th step of the row
    age: Tensor  # [B] int64, supervision steps that the row has had before this one
    rolled: Rolled | None = None  # where a rollout of the prior stands on the same rows

    def part(self, rows: slice) -> Rows:
        """Some of these rows."""
        return Rows(
            self.state.part(rows),
            self.given.part(rows),
            self.targets[rows],
            None if self.noise is None else self.noise[rows],
            self.last[rows],
            self.age[rows],
            None if self.rolled is None else self.rolled.part(rows),
        )


class Supervised(NamedTuple):
    """One supervision step with its losses."""

    step: Step
    hits: Tensor  # [B, L_out] bool, tokens decoded as in the target
    terms: dict[str, Tensor]  # [B] fp32 each, shown in the history as means over rows
    weights: dict[
        str, float
    ]  # of the terms whose weighted sum is minimised; the others are only shown
    rolled: State | None = None  # where the rollout of the prior stands after this step


def check_softmax(model: Network, config: TrainConfig) -> None:
    """Refuse another cross-entropy for a method that draws its tokens from a softmax.

    Raises:
        GramError: the cross-entropy is another.
    """
    agreement.check_softmax(config, type(model).__name__)


def objective_of(model: Network) -> Callable[..., Supervised]:
    """The function that :func:`supervise` calls for a network."""
    found: Callable[..., Supervised] = supervise.dispatch(type(model))
    return found


@singledispatch
def supervise(model: Network, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    """One supervision step of a network in training, dispatched on its type.

    Args:
        model: the network.
        config: the objective's settings.
        number: of the optimizer step, from 0, for schedules.
        rows: what it is taken on.
    """
    raise TypeError(
        f"{type(model).__name__} has no objective; register one in gram/train/objectives"
    )
