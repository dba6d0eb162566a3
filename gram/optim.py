"""Optimizer, learning-rate and beta schedules, and the exponential moving average of the weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from gram.models.gram import GRAM
from gram.settings import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with decoupled weight decay on all weights, in its fused form."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of optimizer step ``step`` (counted from 0): linear warm-up, then constant or cosine."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    floor = config.final_learning_rate
    return config.learning_rate * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def beta(step: int, config: TrainConfig) -> float:
    """The weight of the KL at optimizer step ``step``: constant, or falling linearly from ``beta_initial``."""
    if config.beta_initial is None or step >= config.beta_decay_steps:
        return config.beta
    share = step / config.beta_decay_steps
    return config.beta_initial + (config.beta - config.beta_initial) * share


class EMA:
    """Exponential moving average of a model's weights, kept as a second model."""

    def __init__(self, model: GRAM, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self._live: list[Tensor] = list(model.parameters())
        self._average: list[Tensor] = list(self.model.parameters())

    @torch.no_grad()
    def update(self) -> None:
        """average <- decay * average + (1 - decay) * live."""
        torch._foreach_lerp_(self._average, self._live, 1 - self.decay)
