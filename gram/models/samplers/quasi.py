"""A Latin hypercube of noise."""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.network import Network
from gram.models.samplers.base import Grouped


class Quasi(Grouped):
    """Latin hypercube noise: in each coordinate, the W values of an input fall one in each of W
    equally likely intervals.

    The intervals are dealt to the trajectories anew in each coordinate, and the place within them
    is random, so each trajectory alone still has exactly N(0, I) noise. A Latin hypercube rather
    than a Sobol sequence: a rollout draws depth x T x L' x D coordinates (millions at the paper's
    size; torch's Sobol ends at 21,201), and with W points no sequence spreads over more than a few
    coordinates at a time anyway. Stratifying each coordinate alone is exact at any W.
    """

    def noise(self, model: Network, rows: int, generator: torch.Generator) -> Tensor:
        inputs = rows // self.group
        order, within = (self.draw(model, inputs, generator, each=self.group) for _ in range(2))
        # The ranks of independent values are a random permutation; the normal CDF makes the second
        # draw uniform. In float64, where neither end of (0, 1) can be reached by rounding.
        rank = order.argsort(dim=1).argsort(dim=1)
        uniform = (rank + torch.special.ndtr(within.double())) / self.group
        return torch.special.ndtri(uniform).to(order.dtype).flatten(0, 1)


SAMPLER = Quasi
