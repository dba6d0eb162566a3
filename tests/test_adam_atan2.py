"""AdamATan2 against its formula in float64, and what it promises: steps that do not depend on the
gradient's scale.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gram.models.factory import build_model
from gram.models.hrm import HRM
from gram.models.network import Shape
from gram.runs import checkpoint
from gram.settings import TrainConfig
from gram.settings.architectures.baselines import TrmModel
from gram.train import optim
from gram.train.adam_atan2 import AdamATan2

RATE, BETAS, DECAY = 0.03, (0.9, 0.95), 0.5


def gradients(steps: int) -> list[Tensor]:
    """Gradients whose size changes from step to step and from weight to weight."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-8, 2, 12).view(3, 4)
    return [(n + 1) * scale * torch.randn(3, 4, generator=generator) for n in range(steps)]


def trained(given: list[Tensor], **group: Any) -> Tensor:
    """Weights of ones after a step on each gradient."""
    p = torch.ones(3, 4, requires_grad=True)
    optimizer = AdamATan2([{"params": [p], **group}], lr=RATE, betas=BETAS, weight_decay=DECAY)
    for gradient in given:
        p.grad = gradient.clone()
        optimizer.step()
    return p.detach()


def test_steps_follow_the_formula() -> None:
    expected, m, v = [1.0] * 12, [0.0] * 12, [0.0] * 12
    for t, gradient in enumerate(gradients(6), start=1):
        for i, g in enumerate(gradient.double().flatten().tolist()):
            m[i] = BETAS[0] * m[i] + (1 - BETAS[0]) * g
            v[i] = BETAS[1] * v[i] + (1 - BETAS[1]) * g * g
            angle = math.atan2(m[i], math.sqrt(v[i] / (1 - BETAS[1] ** t)))
            expected[i] = expected[i] * (1 - RATE * DECAY) - RATE / (1 - BETAS[0] ** t) * angle
    assert trained(gradients(6)).flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_scale_of_the_gradients_does_not_matter() -> None:
    plain = trained(gradients(6))
    assert torch.allclose(trained([1000 * g for g in gradients(6)]), plain, rtol=1e-6, atol=0)
    assert torch.equal(
        trained([1024 * g for g in gradients(6)]), plain
    )  # a power of two rounds nothing differently
    assert not torch.allclose(trained([10**n * g for n, g in enumerate(gradients(6))]), plain)


def test_group_by_sign_is_sign_descent() -> None:
    expected = torch.ones(3, 4)
    for gradient in gradients(4):
        expected = expected * (1 - RATE * DECAY) - RATE * gradient.sign()
    assert torch.allclose(trained(gradients(4), sign=True), expected, atol=1e-6)


def net() -> HRM:
    """A tiny TRM."""
    model = build_model(
        TrmModel(D=8, heads=2, ffn_hidden=4, layers=1, K=1, T=1, puzzle_tokens=2),
        Shape(4, 3),
        seed=0,
    )
    assert isinstance(model, HRM)
    return model


@pytest.mark.parametrize("decay", ["all", "matrices"])
def test_puzzle_vector_has_a_group_of_its_own(decay: Any) -> None:
    model = net()
    *others, signed = optim.build_optimizer(
        model, TrainConfig(optimizer="adam_atan2", decay=decay)
    ).param_groups
    assert (
        signed["sign"] and len(signed["params"]) == 1 and signed["params"][0] is model.front.puzzle
    )
    assert not any(group["sign"] for group in others)
    assert sum(len(group["params"]) for group in others) == len(list(model.parameters())) - 1
    assert isinstance(optim.build_optimizer(model, TrainConfig()), torch.optim.AdamW)


def advance(model: HRM, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Some steps on random gradients."""
    for n in steps:
        for parameter in model.parameters():
            parameter.grad = torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(n)
            )
        optimizer.step()


def test_state_passes_through_a_checkpoint(tmp_path: Path) -> None:
    config, path = (
        TrainConfig(optimizer="adam_atan2", learning_rate=RATE),
        tmp_path / "optimizer.safetensors",
    )
    whole, resumed = net(), net()
    first, second = optim.build_optimizer(whole, config), optim.build_optimizer(resumed, config)
    advance(whole, first, range(3))
    resumed.load_state_dict(whole.state_dict())
    checkpoint.write_tensors(path, checkpoint.optimizer_tensors(first))
    checkpoint.load_optimizer(second, checkpoint.read_tensors(path)[0])
    advance(whole, first, range(3, 6))
    advance(resumed, second, range(3, 6))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True)
    )
