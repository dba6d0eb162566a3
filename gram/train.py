"""``python -m gram.train``: train one run to its last step, from its resume state if there is one.

``torchrun --nproc-per-node N -m gram.train`` with the same arguments spreads the run's batch over N processes.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gram import distributed
from gram.checksums import add_checksums_argument, check_cards
from gram.config import load_run
from gram.duration import refuse_long
from gram.errors import GramError, Parser, run
from gram.models.factory import parameter_count
from gram.progress import progress
from gram.stopping import Stopped, Stops, listening
from gram.timelimit import TimeLimit, add_time_limit_argument, began
from gram.trainer import WRITTEN, Trainer
from gram.writer import only_writer

# Seconds for a step on GPUs, or of several processes, which is not given up; torchrun, like Slurm,
# kills after 30.
STEP_PATIENCE = 20.0


def train(trainer: Trainer, *, refuses_long: bool = False, limit: TimeLimit | None = None) -> None:
    """Train to the last step and write the results.

    Args:
        trainer: the run.
        refuses_long: stop before the first step if those that are left take more than a day.
        limit: save and end before it.

    Raises:
        Interrupted: a signal came, to this process or another, or the time is up; the state was
            saved.
        GramError: too long, NaN or infinite loss, too little memory, or a file that cannot be
            written.
        PeerLost: another process of the run has ended.
    """
    with listening() as stops, stops.deferred():
        stops.guard, stops.farewell = trainer.changing, trainer.farewell
        if not trainer.gives_up_steps:
            stops.patience = STEP_PATIENCE
        with (limit or TimeLimit()).kept(stops.patience, trainer.model) as kept:
            train_until_stopped(trainer, stops, refuses_long, kept)


def train_until_stopped(
    trainer: Trainer, stops: Stops, refuses_long: bool, limit: TimeLimit
) -> None:
    """:func:`train`, while a signal is only remembered."""
    config, processes = trainer.config, trainer.processes
    trainer.restore()
    if processes.most(trainer.step) != trainer.step:
        raise GramError(
            f"{trainer.output}: not all processes find the same resume state; the folder must be one that all share"
        )
    if refuses_long and processes.first:
        with stops.allowed():
            refuse_long(trainer)
    with progress(
        total=config.steps,
        initial=trainer.step,
        unit="step",
        desc=trainer.output.name,
        disable=not processes.first,
    ) as bar:
        watch(trainer, stops, bar)
        before, clock = trainer.seconds, time.monotonic()
        while trainer.step < config.steps:
            trainer.train_step()
            bar.update()
            trainer.seconds = before + time.monotonic() - clock
            watch(trainer, stops, bar)
            if trainer.step < config.steps and trainer.step % config.save_every == 0:
                with limit.saving():
                    trainer.save_resume_state()
    stops.react()  # what is left is to write the results
    trainer.save_results()


def watch(trainer: Trainer, stops: Stops, bar: tqdm[Any]) -> None:
    """Between two steps: write the lines of the history that are due, and obey a stop request.

    Raises:
        Interrupted: a signal came, to this process or another; the state was saved.
    """
    processes = trainer.processes
    if trainer.losses_due:
        trainer.log_losses()
    if processes.first and trainer.rollouts_due:
        # Shown at once before the first step, where nothing else tells that this goes on.
        bar.set_postfix_str("rolling out", refresh=trainer.step == 0)
        with suppress(Stopped), stops.allowed():
            bar.set_postfix_str(describe(trainer.log_rollouts()))
    # So that a signal to one process stops all of them here.
    if number := processes.most(stops.number):
        stops.react()
        raise trainer.stopped(number)


def describe(line: dict[str, Any]) -> str:
    """A rollout line for the progress bar: valid share of validation inputs with one and with several completions."""
    counts = line["valid"]
    return " ".join(f"{key}={c['valid']}/{c['inputs']}" for key, c in counts.items())


def main() -> None:
    """Train one run; reads config.json, writes weights.safetensors, meta.json and history.jsonl; resumes by itself."""
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
        if not processes.speaks(error):
            sys.exit(error.exit_code)
        if not processes.first:
            print(file=sys.stderr)  # the first process's progress bar may stand in this line
        raise
    processes.leave()


def introduce(trainer: Trainer) -> None:
    """Say on standard error what is trained, where, and in which precision."""
    settings, count = trainer.settings, trainer.processes.count
    print(
        f"{settings.task} {settings.method} seed {settings.seed}: {parameter_count(trainer.model):,} parameters on "
        f"{trainer.device}{f' x {count} processes' if count > 1 else ''}, forward in {settings.train.precision}, "
        "weights and losses in fp32",
        file=sys.stderr,
    )


if __name__ == "__main__":
    run(main)
