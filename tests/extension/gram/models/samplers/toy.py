"""A toy sampler: all trajectories of an input have the same noise, so that width buys nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.network import Network
from gram.models.samplers.base import Grouped


class Same(Grouped):
    """One draw per input, for all of its trajectories."""

    def noise(self, model: Network, rows: int, generator: torch.Generator) -> Tensor:
        noise = self.draw(model, rows // self.group, generator, each=1)
        return noise.repeat_interleave(self.group, 1).flatten(0, 1)


SAMPLER = Same
