"""Seconds per call, the peak of a matrix product, and how repeated measurements are summarised."""

from __future__ import annotations

import statistics
from functools import partial

import torch

from gram.train.duration import timed

PEAK_SIZE = {"cpu": 1024, "cuda": 8192}  # side of the square matrices whose product is the peak
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WARM_UP = 2  # steps before the clock starts; the first one of a compiled variant compiles


def matmul_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of a large square product, the best of ``repeats``: what this machine reaches, not
    what its maker states.

    Fewer repeats where they take more than a second, as bf16 does on processors without
    instructions for it.
    """
    side = PEAK_SIZE[device.type]
    a = torch.ones(side, side, device=device, dtype=dtype)
    product = partial(torch.matmul, a, a)
    timed(product, 1, device)
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < 1:
        seconds.append(timed(product, 1, device))
    return 2 * side**3 / min(seconds)


def spread(values: list[float]) -> list[float]:
    """[least, median, most]."""
    return [min(values), statistics.median(values), max(values)]
