"""``python -m gram.train``: train one run to its last step, from its resume state if there is one.

``torchrun --nproc-per-node N -m gram.train`` with the same arguments spreads the run's batch over N processes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from gram import distributed
from gram.config import load_run
from gram.errors import GramError, Interrupted, run
from gram.models.factory import parameter_count
from gram.progress import progress
from gram.trainer import Trainer


class StopRequest:
    """Remembers the number of SIGTERM or SIGINT until the loop is between two steps; 0 if neither came."""

    def __init__(self) -> None:
        self.number = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.number = number


def train(trainer: Trainer) -> None:
    """Train to the last step and write the results.

    Raises:
        Interrupted: SIGTERM or SIGINT came, to this process or another; the state was saved.
        GramError: NaN or infinite loss, too little memory, or a file that cannot be written.
        PeerLost: another process of the run has ended.
    """
    stop = StopRequest()
    config, processes = trainer.config, trainer.processes
    resumed = trainer.restore()
    if processes.most(trainer.step) != trainer.step:
        raise GramError(
            f"{trainer.output}: not all processes find the same resume state; the folder must be one that all share"
        )
    if not resumed and processes.first:
        trainer.log_rollouts()
    before, clock = trainer.seconds, time.monotonic()
    with progress(
        total=config.steps,
        initial=trainer.step,
        unit="step",
        desc=trainer.output.name,
        disable=not processes.first,
    ) as bar:
        while trainer.step < config.steps:
            trainer.train_step()
            bar.update()
            last = trainer.step == config.steps
            trainer.seconds = before + time.monotonic() - clock
            if last or trainer.step % config.log_every == 0:
                trainer.log_losses()
            if processes.first and (last or trainer.step % config.eval_every == 0):
                bar.set_postfix_str(describe(trainer.log_rollouts()))
            number = processes.most(
                stop.number
            )  # so that a signal to one process stops all of them here
            if number:
                trainer.save_resume_state()
                name = signal.Signals(number).name
                message = f"{trainer.output}: {name}: state saved at step {trainer.step}; run the same command again to go on"
                raise Interrupted(message, number)
            if not last and trainer.step % config.save_every == 0:
                trainer.save_resume_state()
    trainer.save_results()


def describe(line: dict[str, Any]) -> str:
    """A rollout line for the progress bar: valid share of validation inputs with one and with several completions."""
    counts = line["valid"]
    return " ".join(f"{key}={c['valid']}/{c['inputs']}" for key, c in counts.items())


def main() -> None:
    """Train one run; reads config.json, writes weights.safetensors, meta.json and history.jsonl; resumes by itself."""
    parser = argparse.ArgumentParser(prog="python -m gram.train", description=main.__doc__)
    parser.add_argument("--config", type=Path, required=True, help="config.json of the run")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    args = parser.parse_args()
    processes = distributed.join()
    try:
        settings, device = load_run(args.config), processes.device(args.device)
        trainer = Trainer(settings, args.data, args.output, device, processes)
        if processes.first:
            introduce(trainer)
        train(trainer)
    except GramError as error:
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
