"""Losses against torch's own, explicit formulas and the two-term form of the balanced KL."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as torch_kl

from gram.models.gram import Charge
from gram.models.guidance import Gaussian, kl_divergence
from gram.settings import TrainConfig
from gram.train import losses

B, L, D, V = 3, 4, 5, 6


def randn(*shape: int, seed: int) -> Tensor:
    """Standard normal float64."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def gaussian(seed: int) -> Gaussian:
    """A distribution over [B, L, D] whose parts want gradients."""
    mu, sigma = randn(B, L, D, seed=seed), randn(B, L, D, seed=seed + 100).exp()
    return Gaussian(mu.requires_grad_(), sigma.requires_grad_())


def two_terms(charges: list[Charge], config: TrainConfig) -> Tensor:
    """0.8 KL(sg(q) || p) + 0.2 KL(q || sg(p)) as it is written, per row."""
    total = torch.zeros(B, dtype=torch.float64)
    for q, p, _ in charges:
        toward_prior = torch_kl(Normal(q.mu.detach(), q.sigma.detach()), Normal(p.mu, p.sigma))
        toward_posterior = torch_kl(Normal(q.mu, q.sigma), Normal(p.mu.detach(), p.sigma.detach()))
        kl = config.kl_balance * toward_prior + (1 - config.kl_balance) * toward_posterior
        kl = kl.sum(-1) if config.kl_channels == "sum" else kl.mean(-1)
        total = total + (kl.sum(-1) if config.kl_tokens == "sum" else kl.mean(-1))
    return total


def gradients(loss: Tensor, charges: list[Charge]) -> list[Tensor]:
    """Gradient of the summed loss for mu and sigma of every q and p."""
    return list(
        torch.autograd.grad(loss.sum(), [part for q, p, _ in charges for g in (q, p) for part in g])
    )


def test_kl_equals_torch() -> None:
    q, p = gaussian(1), gaussian(2)
    expected = torch_kl(Normal(*q), Normal(*p))
    assert torch.allclose(kl_divergence(q, p), expected, rtol=1e-12)
    assert not torch.allclose(kl_divergence(p, q), expected, rtol=0.1)
    assert not kl_divergence(q, q).abs().max() > 0


@pytest.mark.parametrize(("channels", "tokens"), list(itertools.product(("sum", "mean"), repeat=2)))
@pytest.mark.parametrize("transitions", [1, 3])
def test_balanced_kl_equals_its_two_terms(channels: str, tokens: str, transitions: int) -> None:
    config = dataclasses.replace(TrainConfig(), kl_channels=channels, kl_tokens=tokens)
    charges = [Charge(gaussian(10 * t), gaussian(10 * t + 5), L) for t in range(transitions)]
    loss, nats = losses.balanced_kl(charges, config)
    expected = two_terms(charges, config)
    assert loss.shape == nats.shape == (B,) and not nats.requires_grad
    assert torch.allclose(loss, expected, rtol=1e-12)
    # The value is the plain KL, whatever the balance and the reduction.
    plain = torch.stack(
        [torch_kl(Normal(*q), Normal(*p)).sum(dim=(1, 2)) for q, p, _ in charges]
    ).sum(dim=0)
    assert torch.allclose(nats, plain, rtol=1e-12)
    for mine, theirs in zip(gradients(loss, charges), gradients(expected, charges), strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-6)


def test_a_shared_vector_is_charged_to_all_tokens_of_its_board() -> None:
    """mean keeps its meaning, nats of the board over its tokens, so that beta = 1 stays the plain
    ELBO.
    """
    shared = [Gaussian(g.mu[:, :1], g.sigma[:, :1]) for g in (gaussian(1), gaussian(2))]
    loss, nats = losses.balanced_kl(
        [Charge(*shared, tokens=L)], dataclasses.replace(TrainConfig(), kl_tokens="mean")
    )
    assert torch.allclose(loss, nats / L) and torch.allclose(
        nats, torch_kl(*(Normal(*g) for g in shared)).sum(dim=(1, 2))
    )


