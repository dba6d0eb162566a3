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

__all__ = ["Grouped", "Sampler", "make_sampler", "sampler_class"]


def make_sampler(config: EvaluateConfig, width: int) -> Sampler:
    """The sampler of ``config`` for ``width`` trajectories per input; a single one shares nothing.

    Raises:
        GramError: a sampler with restarts, and a depth that leaves no time for a restart.
    """
    if width == 1:
        return Sampler()
    return sampler_class(config.sampler).of(config, width)


def sampler_class(name: str) -> type[Sampler]:
    """The class of a sampler."""
    module = importlib.import_module(f"{__name__}.{name.replace('+', '_')}")
    sampler: type[Sampler] = module.SAMPLER
    return sampler
