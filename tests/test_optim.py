"""Schedules at known steps, the optimizer's first step and the moving average against their
formulas.
"""

from __future__ import annotations

import pytest
import torch

from gram.models.factory import build_model
from gram.models.gram import GRAM
from gram.models.network import Shape
from gram.settings import GramModel, TrainConfig
from gram.train import optim


def model() -> GRAM:
    """A tiny GRAM."""
    config = GramModel(
        D=8,
        heads=2,
        ffn_hidden=4,
        layers=1,
        K=1,
        T=1,
        puzzle_tokens=0,
        guidance_hidden=4,
        decoder_hidden=4,
    )
    return build_model(config, Shape(4, 3), seed=0)


def test_warm_up_then_constant() -> None:
    config = TrainConfig(learning_rate=0.8, warmup_steps=4, steps=10, schedule="constant")
    rates = [optim.learning_rate(step, config) for step in range(8)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8, 0.8])


def test_warm_up_then_cosine_to_the_floor() -> None:
    config = TrainConfig(
        learning_rate=1.0, warmup_steps=2, steps=10, schedule="cosine", final_learning_rate=0.2
    )
    expected = {
        0: 0.5,
        1: 1.0,
        2: 1.0,
        4: 0.2 + 0.8 * (0.5 + 0.5**1.5),
        6: 0.6,
        8: 0.2 + 0.8 * (0.5 - 0.5**1.5),
        10: 0.2,
        99: 0.2,
    }
    assert {step: optim.learning_rate(step, config) for step in expected} == pytest.approx(expected)


def test_no_warm_up() -> None:
    assert optim.learning_rate(0, TrainConfig(learning_rate=0.3, warmup_steps=0)) == 0.3


def test_beta_falls_linearly_or_not_at_all() -> None:
    falling = TrainConfig(beta=0.5, beta_initial=2.5, beta_decay_steps=4)
    assert [optim.beta(step, falling) for step in range(6)] == pytest.approx(
        [2.5, 2.0, 1.5, 1.0, 0.5, 0.5]
    )
    assert [optim.beta(step, TrainConfig(beta=0.5, beta_decay_steps=4)) for step in (0, 3, 9)] == [
        0.5
    ] * 3
    assert optim.beta(0, TrainConfig(beta=0.5, beta_initial=2.5)) == 0.5


def test_factors_of_beta_move_as_beta_does_or_stay() -> None:
    rising = TrainConfig(
        beta_factors=(3.0, 1.0), beta_factors_initial=(1.0, 2.0), beta_decay_steps=4
    )
    assert optim.beta_factors(0, rising) == [1.0, 2.0]
    assert optim.beta_factors(1, rising) == pytest.approx([1.5, 1.75])
    assert optim.beta_factors(4, rising) == optim.beta_factors(9, rising) == [3.0, 1.0]
    assert optim.beta_factors(0, TrainConfig(beta_factors=(3.0, 1.0))) == [3.0, 1.0]
    assert optim.beta_factors(7, TrainConfig()) == [1.0]


def test_first_step_decays_every_weight_and_moves_by_the_rate() -> None:
    net = model()
    rate, decay = 0.01, 0.5
    optimizer = optim.build_optimizer(net, TrainConfig(learning_rate=rate, weight_decay=decay))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for index, parameter in enumerate(net.parameters()):
        parameter.grad = torch.full_like(parameter, 0.5 if index % 2 else -2.0)
    optimizer.step()
    for index, (name, parameter) in enumerate(net.named_parameters()):
        # Adam's first step is the sign of the gradient; decoupled decay shrinks the weight, biases
        # included.
        expected = before[name] * (1 - rate * decay) - rate * (1 if index % 2 else -1)
        assert torch.allclose(parameter, expected, atol=1e-6), name


def test_matrices_decay_and_biases_do_not() -> None:
    net = model()
    optimizer = optim.build_optimizer(
        net, TrainConfig(learning_rate=0.01, weight_decay=0.5, decay="matrices")
    )
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optim.allocate_gradients(net)
    optimizer.step()  # without gradients, only the decay moves a weight
    shrunk = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    for name, parameter in net.named_parameters():
        assert torch.allclose(
            parameter, before[name] * (1 - 0.01 * 0.5 if name in shrunk else 1)
        ), name
    nonzero = {name for name in before if before[name].any()}
    assert shrunk == {name for name in nonzero if name.endswith("weight")}
    assert {name for name in nonzero if name.endswith("bias")} == {
        "guidance.prior.sigma.down.bias",
        "guidance.posterior_head.sigma.down.bias",
    }
    optim.set_rates(optimizer, 0, TrainConfig(learning_rate=0.3, warmup_steps=3))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.1])


def test_betas_are_those_of_the_settings() -> None:
    (group,) = optim.build_optimizer(model(), TrainConfig(beta1=0.7, beta2=0.6)).param_groups
    assert group["betas"] == (0.7, 0.6)


def test_moving_average_equals_its_formula() -> None:
    net = model()
    ema = optim.EMA(net, 0.9)
    expected = {name: p.detach().double() for name, p in net.named_parameters()}
    z0 = net.z0_h.clone()
    generator = torch.Generator()
    generator.manual_seed(0)
    for _ in range(5):
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
                expected[name] = 0.9 * expected[name] + 0.1 * parameter.double()
        ema.update(0)  # whichever step it is
    average = dict(ema.model.named_parameters())
    for name, parameter in net.named_parameters():
        assert torch.allclose(average[name].double(), expected[name], atol=1e-5), name
        assert not torch.allclose(average[name], parameter, atol=1e-2)
        assert not average[name].requires_grad and parameter.requires_grad
    assert torch.equal(ema.model.z0_h, z0)


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.9999])
def test_a_corrected_average_has_nothing_of_the_initial_weights(decay: float) -> None:
    """In float64 by its definition: the plain sum without the first weights, over its shares."""
    net = model()
    ema = optim.EMA(net, decay, corrected=True)
    name, live = next(iter(net.named_parameters()))
    total = torch.zeros_like(live, dtype=torch.float64)
    for step in range(5):
        with torch.no_grad():
            live.add_(step + 1.0)
        total = decay * total + (1 - decay) * live.detach().double()
        ema.update(step)
        expected = total / (1 - decay ** (step + 1))
        torch.testing.assert_close(dict(ema.model.named_parameters())[name].double(), expected)
    raw = dict(ema.raw().named_parameters())
    assert all(torch.equal(raw[name], live) for name, live in net.named_parameters())
