"""States of one input that push each other apart."""

from __future__ import annotations

import torch

from gram.models.network import State
from gram.models.samplers.base import Grouped, Sampler
from gram.settings import EvaluateConfig
from gram.system.errors import GramError


class Repulsion(Grouped):
    """Between supervision steps, the states h of one input push each other apart, near ones most.

    With d_ij the root mean square of h_i - h_j over tokens and channels, trajectory i moves by
    strength * sum_j k(d_ij) (h_i - h_j) / d_ij. The kernel k(d) = W^-(d / median)^2 is that of
    Stein variational gradient descent, whose width follows from the distances themselves: the sum
    over j of a typical trajectory is about 1. The samples are then no longer draws of the prior, so
    how often a completion occurs among them says nothing about its probability.

    Args:
        width: trajectories per input, W.
        strength: see above; h has a root mean square of about 1.
    """

    def __init__(self, width: int, strength: float) -> None:
        super().__init__(width)
        self.strength = strength

    @classmethod
    def of(cls, config: EvaluateConfig, width: int) -> Sampler:
        return cls(width, config.repulsion)

    def move(self, state: State) -> State:
        """The states of one input, apart from each other.

        Raises:
            GramError: a model that carries no state from one supervision step to the next.
        """
        if not state.h.numel():
            raise GramError(
                "evaluate: sampler: this model carries no state that could be moved; use iid"
            )
        h = self.by_input(state.h).flatten(2).float()  # [N, W, L' * D]
        # Without the shortcut through matrix products, which leaves a distance between equal
        # states.
        distance = (
            torch.cdist(h, h, compute_mode="donot_use_mm_for_euclid_dist") / h.shape[-1] ** 0.5
        )  # [N, W, W]
        pairs = torch.ones_like(distance[0], dtype=torch.bool).triu(diagonal=1)
        median = distance[:, pairs].median(dim=1).values[:, None, None]
        push = self.strength * self.group ** -(distance / median).square() / distance
        push = torch.where(
            (distance > 0) & (median > 0), push, 0
        )  # equal states have no direction and stay
        moved = h + push.sum(dim=2, keepdim=True) * h - push @ h
        return state._replace(h=moved.to(state.h.dtype).view_as(state.h))


SAMPLER = Repulsion
