"""D3PM: its chain against explicit matrices, its sampler and its bound against the exact law of a
task small enough to enumerate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gram.models.d3pm import DiscreteDiffusion, shares_left
from gram.models.factory import build_model, parameter_count
from gram.models.network import Given, Network, Shape
from gram.models.rollout import rollout
from gram.settings import EvaluateConfig, TrainConfig
from gram.settings.architectures.d3pm import D3pmModel
from gram.system.errors import GramError
from gram.system.provenance import seeded_generator
from gram.train.objectives import Supervised

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"D": 32, "heads": 2, "ffn_hidden": 48, "layers": 2, "condition": 16}
BOTH = pytest.mark.parametrize("corruption", ["uniform", "absorbing"])
STEPS = 12


def small(shape: Shape, corruption: str, **settings: Any) -> DiscreteDiffusion:
    """An untrained small network."""
    settings = {"diffusion_steps": STEPS, "alphas": "linear"} | settings
    model = build_model(D3pmModel(**SMALL, corruption=corruption, **settings), shape, seed=1)
    assert isinstance(model, DiscreteDiffusion)
    return model


def seeded(seed: int = 0) -> torch.Generator:
    return seeded_generator(CPU, seed, "test_d3pm")


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_what_is_left_falls_from_all_to_nothing(kind: str) -> None:
    left = shares_left(1000, kind)
    assert float(left[0]) == 1 and abs(float(left[-1])) < 1e-6
    assert (left.diff() < 0).all()
    assert float(left[500]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("D", "heads", "ffn_hidden", "layers", "millions"),
    [(512, 8, 1536, 3, 15.9), (768, 12, 2048, 5, 55.1)],
)
def test_parameters_of_the_paper(
    D: int, heads: int, ffn_hidden: int, layers: int, millions: float
) -> None:
    config = D3pmModel(D=D, heads=heads, ffn_hidden=ffn_hidden, layers=layers, condition=D)
    with torch.device("meta"):
        count = parameter_count(build_model(config, Shape(81, 11), seed=0))
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


# The chain ----------------------------------------------------------------------------------------


def steps_of(model: DiscreteDiffusion) -> list[Tensor]:
    """The matrix of every step of the chain, from step t - 1 to t: float64 [states, states]."""
    left = model.left.double()
    kept = [left[t] / left[t - 1] for t in range(1, len(left))]
    eye = torch.eye(model.states, dtype=torch.float64)
    return [share * eye + (1 - share) * model.pi.double() for share in kept]


@BOTH
def test_a_step_back_is_that_of_the_matrices(corruption: str) -> None:
    model = small(Shape(1, 3), corruption)
    matrices = steps_of(model)
    chain = [torch.eye(model.states, dtype=torch.float64)]
    for matrix in matrices:
        chain.append(chain[-1] @ matrix)
    belief = torch.rand(model.states, generator=seeded(), dtype=torch.float64)
    belief[3:] = 0  # an answer is no mask
    for s, t in itertools.combinations(range(STEPS + 1), 2):
        between = torch.eye(model.states, dtype=torch.float64)
        for matrix in matrices[s:t]:
            between = between @ matrix
        for x_t in range(model.states):
            p = belief.clone()
            if corruption == "absorbing" and x_t < 3:  # it was never masked
                p = F.one_hot(torch.tensor(x_t), model.states).double()
            p = torch.where(chain[t][:, x_t] > 0, p, 0)
            if not p.sum():
                continue
            p = p / p.sum()
            expected = torch.zeros(model.states, dtype=torch.float64)
            for x_0 in torch.nonzero(p).flatten().tolist():
                q = between[:, x_t] * chain[s][x_0] / chain[t][x_0, x_t]
                expected += p[x_0] * q
            found = model.back(
                torch.tensor([[x_t]]), p.float()[None, None], torch.tensor([t]), torch.tensor([s])
            )
            assert torch.allclose(found[0, 0].double(), expected, atol=1e-5)


@BOTH
def test_corrupted_tokens_have_the_law_of_the_chain(corruption: str) -> None:
    model = small(Shape(4000, 3), corruption)
    targets = torch.arange(4000).expand(60, -1) % 3
    noisy, t = model.corrupt(targets, model.training_noise(60, seeded()))
    assert set(t.tolist()) == set(range(1, STEPS + 1))
    for row, step in zip(noisy, t, strict=True):
        left = float(model.left[step])
        for x_0 in range(3):
            found = row[targets[0] == x_0].bincount(minlength=model.states) / (4000 / 3)
            expected = (1 - left) * model.pi + left * F.one_hot(torch.tensor(x_0), model.states)
            assert torch.allclose(found, expected, atol=0.08)


# Against exact laws -------------------------------------------------------------------------------


@torch.no_grad()
def law_of(model: DiscreteDiffusion, given: Tensor, times: list[int]) -> Tensor:
    """The law of the answer to one input [L], of two tokens, followed over all states of both, from
    x_T through the steps at ``times``, descending to 0: float64 [states, states].
    """
    states = torch.cartesian_prod(torch.arange(model.states), torch.arange(model.states))
    law = (model.pi[states[:, 0]] * model.pi[states[:, 1]]).double()
    inputs = Given(given.expand(len(states), -1))
    for t, s in itertools.pairwise(times):
        now, then = (torch.full((len(states),), step) for step in (t, s))
        p = model.predict(inputs, states, now).softmax(dim=-1)
        back = model.back(states, p, now, then).double()
        following = (back[:, 0, :, None] * back[:, 1, None, :]).flatten(1)
        law = law @ following.nan_to_num()  # states that nothing leads to have no way back
    return law.view(model.states, model.states)


@torch.no_grad()
def bound_of(model: DiscreteDiffusion, given: Tensor, answer: Tensor) -> float:
    """The bound on -log p of one answer [2], its expectation over x_t taken exactly; nats."""
    total = 0.0
    for t in range(1, model.T + 1):
        left = float(model.left[t])
        laws = [left * F.one_hot(x, model.states) + (1 - left) * model.pi for x in answer]
        for a, b in itertools.product(range(model.states), repeat=2):
            probability = float(laws[0][a] * laws[1][b])
            if not probability:
                continue
            noisy, step = torch.tensor([[a, b]]), torch.tensor([t])
            logits = model.predict(Given(given[None]), noisy, step)
            term = model.bound(logits, answer[None], noisy, step)
            total += probability * 2 * float(term) / model.T
    return total


@pytest.fixture(scope="module", params=["uniform", "absorbing"])
def trained(
    request: pytest.FixtureRequest, toy: Any, fit_toy: Callable[[Network, int], Network]
) -> DiscreteDiffusion:
    model = fit_toy(small(toy.shape, request.param), 250)
    assert isinstance(model, DiscreteDiffusion)
    return model


def test_training_finds_the_distribution_of_the_targets(
    trained: DiscreteDiffusion, toy: Any
) -> None:
    """As well as so few steps can draw two tokens that depend on each other."""
    times = list(range(STEPS, -1, -1))
    for x, target in zip(toy.inputs, toy.p, strict=True):
        law = law_of(trained, x, times)
        assert float(law.sum()) == pytest.approx(1, abs=1e-4)
        assert float((law[:4, :4].flatten() - target).abs().sum()) < 0.4


def test_the_bound_lies_above_the_negative_log_likelihood(
    trained: DiscreteDiffusion, toy: Any
) -> None:
    law = law_of(trained, toy.inputs[1], list(range(STEPS, -1, -1)))
    for answer in toy.outputs[toy.p[1] > 0]:
        exact = -math.log(float(law[tuple(answer)]))
        # What separates x_T from pi is not charged; with alpha-bar_T = 0 it is nothing.
        assert bound_of(trained, toy.inputs[1], answer) > exact - 1e-3


@pytest.mark.parametrize("calls", [1, 3, STEPS])
def test_rollouts_have_the_law_of_their_steps(
    calls: int, trained: DiscreteDiffusion, toy: Any, chi_square: Callable[..., float]
) -> None:
    trained.answer_as(EvaluateConfig(sampling_steps=calls))
    times = [round(STEPS * n / calls) for n in range(calls, -1, -1)]
    law = law_of(trained, toy.inputs[0], times)[:4, :4].flatten()
    drawn = rollout(
        trained, Given(toy.inputs[:1].expand(4000, -1)), depth=1, generator=seeded(calls)
    ).tokens
    observed = (4 * drawn[:, 0] + drawn[:, 1]).bincount(minlength=16)
    assert chi_square(observed, 4000 * law / law.sum()) > 0.001
    trained.answer_as(EvaluateConfig(sampling_steps=1000))
    assert trained.calls == STEPS  # no more than the chain has


def test_other_losses_than_of_a_softmax_are_refused(
    toy: Any, supervise_fresh: Callable[..., Supervised]
) -> None:
    model = small(toy.shape, "uniform")
    noise = model.training_noise(2, seeded())
    with pytest.raises(GramError, match="DiscreteDiffusion draws its tokens from a softmax"):
        supervise_fresh(
            model, toy.inputs, toy.outputs[:2], noise, TrainConfig(cross_entropy="stablemax")
        )
