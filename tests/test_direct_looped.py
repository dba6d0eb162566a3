"""Direct Pred and Looped TF: what they compute, what carries gradient, and their sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gram.models.direct import Direct
from gram.models.factory import build_model, parameter_count
from gram.models.looped import Looped
from gram.models.network import Given, Network, Shape
from gram.settings import TrainConfig
from gram.settings.architectures.baselines import DirectModel, LoopedModel
from gram.system.provenance import seeded_generator
from gram.train.objectives import Supervised

SHAPE = Shape(6, 4, slice(3, 6))
SMALL = {"D": 16, "heads": 2, "ffn_hidden": 16, "layers": 2}
INPUTS = torch.randint(4, (5, 6), generator=seeded_generator(torch.device("cpu"), 0))
TARGETS = torch.randint(4, (5, 3), generator=seeded_generator(torch.device("cpu"), 1))


def small(config: Any) -> Any:
    """An untrained network; all of them with the same weights."""
    return build_model(config, SHAPE, seed=0)


def logits(model: Network, inputs: Tensor) -> Tensor:
    return model(model.initial_state(len(inputs)), Given(inputs)).logits


def test_direct_is_one_pass_read_at_the_answer() -> None:
    model = small(DirectModel(**SMALL))
    assert isinstance(model, Direct) and not model.samples and model.calls == 1
    h = model.front(Given(INPUTS))
    for block in model.stack.blocks:
        h = block(h)
    assert torch.equal(logits(model, INPUTS), model.back.head(h)[:, 3:])


def test_one_loop_is_direct() -> None:
    assert torch.equal(
        logits(small(LoopedModel(**SMALL, loops=1)), INPUTS),
        logits(small(DirectModel(**SMALL)), INPUTS),
    )


def test_input_is_added_again_before_every_loop() -> None:
    model = small(LoopedModel(**SMALL, loops=3))
    assert isinstance(model, Looped)
    e_x = model.front(Given(INPUTS))
    h = model.stack(model.stack(model.stack(e_x) + e_x) + e_x)
    assert torch.allclose(logits(model, INPUTS), model.back.head(h)[:, 3:], atol=1e-6)
    assert not torch.allclose(
        logits(model, INPUTS), logits(small(LoopedModel(**SMALL, loops=2)), INPUTS), atol=1e-2
    )


def gradient(model: Network, supervise_fresh: Callable[..., Supervised]) -> Tensor:
    """Of the loss with respect to all weights of the stack."""
    done = supervise_fresh(model, INPUTS, TARGETS)
    assert done.weights == {"cross_entropy": 1.0}
    done.terms["cross_entropy"].mean().backward()
    return torch.cat([p.grad.flatten() for p in model.stack.parameters()])


@pytest.mark.parametrize("gradient_loops", [1, 2, 3, 9, None])
def test_gradient_flows_through_the_last_loops(
    gradient_loops: int | None, supervise_fresh: Callable[..., Supervised]
) -> None:
    model, reference = (
        small(LoopedModel(**SMALL, loops=3, gradient_loops=gradient_loops)),
        small(DirectModel(**SMALL)),
    )
    e_x = reference.front(Given(INPUTS))
    h = torch.zeros_like(e_x)
    for loop in range(3):
        h = reference.stack(h + e_x)
        if gradient_loops is not None and 3 - (loop + 1) == gradient_loops:
            h = h.detach()
    p = reference.back.head(h)[:, 3:].softmax(dim=-1).gather(-1, TARGETS[..., None])
    p.log().mean().neg().backward()
    expected = torch.cat([p.grad.flatten() for p in reference.stack.parameters()])
    assert torch.allclose(gradient(model, supervise_fresh), expected, atol=1e-6)


def test_stablemax_is_theirs_to_choose(supervise_fresh: Callable[..., Supervised]) -> None:
    model = small(DirectModel(**SMALL))
    softmax = supervise_fresh(model, INPUTS, TARGETS).terms["cross_entropy"]
    stablemax = supervise_fresh(
        model, INPUTS, TARGETS, config=TrainConfig(cross_entropy="stablemax")
    ).terms["cross_entropy"]
    assert not torch.allclose(softmax, stablemax, atol=1e-3)


@pytest.mark.parametrize(
    ("config", "paper", "tolerance"),
    [(DirectModel(), 27e6, 0.05), (DirectModel(layers=32), 100e6, 0.1), (LoopedModel(), 7e6, 0.05)],
)
def test_parameters_at_paper_size(
    config: DirectModel | LoopedModel, paper: float, tolerance: float
) -> None:
    with torch.device("meta"):
        count = parameter_count(build_model(config, Shape(64, 3), seed=0))
    assert count == config.layers * (4 * 512**2 + 3 * 512 * 1536) + 2 * 3 * 512
    assert count == pytest.approx(paper, rel=tolerance)  # 32 layers: see DirectModel
