"""HRM (arXiv:2506.21734) and TRM (arXiv:2510.04871): two latent states in deterministic recursion,
as in their own repositories.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gram.models.building import build, in_place, plain_stack
from gram.models.layers import TRUNCATED_STD, Embedding, Stack, linear, widen
from gram.models.network import Network, Shape, State, Step
from gram.settings.architectures.baselines import HrmModel, TrmModel

HALT_BIAS = (
    -5.0
)  # both values start near 0, so that no trajectory halts before the head has learned


class HRM(Network):
    """T cycles of K low-level updates and one high-level update; with one stack for both levels it
    is TRM.

    Args:
        answers: positions of the input at which the answer is read.
        D: width of both states.
        vocabulary: size of the vocabulary.
        K: low-level updates per cycle (n of TRM).
        T: cycles per supervision step.
        gradient_updates: low-level updates of the last cycle, counted from its end, that carry
            gradient; the high-level update after them does too. 1 is HRM's one-step gradient, K is
            TRM's full last cycle.
        learns_continue: whether the second output of the halting head is the value of continuing,
            with which that of halting is compared (HRM); otherwise a trajectory halts when its
            halting probability exceeds 0.5, and that output is unused.
        puzzle_tokens: tokens in front of the input. The first is a learned vector (the tasks here
            are one puzzle each), and the halting head reads it; the others are zeros.
        low: f_L, or None where f_H serves both levels.
        high: f_H.
    """

    z0_h: Tensor
    z0_l: Tensor

    def __init__(
        self,
        *,
        answers: slice,
        D: int,
        vocabulary: int,
        K: int,
        T: int,
        gradient_updates: int,
        learns_continue: bool,
        puzzle_tokens: int,
        low: Stack | None,
        high: Stack,
    ) -> None:
        super().__init__(answers=answers)
        self.K, self.T, self.gradient_updates = K, T, gradient_updates
        self.learns_continue = learns_continue
        self.puzzle_tokens = puzzle_tokens
        for name in ("z0_h", "z0_l"):  # one vector for all tokens, stored and never trained
            self.register_buffer(
                name, nn.init.trunc_normal_(torch.empty(D), a=-2, b=2) / TRUNCATED_STD
            )
        self.embedding = Embedding(vocabulary, D)
        self.puzzle = nn.Parameter(torch.zeros(D))
        self.low = low
        self.high = high
        self.head = linear(D, vocabulary)
        self.halt_head = linear(D, 2, scale=0.0, bias=True)
        nn.init.constant_(self.halt_head.bias, HALT_BIAS)
        widen(self)

    @property
    def signed(self) -> list[nn.Parameter]:
        """The puzzle vector, which both repositories train by SignSGD."""
        return [self.puzzle]

    def initial_state(self, inputs: Tensor, generator: torch.Generator | None = None) -> State:
        """z_0 for every row of ``inputs`` [B, L]."""
        B, L = inputs.shape
        shape = (B, self.puzzle_tokens + L, len(self.z0_h))
        return State(self.z0_h.expand(shape), self.z0_l.expand(shape))

    def halting(self, halt: Tensor) -> Tensor:
        """Whether a trajectory halts, from its logits of (halt, continue): [B, 2] -> bool [B]."""
        return halt[:, 0] > halt[:, 1] if self.learns_continue else super().halting(halt)

    def embed(self, inputs: Tensor) -> Tensor:
        """e_x: [B, L] int64 -> [B, puzzle_tokens + L, D], the puzzle vector scaled as the tokens
        are.
        """
        puzzle = F.pad(self.embedding.scale * self.puzzle[None], (0, 0, 0, self.puzzle_tokens - 1))
        return torch.cat((puzzle.expand(len(inputs), -1, -1), self.embedding(inputs)), dim=1)

    def forward(
        self,
        state: State,
        inputs: Tensor,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One supervision step; neither ``targets`` nor ``noise`` is used.

        The halting head sends its gradient into the recursion.
        """
        low = self.high if self.low is None else self.low
        training = torch.is_grad_enabled()
        e_x = self.embed(inputs)
        h, l = state  # noqa: E741
        for t in range(self.T):
            last = t == self.T - 1
            injected = h + e_x
            for k in range(self.K):
                with torch.set_grad_enabled(
                    training and last and k >= self.K - self.gradient_updates
                ):
                    l = low(l + injected)  # noqa: E741
            with torch.set_grad_enabled(training and last):
                h = self.high(h + l)
        logits = self.head(h[:, self.puzzle_tokens :][:, self.answers])
        return self.step(
            State(h.detach(), l.detach()), logits, halt=self.halt_head(h[:, 0]).float()
        )


@build.register
def _(config: HrmModel | TrmModel, shape: Shape) -> HRM:
    """HRM or TRM."""
    hrm = isinstance(config, HrmModel)
    positions = in_place(config, shape, config.puzzle_tokens)
    low = plain_stack(config, positions, halves=True) if hrm else None
    high = plain_stack(config, positions, halves=True)
    return HRM(
        answers=shape.answers,
        D=config.D,
        vocabulary=shape.vocabulary,
        K=config.K,
        T=config.T,
        gradient_updates=1 if hrm else config.K,
        learns_continue=hrm,
        puzzle_tokens=config.puzzle_tokens,
        low=low,
        high=high,
    )
