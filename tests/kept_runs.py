"""``python -m tests.kept_runs``: kept runs evaluated anew, and compared bit for bit.

    python -m tests.kept_runs                     # with their JSON in resources/reference_runs
    python -m tests.kept_runs --against v0.1.0    # with what the code of a commit makes of them

A kept JSON holds on the type of processor that made it. What was made on another type is left out
without ``--against``, which lets both versions of the code run on this machine instead.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gram.runs.facts import settings_noted
from gram.settings.config import differences, evaluate_settings, load_experiment, split_fold
from gram.system import files
from gram.system.errors import GramError, Parser, run
from gram.system.processor import same_type
from gram.system.provenance import provenance
from gram.system.shapes import read_evaluation

ROOT = Path(__file__).parents[1]
REFERENCE = Path("resources/reference_runs")
# When, where and by what code something was evaluated, and not what came of it.
NOT_COMPARED = ("evaluated_by", "checkpoint", files.SEAL)


class Kept(NamedTuple):
    """A kept evaluation whose run is kept with its weights.

    Attributes:
        path: of its JSON, from the root of the repository.
        facts: of its run.
    """

    path: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """As ``sudoku/sudoku4/gram/seed0``."""
        folder = self.path.parent.relative_to(REFERENCE)
        return "/".join(part for part in folder.parts if part != "eval")

    @property
    def run(self) -> Path:
        """The folder of the run, from the root of the repository."""
        task, method, seed = self.path.parts[-4:-1]
        return self.path.parents[4] / "runs" / task / method / seed

    @property
    def experiment(self) -> Path:
        """Its experiment, from the root of the repository."""
        return Path(f"config/experiments/{split_fold(self.facts['task'])[0]}.yaml")

    def settings(self) -> dict[str, Any]:
        """The section ``evaluate`` with which it was made: what it says, and what it does not say
        as its experiment has it.
        """
        experiment = load_experiment(ROOT / self.experiment)
        settings = dataclasses.asdict(evaluate_settings(experiment, self.facts["method"]))
        noted = {
            key: self.facts[fact] for key, fact in settings_noted().items() if fact in self.facts
        }
        return settings | noted


def kept_evaluations() -> list[Kept]:
    """All evaluations of test splits whose runs are kept with their weights."""
    paths = sorted((ROOT / REFERENCE).glob("*/eval/*/*/seed*/test.json"))
    every = [Kept(path.relative_to(ROOT), read_evaluation(path)["run"]) for path in paths]
    return [one for one in every if (ROOT / one.run / "weights.safetensors").is_file()]


def commands(kept: Kept, folder: Path) -> list[list[str]]:
    """What builds its data set below ``folder``, where that is not there, and evaluates it."""
    data = folder / "data" / kept.facts["task"]
    build = ["gram.data", "--experiment", str(kept.experiment), "--task", kept.facts["task"]]
    evaluate = ["gram.evaluate", "--run", str(kept.run), "--data", str(data), "--device", "cpu"]
    made = folder / kept.name
    return [
        *([] if (data / "card.json").exists() else [[*build, "--output", str(data)]]),
        [
            *[*evaluate, "--split", kept.facts["split"], "--settings", json.dumps(kept.settings())],
            *["--output", str(made / "test.json"), "--samples", str(made / "samples.parquet")],
        ],
    ]


def made_by(
    root: Path, kept: Kept, folder: Path, call: Callable[[list[str], Path], None]
) -> dict[str, Any]:
    """The evaluation that the code at ``root`` makes of a kept run.

    Args:
        root: a checkout of this repository.
        kept: the evaluation.
        folder: where data sets and evaluations are written.
        call: runs a module of the code, with its arguments.
    """
    for command in commands(kept, folder):
        call(command, root)
    made: dict[str, Any] = files.read_json(folder / kept.name / "test.json")
    return made


def in_process_of_its_own(command: list[str], root: Path) -> None:
    """Run a module of the code at ``root``.

    Raises:
        GramError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.fspath(root)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise GramError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")


def comparable(content: Mapping[str, Any], renamed: Mapping[str, str]) -> Any:
    """An evaluation without what is not compared, with the new names of renamed keys."""
    run_facts = {key: v for key, v in content["run"].items() if key not in NOT_COMPARED}
    kept = {key: value for key, value in content.items() if key not in NOT_COMPARED}
    return _renamed(kept | {"run": run_facts}, renamed)


def _renamed(value: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {renamed.get(key, key): _renamed(one, renamed) for key, one in value.items()}
    return [_renamed(one, renamed) for one in value] if isinstance(value, list) else value


def found_otherwise(
    before: Mapping[str, Any], now: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> list[str]:
    """The keys in which an evaluation is another one now, with both values; sections, and facts of
    the run, that came later do not count.
    """
    one, other = (comparable(content, renamed or {}) for content in (before, now))
    other = {key: value for key, value in other.items() if key in one}
    other["run"] = {key: value for key, value in other["run"].items() if key in one["run"]}
    return [f"{key}: {was!r}, now {is_!r}" for key, was, is_ in differences(one, other)]


def made_here(kept: Kept) -> bool:
    """Whether a processor of this type made the kept JSON."""
    here = provenance(torch.device("cpu"))
    return same_type(kept.facts["evaluated_by"], here) is True


def check(every: Sequence[Kept], commit: str, renamed: Mapping[str, str], folder: Path) -> int:
    """Compare all, and print a line for each; returns how many differ."""
    if commit:
        other = folder / "code"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(other), commit], check=True)
    differing = 0
    try:
        for kept in every:
            if not (commit or made_here(kept)):
                print(f"{kept.name}: left out: made on {kept.facts['evaluated_by']['device']}")
                continue
            start = time.monotonic()
            now = made_by(ROOT, kept, folder / "now", in_process_of_its_own)
            before = (
                made_by(other, kept, folder / "before", in_process_of_its_own)
                if commit
                else files.read_json(ROOT / kept.path)
            )
            wrong = found_otherwise(before, now, renamed)
            differing += bool(wrong)
            said = f"DIFFERS: {wrong[0]}" if wrong else "the same"
            print(f"{kept.name}: {said} ({time.monotonic() - start:.0f} s)", flush=True)
    finally:
        if commit:
            subprocess.run([*git, "remove", "--force", str(other)], check=True)
    return differing


def main() -> None:
    """Evaluate all kept runs anew and compare what comes of them bit for bit."""
    parser = Parser(prog="python -m tests.kept_runs", description=main.__doc__)
    parser.add_argument("--against", default="", help="a commit, whose code makes what is compared")
    parser.add_argument("--only", default="", help="part of the names of the runs to take")
    parser.add_argument(
        "--renamed",
        nargs="*",
        default=[],
        help="keys that had another name before, as old=new",
    )
    args = parser.parse_args()
    every = [kept for kept in kept_evaluations() if args.only in kept.name]
    renamed = dict(pair.split("=") for pair in args.renamed)
    with tempfile.TemporaryDirectory() as folder:
        differing = check(every, args.against, renamed, Path(folder))
    if differing:
        raise GramError(f"{differing} of {len(every)} kept runs are evaluated otherwise now")


if __name__ == "__main__":
    run(main)
