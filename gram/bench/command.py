"""What ``python -m gram.bench speed`` and ``memory`` do."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gram.bench.measure import gains, speeds
from gram.bench.profile import profiled
from gram.bench.variants import build, own_peak_memory, peak_memory, variant_settings
from gram.settings.config import load_run
from gram.system import files
from gram.system.errors import GramError
from gram.system.provenance import choose_device, provenance


def measure_speed(args: argparse.Namespace) -> None:
    """Measure variants, and with --optimizations each optimization; print a line each and write
    everything as JSON.

    Raises:
        GramError: a number below 1, a variant that does not exist or is named twice, or a variant
            that fails.
    """
    if min(args.steps, args.turns) < 1 or len(set(args.variants)) < len(args.variants):
        raise GramError("--steps and --turns must be at least 1, and --variants all different")
    settings, device = load_run(args.config), choose_device(args.device)
    for name in args.variants:
        variant_settings(name, settings)  # a misspelt one should not be found after minutes
    # First, while this process is small.
    memory = {name: peak_memory(name, args.config, args.data, device) for name in args.variants}
    result: dict[str, Any] = {
        "task": settings.task,
        "method": settings.method,
        "settings": settings.as_dict(),
        "steps_per_turn": args.steps,
        "turns": args.turns,
        **speeds(settings, args.data, device, args.variants, steps=args.steps, turns=args.turns),
    }
    for name, found in result["variants"].items():
        found["peak_memory_bytes"] = memory[name]
        trainer = build(variant_settings(name, settings), args.data, device)
        found["profile"] = profile = profiled(trainer, device)
        (_, rate, _), (least, share, most) = (
            found["examples_per_second"],
            found["share_of_own_peak"],
        )
        print(
            f"{name}: {rate:.4g} examples/s, {share:.0%} of its precision's matmul peak"
            f" ({least:.0%} to {most:.0%}), {found['speed_against_first'][1]:.2f} times the first,"
            f" {memory[name] / 2**20:.0f} MiB; {profile['launches_per_step']:.0f} kernels a step"
        )
    if args.optimizations:
        result["optimizations"] = gains(
            settings, args.data, device, steps=args.steps, turns=args.turns
        )
        for name, found in result["optimizations"].items():
            least, gain, most = found["gain"]
            print(
                f"{name}: {gain:.2f} times as fast ({least:.2f} to {most:.2f}); predicted"
                f" {found['predicted']:.2f}"
            )
    files.write_json(args.output, result | {"measured_by": provenance(device)})


def measure_memory(args: argparse.Namespace) -> None:
    """Print the peak memory of a training of one variant, in bytes."""
    settings = variant_settings(args.variant, load_run(args.config))
    print(json.dumps(own_peak_memory(settings, args.data, choose_device(args.device))))
