"""Stochastic guidance: the Gaussian noise added to the high-level state, its prior, its posterior
and their KL (section 2.2).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gram.models.layers import Embedding, SwiGLU

Kind = Literal["full", "noise", "mean"]
Source = Literal["prior", "posterior"]


class Gaussian(NamedTuple):
    """A diagonal normal distribution; both tensors fp32 [B, L, D], or [B, 1, D] where all tokens
    share one vector.
    """

    mu: Tensor
    sigma: Tensor

    def sample(self, noise: Tensor | None) -> Tensor:
        """The reparameterised draw that belongs to ``noise`` ~ N(0, I), of the same shape; without
        noise the mean.
        """
        return self.mu if noise is None else self.mu + self.sigma * noise

    def detach(self) -> Gaussian:
        """The same distribution without gradient."""
        return Gaussian(self.mu.detach(), self.sigma.detach())


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) per token and channel, in nats: fp32 [B, L, D], or [B, 1, D] for shared
    vectors.
    """
    ratio = (q.sigma / p.sigma).square()
    shift = ((q.mu - p.mu) / p.sigma).square()
    return 0.5 * (ratio + shift - 1 - ratio.log())


class Constant(nn.Module):
    """The same value in D channels, whatever the input: a part of a head that is not learned."""

    def __init__(self, D: int, value: float) -> None:
        super().__init__()
        self.D, self.value = D, value

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., D]."""
        return x.new_full((*x.shape[:-1], self.D), self.value)


def inverse_softplus(y: float) -> float:
    """x with log(1 + e^x) = y, for y > 0."""
    return math.log(math.expm1(y))


class Head(nn.Module):
    """mu and sigma as two per-token SwiGLU networks, computed in fp32 whatever the forward
    precision.

    Their output weights start at zero: mu starts at 0 and sigma at ``sigma_init`` for every input.

    Args:
        inputs: width of the input.
        hidden: inner width of both networks.
        D: channels of the noise.
        kind: "full"; "noise": mu is 0; "mean": sigma is 1, the unit in which the KL measures the
        distance of two means.
        sigma_init: sigma before training.
        sigma_min: the least sigma.
        shared: the tokens vote on one vector for all: mu is their sum over sqrt(L), sigma comes
            from the mean of their raw values.
        rounded: whether the factors of its products are rounded to bf16.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        D: int,
        *,
        kind: Kind = "full",
        sigma_init: float,
        sigma_min: float,
        shared: bool = False,
        rounded: bool = False,
    ) -> None:
        super().__init__()
        self.sigma_min = sigma_min
        self.shared = shared
        self.mu = (
            Constant(D, 0.0)
            if kind == "noise"
            else SwiGLU(inputs, hidden, D, out_scale=0.0, bias=True, rounded=rounded)
        )
        if kind == "mean":
            self.sigma: nn.Module = Constant(D, inverse_softplus(1 - sigma_min))
        else:
            self.sigma = sigma = SwiGLU(
                inputs, hidden, D, out_scale=0.0, bias=True, rounded=rounded
            )
            nn.init.constant_(sigma.down.bias, inverse_softplus(sigma_init - sigma_min))

    def forward(self, x: Tensor) -> Gaussian:
        """[B, L, inputs] -> Gaussian over [B, L, D], or over [B, 1, D] if shared."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            mu, raw = self.mu(x), self.sigma(x)
            if self.shared:
                mu, raw = (
                    mu.sum(dim=1, keepdim=True) / math.sqrt(x.shape[1]),
                    raw.mean(dim=1, keepdim=True),
                )
            return Gaussian(mu, F.softplus(raw) + self.sigma_min)


class Guidance(nn.Module):
    """The prior p(eps | u) and the posterior q(eps | u, y).

    Of the kind "mean", eps is mu itself: nothing is drawn, and the KL between widths of zero, which
    is infinite or nothing, is replaced by that between unit widths, half the squared distance of
    the means.
    """

    def __init__(
        self,
        *,
        D: int,
        vocabulary: int,
        hidden: int,
        kind: Kind,
        sigma_init: float,
        sigma_min: float,
        pooled: bool,
        added: bool,
        shared: bool,
        rounded: bool,
    ) -> None:
        super().__init__()
        head = partial(
            Head,
            kind=kind,
            sigma_init=sigma_init,
            sigma_min=sigma_min,
            shared=shared,
            rounded=rounded,
        )
        self.prior = head(D, hidden, D)
        self.posterior_head = head(D if added else 2 * D, hidden, D)
        self.target_embedding = Embedding(vocabulary, D)
        self.pooled, self.added = pooled, added
        self.shared = shared
        self.draws = kind != "mean"

    def embed_target(self, targets: Tensor) -> Tensor:
        """The embedded target, token by token: [B, L_out] int64 -> [B, L_out, D]."""
        e_y: Tensor = self.target_embedding(targets)
        return e_y.mean(dim=1, keepdim=True).expand_as(e_y) if self.pooled else e_y

    def posterior(self, u: Tensor, e_y: Tensor) -> Gaussian:
        """q(eps | u, y); concatenated but where ``added``, since an added target dominates u."""
        return self.posterior_head(u + e_y if self.added else torch.cat([u, e_y], dim=-1))
