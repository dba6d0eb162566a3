"""The objective of one supervision step (section 2.3): cross-entropy, balanced KL, halting and
value losses; all in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gram.models.guidance import Gaussian, kl_divergence
from gram.models.network import Charge
from gram.settings import TrainConfig


def stablemax_log_probabilities(logits: Tensor) -> Tensor:
    """log of s(x) / sum s(x), s(x) = x + 1 for x >= 0 and 1 / (1 - x) below; float64, as TRM
    computes it.
    """
    x = logits.double()
    s = torch.where(x >= 0, x + 1, 1 / (1 - x.clamp(max=0)))
    return (s / s.sum(dim=-1, keepdim=True)).log()


def cross_entropy(logits: Tensor, targets: Tensor, kind: str) -> Tensor:
    """Mean over tokens of -log p(target), in nats: [B, L, V], [B, L] -> fp32 [B]."""
    log_p = (
        stablemax_log_probabilities(logits)
        if kind == "stablemax"
        else F.log_softmax(logits.float(), dim=-1)
    )
    return -log_p.gather(-1, targets.unsqueeze(-1)).squeeze(-1).mean(dim=-1).float()


def balanced_kl(charges: Sequence[Charge], config: TrainConfig) -> tuple[Tensor, Tensor]:
    """The KL between posterior and prior, balanced as in Dreamer-V2.

    Args:
        charges: one or more charged transitions; distributions over [B, L, D], or [B, 1, D] where
        all tokens share a vector.
        config: kl_balance, kl_channels, kl_tokens and free_nats.

    Returns:
        The loss per row, fp32 [B], and the plain KL(q || p) per row in nats (summed over
        everything, detached), [B].
    """

    def reduce(kl: Tensor, tokens: int) -> Tensor:
        per_token = kl.sum(dim=-1) if config.kl_channels == "sum" else kl.mean(dim=-1)
        total = per_token.sum(dim=-1)
        return total if config.kl_tokens == "sum" else total / tokens

    loss = nats = torch.zeros((), device=charges[0].q.mu.device)
    for q, p, tokens in charges:
        # Both terms of the balance have the same value, so one KL with scaled gradients is enough.
        share = torch.full((), 1 - config.kl_balance, device=loss.device)
        if config.free_nats > 0:
            with torch.no_grad():
                free = kl_divergence(q, p).sum(dim=(1, 2), keepdim=True) <= config.free_nats
            share = torch.where(free, 0.0, share)
        kl = kl_divergence(scale_gradient(q, share), scale_gradient(p, config.kl_balance))
        loss = loss + reduce(kl, tokens)
        nats = nats + kl.detach().sum(dim=(1, 2))
    return loss, nats


def scale_gradient(gaussian: Gaussian, share: Tensor | float) -> Gaussian:
    """The same distribution, with its gradient times ``share``."""
    return Gaussian(*(x.detach() + share * (x - x.detach()) for x in gaussian))


def halt_loss(halt: Tensor, correct: Tensor) -> Tensor:
    """Binary cross-entropy of q_halt with 1[decoded == y]: [B, 2], bool [B] -> [B]; q_continue is
    not used.
    """
    return F.binary_cross_entropy_with_logits(halt[:, 0], correct.float(), reduction="none")


def value_of_following(following: Tensor, last: Tensor) -> Tensor:
    """What continuing is worth: the following step's greater value, or at a row's last step, after
    which it would have to halt, its value of halting (HRM, section 2).

    Args:
        following: logits of (halt, continue) at that step, without gradient, [B, 2].
        last: whether the present step is the row's last, bool [B].

    Returns:
        [B], in (0, 1).
    """
    return torch.where(last, following[:, 0], following.amax(dim=-1)).sigmoid()


def halt_regression(halt: Tensor, correct: Tensor, following: Tensor, last: Tensor) -> Tensor:
    """Squared errors of both values of the halting head (Eq. 15).

    Args:
        halt: logits of (halt, continue) at this step, [B, 2].
        correct: whether the answer is right, bool [B].
        following: logits at the step after it, without gradient, [B, 2].
        last: whether this is the row's last step, after which it has to halt, bool [B].

    Returns:
        fp32 [B].
    """
    best = value_of_following(following, last)
    return (halt.sigmoid() - torch.stack((correct.float(), best), dim=-1)).square().sum(dim=-1)


def value_loss(value: Tensor, reward: Tensor) -> Tensor:
    """Squared error of the LPRM value with the reward r in [0, 1] of the trajectory's end: any
    equal shapes.
    """
    return (value - reward).square()
