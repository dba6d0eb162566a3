"""The two ends of a network that answers at its input's own tokens: what it is given becomes latent
tokens, and latent tokens become an answer.

What lies between them, a recursion or a plain stack, knows neither how many tokens stand in front
of the input nor at which positions the answer is read.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gram.models.layers import Embedding
from gram.models.network import Given, Shape


class Cells(nn.Module):
    """One latent token for each token of the input, behind ``lead`` zero tokens.

    Args:
        shape: of the task.
        D: width of a latent token.
        lead: tokens in front of the input (section B.1: 16 puzzle tokens).

    Attributes:
        tokens: latent tokens, L' = lead + L.
    """

    def __init__(self, shape: Shape, D: int, lead: int = 0) -> None:
        super().__init__()
        self.lead, self.tokens = lead, lead + shape.length
        start, stop, _ = shape.answers.indices(shape.length)
        self._around = (lead + start, shape.length - stop)  # tokens that are no part of the answer
        self.embedding = Embedding(shape.vocabulary, D)

    def forward(self, given: Given) -> Tensor:
        """e_x: [B, L', D]."""
        return F.pad(self.embedding(given.tokens), (0, 0, self.lead, 0))

    def place(self, e: Tensor) -> Tensor:
        """What belongs to the answer's tokens, at their places: [B, L_out, D] -> [B, L', D], zeros
        elsewhere.
        """
        return F.pad(e, (0, 0, *self._around))


class PuzzleCells(Cells):
    """The same with a learned vector as the first token in front, as HRM and TRM have it; it is
    scaled as the tokens are.

    Args:
        shape, D, lead: as of :class:`Cells`; lead at least 1.
    """

    def __init__(self, shape: Shape, D: int, lead: int) -> None:
        super().__init__(shape, D, lead)
        self.puzzle = nn.Parameter(torch.zeros(D))

    def forward(self, given: Given) -> Tensor:
        """e_x: [B, L', D]."""
        e = self.embedding(given.tokens)
        puzzle = F.pad(self.embedding.scale * self.puzzle[None], (0, 0, 0, self.lead - 1))
        return torch.cat((puzzle.expand(len(e), -1, -1), e), dim=1)


class Answer(nn.Module):
    """The answer's logits, read at the latent tokens that stand at its positions.

    Args:
        shape: of the task.
        lead: tokens in front of the input, as of the :class:`Cells` at the other end.
        head: [..., D] -> [..., vocabulary], token by token.
    """

    def __init__(self, shape: Shape, head: nn.Module, lead: int = 0) -> None:
        super().__init__()
        self.lead, self.positions = lead, shape.answers
        self.head = head

    def forward(self, h: Tensor) -> Tensor:
        """[B, L', D] -> [B, L_out, vocabulary]."""
        logits: Tensor = self.head(h[:, self.lead :][:, self.positions])
        return logits
