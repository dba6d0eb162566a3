"""Direct Pred (Table 1): a plain transformer that answers in one pass."""

from __future__ import annotations

from torch import Tensor

from gram.models.building import build, in_place, stack_of
from gram.models.ends import Answer, Cells
from gram.models.layers import Stack, linear
from gram.models.network import Given, Network, Shape, State, Step
from gram.settings.architectures.baselines import DirectModel


class Direct(Network):
    """One pass of the embedded input through a stack of blocks, and a linear map to logits.

    Args:
        front: input -> e_x.
        stack: the blocks.
        back: what they give -> logits.
    """

    def __init__(self, *, front: Cells, stack: Stack, back: Answer) -> None:
        super().__init__()
        self.front = front
        self.stack = stack
        self.back = back

    def encode(self, e_x: Tensor) -> Tensor:
        """The embedded input, to what the head reads: [B, L, D] -> [B, L, D]."""
        return self.stack(e_x)

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One pass; neither ``targets`` nor ``noise`` is used."""
        return self.step(state, self.back(self.encode(self.front(given))))


@build.register
def _(config: DirectModel, shape: Shape) -> Direct:
    """Direct Pred."""
    stack = stack_of(config, in_place(config, shape))
    front = Cells(shape, config.D)
    return Direct(front=front, stack=stack, back=Answer(shape, linear(config.D, shape.vocabulary)))
