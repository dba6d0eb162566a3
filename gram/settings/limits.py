"""The upper ends that many settings share: far beyond what was ever trained, so that they only
catch slips.
"""

from __future__ import annotations

WIDTH = 65_536  # channels of a layer
HEADS = 1_024
LAYERS = 1_024
REPEATS = 10_000  # applications of a stack, supervision steps, trajectories
TOKENS = 4_096  # of a puzzle's prefix
STEPS = 1_000_000_000  # of the optimizer
ROWS = 10_000_000  # of a batch, a data set
WEIGHT = 10_000  # of a loss term
BASE = 1_000_000_000  # of a rotary embedding
SEED = 2**63 - 1
