"""The loop of a training: steps, what is due between them, and what ends it early."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from gram.system.errors import GramError
from gram.system.progress import progress
from gram.system.stopping import Stopped, Stops, listening
from gram.system.timelimit import TimeLimit
from gram.train.duration import refuse_long
from gram.train.trainer import Trainer

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
        stops.guard, stops.last_message = trainer.changing, trainer.last_message
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
    trainer.provenance()
    if processes.all_reduce_max(trainer.step) != trainer.step:
        raise GramError(
            f"{trainer.output}: not all processes find the same resume state; the folder must be"
            " one that all share"
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
    if number := processes.all_reduce_max(stops.number):
        stops.react()
        raise trainer.stopped(number)


def describe(line: dict[str, Any]) -> str:
    """A rollout line for the progress bar: valid share of validation inputs with one and with
    several completions.
    """
    counts = line["valid"]
    return " ".join(f"{key}={c['valid']}/{c['inputs']}" for key, c in counts.items())
