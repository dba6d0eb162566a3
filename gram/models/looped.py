"""Looped TF (Table 1): one flat block, looped with the input added again before every loop
(arXiv:2311.12424).
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from gram.models.building import build, in_place, stack_of
from gram.models.direct import Direct
from gram.models.ends import Answer, Cells
from gram.models.layers import Stack, linear
from gram.models.network import Shape
from gram.settings.architectures.baselines import LoopedModel


class Looped(Direct):
    """h <- stack(h + e_x) from h = 0, ``loops`` times; the answer and the only loss come after the
    last loop.

    Args:
        front, stack, back: as of :class:`gram.models.direct.Direct`.
        loops: how often the stack is applied.
        gradient_loops: how many of them, counted from the end, carry gradient; all of them if None.
    """

    def __init__(
        self,
        *,
        front: Cells,
        stack: Stack,
        back: Answer,
        loops: int,
        gradient_loops: int | None = None,
    ) -> None:
        super().__init__(front=front, stack=stack, back=back)
        self.loops = loops
        self.without_gradient = 0 if gradient_loops is None else max(loops - gradient_loops, 0)

    def encode(self, e_x: Tensor) -> Tensor:
        """All loops: [B, L, D] -> [B, L, D]."""
        h = torch.zeros_like(e_x)
        for n in range(self.loops):
            with torch.no_grad() if n < self.without_gradient else nullcontext():
                h = self.stack(h + e_x)
        return h


@build.register
def _(config: LoopedModel, shape: Shape) -> Looped:
    """Looped TF."""
    stack = stack_of(config, in_place(config, shape))
    front = Cells(shape, config.D)
    return Looped(
        front=front,
        stack=stack,
        back=Answer(shape, linear(config.D, shape.vocabulary)),
        loops=config.loops,
        gradient_loops=config.gradient_loops,
    )
