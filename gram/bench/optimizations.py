"""Each optimization of the training step with its prediction, and the other way of doing the same
thing.

The product does every thing in one way. The other ways live here alone, as patches of a trainer
that last as long as a ``with`` block; none changes what a step computes, but for the last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from gram.models import gram, layers
from gram.settings import RunSettings
from gram.train.trainer import Trainer

Scale = Literal["small", "paper", "gpu"]
PAPER_WIDTH = 256  # from this width on, products take most of a step on a CPU


@dataclass(frozen=True)
class Optimization:
    """One way of making a training step faster or smaller.

    Attributes:
        name: short and unique.
        what: what is done, and instead of what.
        kept: whether the code, or one of its settings, does it.
        predicted: times as fast as without it, per scale, written before it was measured; a scale
        that is missing is not tried.
        reason: why so much.
        patch: undoes it in a trainer if the code always does it, and does it if it was not kept.
        settings: where it is a setting of ``train``: the value that switches it on.
    """

    name: str
    what: str
    kept: bool
    predicted: dict[Scale, float]
    reason: str
    patch: Callable[[Trainer], AbstractContextManager[None]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def scale_of(settings: RunSettings, device: torch.device) -> Scale:
    """Which of the predictions a measurement tests."""
    if device.type == "cuda":
        return "gpu"
    return "paper" if settings.model.D >= PAPER_WIDTH else "small"


# The other ways -----------------------------------------------------------------------------------


@contextmanager
def for_loop_adamw(trainer: Trainer) -> Iterator[None]:
    """Each operation of AdamW on each weight in turn."""
    with ExitStack() as stack:
        for group in trainer.optimizer.param_groups:
            stack.enter_context(patch.dict(group, fused=False, foreach=False))
        yield


@contextmanager
def per_tensor_average(trainer: Trainer) -> Iterator[None]:
    """The moving average, uncorrected, one weight after another."""

    @torch.no_grad()
    def update(step: int) -> None:
        for average, live in zip(
            trainer.ema.model.parameters(), trainer.model.parameters(), strict=True
        ):
            average.lerp_(live, 1 - trainer.ema.decay)

    with patch.object(trainer.ema, "update", update):
        yield


@contextmanager
def explicit_attention(_trainer: Trainer) -> Iterator[None]:
    """Attention as two products and a softmax, with the matrix of weights in memory."""

    def attention(q: Tensor, k: Tensor, v: Tensor, is_causal: bool) -> Tensor:
        assert not is_causal
        return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1).to(v.dtype) @ v

    with patch.object(F, "scaled_dot_product_attention", attention):
        yield


@contextmanager
def in_modules(trainer: Trainer, kind: type, forward: Callable[..., Tensor]) -> Iterator[None]:
    """Another ``forward(module, x)`` in every module of a kind."""
    with ExitStack() as stack:
        for module in trainer.model.modules():
            if isinstance(module, kind):
                stack.enter_context(patch.object(module, "forward", partial(forward, module)))
        yield


def split_rotation(rotary: layers.Rotary, x: Tensor, start: int) -> Tensor:
    """The rotation in real numbers: both parts of each pair apart, four products, and together
    again.
    """
    rotation = rotary.rotation[start : start + x.shape[-2]]
    cos, sin = rotation.real, rotation.imag
    even, odd = x.float()[..., 0::2], x.float()[..., 1::2]
    return (
        torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
        .flatten(-2)
        .to(x.dtype)
    )


def two_products(net: layers.SwiGLU, x: Tensor) -> Tensor:
    """gate and up as two products."""
    gate, up = (F.linear(x, weight) for weight in net.gate_up.weight.chunk(2))
    return net.down(F.silu(gate) * up)


@contextmanager
def recorded_transitions(trainer: Trainer) -> Iterator[None]:
    """The first transitions record their operations for a backward pass that never comes."""
    recording = SimpleNamespace(**{**vars(torch), "set_grad_enabled": lambda _mode: nullcontext()})
    assert isinstance(trainer.model, gram.GRAM)
    transition, T, done = trainer.model.transition, trainer.model.T, 0

    def detached(*arguments: Any) -> tuple[Tensor, Tensor]:
        nonlocal done
        done += 1
        l, u = transition(*arguments)  # noqa: E741
        return (l, u) if done % T == 0 else (l.detach(), u.detach())

    with (
        patch.object(gram, "torch", recording),
        patch.object(trainer.model, "transition", detached),
    ):
        yield


@contextmanager
def read_every_step(trainer: Trainer) -> Iterator[None]:
    """Every loss term is read by the host in every step."""
    step = trainer.train_step

    def and_read() -> None:
        step()
        for total in trainer.sums.values():
            float(total)

    with patch.object(trainer, "train_step", and_read):
        yield


@contextmanager
def memory_not_filled(_trainer: Trainer) -> Iterator[None]:
    """Deterministic algorithms that leave new memory as it is."""
    flags: Any = torch.utils.deterministic
    before = flags.fill_uninitialized_memory
    flags.fill_uninitialized_memory = False
    try:
        yield
    finally:
        flags.fill_uninitialized_memory = before


# What is measured ---------------------------------------------------------------------------------

OPTIMIZATIONS = [
    Optimization(
        "fused AdamW",
        "one kernel per step instead of a dozen operations per weight",
        True,
        {"small": 1.1, "paper": 1.03, "gpu": 1.05},
        "a dozen passes over all weights become one; they are few beside the activations of a step",
        patch=for_loop_adamw,
    ),
    Optimization(
        "foreach moving average",
        "one call for all weights instead of one per weight",
        True,
        {"small": 1.01, "paper": 1.0, "gpu": 1.02},
        "saves calls, not work, and there are under a hundred weights",
        patch=per_tensor_average,
    ),
    Optimization(
        "fused attention",
        "scaled_dot_product_attention instead of two products and a softmax",
        True,
        {"small": 1.05, "paper": 1.05, "gpu": 1.2},
        "the weights of all pairs of tokens stay out of memory; boards are short, so they are"
        " small",
        patch=explicit_attention,
    ),
    Optimization(
        "complex rotation",
        "RoPE as one complex product instead of four real ones",
        True,
        {"small": 1.1, "paper": 1.1, "gpu": 1.0},
        "about ten element-wise passes over queries and keys, forward and backward, become three",
        patch=partial(in_modules, kind=layers.Rotary, forward=split_rotation),
    ),
    Optimization(
        "gate and up in one product",
        "SwiGLU's two input products as one",
        True,
        {"small": 1.03, "paper": 1.01, "gpu": 1.03},
        "half as many calls; the same FLOPs in larger matrices",
        patch=partial(in_modules, kind=layers.SwiGLU, forward=two_products),
    ),
    Optimization(
        "first transitions without gradient",
        "no recording where no gradient flows, instead of recording everywhere",
        True,
        {"small": 1.1, "paper": 1.03, "gpu": 1.03},
        "T - 1 of T transitions write nothing down; the products are the same",
        patch=recorded_transitions,
    ),
    Optimization(
        "sums stay on the device",
        "loss terms are read when a line of the history is written, instead of in every step",
        True,
        {"small": 1.0, "paper": 1.0, "gpu": 1.03},
        "a CPU has nothing to wait for; a GPU waits for the host between two steps",
        patch=read_every_step,
    ),
    Optimization(
        "bf16 forward",
        "train.precision: bf16 instead of fp32",
        True,
        {"small": 0.7, "paper": 0.8, "gpu": 2.0},
        "needs instructions for bf16; without them every product converts its inputs",
        settings={"precision": "bf16"},
    ),
    Optimization(
        "torch.compile",
        "train.compile: default instead of none",
        True,
        {"small": 1.15, "paper": 1.1, "gpu": 1.4},
        "fuses element-wise passes; products stay as they are, and complex numbers are not"
        " compiled",
        settings={"compile": "default"},
    ),
    Optimization(
        "CUDA graphs",
        "train.compile: graphs instead of none",
        True,
        {"gpu": 1.5},
        "as torch.compile, and the host launches a step at once",
        settings={"compile": "graphs"},
    ),
    Optimization(
        "new memory is not filled",
        "deterministic algorithms without filling memory that is about to be written",
        False,
        {"small": 1.01, "paper": 1.01},
        "one pass over every new tensor less; but a read of memory that nothing wrote would go"
        " unnoticed",
        patch=memory_not_filled,
    ),
]
