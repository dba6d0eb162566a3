"""A small finished project: data, runs, evaluations, tables and figures that cases then damage."""

from __future__ import annotations

import functools
import importlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gram.system import provenance
from gram.system.code_version import code_hash
from gram.train.trainer import RESUME
from tests.faults import forks
from tests.faults.damage import SEAL
from tests.faults.forks import Argv

ROOT = Path(__file__).parents[2]
EXPERIMENT, SHARED = "config/experiments/nqueens5.yaml", "config/shared/tiny.yaml"
CHECKSUMS, REPORTED, LEDGER = "resources/checksums.tsv", "resources/reported.csv", "ledger.jsonl"

TEXTS = {
    SHARED: (
        """\
model:
  {D: 16, heads: 2, ffn_hidden: 16, layers: 1, K: 1, T: 2, puzzle_tokens: 1, guidance_hidden: 8,
   decoder_hidden: 8}
train:
  steps: 12
  N_sup: 2
  batch_size: 8
  learning_rate: 3.0e-3
  warmup_steps: 4
  ema_decay: 0.9
  beta: 0.3
  kl_tokens: mean
  eval_every: 6
  eval_inputs: 4
  log_every: 4
  save_every: 5
"""
    ),
    EXPERIMENT: (
        """\
shared: tiny
generator:
  removed: [3, 4]
split:
  folds: 2
  valid_fraction: 0.1
  stratify: true
evaluate:
  depth: 2
  width: 4
methods:
  gram: {}
  deterministic:
    model:
      guidance: none
"""
    ),
    "config/experiments/coloring5.yaml": (
        """\
shared: tiny
generator:
  train: 30
  test: 10
  edge_probability: 0.5
methods:
  gram: {}
"""
    ),
    LEDGER: "".join(
        json.dumps(line) + "\n"
        for line in (
            {
                "cost": 0.25,
                "hours": 0.5,
                "outcome": "done",
                "jobs": [
                    {"rule": "train", "wildcards": {"task": "nqueens5-fold0", "method": "gram"}}
                ],
            },
            {"cost": 0.1, "hours": 0.2, "outcome": "preempted", "jobs": []},
        )
    ),
}

TASKS = ("nqueens5-fold0", "nqueens5-fold1")
METHODS = ("gram", "deterministic")
MODULES = (
    "config data checksums train evaluate pool keep restore scaling compare_samplers carried "
    "tables.__main__ figures.__main__"
).split()
# What commands import when they run; torch's compiler alone takes longer than a training here.
LATE = (
    "torch._inductor pyarrow.parquet pyarrow.dataset pandas.io.parquet "
    "matplotlib.backends.backend_svg matplotlib.backends.backend_agg PIL.PngImagePlugin"
).split()


def run_folder(task: str = TASKS[0], method: str = "gram") -> str:
    """Of a training."""
    return f"results/runs/{task}/{method}/seed0"


def evaluation(name: str, task: str = TASKS[0], method: str = "gram") -> str:
    """A file of an evaluation."""
    return f"results/eval/{task}/{method}/seed0/{name}"


def data_folder(task: str = TASKS[0]) -> str:
    """Of a data set."""
    return f"results/data/{task}"


class Command(NamedTuple):
    """A command line, and the files that it writes.

    Attributes:
        argv: module and arguments.
        outputs: what it leaves at its end.
        states: what it leaves only where it fails, so that the same command goes on from there.
    """

    argv: Argv
    outputs: tuple[str, ...]
    states: tuple[str, ...] = ()


def data(task: str = TASKS[0]) -> Command:
    """A data set from nothing."""
    folder = data_folder(task)
    names = ("train.parquet", "valid.parquet", "test.parquet", "completions.parquet", "card.json")
    argv = ("--experiment", EXPERIMENT, "--task", task, "--output", folder)
    return Command(("gram.data", *argv), tuple(f"{folder}/{name}" for name in names))


def configure(task: str = TASKS[0], method: str = "gram") -> Command:
    """The settings of a run, frozen."""
    output = f"{run_folder(task, method)}/config.json"
    argv = ("--experiment", EXPERIMENT, "--task", task, "--method", method, "--output", output)
    return Command(("gram.config", *argv), (output,))


def train(task: str = TASKS[0], method: str = "gram") -> Command:
    """A training."""
    folder = run_folder(task, method)
    argv = ("--config", f"{folder}/config.json", "--data", data_folder(task), "--output", folder)
    names = ("weights.safetensors", "history.jsonl", "meta.json")
    outputs = tuple(f"{folder}/{name}" for name in names)
    return Command(("gram.train", *argv, "--device", "cpu"), outputs, (f"{folder}/{RESUME}",))


