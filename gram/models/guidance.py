"""Stochastic guidance: the Gaussian noise added to the high-level state, its prior, its posterior and their KL (section 2.2)."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gram.models.layers import Embedding, SwiGLU

Source = Literal["prior", "posterior"]


class Gaussian(NamedTuple):
    """A diagonal normal distribution; both tensors fp32 [B, L, D]."""

    mu: Tensor
    sigma: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """The reparameterised draw that belongs to ``noise`` ~ N(0, I), fp32 [B, L, D]."""
        return self.mu + self.sigma * noise

    def detach(self) -> Gaussian:
        """The same distribution without gradient."""
        return Gaussian(self.mu.detach(), self.sigma.detach())


def kl_divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) per token and channel, in nats: fp32 [B, L, D]."""
    ratio = (q.sigma / p.sigma).square()
    shift = ((q.mu - p.mu) / p.sigma).square()
    return 0.5 * (ratio + shift - 1 - ratio.log())


class Head(nn.Module):
    """mu and sigma as two per-token SwiGLU networks, computed in fp32 whatever the forward precision.

    Their output weights start at zero: mu starts at 0 and sigma at ``sigma_init`` for every input.
    """

    def __init__(self, inputs: int, hidden: int, D: int, *, sigma_init: float, sigma_min: float) -> None:
        super().__init__()
        self.mu = SwiGLU(inputs, hidden, D, out_scale=0.0, bias=True)
        self.sigma = SwiGLU(inputs, hidden, D, out_scale=0.0, bias=True)
        self.sigma_min = sigma_min
        nn.init.constant_(self.sigma.down.bias, math.log(math.expm1(sigma_init - sigma_min)))  # inverse softplus

    def forward(self, x: Tensor) -> Gaussian:
        """[B, L, inputs] -> Gaussian over [B, L, D]."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            return Gaussian(self.mu(x), F.softplus(self.sigma(x)) + self.sigma_min)


class Guidance(nn.Module):
    """The prior p(eps | u) and the posterior q(eps | u, y)."""

    def __init__(
        self,
        *,
        D: int,
        vocabulary: int,
        hidden: int,
        sigma_init: float,
        sigma_min: float,
        pooled: bool,
    ) -> None:
        super().__init__()
        self.prior = Head(D, hidden, D, sigma_init=sigma_init, sigma_min=sigma_min)
        self.posterior_head = Head(2 * D, hidden, D, sigma_init=sigma_init, sigma_min=sigma_min)
        self.target_embedding = Embedding(vocabulary, D)
        self.pooled = pooled

    def embed_target(self, targets: Tensor, prefix: int) -> Tensor:
        """e_y: [B, L] int64 -> [B, prefix + L, D], zeros at the puzzle tokens."""
        e_y = self.target_embedding(targets)
        if self.pooled:
            e_y = e_y.mean(dim=1, keepdim=True).expand_as(e_y)
        return F.pad(e_y, (0, 0, prefix, 0))

    def posterior(self, u: Tensor, e_y: Tensor) -> Gaussian:
        """q(eps | u, y); concatenated rather than added, because an added target dominates u."""
        return self.posterior_head(torch.cat([u, e_y], dim=-1))
