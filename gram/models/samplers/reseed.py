"""Repeated answers that start again."""

from __future__ import annotations

from torch import Tensor

from gram.models.samplers.base import Grouped, Sampler
from gram.settings import EvaluateConfig
from gram.settings.agreement import check_restarts


class Reseed(Grouped):
    """Trajectories that decode to the answer of an earlier trajectory of the same input start again
    from z_0, with new noise.

    Only decoded answers are compared, whether right or wrong: no verifier is asked, as none would
    be at test time. The first trajectory with an answer keeps it, so what a restarted one loses was
    a repetition, even if it ends too early to be right. It has fewer steps in its place, never
    more: the compute is that of independent trajectories.

    Args:
        width: trajectories per input, W.
        every: supervision steps between two comparisons, and the fewest that a restarted trajectory
        gets.
        depth: supervision steps of the rollout.
    """

    def __init__(self, width: int, every: int, depth: int) -> None:
        super().__init__(width)
        self.every = every
        self.depth = depth

    @classmethod
    def of(cls, config: EvaluateConfig, width: int) -> Sampler:
        check_restarts(config)
        return cls(width, config.reseed_every, config.depth)

    def restarts(self, step: int, tokens: Tensor) -> Tensor | None:
        if step % self.every or self.depth - step < self.every:
            return None
        answers = self.by_input(tokens)
        equal = (answers[:, :, None] == answers[:, None]).all(dim=-1)  # [N, W, W]
        return equal.tril(diagonal=-1).any(dim=2).flatten()


SAMPLER = Reseed
