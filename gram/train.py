"""``python -m gram.train``: train one run to its last step, from its resume state if there is one."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from gram.config import load_run
from gram.errors import Interrupted, run
from gram.models.factory import parameter_count
from gram.provenance import choose_device
from gram.trainer import Trainer


class StopRequest:
    """Remembers SIGTERM or SIGINT until the loop is between two steps."""

    def __init__(self) -> None:
        self.number: int | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.number = number


def train(trainer: Trainer) -> None:
    """Train to the last step and write the results.

    Raises:
        Interrupted: SIGTERM or SIGINT came; the state was saved.
        GramError: NaN or infinite loss, or a file that cannot be written.
    """
    stop = StopRequest()
    config = trainer.config
    if not trainer.restore():
        trainer.log_rollouts()
    interval = 0.5 if sys.stderr.isatty() else 15
    before, clock = trainer.seconds, time.monotonic()
    with tqdm(total=config.steps, initial=trainer.step, unit="step", mininterval=interval, desc=trainer.output.name) as bar:
        while trainer.step < config.steps:
            trainer.train_step()
            bar.update()
            last = trainer.step == config.steps
            trainer.seconds = before + time.monotonic() - clock
            if last or trainer.step % config.log_every == 0:
                trainer.log_losses()
            if last or trainer.step % config.eval_every == 0:
                bar.set_postfix_str(describe(trainer.log_rollouts()))
            if stop.number is not None:
                trainer.save_resume_state()
                name = signal.Signals(stop.number).name
                message = f"{trainer.output}: {name}: state saved at step {trainer.step}; run the same command again to go on"
                raise Interrupted(message, stop.number)
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
    settings, device = load_run(args.config), choose_device(args.device)
    trainer = Trainer(settings, args.data, args.output, device)
    precision = settings.train.precision
    print(
        f"{settings.task} {settings.method} seed {settings.seed}: {parameter_count(trainer.model):,} parameters on {device}, "
        f"forward in {precision}, weights and losses in fp32",
        file=sys.stderr,
    )
    train(trainer)


if __name__ == "__main__":
    run(main)
