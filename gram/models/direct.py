"""Direct Pred (Table 1): a plain transformer that answers in one pass."""

from __future__ import annotations

from torch import Tensor

from gram.models.building import build, in_place, plain_stack
from gram.models.layers import Embedding, Stack, linear
from gram.models.network import Network, Shape, State, Step
from gram.settings.architectures.baselines import DirectModel


class Direct(Network):
    """One pass of the embedded input through a stack of blocks, and a linear map to logits.

    Args:
        answers: positions of the input at which the answer is read.
        D: width of a token.
        vocabulary: size of the vocabulary.
        stack: the blocks.
    """

    def __init__(self, *, answers: slice, D: int, vocabulary: int, stack: Stack) -> None:
        super().__init__(answers=answers)
        self.embedding = Embedding(vocabulary, D)
        self.stack = stack
        self.head = linear(D, vocabulary)

    def encode(self, e_x: Tensor) -> Tensor:
        """The embedded input, to what the head reads: [B, L, D] -> [B, L, D]."""
        return self.stack(e_x)

    def forward(
        self,
        state: State,
        inputs: Tensor,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One pass; neither ``targets`` nor ``noise`` is used."""
        h = self.encode(self.embedding(inputs))
        return self.step(state, self.head(h[:, self.answers]))


@build.register
def _(config: DirectModel, shape: Shape) -> Direct:
    """Direct Pred."""
    return Direct(
        answers=shape.answers,
        D=config.D,
        vocabulary=shape.vocabulary,
        stack=plain_stack(config, in_place(config, shape)),
    )
