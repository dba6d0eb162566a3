"""``python -m gram.bench``: how fast training is here, and what it may cost elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

from gram.bench.estimate import estimate, listed, planned, rate_of, table, workflow_config
from gram.bench.names import EXPECTED
from gram.system.errors import GramError, Parser, run


def speed(args: argparse.Namespace) -> None:
    """See :func:`gram.bench.command.measure_speed`."""
    from gram.bench.command import measure_speed  # torch takes seconds, which an estimate spares

    measure_speed(args)


def memory(args: argparse.Namespace) -> None:
    """See :func:`gram.bench.command.measure_memory`."""
    from gram.bench.command import measure_memory

    measure_memory(args)


def cost(args: argparse.Namespace) -> None:
    """Print FLOPs, GPU hours and dollars of a configuration, or of some of its trainings.

    Raises:
        GramError: no GPU given or configured, a share outside 0 to 1, or a broken configuration.
    """
    config = (
        json.load(sys.stdin)
        if str(args.workflow) == "-"
        else workflow_config(args.workflow, args.root)
    )
    given = {"gpu": args.gpu, "share": args.share, "dollars_per_hour": args.dollars_per_hour}
    assumed = config.get("estimate", {}) | {
        key: value for key, value in given.items() if value is not None
    }
    if "gpu" not in assumed:
        raise GramError(f"{args.workflow}: no key `estimate` with a gpu; add it, or give --gpu")
    share, dollars = assumed.get("share"), assumed.get("dollars_per_hour")
    if (share is not None and not 0 < share <= 1) or (dollars is not None and dollars <= 0):
        raise GramError("--share must be above 0 and at most 1, and --dollars-per-hour above 0")
    trainings = args.trainings or list(listed(config, args.root))
    plan = list(planned(config, trainings, args.root))
    rate = rate_of(assumed["gpu"], share, dollars, plan[0][0].train.precision, args.root)
    # A moment, but for --memory, and for an architecture without a formula.
    counted = tqdm(plan, desc="count FLOPs", unit="method", leave=False, disable=None, delay=1)
    estimates = [estimate(settings, runs, memory=args.memory) for settings, runs in counted]
    print(*table(estimates, assumed["gpu"], rate), sep="\n")


def main() -> None:
    """Measure the training step of a run on this machine, or estimate what a configuration costs on
    another.
    """
    parser = Parser(prog="python -m gram.bench", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    speed_parser = commands.add_parser(
        "speed", help="variants side by side, and each optimization with and without"
    )
    memory_parser = commands.add_parser(
        "memory", help="peak memory of one variant, in a process of its own"
    )
    for command in (speed_parser, memory_parser):
        command.add_argument(
            "--config",
            type=Path,
            required=True,
            help="config.json of a run, as python -m gram.config writes it",
        )
        command.add_argument("--data", type=Path, required=True, help="folder of the data set")
        command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    speed_parser.add_argument("--variants", nargs="+", default=["fp32"], help=EXPECTED)
    speed_parser.add_argument(
        "--optimizations", action="store_true", help="also measure what each optimization gains"
    )
    speed_parser.add_argument("--steps", type=int, default=5, help="training steps per turn")
    speed_parser.add_argument(
        "--turns", type=int, default=6, help="how often each variant is timed"
    )
    speed_parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    memory_parser.add_argument("--variant", required=True, help=EXPECTED)
    cost_parser = commands.add_parser(
        "estimate", help="FLOPs, memory, GPU hours and dollars of a configuration"
    )
    cost_parser.add_argument(
        "--workflow",
        type=Path,
        required=True,
        help="a file as snakemake --configfile takes it; - reads a whole one from stdin",
    )
    cost_parser.add_argument(
        "--trainings",
        nargs="+",
        help="only these, as task/method/seed0; otherwise all under `runs`",
    )
    cost_parser.add_argument(
        "--gpu", help="one of resources/gpus.yaml, instead of the one in the configuration"
    )
    cost_parser.add_argument(
        "--share",
        type=float,
        help="share of its peak that training is assumed to reach, 0 to 1, likewise",
    )
    cost_parser.add_argument("--dollars-per-hour", type=float, help="its price, likewise")
    cost_parser.add_argument(
        "--memory", action="store_true", help="also memory of each training; takes minutes"
    )
    cost_parser.add_argument("--root", type=Path, default=Path("."), help="root of the repository")
    args = parser.parse_args()
    {"speed": speed, "memory": memory, "estimate": cost}[args.command](args)


if __name__ == "__main__":
    run(main)
