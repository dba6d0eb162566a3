"""How the trajectories of one input share their noise and their steps: independent draws, and ways
to repeat less.

All samplers spend the same: W trajectories of ``depth`` supervision steps per input, always from
the prior, and none looks at anything but latent states and decoded answers. Only "iid" is the
paper's; the others are not in it.
"""

from __future__ import annotations

import importlib

from gram.models.samplers.base import Grouped, Sampler
from gram.settings import EvaluateConfig

__all__ = ["Grouped", "Sampler", "make_sampler"]


def make_sampler(config: EvaluateConfig, width: int) -> Sampler:
    """The sampler of ``config`` for ``width`` trajectories per input; a single one shares nothing.

    Raises:
        GramError: a sampler with restarts, and a depth that leaves no time for a restart.
    """
    if width == 1:
        return Sampler()
    module = importlib.import_module(f"{__name__}.{config.sampler.replace('+', '_')}")
    sampler: Sampler = module.SAMPLER.of(config, width)
    return sampler
