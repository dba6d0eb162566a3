"""What is watched during training: whether rollouts of the prior solve boards, which the losses do
not tell, and the bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gram.data.splits import Split, spread_rows
from gram.models.network import Given, Network
from gram.models.rollout import rollout
from gram.settings import TrainConfig
from gram.tasks import Task
from gram.train.elbo import by_supervision_step, watched_bounds

WATCHED_PAIRS = 64  # along whose trajectories the KL of every supervision step is watched


def observed(
    model: Network,
    task: Task,
    splits: dict[str, Split],
    config: TrainConfig,
    generator: Callable[..., torch.Generator],
) -> dict[str, Any]:
    """Prior rollouts on every split, and the bounds on validation pairs.

    Args:
        model: the network.
        task: its verifier.
        splits: train and valid.
        config: the run's settings.
        generator: gives a generator for a named purpose, so that watching a run does not change it.

    Returns:
        Each split's name -> :func:`rollout_counts`; where there are any, elbo ->
        :func:`gram.train.elbo.bounds`, and steps -> :func:`gram.train.elbo.by_supervision_step` of
        training pairs.
    """
    found: dict[str, Any] = solved(model, task, splits, config, generator)
    bounds = watched_bounds(model, splits["valid"], config, generator("elbo"))
    pairs = min(WATCHED_PAIRS, config.eval_inputs)
    steps = by_supervision_step(model, splits["train"], config, generator("steps"), pairs)
    return found | ({"elbo": bounds} if bounds else {}) | ({"steps": steps} if steps else {})


def solved(
    model: Network,
    task: Task,
    splits: dict[str, Split],
    config: TrainConfig,
    generator: Callable[..., torch.Generator],
) -> dict[str, dict[str, dict[str, int]]]:
    """Each split's name -> :func:`rollout_counts`; arguments as of :func:`observed`."""
    return {
        name: rollout_counts(model, task, split, config, generator("watch", name))
        for name, split in splits.items()
    }


def rollout_counts(
    model: Network, task: Task, split: Split, config: TrainConfig, generator: torch.Generator
) -> dict[str, dict[str, int]]:
    """Valid prior samples, one for each of some inputs of a split, by the inputs' number of
    completions.

    Args:
        model: the network.
        task: its verifier.
        split: the inputs, of which at most ``config.eval_inputs`` are taken; where their
            completions are not all known, they are taken in turn, several times if need be.
        config: eval_inputs, and N_sup as the depth.
        generator: source of the noise, on the device of the model.

    Returns:
        {one, several} -> {valid, inputs}.
    """
    chosen = spread_rows(len(split.inputs), config.eval_inputs)
    if len(chosen) and not task.complete:  # few inputs, of which each has more answers than that
        chosen = np.arange(config.eval_inputs) % len(split.inputs)
    inputs = split.inputs[chosen]
    counts = {"one": {"valid": 0, "inputs": 0}, "several": {"valid": 0, "inputs": 0}}
    if not len(chosen):
        return counts
    tokens = torch.from_numpy(inputs).long().to(generator.device)
    result = rollout(model, Given(tokens), depth=config.N_sup, generator=generator)
    valid = task.is_valid(inputs, result.tokens.cpu().numpy().astype("uint8"))
    several = split.counts[chosen] > 1
    for key, mask in (("one", ~several), ("several", several)):
        counts[key] = {"valid": int(valid[mask].sum()), "inputs": int(mask.sum())}
    return counts
