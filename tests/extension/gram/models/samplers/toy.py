"""A toy sampler: all trajectories of an input have the same noise, so that width buys nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.network import Network
from gram.models.samplers.base import Grouped


class Same(Grouped):
    """One draw per input, for all of its trajectories."""

    def noise(self, model: Network, inputs: Tensor, generator: torch.Generator) -> Tensor:
        return (
            self.draw(model, inputs, generator, rows=1)
            .repeat_interleave(self.group, 2)
            .flatten(1, 2)
        )


SAMPLER = Same
