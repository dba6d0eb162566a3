"""Toy: every token's answer from that token alone, and noise that all tokens share."""

from __future__ import annotations

import torch
from gram.settings.architectures.toy import ToyModel
from torch import Tensor

from gram.models.building import build
from gram.models.ends import Answer, Cells
from gram.models.layers import linear
from gram.models.network import Given, Network, Shape, State, Step


class Toy(Network):
    """Embedding, noise, and a linear map to logits.

    Args:
        shape: of the task.
        D: width of a token.
        noise: standard deviation.
    """

    def __init__(self, shape: Shape, *, D: int, noise: float) -> None:
        super().__init__()
        self.D, self.noise = D, noise
        self.front = Cells(shape, D)
        self.back = Answer(shape, linear(D, shape.vocabulary))

    @property
    def samples(self) -> bool:
        return True

    def draw_noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """N(0, I), fp32 [rows, 1, D]."""
        shape = (rows, 1, self.D)
        return torch.randn(shape, generator=generator, device=generator.device)

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One pass."""
        h = self.front(given)
        if noise is not None:
            h = h + self.noise * noise
        return self.step(state, self.back(h))


@build.register
def _(config: ToyModel, shape: Shape) -> Toy:
    return Toy(shape, D=config.D, noise=config.noise)
