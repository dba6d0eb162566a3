"""Rollouts from the prior: the only way this project evaluates a model (sections 2.4 and 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gram.models.network import Given, Network, State
from gram.models.samplers import Sampler
from gram.system.progress import progress_of_part


class Stop(NamedTuple):
    """Where the answer of a trajectory is read: after ``depth`` supervision steps.

    With ``act`` a trajectory keeps its answer from the first step at which its halting head says
    so.
    """

    depth: int
    act: bool = False


class Rollout(NamedTuple):
    """What was read at one stop."""

    tokens: Tensor  # [B, L_out] int64, decoded
    value: Tensor  # [B] fp32, LPRM value of the state
    # [B] int64, supervision steps from z_0 (below the stop's depth with ACT, or after a restart)
    steps: Tensor
    halted: Tensor  # [B] bool, whether it would have halted


def _where(mask: Tensor, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> list[Tensor]:
    """Row by row from ``a`` where ``mask`` [B], else from ``b``, for tensors of any number of
    dimensions.
    """
    return [
        torch.where(mask.view(-1, *[1] * (x.dim() - 1)), x, y) for x, y in zip(a, b, strict=True)
    ]


@torch.no_grad()
def rollouts(
    model: Network,
    given: Given,
    *,
    stops: Sequence[Stop],
    generator: torch.Generator,
    sampler: Sampler | None = None,
    noise_scale: float = 1.0,
) -> list[Rollout]:
    """Run every row from z_0 with noise from the prior, and read it at each of ``stops``.

    Args:
        model: the network.
        given: the rows' inputs; to draw several trajectories of an input, repeat it. A sampler with
            groups wants whole groups.
        stops: where to read; the deepest is the number of supervision steps.
        generator: source of the noise, on the device of the model.
        sampler: how the trajectories of one input share their noise and steps; independent without
            one. Where it compares answers, these are what the last stop reads.
        noise_scale: factor of the prior's width in every draw; at 0 every transition takes its
            mean.
    """
    sampler = sampler or Sampler()
    B, device = len(given.tokens), given.tokens.device
    state = model.initial_state(B, generator)
    born = torch.zeros(B, dtype=torch.int64, device=device)
    halted = torch.zeros(B, dtype=torch.bool, device=device)
    kept: Rollout | None = None
    found: dict[Stop, Rollout] = {}
    depth = max(stop.depth for stop in stops)
    for n in progress_of_part(iterable=range(1, depth + 1), desc="supervision steps", unit="step"):
        noise = sampler.noise(model, B, generator)
        if noise is not None and noise_scale != 1.0:
            noise = noise_scale * noise
        read = model.roll(state, given, noise=noise, generator=generator)
        now = Rollout(read.tokens, read.value, n - born, halted | read.halts)
        kept = Rollout(*_where(halted, kept, now)) if kept else now
        halted = now.halted
        found |= {stop: kept if stop.act else now for stop in stops if stop.depth == n}
        state = sampler.move(read.state)
        again = sampler.restarts(n, (kept if stops[-1].act else now).tokens)
        if again is not None:
            state = State(*_where(again, model.initial_state(B, generator), state))
            born = torch.where(again, n, born)
            halted = halted & ~again
    return [found[stop] for stop in stops]


def rollout(
    model: Network, given: Given, *, depth: int, generator: torch.Generator, act: bool = False
) -> Rollout:
    """The answers of independent trajectories at one :class:`Stop`; see :func:`rollouts`."""
    return rollouts(model, given, stops=[Stop(depth, act)], generator=generator)[0]
