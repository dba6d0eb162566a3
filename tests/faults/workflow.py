"""Kind of input: config.yaml and stray files beside the experiments, as Snakemake reads them."""

from __future__ import annotations

import copy
import importlib
import os
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gram.train.trainer import WEIGHTS
from tests.faults import damage, forks, world
from tests.faults.cases import Row
from tests.faults.settings import NAMES

KIND = "config.yaml and stray experiment files (workflow)"
NAMED = re.compile(r"config|cannot be made: ")  # the file, or what comes of it
COPIED = ("Snakefile", "workflow", "profiles", "config", "envs")
CONFIG = "config/config.yaml"
# What Snakemake prints of an exception: its class and place, or the code on the way.
FRAME = re.compile(r"^\w+(Error|Exception)\b|^ *File \"|Traceback", re.MULTILINE)
ENTRY: dict[str, Any] = {"task": "nqueens5", "methods": ["gram"], "seeds": [0]}
BASE: dict[str, Any] = {
    "runs": [ENTRY],
    "quick": None,
    "ablations": [],
    "device": "cpu",
    "long_trainings": "refuse",
    "reference_runs": None,
    "overrides": {},
}


class Reading(NamedTuple):
    """A configuration, and whether a dry run may take it."""

    name: str
    damage: Callable[[Path], None]
    may_pass: bool


