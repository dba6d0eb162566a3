"""How the trajectories of one input share their noise and their steps: independent draws, and ways to repeat less.

All samplers spend the same: W trajectories of ``depth`` supervision steps per input, always from the prior, and none looks at
anything but latent states and decoded answers. Only "iid" is the paper's; the others are not in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.network import Network, State
from gram.settings import EvaluateConfig
from gram.settings.agreement import check_restarts
from gram.system.errors import GramError


class Independent:
    """Independent trajectories ("iid"), and the hooks by which the other samplers differ.

    Attributes:
        group: rows in a batch that belong together: the trajectories of one input, or 1 where rows ignore each other. Rows
            of a group follow one another, and a batch holds whole groups.
    """

    group = 1

    def noise(self, model: Network, inputs: Tensor, generator: torch.Generator) -> Tensor | None:
        """The noise of one supervision step of ``inputs`` [B, L], shaped as ``model.draw_noise`` does: [T, B, ...]."""
        return model.draw_noise(inputs, generator)

    def move(self, state: State) -> State:
        """The state [B, L', D] from which the next supervision step starts."""
        return state

    def restarts(self, step: int, tokens: Tensor) -> Tensor | None:
        """Which trajectories start again from z_0 after supervision step ``step``: bool [B], or None for none.

        Args:
            step: supervision steps done, from 1.
            tokens: [B, L] the answer of each trajectory.
        """
        return None


class Grouped(Independent):
    """What the samplers share in which the trajectories of one input know of each other.

    Args:
        width: trajectories per input, W.
    """

    def __init__(self, width: int) -> None:
        self.group = width

    def by_input(self, rows: Tensor) -> Tensor:
        """The rows of a batch as a table of inputs and trajectories: [B, ...] -> [N, W, ...]."""
        return rows.reshape(-1, self.group, *rows.shape[1:])

    def draw(self, model: Network, inputs: Tensor, generator: torch.Generator, rows: int) -> Tensor:
        """Independent noise for the first ``rows`` trajectories of every input: [T, N, rows, ...].

        Raises:
            GramError: a model whose trajectories differ for another reason than noise in its transitions.
        """
        chosen = self.by_input(inputs)[:, :rows].flatten(0, 1)
        noise = model.draw_noise(chosen, generator)
        if noise is None:
            raise GramError(
                "evaluate: sampler: this model draws no noise in its transitions that could be shared; use iid"
            )
        return noise.view(len(noise), -1, rows, *noise.shape[2:])


class Antithetic(Grouped):
    """Pairs of trajectories with noise eps and -eps; with an odd W the last one has no partner.

    Each trajectory alone still has exactly N(0, I) noise. Where the noise decides by its sign, a pair decides both ways.
    """

    def noise(self, model: Network, inputs: Tensor, generator: torch.Generator) -> Tensor:
        eps = self.draw(model, inputs, generator, rows=(self.group + 1) // 2)
        return torch.stack((eps, -eps), dim=3).flatten(2, 3)[:, :, : self.group].flatten(1, 2)


class Quasi(Grouped):
    """Latin hypercube noise: in each coordinate, the W values of an input fall one in each of W equally likely intervals.

    The intervals are dealt to the trajectories anew in each coordinate, and the place within them is random, so each
    trajectory alone still has exactly N(0, I) noise. A Latin hypercube rather than a Sobol sequence: a rollout draws
    depth x T x L' x D coordinates (millions at the paper's size; torch's Sobol ends at 21,201), and with W points no sequence
    spreads over more than a few coordinates at a time anyway. Stratifying each coordinate alone is exact at any W.
    """

    def noise(self, model: Network, inputs: Tensor, generator: torch.Generator) -> Tensor:
        order, within = (self.draw(model, inputs, generator, rows=self.group) for _ in range(2))
        # The ranks of independent values are a random permutation; the normal CDF makes the second draw uniform. In float64,
        # where neither end of (0, 1) can be reached by rounding.
        rank = order.argsort(dim=2).argsort(dim=2)
        uniform = (rank + torch.special.ndtr(within.double())) / self.group
        return torch.special.ndtri(uniform).to(order.dtype).flatten(1, 2)


class Repulsion(Grouped):
    """Between supervision steps, the states h of one input push each other apart, near ones most.

    With d_ij the root mean square of h_i - h_j over tokens and channels, trajectory i moves by
    strength * sum_j k(d_ij) (h_i - h_j) / d_ij. The kernel k(d) = W^-(d / median)^2 is that of Stein variational gradient
    descent, whose width follows from the distances themselves: the sum over j of a typical trajectory is about 1. The samples
    are then no longer draws of the prior, so how often a completion occurs among them says nothing about its probability.

    Args:
        width: trajectories per input, W.
        strength: see above; h has a root mean square of about 1.
    """

    def __init__(self, width: int, strength: float) -> None:
        super().__init__(width)
        self.strength = strength

    def move(self, state: State) -> State:
        h = self.by_input(state.h).flatten(2).float()  # [N, W, L' * D]
        # Without the shortcut through matrix products, which leaves a distance between equal states.
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


class Reseed(Grouped):
    """Trajectories that decode to the answer of an earlier trajectory of the same input start again from z_0, with new noise.

    Only decoded answers are compared, whether right or wrong: no verifier is asked, as none would be at test time. The first
    trajectory with an answer keeps it, so what a restarted one loses was a repetition, even if it ends too early to be
    right. It has fewer steps in its place, never more: the compute is that of independent trajectories.

    Args:
        width: trajectories per input, W.
        every: supervision steps between two comparisons, and the fewest that a restarted trajectory gets.
        depth: supervision steps of the rollout.
    """

    def __init__(self, width: int, every: int, depth: int) -> None:
        super().__init__(width)
        self.every = every
        self.depth = depth

    def restarts(self, step: int, tokens: Tensor) -> Tensor | None:
        if step % self.every or self.depth - step < self.every:
            return None
        answers = self.by_input(tokens)
        equal = (answers[:, :, None] == answers[:, None]).all(dim=-1)  # [N, W, W]
        return equal.tril(diagonal=-1).any(dim=2).flatten()


class AntitheticReseed(Reseed, Antithetic):
    """:class:`Reseed` with the noise of :class:`Antithetic`: fewer repetitions at first, and those that remain start again.

    Partners that start again together mirror each other again; one that starts again alone mirrors nothing.
    """


def make_sampler(config: EvaluateConfig, width: int) -> Independent:
    """The sampler of ``config`` for ``width`` trajectories per input.

    Raises:
        GramError: a sampler with restarts, and a depth that leaves no time for a restart.
    """
    if width == 1 or config.sampler == "iid":
        return Independent()
    if config.sampler == "antithetic":
        return Antithetic(width)
    if config.sampler == "quasi":
        return Quasi(width)
    if config.sampler == "repulsion":
        return Repulsion(width, config.repulsion)
    check_restarts(config)
    restarting = Reseed if config.sampler == "reseed" else AntitheticReseed
    return restarting(width, config.reseed_every, config.depth)