@pytest.mark.parametrize("balance", [0.8, 0.3, 0.0, 1.0])
def test_balance_is_the_share_of_the_gradient(balance: float) -> None:
    config = dataclasses.replace(TrainConfig(), kl_balance=balance)
    charges = [Charge(gaussian(1), gaussian(2), L)]
    whole = gradients(torch_kl(Normal(*charges[0].q), Normal(*charges[0].p)), charges)
    shares = (1 - balance, 1 - balance, balance, balance)  # mu and sigma of q, then of p
    for mine, full, share in zip(
        gradients(losses.balanced_kl(charges, config)[0], charges), whole, shares, strict=True
    ):
        assert torch.allclose(mine, share * full, rtol=1e-6)


def test_free_nats_spare_the_posterior_of_cheap_rows_only() -> None:
    charges = [Charge(gaussian(1), gaussian(2), L)]
    _, nats = losses.balanced_kl(charges, TrainConfig())
    free = float(nats.sort().values[1])  # the cheapest two of three rows
    cheap = nats <= free
    assert cheap.sum() == 2
    loss, same = losses.balanced_kl(charges, TrainConfig(free_nats=free))
    assert torch.equal(same, nats) and torch.allclose(
        loss, nats, rtol=1e-12
    )  # values stay, gradients change
    before, after = (
        gradients(losses.balanced_kl(charges, TrainConfig())[0], charges),
        gradients(loss, charges),
    )
    for i, (old, new) in enumerate(zip(before, after, strict=True)):
        if i < 2:  # the posterior
            assert (
                not new[cheap].any() and torch.equal(new[~cheap], old[~cheap]) and old[cheap].any()
            )
        else:
            assert torch.equal(new, old)


def test_cross_entropy_equals_torch() -> None:
    logits, targets = randn(B, L, V, seed=1), torch.arange(B * L).reshape(B, L) % V
    expected = (
        F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        .view(B, L)
        .mean(dim=1)
    )
    result = losses.cross_entropy(logits.float(), targets, "softmax")
    assert result.shape == (B,) and result.dtype == torch.float32
    assert torch.allclose(result.double(), expected, atol=1e-6)
    assert losses.cross_entropy(logits.bfloat16(), targets, "softmax").dtype == torch.float32


def test_stablemax_equals_its_definition() -> None:
    logits, targets = 4 * randn(B, L, V, seed=2), torch.arange(B * L).reshape(B, L) % V
    expected = torch.zeros(B, dtype=torch.float64)
    for b, i in itertools.product(range(B), range(L)):
        s = [x + 1 if x >= 0 else 1 / (1 - x) for x in logits[b, i].tolist()]
        expected[b] -= torch.tensor(s[int(targets[b, i])] / sum(s), dtype=torch.float64).log() / L
    assert torch.allclose(
        losses.cross_entropy(logits, targets, "stablemax").double(), expected, atol=1e-6
    )
    # Far from zero as well, where a formula in fp32 would overflow or lose the gradient of one
    # branch of the `where`.
    far = torch.tensor([[[1.0, -1e4, 1e4]]], requires_grad=True)
    loss = losses.cross_entropy(far, torch.tensor([[1]]), "stablemax")
    assert float(loss.detach()) == pytest.approx(18.42, abs=0.01)
    loss.sum().backward()
    assert far.grad is not None and torch.isfinite(far.grad).all()


def test_halting_reads_the_first_logit_only() -> None:
    halt = torch.tensor([[2.0, 7.0], [-1.0, 7.0], [0.5, -7.0]])
    correct = torch.tensor([True, False, False])
    p = torch.sigmoid(halt[:, 0])
    expected = torch.where(correct, -p.log(), -(1 - p).log())
    assert torch.allclose(losses.halt_loss(halt, correct), expected)


def test_value_loss_is_the_squared_error() -> None:
    value = torch.tensor([[0.25, 1.0], [0.0, 0.5]])
    assert losses.value_loss(value, torch.tensor([[1.0], [0.5]])).tolist() == [
        [0.5625, 0.0],
        [0.25, 0.0],
    ]


def test_the_halting_regression_is_that_of_its_formula() -> None:
    """Eq. 15 with numbers: right answers, the greater value of the next step, and the last step."""
    halt = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    following = torch.tensor([[0.5, 1.5], [-0.5, 3.0]])
    last = torch.tensor([False, True])
    found = losses.halt_regression(halt, torch.tensor([True, False]), following, last)

    def s(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    expected = [
        (s(0) - 1) ** 2 + (s(1) - s(1.5)) ** 2,
        s(2) ** 2 + (s(-1) - s(-0.5)) ** 2,
    ]
    torch.testing.assert_close(found, torch.tensor(expected))