def evaluate(task: str = TASKS[0], method: str = "gram") -> Command:
    """An evaluation with its samples."""
    outputs = (
        evaluation("test.json", task, method),
        evaluation("test.samples.parquet", task, method),
    )
    argv = ("--run", run_folder(task, method), "--data", data_folder(task), "--device", "cpu")
    more = ("--settings", "{depth: 2, width: 4}", "--output", outputs[0], "--samples", outputs[1])
    return Command(("gram.evaluate", *argv, *more), outputs)


def _of_folds(module: str, name: str, *options: str) -> Command:
    """A command that takes the runs of both folds."""
    argv = ["--run", *map(run_folder, TASKS), "--data", *map(data_folder, TASKS), "--device", "cpu"]
    output = evaluation(name, "nqueens5")
    settings = ("--settings", "{depth: 2, width: 4, reseed_every: 1}", "--output", output)
    return Command((module, *argv, *settings, *options), (output,))


def pool(method: str = "gram") -> Command:
    """Both folds as one evaluation."""
    jsons = [evaluation("test.json", task, method) for task in TASKS]
    samples = [evaluation("test.samples.parquet", task, method) for task in TASKS]
    outputs = tuple(
        evaluation(name, "nqueens5", method) for name in ("test.json", "test.samples.parquet")
    )
    argv = ["--evaluations", *jsons, "--fold-samples", *samples]
    return Command(("gram.pool", *argv, "--output", outputs[0], "--samples", outputs[1]), outputs)


POOLED = tuple(evaluation("test.json", "nqueens5", method) for method in METHODS)
METAS = tuple(f"{run_folder(task, method)}/meta.json" for task in TASKS for method in METHODS)
HISTORIES = tuple(f"{run_folder(task)}/history.jsonl" for task in TASKS)


def table(name: str = "table1") -> Command:
    """A table of the paper."""
    suffixes = (".csv", ".md", ".tex", ".html", ".summary.rst", ".summary.json")
    stem = f"results/tables/{name}"
    argv = (name, "--evaluations", *POOLED, "--reported", REPORTED, "--output", stem)
    return Command(("gram.tables.__main__", *argv), tuple(stem + suffix for suffix in suffixes))


def costs() -> Command:
    """The table of costs."""
    stem = "results/tables/table1.costs"
    argv = ("costs", "--metas", *METAS, "--ledger", LEDGER, "--output", stem)
    outputs = tuple(stem + suffix for suffix in (".csv", ".md", ".html"))
    return Command(("gram.tables.__main__", *argv), outputs)


def figure(name: str) -> Command:
    """A figure."""
    stem = f"results/figures/{name}"
    inputs: tuple[str, ...] = ("--evaluations", *POOLED)
    if name in ("training", "elbo"):
        inputs = ("--histories", *HISTORIES)
    elif name in ("scaling", "halting", "carried", "samplers"):
        source = {"halting": "scaling"}.get(name, name)
        inputs = ("--evaluations", evaluation(f"{source}.json", "nqueens5"))
    elif name == "boards":
        samples = [
            f"{one}={evaluation('test.samples.parquet', 'nqueens5', one)}" for one in METHODS
        ]
        inputs = ("--samples", *samples, "--data", *map(data_folder, TASKS))
    argv = (name, *inputs, "--output", stem)
    return Command(("gram.figures.__main__", *argv), (f"{stem}.svg", f"{stem}.png"))


FIGURES = "training elbo completions width scaling halting samplers carried boards".split()
KEPT = f"kept/runs/{TASKS[0]}/gram/seed0"
RESTORED = "restored"


def keep() -> Command:
    """A run made small."""
    names = ("weights.safetensors", "config.json", "history.jsonl", "meta.json")
    argv = ("gram.export", "--run", run_folder(), "--output", KEPT)
    return Command(argv, tuple(f"{KEPT}/{name}" for name in names))


def restore() -> Command:
    """A kept run in the place of a training."""
    argv = ("--reference", KEPT, "--config", f"{run_folder()}/config.json")
    card = ("--card", f"{data_folder()}/card.json", "--output", RESTORED)
    names = ("weights.safetensors", "history.jsonl", "meta.json")
    outputs = tuple(f"{RESTORED}/{name}" for name in names)
    return Command(("gram.restore", *argv, *card), outputs)


def verify(task: str = TASKS[0]) -> Command:
    """A data set compared with its sums."""
    output = f"{data_folder(task)}/checked.json"
    argv = ("verify", "--card", f"{data_folder(task)}/card.json", "--checksums", CHECKSUMS)
    return Command(("gram.checksums", *argv, "--output", output), (output,))


def record() -> Command:
    """The sums of data sets, listed."""
    cards = [f"{data_folder(task)}/card.json" for task in TASKS]
    return Command(
        ("gram.checksums", "record", "--checksums", CHECKSUMS, "--cards", *cards), (CHECKSUMS,)
    )


