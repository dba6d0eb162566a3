"""``python -m gram.train``: train one run to its last step, from its resume state if there is one.

``torchrun --nproc-per-node N -m gram.train`` with the same arguments spreads the run's batch over N
processes.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

from gram.data.checksums import add_checksums_argument, check_cards
from gram.models.factory import parameter_count
from gram.settings.config import load_run
from gram.system.errors import GramError, Parser, run
from gram.system.stopping import Stopped
from gram.system.timelimit import TimeLimit, add_time_limit_argument, began
from gram.system.writer import only_writer
from gram.train import distributed
from gram.train.loop import train
from gram.train.trainer import WRITTEN, Trainer


def main() -> None:
    """Train one run; reads config.json, writes weights.safetensors, meta.json and history.jsonl;
    resumes by itself.
    """
    parser = Parser(prog="python -m gram.train", description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config.json of the run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    add_checksums_argument(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument(
        "--long-trainings",
        choices=("refuse", "allow"),
        default="refuse",
        help="what to do with a training that would take more than a day on this device",
    )
    add_time_limit_argument(parser)
    args = parser.parse_args()
    processes = distributed.join()
    limit = TimeLimit(args.time_limit, since=began(processes.count))
    try:
        settings, device = load_run(args.config), processes.device(args.device)
        # Before anything is written: bad settings or data leave no folder behind.
        check_cards([args.data], args.checksums)
        trainer = Trainer(settings, args.data, args.output, device, processes)
        with only_writer(args.output, WRITTEN) if processes.first else nullcontext():
            if processes.first:
                introduce(trainer)
            train(trainer, refuses_long=args.long_trainings == "refuse", limit=limit)
    except (GramError, Stopped) as error:
        if not processes.prints_error(error):
            sys.exit(error.exit_code)
        if not processes.first:
            print(file=sys.stderr)  # the first process's progress bar may stand in this line
        raise
    processes.leave()


def introduce(trainer: Trainer) -> None:
    """Say on standard error what is trained, where, and in which precision."""
    settings, count = trainer.settings, trainer.processes.count
    print(
        f"{settings.task} {settings.method} seed {settings.seed}:"
        f" {parameter_count(trainer.model):,} parameters on"
        f" {trainer.device}{f' x {count} processes' if count > 1 else ''}, forward in"
        f" {settings.train.precision}, weights and losses in fp32, products of fp32 in"
        f" {trainer.matmul}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    run(main)
