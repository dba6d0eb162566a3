"""Independent trajectories, as the paper's."""

from __future__ import annotations

from gram.models.samplers.base import Sampler

SAMPLER = Sampler
