"""``python -m tests.faults.steps --before FOLDER``: what a training step takes here against another
checkout.

One process for each of the two imports its package, then they train by turns, so that a machine
that grows slower slows both. Counted are seconds of the processor, with one thread, over whole
trainings: steps, history, saves and the files at their end.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OUTPUT = Path("resources/reliability/steps.json")
TASK, METHOD = "nqueens5-fold0", "gram"
STEPS, TURNS = 200, 5


def be(module: str, *arguments: str | Path) -> None:
    """Run ``python -m MODULE ARGUMENTS`` in this process."""
    sys.argv = [module, *map(str, arguments)]
    found = importlib.import_module(module)
    if not hasattr(found, "main"):  # a package, which an older checkout has as a module
        found = importlib.import_module(f"{module}.__main__")
    found.main()


def train_by_turns(folder: Path) -> None:
    """Prepare a run in ``folder``, and train it anew for each line of standard input; answer with
    its seconds.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    few = f"{{train: {{steps: {STEPS}, warmup_steps: 10, eval_every: {STEPS}, eval_inputs: 4}}}}"
    experiment = ("--experiment", "config/experiments/nqueens5.yaml", "--task", TASK)
    be("gram.data", *experiment, "--output", folder / "data")
    config = folder / "config.json"
    be("gram.config", *experiment, "--method", METHOD, "--overrides", few, "--output", config)
    for number, _ in enumerate(sys.stdin):
        begin = time.process_time()
        run = ("--output", folder / f"run{number}", "--device", "cpu")
        be("gram.train", "--config", config, "--data", folder / "data", *run)
        print(time.process_time() - begin, file=answers, flush=True)


def start(checkout: Path, folder: Path) -> subprocess.Popen[str]:
    """A process that trains by turns with the package of a checkout."""
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, __file__, "--in", str(folder)]
    return subprocess.Popen(command, cwd=checkout, env=environment, **pipes)


def turn(process: subprocess.Popen[str]) -> float:
    """Seconds of one training."""
    assert process.stdin and process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def commit(checkout: Path) -> str:
    """Of a checkout."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.check_output(command, cwd=checkout, text=True).strip()


def compare(before: Path) -> dict[str, Any]:
    """Milliseconds per step of both, turn by turn; a first turn of each is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {"before": before.resolve(), "now": ROOT}
        running = {name: start(path, Path(folder, name)) for name, path in checkouts.items()}
        found: dict[str, list[float]] = {name: [] for name in running}
        try:
            for number in range(TURNS + 1):
                for name, process in running.items():
                    seconds = turn(process)
                    if number:
                        found[name].append(round(1000 * seconds / STEPS, 3))
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    ratios = [now / then for then, now in zip(found["before"], found["now"], strict=True)]
    return {
        "run": f"{TASK}/{METHOD}",
        "steps": STEPS,
        "commits": {name: commit(path) for name, path in checkouts.items()},
        "milliseconds": found,
        "ratios": [round(one, 4) for one in ratios],
        "ratio": round(statistics.median(ratios), 4),
    }


def main() -> None:
    """Compare training steps of this checkout with those of another."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.steps", description=main.__doc__)
    parser.add_argument("--before", type=Path, help="another checkout of this repository")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON file to write")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder:
        sys.path.pop(0)  # the folder of this file, which is of the other checkout perhaps
        train_by_turns(args.folder)
        return
    found = compare(args.before)
    args.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(found["ratio"])


if __name__ == "__main__":
    main()
