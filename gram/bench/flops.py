"""Matmul FLOPs of training, counted by running the settings' network on one row: for architectures
without a formula, and to check those of :mod:`gram.bench.formula`.

A product counts two per multiply-add; what carries gradient counts three times (forward, and two
products backward). Element-wise work, and recomputation inside attention's backward, are left out,
as is usual for shares of a peak.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gram.models.factory import build_model
from gram.models.network import Given, Network, Shape
from gram.settings import RunSettings
from gram.system.provenance import seeded_generator
from gram.tasks import make_task
from gram.train.objectives import Rows, supervise


def shape_of(settings: RunSettings) -> Shape:
    """The shape of the run's task."""
    return Shape.of(make_task(settings.task, settings.data.generator))


def supervised_loss(model: Network, settings: RunSettings, rows: int) -> Tensor:
    """What one supervision step of some rows minimises, computed on the CPU; its cost does not
    depend on the tokens.
    """
    shape, train = shape_of(settings), settings.train
    inputs = torch.ones(rows, shape.length, dtype=torch.int64)
    generator = seeded_generator(inputs.device, 0, "cost")
    state, noise = model.initial_state(rows, generator), model.training_noise(rows, generator)
    age = torch.zeros(rows, dtype=torch.int64)
    taken = Rows(state, Given(inputs), inputs[:, shape.answers], noise, last=age > 0, age=age)
    done = supervise(model, train, 0, taken)
    return sum(
        (weight * done.terms[name].mean() for name, weight in done.weights.items()),
        start=torch.zeros(()),
    )


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the FLOPs of all matrix products inside it, by torch's formulas, and computes none.

    Nobody looks at the numbers in them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            return func(*args, **(kwargs or {}))
        *_, a, b = args  # behind what addmm adds
        result = a.new_empty(*a.shape[:-1], b.shape[-1])
        self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def counted_flops(settings: RunSettings) -> int:
    """FLOPs of one supervision step of one row, forward and backward."""
    # Drawing the initial weights would take longer than all else; the cost does not depend on them.
    with torch.device("meta"):
        model = build_model(settings.model, shape_of(settings), seed=0)
    model.to_empty(device="cpu")
    # Attention's fused kernel stands for products, which the other implementation makes one by one.
    with sdpa_kernel(SDPBackend.MATH), Products() as counter:
        supervised_loss(model, settings, 1).backward()  # type: ignore[no-untyped-call]
    return counter.flops