SCALING = _of_folds("gram.scaling", "scaling.json", "--depths", "1", "2", "--widths", "1", "2")
SAMPLERS = _of_folds("gram.compare_samplers", "samplers.json", "--widths", "2", "--seeds", "2")
CARRIED = _of_folds("gram.carried", "carried.json", "--split", "train")

(UNFINISHED,) = train().states

COMMANDS: dict[str, Command] = {
    "data": data(),
    "config": configure(),
    "checksums verify": verify(),
    "checksums record": record(),
    "train": train(),
    "evaluate": evaluate(),
    "pool": pool(),
    "scaling": SCALING,
    "samplers": SAMPLERS,
    "carried": CARRIED,
    "keep": keep(),
    "restore": restore(),
    "table1": table(),
    "table3": table("table3"),
    "costs": costs(),
    **{f"figure {name}": figure(name) for name in FIGURES},
}


def prepare() -> None:
    """Import what commands need, and find out once what every one of them asks git for."""
    for name in (*LATE, *(f"gram.{name}" for name in MODULES)):
        importlib.import_module(name)
    provenance._git = functools.cache(provenance._git)  # type: ignore[assignment]
    for arguments in (("status", "--porcelain", "--untracked-files=no"), ("rev-parse", "HEAD")):
        provenance._git(*arguments)
    code_hash()


def must(command: Command, folder: Path, before: Callable[[], None] | None = None) -> forks.Ended:
    """Run a command that has to succeed."""
    log = folder.parent / "build.log"
    log.unlink(missing_ok=True)
    ended = forks.command(command.argv, folder, log, before)
    if ended.code and not before:
        raise RuntimeError(f"{' '.join(command.argv)} failed ({ended.code}): {ended.text}")
    return ended


def build(folder: Path) -> None:
    """Make the project in an empty folder."""
    folder.mkdir(parents=True)
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "resources").mkdir()
    shutil.copy(ROOT / REPORTED, folder / REPORTED)
    for task in TASKS:
        must(data(task), folder)
    must(record(), folder)
    for task in TASKS:
        for method in METHODS:
            for command in (configure(task, method), train(task, method), evaluate(task, method)):
                must(command, folder)
    must(pool("deterministic"), folder)
    for name, command in COMMANDS.items():
        if name not in ("data", "config", "train", "evaluate", "checksums record"):
            must(command, folder)


def unfinish(folder: Path) -> None:
    """Take back the training of the first run to its last saved state."""
    for name in train().outputs:
        (folder / name).unlink()
    saves = 0

    def react(_: int, event: str, name: str) -> None:
        nonlocal saves
        # The file of a state is removed at the end, after all else has been written.
        if event == "os.remove" and name.endswith(RESUME):
            signal.raise_signal(signal.SIGKILL)

    ended = must(train(), folder, lambda: forks.watch_files(folder, react))
    if ended.code != -signal.SIGKILL or not (folder / UNFINISHED).exists():
        raise RuntimeError(f"the training left no resume state: {ended.text}")
    for name in train().outputs:
        (folder / name).unlink()


def copy(world: Path, folder: Path) -> None:
    """A project that shares its files with ``world``: they are replaced, never written into."""
    shutil.copytree(world, folder, copy_function=os.link, symlinks=True)


def replace(path: Path, content: bytes) -> None:
    """Give a file of a copy another content."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


# What is compared --------------------------------------------------------------------------------

VOLATILE = {
    *("seconds", "steps_per_second", "peak_memory_bytes", "sessions", "training_seconds"),
    SEAL,  # of a file with any of these
}
# What a result says of its making and does not compute with.
OF_META = {"supervision_steps_seen", "training_examples", "trained_by", "weights_dtype"}


def without(value: Any, keys: set[str]) -> Any:
    """A JSON value without some keys, at any depth."""
    if isinstance(value, dict):
        return {key: without(one, keys) for key, one in value.items() if key not in keys}
    if isinstance(value, list):
        return [without(one, keys) for one in value]
    return value


def content(path: Path, ignored: set[str] = VOLATILE) -> Any:
    """What is compared of a file: its bytes, or of JSON its value without what differs by time."""
    if path.suffix == ".json":
        return without(json.loads(path.read_text(encoding="utf-8")), ignored)
    return path.read_bytes()


def differing(
    outputs: tuple[str, ...], folder: Path, world: Path, ignored: set[str] = VOLATILE
) -> list[str]:
    """The outputs that are not as in ``world``."""
    return [
        name
        for name in outputs
        if not (folder / name).is_file()
        or content(folder / name, ignored) != content(world / name, ignored)
    ]


def strangers(folder: Path, world: Path, ignored: set[str] = frozenset()) -> list[str]:
    """Files of a project that a finished one does not have: temporary ones, locks."""
    return sorted(
        name
        for path in folder.rglob("*")
        if not path.is_dir()
        and (name := path.relative_to(folder).as_posix()) not in ignored
        and not (world / name).exists()
    )
