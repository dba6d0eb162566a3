"""AR: an exact likelihood that is one distribution, a sampler that draws from it, and a cache that
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gram.models.autoregressive import Autoregressive
from gram.models.factory import build_model, parameter_count
from gram.models.network import Given, Network, Shape
from gram.models.rollout import rollout
from gram.settings import EvaluateConfig, TrainConfig
from gram.settings.architectures.baselines import ArModel
from gram.system.errors import GramError
from gram.system.provenance import seeded_generator
from gram.train.objectives import Supervised

CPU = torch.device("cpu")
SMALL = {"D": 16, "heads": 2, "ffn_hidden": 16, "layers": 2}
DRAWS = 4000


def small(shape: Shape, **settings: Any) -> Autoregressive:
    """An untrained small network."""
    model = build_model(ArModel(**SMALL, **settings), shape, seed=1)
    assert isinstance(model, Autoregressive)
    return model


@pytest.fixture(scope="module")
def trained(toy: Any, fit_toy: Callable[[Network, int], Autoregressive]) -> Autoregressive:
    return fit_toy(small(toy.shape), 150)


def enumerated(model: Autoregressive, toy: Any) -> Tensor:
    """p of every output for every input of the toy: [2, outputs]."""
    rows = [
        model.log_likelihood(Given(row.expand(len(toy.outputs), -1)), toy.outputs).exp()
        for row in toy.inputs
    ]
    return torch.stack(rows).detach()


def drawn(model: Autoregressive, toy: Any, seed: int = 0) -> Tensor:
    """How often each output is sampled: [2, outputs]."""
    inputs = toy.inputs.repeat_interleave(DRAWS, dim=0)
    tokens = rollout(model, Given(inputs), depth=1, generator=seeded_generator(CPU, seed)).tokens
    numbers = (tokens * torch.tensor([toy.shape.vocabulary, 1])).sum(dim=1).view(2, DRAWS)
    return torch.stack([row.bincount(minlength=len(toy.outputs)) for row in numbers])


def test_the_likelihood_of_all_outputs_sums_to_one(toy: Any, trained: Autoregressive) -> None:
    for model in (small(toy.shape), trained):
        assert torch.allclose(enumerated(model, toy).sum(dim=1), torch.ones(2), atol=1e-5)


def test_a_network_that_sees_the_answer_has_no_such_sum(
    toy: Any, fit_toy: Callable[[Network, int], Autoregressive]
) -> None:
    leaking = small(toy.shape)
    for block in leaking.stack.blocks:
        block.mixer.causal = False
    assert (enumerated(fit_toy(leaking, 150), toy).sum(dim=1) > 1.5).all()


def test_training_finds_the_distribution_of_the_targets(toy: Any, trained: Autoregressive) -> None:
    assert (
        float((enumerated(trained, toy) - toy.p).abs().sum(dim=1).max()) < 0.2
    )  # twice the total variation


def test_samples_agree_with_the_enumerated_likelihood(
    toy: Any, trained: Autoregressive, chi_square: Callable[..., float]
) -> None:
    for observed, p in zip(drawn(trained, toy), enumerated(trained, toy), strict=True):
        assert chi_square(observed, DRAWS * p / p.sum()) > 0.01


def test_a_sampler_at_another_temperature_is_caught(
    toy: Any, trained: Autoregressive, chi_square: Callable[..., float]
) -> None:
    wrong = small(toy.shape)
    wrong.answer_as(EvaluateConfig(temperature=0.5))
    wrong.load_state_dict(trained.state_dict())
    for observed, p in zip(drawn(wrong, toy), enumerated(trained, toy), strict=True):
        assert chi_square(observed, DRAWS * p / p.sum()) < 1e-6


def test_temperature_zero_takes_the_most_probable_token(toy: Any, trained: Autoregressive) -> None:
    greedy = small(toy.shape)
    greedy.answer_as(EvaluateConfig(temperature=0.0))
    greedy.load_state_dict(trained.state_dict())
    counts = drawn(greedy, toy)
    assert trained.samples and not greedy.samples
    assert torch.equal(counts.max(dim=1).values, torch.full((2,), DRAWS))
    assert torch.equal(
        counts.argmax(dim=1), toy.p.argmax(dim=1)
    )  # here the first token's mode leads to the mode


def test_cached_logits_equal_those_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(Shape(9, 3))
    inputs = torch.randint(3, (5, 9), generator=seeded_generator(CPU, 0))
    seen: list[Tensor] = []
    answer = model.answer
    monkeypatch.setattr(
        model,
        "answer",
        lambda logits, generator: (seen.append(logits), answer(logits, generator))[1],
    )
    state = model.initial_state(len(inputs))
    with torch.no_grad():
        tokens = model.roll(
            state, Given(inputs), noise=None, generator=seeded_generator(CPU, 1)
        ).tokens
        whole = model(state, Given(inputs), targets=tokens).logits
    assert len(seen) == model.calls == 9
    assert torch.allclose(torch.cat(seen, dim=1), whole, atol=1e-5)


def test_no_logit_depends_on_its_own_or_a_later_target() -> None:
    model = small(Shape(6, 3, slice(2, 6)))
    inputs, targets = torch.ones(1, 6, dtype=torch.int64), torch.tensor([[0, 1, 2, 1]])
    state = model.initial_state(len(inputs))
    logits = model(state, Given(inputs), targets=targets).logits
    assert logits.shape == (1, 4, 3)
    for i in range(4):
        other = targets.clone()
        other[0, i] = (other[0, i] + 1) % 3
        changed = (model(state, Given(inputs), targets=other).logits - logits).abs().amax(
            dim=(0, 2)
        ) > 1e-6
        assert changed.tolist() == [j > i for j in range(4)]


def test_loss_is_the_exact_likelihood_per_token(
    toy: Any, supervise_fresh: Callable[..., Supervised]
) -> None:
    model = small(toy.shape)
    inputs, targets = toy.inputs, torch.tensor([[1, 2], [3, 0]])
    done = supervise_fresh(model, inputs, targets)
    assert done.weights == {"cross_entropy": 1.0}
    assert torch.allclose(
        done.terms["cross_entropy"], -model.log_likelihood(Given(inputs), targets) / 2
    )


def test_stablemax_is_refused(toy: Any, supervise_fresh: Callable[..., Supervised]) -> None:
    model = small(toy.shape)
    with pytest.raises(
        GramError, match="stablemax: Autoregressive draws its tokens from a softmax"
    ):
        supervise_fresh(
            model, toy.inputs, toy.outputs[:2], config=TrainConfig(cross_entropy="stablemax")
        )


def test_parameters_at_paper_size() -> None:
    with torch.device("meta"):
        count = parameter_count(build_model(ArModel(), Shape(64, 3), seed=0))
    assert count == 6 * 12 * 384**2 + 3 * 3 * 384
    assert count == pytest.approx(10.6e6, rel=0.01)
