"""Measures a training step on this machine: variants side by side, and each optimization with and
without.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gram.bench.formula import row_flops
from gram.bench.optimizations import OPTIMIZATIONS, Optimization, scale_of
from gram.bench.timing import DTYPES, WARM_UP, matmul_peak, spread
from gram.bench.variants import build, variant_settings, with_train
from gram.settings import RunSettings
from gram.train.duration import timed
from gram.train.trainer import Trainer

PLAIN = "fp32"  # the variant that optimizations are measured on


def speeds(
    settings: RunSettings,
    data: Path,
    device: torch.device,
    variants: list[str],
    *,
    steps: int,
    turns: int,
) -> dict[str, Any]:
    """Time variants side by side, in turns whose order alternates, so that a noisy machine slows
    all of them alike.

    Returns:
        FLOPs of a step, the matmul peak per precision in FLOP/s, and per variant seconds, rates,
        shares of the peaks and the speed against the first variant, each as [least, median, most]
        over turns.
    """
    trainers = {name: build(variant_settings(name, settings), data, device) for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for trainer in tqdm(trainers.values(), desc="warm-up", unit="variant"):
        timed(trainer.train_step, WARM_UP, device)
    precisions = sorted({name[:4] for name in variants})
    peaks: dict[str, list[float]] = {precision: [] for precision in precisions}
    for turn in tqdm(range(turns), desc="variants", unit="turn"):
        for precision, found in peaks.items():
            found.append(matmul_peak(device, DTYPES[precision]))
        for name in variants if turn % 2 == 0 else reversed(variants):
            seconds[name].append(timed(trainers[name].train_step, steps, device))
    flops = settings.train.batch_size * row_flops(settings)
    # A CPU may have no fast bf16 at all, so the goal is the highest peak of any precision.
    highest = max(peaks.values(), key=lambda found: spread(found)[1])
    examples = settings.train.batch_size / steps_per_example(settings)
    measured = {}
    for name, times in seconds.items():
        measured[name] = {
            "seconds_per_step": spread(times),
            "examples_per_second": spread([examples / t for t in times]),
            "flops_per_second": spread([flops / t for t in times]),
            # Turn by turn, because neighbours in time share the machine's mood.
            "share_of_own_peak": shares(flops, times, peaks[name[:4]]),
            "share_of_highest_peak": shares(flops, times, highest),
            "speed_against_first": gain(seconds[variants[0]], times),
        }
    return {
        "flops_per_step": flops,
        "matmul_peak_flops_per_second": {
            precision: spread(found) for precision, found in peaks.items()
        },
        "variants": measured,
    }


def steps_per_example(settings: RunSettings) -> int:
    """Optimizer steps in which an input is seen before another takes its row."""
    return 1 if settings.train.supervision == "all" else settings.train.N_sup


def shares(flops: int, times: list[float], peaks: list[float]) -> list[float]:
    """Share of a peak that was reached, turn by turn, as [least, median, most]."""
    return spread([flops / t / peak for t, peak in zip(times, peaks, strict=True)])


def gain(without: list[float], with_: list[float]) -> list[float]:
    """How many times as fast, turn by turn, as [least, median, most]."""
    return spread([one / other for one, other in zip(without, with_, strict=True)])


def gains(
    settings: RunSettings, data: Path, device: torch.device, *, steps: int, turns: int
) -> dict[str, Any]:
    """Time a plain training step with and without each optimization, in turns whose order
    alternates, in one process.

    Returns:
        Per optimization that has a prediction for this scale: what it is, its prediction, seconds
        per step with and without, and how many times as fast the step is with it, as [least,
        median, most] over turns.
    """
    scale = scale_of(settings, device)
    plain = build(variant_settings(PLAIN, settings), data, device)
    results = {}
    for one in tqdm(
        [one for one in OPTIMIZATIONS if scale in one.predicted], desc="optimizations", unit="each"
    ):
        other = (
            build(with_train(plain.settings, **one.settings), data, device)
            if one.settings
            else plain
        )
        times: dict[bool, list[float]] = {True: [], False: []}
        for turn in range(-1, turns):  # the first one warms up
            for switched_on in (True, False) if turn % 2 == 0 else (False, True):
                trainer = other if switched_on else plain
                with as_patched(one, trainer, switched_on):
                    taken = timed(trainer.train_step, WARM_UP if turn < 0 else steps, device)
                if turn >= 0:
                    times[switched_on].append(taken)
        results[one.name] = {
            "what": one.what,
            "kept": "no" if not one.kept else "a setting" if one.settings else "yes",
            "reason": one.reason,
            "predicted": one.predicted[scale],
            "seconds_with": spread(times[True]),
            "seconds_without": spread(times[False]),
            "gain": gain(times[False], times[True]),
        }
    return results


def as_patched(
    one: Optimization, trainer: Trainer, switched_on: bool
) -> AbstractContextManager[None]:
    """The trainer with or without an optimization; the patch of one that the code always does takes
    it away.
    """
    if one.patch is None or switched_on == one.kept:
        return nullcontext()
    return one.patch(trainer)
