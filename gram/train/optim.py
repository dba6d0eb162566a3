"""Optimizer, learning-rate and beta schedules, and the exponential moving average of the
weights.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from gram.models.network import Network
from gram.settings import TrainConfig
from gram.train.adam_atan2 import AdamATan2


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW | AdamATan2:
    """AdamW, in its fused form, or AdamATan2, both with decoupled weight decay.

    With ``decay: matrices`` the second group does not decay. AdamATan2 has a last group for what
    SignSGD trains.
    """
    signed = model.signed if config.optimizer == "adam_atan2" and isinstance(model, Network) else []
    by_sign = set(map(id, signed))  # tensors are compared by their values, so by what they are
    parameters = [p for p in model.parameters() if id(p) not in by_sign]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if config.decay == "matrices":
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2]},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
    betas = (config.beta1, config.beta2)
    if config.optimizer == "adam_atan2":
        groups += [{"params": signed, "sign": True}] if signed else []
        return AdamATan2(
            groups, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay, fused=True
    )


def allocate_gradients(model: nn.Module) -> list[Tensor]:
    """Give every parameter a gradient of zeros, to which backward passes add; returns them."""
    gradients = []
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    return gradients


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of optimizer step ``step`` (counted from 0): linear warm-up, then constant
    or cosine.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    return config.learning_rate * annealed(step, config, config.final_learning_rate)


def weight_decay(step: int, config: TrainConfig) -> float:
    """The weight decay of optimizer step ``step``; without a warm-up, because AdamW multiplies it
    by the learning rate.
    """
    return config.weight_decay * annealed(step, config, config.final_weight_decay)


def annealed(step: int, config: TrainConfig, final: float) -> float:
    """With the cosine schedule, a share that falls from 1 after the warm-up to ``final`` at the
    last step; else 1.
    """
    if config.schedule == "constant" or step < config.warmup_steps:
        return 1.0
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def beta(step: int, config: TrainConfig) -> float:
    """The weight of the KL at optimizer step ``step``: constant, or moving linearly from
    ``beta_initial``.
    """
    if config.beta_initial is None or step >= config.beta_decay_steps:
        return config.beta
    share = step / config.beta_decay_steps
    return config.beta_initial + (config.beta - config.beta_initial) * share


def beta_factors(step: int, config: TrainConfig) -> list[float]:
    """The factors of beta by supervision step at optimizer step ``step``, as :func:`beta` moves.

    The last one holds for all later supervision steps.
    """
    last, first = config.beta_factors, config.beta_factors_initial
    if first is None or step >= config.beta_decay_steps:
        return list(last)
    share = step / config.beta_decay_steps
    return [start + (end - start) * share for start, end in zip(first, last, strict=True)]


def set_rates(optimizer: torch.optim.Optimizer, step: int, config: TrainConfig) -> None:
    """Make optimizer step ``step`` use its learning rate and its weight decay."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
        if group["weight_decay"] > 0:
            group["weight_decay"] = weight_decay(step, config)


def rates(step: int, config: TrainConfig) -> dict[str, float]:
    """What the schedules say at optimizer step ``step``, for the history."""
    return {
        "learning_rate": learning_rate(step, config),
        "weight_decay": weight_decay(step, config),
        "beta": beta(step, config),
    }


class EMA:
    """Exponential moving average of a model's weights, kept as a second model.

    Args:
        model: whose weights are averaged.
        decay: of the average.
        corrected: whether the initial weights have no part in it. Otherwise they have one of
            decay^t after t steps: of 0.9999, 61 % after 5,000.
    """

    def __init__(self, model: Network, decay: float, *, corrected: bool = False) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay, self.corrected = decay, corrected
        self._live: list[Tensor] = list(model.parameters())
        self._average: list[Tensor] = list(self.model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """average <- decay * average + (1 - decay) * live; corrected, live has the share that
        makes this the sum of (1 - decay) * decay^(t - i) * live_i, divided by 1 - decay^t.

        Args:
            step: of the optimizer, from 0; t is the one after it.
        """
        share = 1 - self.decay
        if self.corrected:
            share /= 1 - self.decay ** (step + 1)
        torch._foreach_lerp_(self._average, self._live, share)

    def raw(self) -> Network:
        """A copy of the network with the weights as they are, which is not compiled either."""
        copied = copy.deepcopy(self.model)
        with torch.no_grad():
            torch._foreach_copy_(list(copied.parameters()), self._live)
        return copied
