"""``python -m gram.bench``: how fast the training step of a run is, per variant, as rates and as a share of the matmul peak."""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from gram import files
from gram.config import load_run, parse
from gram.errors import GramError, run
from gram.provenance import choose_device, peak_memory_bytes, provenance
from gram.settings import ModelConfig, RunSettings, TrainConfig
from gram.trainer import Trainer

PEAK_SIZE = {"cpu": 1024, "cuda": 8192}  # side of the square matrices whose product is the peak
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
WARM_UP = 2  # steps before the clock starts; the first one of a compiled variant compiles


def swiglu_flops(inputs: int, hidden: int, outputs: int) -> int:
    """Matmul FLOPs of one SwiGLU network for one token."""
    return 2 * (2 * inputs * hidden + hidden * outputs)


def step_flops(config: ModelConfig, *, length: int, vocabulary: int, charge_all: bool = False) -> int:
    """Matmul FLOPs of one training step for one row, counted from the settings.

    A product counts two per multiply-add; what carries gradient counts three times (forward, and two products backward).
    Element-wise work, and recomputation inside attention's backward, are left out, as is usual for such shares.

    Args:
        config: the architecture.
        length: tokens of the input, L, without puzzle tokens.
        vocabulary: size of the vocabulary.
        charge_all: whether every transition's KL is charged.
    """
    D, tokens = config.D, config.puzzle_tokens + length
    attention = 2 * (4 * D * D + 2 * tokens * D)
    stack = config.layers * (attention + swiglu_flops(D, config.ffn_hidden, D))
    transition = tokens * (config.K + 1) * stack
    flops = (config.T - 1 + 3) * transition + 3 * length * swiglu_flops(D, config.decoder_hidden, vocabulary)
    if config.guidance == "full":
        prior = tokens * 2 * swiglu_flops(D, config.guidance_hidden, D)
        both = prior + tokens * 2 * swiglu_flops(2 * D, config.guidance_hidden, D)
        # Before the last transition u has no gradient, so charged heads save the product for their input's.
        flops += 3 * both + (config.T - 1) * (3 * both if charge_all else prior)
    return flops


def matmul_peak(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """FLOP/s of a large square product, the best of ``repeats``: what this machine reaches, not what its maker states."""
    side = PEAK_SIZE[device.type]
    a = torch.ones(side, side, device=device, dtype=dtype)
    product = partial(torch.matmul, a, a)
    timed(product, 1, device)
    return max(2 * side**3 / timed(product, 1, device) for _ in range(repeats))


def timed(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """Seconds per call of ``work``, with the device's queue empty before and after."""
    drain(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    drain(device)
    return (time.perf_counter() - start) / times


def drain(device: torch.device) -> None:
    """Wait until the device has done all it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def build_variant(name: str, settings: RunSettings, data: Path, device: torch.device) -> Trainer:
    """A trainer for a variant such as ``fp32`` or ``bf16-compiled``.

    Raises:
        GramError: a name that is not ``fp32`` or ``bf16``, with or without ``-compiled``.
    """
    precision, _, compiled = name.partition("-")
    if precision not in DTYPES or compiled not in ("", "compiled"):
        raise GramError(f"--variants {name}: expected fp32 or bf16, with or without -compiled")
    train = parse(TrainConfig, dataclasses.asdict(settings.train) | {"precision": precision}, "bench")
    trainer = Trainer(dataclasses.replace(settings, train=train), data, Path("bench"), device)
    if compiled:
        trainer.model.compile()  # in place, so that the names of the weights stay
    return trainer


def bench(settings: RunSettings, data: Path, device: torch.device, variants: list[str], steps: int, turns: int) -> dict[str, Any]:
    """Time the variants side by side, in turns whose order alternates, so that a noisy machine slows all of them alike.

    Returns:
        Facts of the machine, the peak per precision, and per variant seconds, rates and shares as [least, median, most].
    """
    trainers = {name: build_variant(name, settings, data, device) for name in variants}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for trainer in tqdm(trainers.values(), desc="warm-up", unit="variant"):
        timed(trainer.train_step, WARM_UP, device)
    peaks: dict[str, list[float]] = {precision: [] for precision in sorted({name.partition("-")[0] for name in variants})}
    for turn in tqdm(range(turns), desc="measuring", unit="turn"):
        for precision, found in peaks.items():
            found.append(matmul_peak(device, DTYPES[precision]))
        for name in variants if turn % 2 == 0 else reversed(variants):
            seconds[name].append(timed(trainers[name].train_step, steps, device))
    first = trainers[variants[0]]
    per_row = step_flops(
        settings.model,
        length=first.task.length,
        vocabulary=first.task.vocabulary,
        charge_all=settings.train.charged == "all",
    )
    rows = settings.train.batch_size
    # Of the precisions measured, the one with the higher peak: a CPU may have no fast bf16 at all.
    peak = max(statistics.median(found) for found in peaks.values())
    results = {}
    for name, times in seconds.items():
        results[name] = {
            "seconds_per_step": spread(times),
            "optimizer_steps_per_second": spread([1 / t for t in times]),
            "examples_per_second": spread([rows / settings.train.N_sup / t for t in times]),
            "flops_per_second": spread([rows * per_row / t for t in times]),
            "share_of_matmul_peak": spread([rows * per_row / t / peak for t in times]),
            # Turn by turn, because neighbours in time share the machine's mood.
            f"speed_against_{variants[0]}": spread([base / t for base, t in zip(seconds[variants[0]], times, strict=True)]),
        }
    return {
        "task": settings.task,
        "method": settings.method,
        "settings": settings.as_dict(),
        "steps_per_turn": steps,
        "turns": turns,
        "flops_per_step": rows * per_row,
        "matmul_peak_flops_per_second": {precision: spread(found) for precision, found in peaks.items()},
        "variants": results,
        "peak_memory_bytes_of_all": peak_memory_bytes(device),
        "measured_by": provenance(device),
    }


def spread(values: list[float]) -> list[float]:
    """[least, median, most]."""
    return [min(values), statistics.median(values), max(values)]


def main() -> None:
    """Time the training step of a run, variants side by side; prints a line each and writes everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m gram.bench", description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config.json of a run, as python -m gram.config writes it")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--variants", nargs="+", default=["fp32"], help="fp32, bf16, fp32-compiled, bf16-compiled")
    parser.add_argument("--steps", type=int, default=5, help="training steps per turn")
    parser.add_argument("--turns", type=int, default=6, help="how often each variant is timed")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    if min(args.steps, args.turns) < 1 or len(set(args.variants)) < len(args.variants):
        raise GramError("--steps and --turns must be at least 1, and --variants all different")
    result = bench(load_run(args.config), args.data, choose_device(args.device), args.variants, args.steps, args.turns)
    for name, found in result["variants"].items():
        _, rate, _ = found["examples_per_second"]
        least, share, most = found["share_of_matmul_peak"]
        print(f"{name}: {rate:.4g} examples/s, {share:.0%} of the matmul peak ({least:.0%} to {most:.0%})")
    files.write_json(args.output, result)


if __name__ == "__main__":
    run(main)