def build(folder: Path) -> None:
    """The workflow with two small experiments."""
    folder.mkdir()
    for name in COPIED:
        source = world.ROOT / name
        if source.is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=skip)
        else:
            shutil.copy(source, folder / name)
    (folder / "resources").mkdir()
    for path in (world.ROOT / "resources").iterdir():
        if path.is_file():
            shutil.copy(path, folder / "resources" / path.name)
    shutil.rmtree(folder / "config/experiments")
    for name in (world.EXPERIMENT, world.SHARED, "config/experiments/coloring5.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(world.TEXTS[name], encoding="utf-8")
    (folder / CONFIG).write_text(yaml.safe_dump(BASE, sort_keys=False), encoding="utf-8")


def in_its_place(put: Callable[[Path], object]) -> Callable[[Path], None]:
    """Damage that puts something else where config.yaml was."""

    def damaged(folder: Path) -> None:
        (folder / CONFIG).unlink()
        put(folder / CONFIG)

    return damaged


def configured(**values: Any) -> bytes:
    """config.yaml with other values."""
    return yaml.safe_dump(copy.deepcopy(BASE) | values, sort_keys=False).encode()


def readings(rng: random.Random, count: int) -> Iterator[Reading]:
    """Damaged configurations, then strays, then names that a shell would take apart."""

    def write(content: bytes, path: str = CONFIG) -> Callable[[Path], None]:
        return lambda folder: world.replace(folder / path, content)

    text = configured()
    for one in [*damage.flipped(text, rng, count // 8), *damage.truncated(text, rng, count // 12)]:
        yield Reading(f"{CONFIG}: {one.name}", write(one.content), True)
    for one in damage.NO_JSON:
        yield Reading(f"{CONFIG}: {one.name}", write(one.content), one.content.strip() == b"{}")
    for key in BASE:
        for value in rng.sample(damage.WRONG, 3):
            may = (key, value) in (("quick", None), ("reference_runs", None)) or value in ([], {})
            yield Reading(f"{key}: {damage.shown(value)}", write(configured(**{key: value})), may)
    for what, put in (
        ("missing", lambda path: None),
        ("a folder", Path.mkdir),
        ("a pipe", os.mkfifo),
        ("a link to nothing", lambda path: path.symlink_to("nosuch")),
    ):
        yield Reading(f"{CONFIG}: {what}", in_its_place(put), False)
    for path in ("nosuch/weights.safetensors", "config", f"{world.run_folder()}/{WEIGHTS}"):
        overrides = {"nqueens5": {"methods": {"gram": {"train": {"initial_weights": path}}}}}
        yield Reading(f"initial_weights: {path}", write(configured(overrides=overrides)), False)
    bomb = "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    )
    yield Reading("aliases of gigabytes", write(text + f"\n{bomb}\n".encode()), False)
    yield Reading("a key twice", write(text + b"device: auto\n"), False)
    yield Reading("deep", write(text + b"x: " + b"[" * 2000 + b"]" * 2000 + b"\n"), False)
    for overrides in (
        {"nqueens5": {"methods": {"gramm": {"train": {"steps": 3}}}}},
        {"nqueens5": {"train": {"ema_decay": 1.0}}},
        {"nqueens5": {"train": {"learning_rate": float("inf")}}},
        {"nqueens5": {"train": {"learning_rate": damage.HUGE}}},
        {"nqueens5": {"split": {"folds": 100_000_000}}},
        {"nqueens5": 3},
        {"nqueens5": {"model": [1]}},
        {"nqueens5": {"generator": {"removed": {}}}},
        {"coloring5": {"generator": {"colours": 300}}},
        {"coloring5": {"generator": {"zzz": 1}}},
    ):
        yield Reading(
            f"overrides: {overrides!r:.60}", write(configured(overrides=overrides)), False
        )
    for name in (
        ".hidden",
        "._nqueens5",
        "nqueens5.bak",
        "a b",
        "x`touch pwned`",
        "-x",
        "é",
        "..x",
    ):
        for content in (b"\xff", b"{", world.TEXTS[world.EXPERIMENT].encode()):
            # A file that is no experiment's may lie there, or one line says what it may be called.
            path = f"config/experiments/{name}.yaml"
            yield Reading(f"{path}: {content[:9]!r}", write(content, path), True)
    yield Reading(
        "an editor's lock",
        lambda folder: (folder / "config/experiments/.#nqueens5.yaml").symlink_to("me@host.1:2"),
        True,
    )
    for name in rng.sample(NAMES, 8):
        content = yaml.safe_load(world.TEXTS[world.EXPERIMENT])
        content["methods"][name] = {}
        made = yaml.safe_dump(content).encode()
        yield Reading(f"a method {name!r:.30}", write(made, world.EXPERIMENT), name == "seed0")
    for name in ("ref`touch pwned`", "ref$(touch pwned)", "ref;touch pwned", "a b", "'", "../ref"):

        def kept(folder: Path, name: str = name) -> None:
            shutil.copytree(folder / "config", folder / name / "runs/nqueens5-fold0/gram/seed0")
            (folder / name / "runs/nqueens5-fold0/gram/seed0/weights.safetensors").touch()
            world.replace(folder / CONFIG, configured(reference_runs=name))

        yield Reading(f"reference_runs: {name}", kept, name == "../ref")
    for name in ("../nosuch", "/nosuch", CONFIG, "."):
        yield Reading(
            f"reference_runs: {name}: no runs", write(configured(reference_runs=name)), False
        )


def dry_run(folder: Path, log: Path) -> forks.Ended:
    """``snakemake -n`` in a fork."""

    def work() -> None:
        os.chdir(folder)
        sys.argv = ["snakemake", "--dry-run", "--quiet", "rules"]
        importlib.import_module("snakemake.cli").main()

    return forks.in_fork(work, log)


def judge(reading: Reading, ended: forks.Ended, folder: Path) -> tuple[str, str]:
    """Class and detail of a dry run."""
    if ended.endless:
        return "endless", ""
    if ended.code < 0:
        return "crash", str(ended.code)
    if (folder / "pwned").exists():
        return "wrong", "a command of the name was run"
    if ended.code == 0:
        return ("accepted", "") if reading.may_pass else ("wrong", "taken")
    told = [line for line in ended.text.splitlines() if line.startswith("error: ")]
    if FRAME.search(ended.text) or len(told) != 1 or not NAMED.search(told[0]):
        return "traceback", f"{ended.text[-200:]!r}"
    if len(told[0]) > forks.LINE:
        return "traceback", f"a line of {len(told[0]):,} characters"
    return "clear", told[0]


def rows(scratch: Path, rng: random.Random, count: int) -> Iterator[Row]:
    """``count`` dry runs, or as many as there are."""
    base, folder, log = scratch / "workflow", scratch / "dry", scratch / "dry.log"
    importlib.import_module("snakemake.cli")
    build(base)
    whole = list(readings(rng, max(count, 24)))
    for reading in rng.sample(whole, min(count, len(whole))):
        shutil.copytree(base, folder, copy_function=os.link)
        log.unlink(missing_ok=True)
        try:
            reading.damage(folder)
            found, detail = judge(reading, dry_run(folder, log), folder)
        finally:
            shutil.rmtree(folder)
        yield Row(KIND, reading.name, found, detail, 0)
    shutil.rmtree(base)
