"""Rollouts from the prior: the only way this project evaluates a model (sections 2.4 and 3)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gram.models.gram import GRAM


class Rollout(NamedTuple):
    """The end of each trajectory."""

    tokens: Tensor  # [B, L] int64, decoded
    value: Tensor  # [B] fp32, LPRM value of the last state
    steps: Tensor  # [B] int64, supervision steps taken (below depth only with ACT)


@torch.no_grad()
def rollout(model: GRAM, inputs: Tensor, *, depth: int, generator: torch.Generator, act: bool = False) -> Rollout:
    """Run every row of ``inputs`` from z_0 for ``depth`` supervision steps with noise from the prior.

    Args:
        model: the network.
        inputs: [B, L] int64; to draw several trajectories of an input, repeat it.
        depth: supervision steps.
        generator: source of the noise, on the device of ``inputs``.
        act: keep a trajectory's answer from the first step at which its halting probability exceeds 0.5.
    """
    state = model.initial_state(inputs)
    B = len(inputs)
    tokens = torch.zeros_like(inputs)
    value = torch.zeros(B, device=inputs.device)
    steps = torch.zeros(B, dtype=torch.int64, device=inputs.device)
    running = torch.ones(B, dtype=torch.bool, device=inputs.device)
    for n in range(1, depth + 1):
        step = model(state, inputs, noise=model.draw_noise(inputs, generator))
        state = step.state
        tokens = torch.where(running[:, None], step.logits.argmax(dim=-1), tokens)
        value = torch.where(running, step.value, value)
        steps = torch.where(running, n, steps)
        if act:
            running = running & (step.halt[:, 0] <= 0)
    return Rollout(tokens, value, steps)
