"""HRM (arXiv:2506.21734) and TRM (arXiv:2510.04871): two latent states in deterministic recursion,
as in their own repositories.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gram.models.building import build, in_place, stack_of
from gram.models.ends import Answer, PuzzleCells
from gram.models.layers import TRUNCATED_STD, Stack, linear, widen
from gram.models.network import Given, Network, Shape, State, Step
from gram.settings.architectures.baselines import HrmModel, TrmModel

HALT_BIAS = (
    -5.0
)  # both values start near 0, so that no trajectory halts before the head has learned


class HRM(Network):
    """T cycles of K low-level updates and one high-level update; with one stack for both levels it
    is TRM.

    Args:
        D: width of both states.
        K: low-level updates per cycle (n of TRM).
        T: cycles per supervision step.
        gradient_updates: low-level updates of the last cycle, counted from its end, that carry
            gradient; the high-level update after them does too. 1 is HRM's one-step gradient, K is
            TRM's full last cycle.
        learns_continue: whether the second output of the halting head is the value of continuing,
            with which that of halting is compared (HRM); otherwise a trajectory halts when its
            halting probability exceeds 0.5, and that output is unused.
        z0: initial state (h, l), one vector [D] each for all tokens, stored and never trained.
        front: input -> e_x; its first token is a learned vector (the tasks here are one puzzle
            each), and the halting head reads what becomes of it.
        low: f_L, or None where f_H serves both levels.
        high: f_H.
        back: h -> logits.
    """

    z0_h: Tensor
    z0_l: Tensor

    def __init__(
        self,
        *,
        D: int,
        K: int,
        T: int,
        gradient_updates: int,
        learns_continue: bool,
        z0: State,
        front: PuzzleCells,
        low: Stack | None,
        high: Stack,
        back: Answer,
    ) -> None:
        super().__init__()
        self.K, self.T, self.gradient_updates = K, T, gradient_updates
        self.learns_continue = learns_continue
        self.register_buffer("z0_h", z0.h)
        self.register_buffer("z0_l", z0.l)
        self.front = front
        self.low = low
        self.high = high
        self.back = back
        self.halt_head = linear(D, 2, scale=0.0, bias=True)
        nn.init.constant_(self.halt_head.bias, HALT_BIAS)
        widen(self)

    @property
    def signed(self) -> list[nn.Parameter]:
        """The puzzle vector, which both repositories train by SignSGD."""
        return [self.front.puzzle]

    def initial_state(self, rows: int, generator: torch.Generator | None = None) -> State:
        """z_0 for as many rows."""
        shape = (rows, self.front.tokens, len(self.z0_h))
        return State(self.z0_h.expand(shape), self.z0_l.expand(shape))

    def halting(self, halt: Tensor) -> Tensor:
        """Whether a trajectory halts, from its logits of (halt, continue): [B, 2] -> bool [B]."""
        return halt[:, 0] > halt[:, 1] if self.learns_continue else super().halting(halt)

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One supervision step; neither ``targets`` nor ``noise`` is used.

        The halting head sends its gradient into the recursion.
        """
        low = self.high if self.low is None else self.low
        training = torch.is_grad_enabled()
        e_x = self.front(given)
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
        return self.step(
            State(h.detach(), l.detach()), self.back(h), halt=self.halt_head(h[:, 0]).float()
        )


@build.register
def _(config: HrmModel | TrmModel, shape: Shape) -> HRM:
    """HRM or TRM."""
    hrm = isinstance(config, HrmModel)
    positions = in_place(config, shape, config.puzzle_tokens)
    low = stack_of(config, positions, halves=True) if hrm else None
    high = stack_of(config, positions, halves=True)
    h, l = (  # noqa: E741
        nn.init.trunc_normal_(torch.empty(config.D), a=-2, b=2) / TRUNCATED_STD for _ in range(2)
    )
    front = PuzzleCells(shape, config.D, config.puzzle_tokens)
    back = Answer(shape, linear(config.D, shape.vocabulary), config.puzzle_tokens)
    return HRM(
        D=config.D,
        K=config.K,
        T=config.T,
        gradient_updates=1 if hrm else config.K,
        learns_continue=hrm,
        z0=State(h, l),
        front=front,
        low=low,
        high=high,
        back=back,
    )
