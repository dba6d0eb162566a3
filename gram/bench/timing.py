"""Seconds per call, the peak of a matrix product, and how repeated measurements are summarised."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

PEAK_SIZE = {"cpu": 1024, "cuda": 8192}  # side of the square matrices whose product is the peak
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WARM_UP = 2  # steps before the clock starts; the first one of a compiled variant compiles


def drain(device: torch.device) -> None:
    """Wait until the device has done all it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """Seconds per call of ``work``, with the device's queue empty before and after."""
    drain(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    drain(device)
    return (time.perf_counter() - start) / times


def matmul_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of a large square product, the best of ``repeats``: what this machine reaches, not what its maker states.

    Fewer repeats where they take more than a second, as bf16 does on processors without instructions for it.
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
