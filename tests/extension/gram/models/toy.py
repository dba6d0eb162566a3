"""Toy: every token's answer from that token alone, and noise that all tokens share."""

from __future__ import annotations

import torch
from gram.settings.architectures.toy import ToyModel
from torch import Tensor

from gram.models.building import build
from gram.models.layers import Embedding, linear
from gram.models.network import Network, Shape, State, Step


class Toy(Network):
    """Embedding, noise, and a linear map to logits.

    Args:
        answers: positions of the input at which the answer is read.
        D: width of a token.
        vocabulary: size of the vocabulary.
        noise: standard deviation.
    """

    def __init__(self, *, answers: slice, D: int, vocabulary: int, noise: float) -> None:
        super().__init__(answers=answers)
        self.D, self.noise = D, noise
        self.embedding = Embedding(vocabulary, D)
        self.head = linear(D, vocabulary)

    @property
    def samples(self) -> bool:
        return True

    def draw_noise(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """N(0, I), fp32 [1, B, 1, D]."""
        shape = (1, len(inputs), 1, self.D)
        return torch.randn(shape, generator=generator, device=generator.device)

    def forward(
        self,
        state: State,
        inputs: Tensor,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One pass."""
        h = self.embedding(inputs)
        if noise is not None:
            h = h + self.noise * noise[0]
        return self.step(state, self.head(h[:, self.answers]))


@build.register
def _(config: ToyModel, shape: Shape) -> Toy:
    return Toy(answers=shape.answers, D=config.D, vocabulary=shape.vocabulary, noise=config.noise)
