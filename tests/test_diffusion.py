"""MDLM: its bound and its sampler against enumerations over every mask, every order and every path
of the sampler.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gram.models.diffusion import MaskedDiffusion
from gram.models.factory import build_model, parameter_count
from gram.models.network import Given, Network, Shape
from gram.models.rollout import rollout
from gram.settings import EvaluateConfig, TrainConfig
from gram.settings.architectures.baselines import MdlmModel
from gram.system.errors import GramError
from gram.system.provenance import seeded_generator
from gram.train.objectives import Supervised

CPU = torch.device("cpu")
SMALL = {"D": 16, "heads": 2, "ffn_hidden": 16, "layers": 2, "condition": 8}
DRAWS = 4000
BOTH = pytest.mark.parametrize("conditioned", [False, True])


def small(shape: Shape, **settings: Any) -> MaskedDiffusion:
    """A small network, whose modulation, which starts at zero, is random."""
    model = build_model(MdlmModel(**SMALL, **settings), shape, seed=1)
    assert isinstance(model, MaskedDiffusion)
    generator = seeded_generator(CPU, 0, "modulation")
    for name, parameter in model.named_parameters():
        if "modulation" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def trained(
    toy: Any, fit_toy: Callable[[Network, int], MaskedDiffusion]
) -> dict[bool, MaskedDiffusion]:
    return {
        conditioned: fit_toy(small(toy.shape, conditioned=conditioned), 250)
        for conditioned in (False, True)
    }


def with_steps(model: MaskedDiffusion, toy: Any, steps: int) -> MaskedDiffusion:
    """The same weights, sampled in another number of steps."""
    other = small(toy.shape, conditioned=model.conditioned)
    other.answer_as(EvaluateConfig(sampling_steps=steps))
    other.load_state_dict(model.state_dict())
    return other


# Enumerations, for one input [L] ------------------------------------------------------------------


def probabilities(model: MaskedDiffusion, x: Tensor, noisy: Tensor, t: float) -> Tensor:
    """Of the clean output, given any number of noisy ones [n, L_out]: float64 [n, L_out,
    vocabulary].
    """
    with torch.no_grad():
        return (
            model.denoise(Given(x.expand(len(noisy), -1)), noisy, torch.full((len(noisy),), t))
            .double()
            .softmax(dim=-1)
        )


def bound(model: MaskedDiffusion, x: Tensor, outputs: Tensor) -> Tensor:
    """The integral over t of (1 / t) sum over masks of P(mask | t) -log p(masked tokens | the
    others, t): float64 [n].
    """
    n, L = outputs.shape
    nodes, weights = np.polynomial.legendre.leggauss(40)
    total = torch.zeros(n, dtype=torch.float64)
    for t, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        for masked in itertools.product([False, True], repeat=L):
            mask = torch.tensor(masked)
            m = int(mask.sum())
            p = probabilities(model, x, torch.where(mask, model.mask, outputs), float(t)).gather(
                -1, outputs[..., None]
            )[..., 0]
            total += weight / t * t**m * (1 - t) ** (L - m) * -(p.log() * mask).sum(dim=1)
    return total


def any_order(model: MaskedDiffusion, x: Tensor, outputs: Tensor) -> Tensor:
    """The mean over all orders of revealing one token at a time: the law of infinitely many steps,
    float64 [n].
    """
    n, L = outputs.shape
    total = torch.zeros(n, dtype=torch.float64)
    orders = list(itertools.permutations(range(L)))
    for order in orders:
        noisy, p = torch.full_like(outputs, model.mask), torch.ones(n, dtype=torch.float64)
        for i in order:
            p = p * probabilities(model, x, noisy, 0.5)[torch.arange(n), i, outputs[:, i]]
            noisy = noisy.clone()
            noisy[:, i] = outputs[:, i]
        total += p
    return total / len(orders)


def sampler_law(model: MaskedDiffusion, x: Tensor, outputs: Tensor, steps: int) -> Tensor:
    """The distribution of ancestral sampling in ``steps`` steps, followed over all partly masked
    outputs: float64 [n].
    """
    L, mask = outputs.shape[1], model.mask
    states = torch.cartesian_prod(*[torch.arange(mask + 1)] * L)
    law = (states == mask).all(dim=1).double()
    for n in range(steps):
        t, s = 1 - n / steps, 1 - (n + 1) / steps
        p = probabilities(model, x, states, t)
        revealed = torch.cat(((1 - s / t) * p, torch.full((len(p), L, 1), s / t)), dim=-1)
        kept = F.one_hot(states, mask + 1).double()
        token = torch.where((states == mask)[..., None], revealed, kept)  # [states, L, next token]
        law = law @ torch.stack([token[:, i, states[:, i]] for i in range(L)]).prod(dim=0)
    assert abs(float(law[(states == mask).any(dim=1)].sum())) < 1e-12
    return law[(states != mask).all(dim=1)]


def drawn(model: MaskedDiffusion, toy: Any) -> Tensor:
    """How often each output is sampled: [2, outputs]."""
    tokens = rollout(
        model,
        Given(toy.inputs.repeat_interleave(DRAWS, dim=0)),
        depth=1,
        generator=seeded_generator(CPU, 3),
    ).tokens
    numbers = (tokens * torch.tensor([toy.shape.vocabulary, 1])).sum(dim=1).view(2, DRAWS)
    return torch.stack([row.bincount(minlength=len(toy.outputs)) for row in numbers])


# The objective ------------------------------------------------------------------------------------


@BOTH
def test_loss_is_on_average_the_bound_per_token(
    conditioned: bool, supervise_fresh: Callable[..., Supervised]
) -> None:
    model = small(Shape(3, 3), conditioned=conditioned)
    inputs, targets = torch.tensor([[1, 2, 0]]), torch.tensor([[2, 0, 1]])
    B = 20000
    rows, noise = inputs.expand(B, -1), model.training_noise(B, seeded_generator(CPU, 0))
    with torch.no_grad():
        done = supervise_fresh(model, rows, targets.expand(B, -1), noise)
    losses = 3 * done.terms["bound"].double()
    exact = float(bound(model, inputs[0], targets))
    assert done.weights == {"bound": 1.0}
    assert float(losses.mean()) == pytest.approx(exact, rel=0.02)
    assert (
        abs(float(3 * done.terms["cross_entropy"].mean()) - exact) > 0.2 * exact
    )  # without the weight it is another number


def test_bound_without_time_is_a_mean_over_masks() -> None:
    model = small(Shape(3, 3), conditioned=False)
    x, y = torch.tensor([1, 2, 0]), torch.tensor([[2, 0, 1], [1, 1, 1]])
    total = torch.zeros(2, dtype=torch.float64)
    for m in (1, 2, 3):  # the integral of t^(m-1) (1-t)^(L-m) is 1 / (m C(L, m))
        for chosen in itertools.combinations(range(3), m):
            noisy = y.clone()
            noisy[:, list(chosen)] = model.mask
            p = probabilities(model, x, noisy, 0.0).gather(-1, y[..., None])[..., 0]
            total -= p[:, list(chosen)].log().sum(dim=1) / (m * math.comb(3, m))
    assert torch.allclose(bound(model, x, y), total)


def test_bound_is_above_the_exact_negative_log_likelihood(
    toy: Any, trained: dict[bool, MaskedDiffusion]
) -> None:
    model = trained[False]
    for x, target in zip(toy.inputs, toy.p, strict=True):
        bounds, exact = bound(model, x, toy.outputs), -any_order(model, x, toy.outputs).log()
        assert (bounds > exact - 1e-9).all()
        assert (
            float((bounds - exact).max()) > 1e-3
        )  # the orders disagree somewhere, so the bound is not the likelihood itself
        assert (
            float((target * (bounds - exact)).sum()) < 0.1
        )  # but it is tight where the targets are


@BOTH
def test_bound_is_above_that_of_no_sampler(
    conditioned: bool, toy: Any, trained: dict[bool, MaskedDiffusion]
) -> None:
    for x in toy.inputs:
        law = sampler_law(trained[conditioned], x, toy.outputs, 100)
        assert (bound(trained[conditioned], x, toy.outputs) > -law.log() - 0.02).all()


def test_training_finds_the_distribution_of_the_targets(
    toy: Any, trained: dict[bool, MaskedDiffusion]
) -> None:
    for model in trained.values():
        for x, target in zip(toy.inputs, toy.p, strict=True):
            law = sampler_law(model, x, toy.outputs, 64)
            assert float((law - target).abs().sum()) < 0.2  # twice the total variation


def test_times_are_stratified_or_independent(toy: Any) -> None:
    for times, parts in (("stratified", 1000), ("independent", 632)):
        t = small(toy.shape, times=times, least_time=0.01).training_noise(
            1000, seeded_generator(CPU, 0)
        )[:, 0]
        assert t.min() >= 0.01 and t.max() <= 1
        filled = len(((t - 0.01) / 0.99 * 1000 - 1e-3).floor().clamp(min=0).unique())
        assert filled == pytest.approx(parts, abs=40)  # independent times fill 1 - 1/e of the parts


def test_stablemax_is_refused(toy: Any, supervise_fresh: Callable[..., Supervised]) -> None:
    model = small(toy.shape)
    noise = model.training_noise(len(toy.inputs), seeded_generator(CPU, 0))
    with pytest.raises(
        GramError, match="stablemax: MaskedDiffusion draws its tokens from a softmax"
    ):
        supervise_fresh(
            model, toy.inputs, toy.outputs[:2], noise, TrainConfig(cross_entropy="stablemax")
        )


# The parametrisation and the sampler --------------------------------------------------------------


def test_tokens_that_are_not_masked_are_kept(toy: Any) -> None:
    model = small(toy.shape)
    noisy = torch.tensor([[model.mask, 3], [2, model.mask]])
    p = model.denoise(Given(toy.inputs), noisy, torch.tensor([0.3, 0.9])).softmax(dim=-1)
    assert p.shape == (2, 2, 4)  # the mask is no output
    assert torch.equal(p[0, 1], torch.tensor([0.0, 0, 0, 1])) and torch.equal(
        p[1, 0], torch.tensor([0.0, 0, 1, 0])
    )
    assert (p[0, 0] > 0).all() and (p[1, 1] > 0).all()


def test_share_of_masked_tokens_is_the_time() -> None:
    model = small(Shape(2000, 3))
    times = torch.tensor([[0.1], [0.5], [1.0]])
    uniform = torch.rand(3, 2000, generator=seeded_generator(CPU, 0))
    noise = torch.cat((times, uniform), dim=1)
    noisy = model.corrupt(torch.ones(3, 2000, dtype=torch.int64), noise)
    assert torch.allclose((noisy == model.mask).float().mean(dim=1), noise[:, 0], atol=0.03)
    assert ((noisy == model.mask) | (noisy == 1)).all()


@pytest.mark.parametrize("steps", [1, 3, 50])
def test_no_mask_is_left(steps: int) -> None:
    model = small(Shape(9, 3))
    assert model.calls == 9  # where nothing else is said
    model.answer_as(EvaluateConfig(sampling_steps=steps))
    inputs = torch.ones(300, 9, dtype=torch.int64)
    tokens = rollout(model, Given(inputs), depth=1, generator=seeded_generator(CPU, 0)).tokens
    assert tokens.shape == (300, 9) and tokens.min() >= 0 and tokens.max() < model.mask
    assert model.calls == steps


@BOTH
@pytest.mark.parametrize("steps", [1, 2, 8])
def test_samples_agree_with_the_law_of_the_sampler(
    steps: int,
    conditioned: bool,
    toy: Any,
    trained: dict[bool, MaskedDiffusion],
    chi_square: Callable[..., float],
) -> None:
    model = with_steps(trained[conditioned], toy, steps)
    for x, observed in zip(toy.inputs, drawn(model, toy), strict=True):
        assert chi_square(observed, DRAWS * sampler_law(model, x, toy.outputs, steps)) > 0.01


def test_too_few_steps_are_caught(
    toy: Any, trained: dict[bool, MaskedDiffusion], chi_square: Callable[..., float]
) -> None:
    once = drawn(with_steps(trained[False], toy, 1), toy)
    for x, observed in zip(
        toy.inputs, once, strict=True
    ):  # both tokens at once, without seeing each other
        assert chi_square(observed, DRAWS * sampler_law(trained[False], x, toy.outputs, 8)) < 1e-6


def test_many_steps_reveal_one_token_at_a_time(
    toy: Any, trained: dict[bool, MaskedDiffusion]
) -> None:
    for x in toy.inputs:
        law, limit = (
            sampler_law(trained[False], x, toy.outputs, 256),
            any_order(trained[False], x, toy.outputs),
        )
        assert float((law - limit).abs().sum()) < 0.01
        assert float(limit.sum()) == pytest.approx(1)


def test_parameters_at_paper_size() -> None:
    with torch.device("meta"):
        count = parameter_count(build_model(MdlmModel(), Shape(64, 3), seed=0))
    blocks = 6 * (12 * 384**2 + (128 + 1) * 6 * 384)
    assert (
        count
        == blocks + (128 + 1) * 2 * 384 + (256 + 1) * 128 + (128 + 1) * 128 + (3 + 4 + 3) * 384
    )
    assert count == pytest.approx(12.6e6, rel=0.01)
