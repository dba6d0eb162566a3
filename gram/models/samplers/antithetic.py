"""Pairs of trajectories with opposite noise."""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.network import Network
from gram.models.samplers.base import Grouped


class Antithetic(Grouped):
    """Pairs of trajectories with noise eps and -eps; with an odd W the last one has no partner.

    Each trajectory alone still has exactly N(0, I) noise. Where the noise decides by its sign, a
    pair decides both ways.
    """

    def noise(self, model: Network, rows: int, generator: torch.Generator) -> Tensor:
        eps = self.draw(model, rows // self.group, generator, each=(self.group + 1) // 2)
        return torch.stack((eps, -eps), dim=2).flatten(1, 2)[:, : self.group].flatten(0, 1)


SAMPLER = Antithetic
