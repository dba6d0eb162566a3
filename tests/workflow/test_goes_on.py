"""The same command goes on: for every rule, after a kill, a Ctrl-C, a power cut, and each output
deleted or emptied.

One workflow is built once, with each of its milestones as a target. Then one job of every rule
meets every fault in turn, and the same command must end with the bytes of the undisturbed run. The
rules and their outputs are read from the workflow and from what Snakemake recorded of the build, so
that a new rule is tried too.
"""

from __future__ import annotations

import base64
import csv
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml

from gram.system import files
from gram.system.provenance import provenance
from tests.workflow.warm import FAULTS, Warm, warm

COLUMNS = ("rule", "fault", "tried", "same_bytes", "other", "commit")
TOY = Path(__file__).parents[1] / "extension"
KEPT = "resources/reference_runs/tiny"
# What tells how long something took, or of which commit this repository is, and not what came out.
VOLATILE = {
    "seconds",
    "steps_per_second",
    "training_seconds",
    "peak_memory_bytes",
    "sessions",
    "commit",
    "dirty",
    "sha256",  # of all of the file
    "resumed",
}
LESS = {
    "gram.scaling": "--depths 1 2 --widths 1 2",
    "gram.compare_samplers": "--widths 2 --seeds 1",
    "gram.carried": "--pairs 4",
    "gram.trajectories": "--trajectories 3",
}


class Job(NamedTuple):
    """One job of the build.

    Attributes:
        rule: its rule.
        outputs: the files it made.
    """

    rule: str
    outputs: tuple[str, ...]


def without_times(value: Any) -> Any:
    """A JSON value without what differs from run to run."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in VOLATILE}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def content(path: Path) -> bytes:
    """The bytes of a result; of JSON, and of the table that adds up what runs took, without their
    times.
    """
    data = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(without_times(json.loads(data))).encode()
    return re.sub(rb"[\d.]+", b"0", data) if ".costs." in path.name else data


class Built:
    """A workflow that was built once, and runs commands in it again.

    Args:
        server: what runs Snakemake.
        workflow: the folder, with nothing built.
        milestones: what is built, by every command.
        rules: those that the workflow has, milestones left out.
    """

    def __init__(
        self, server: Warm, workflow: Any, milestones: list[str], rules: set[str] | None
    ) -> None:
        self.server, self.folder, self.milestones = server, Path(workflow.folder), milestones
        code, said = self.run()
        assert code == 0, said
        self.jobs = self.recorded()
        unmet = (rules or set()) - {job.rule for job in self.jobs}
        assert not unmet, f"no job of these rules was built, so that no fault can be tried: {unmet}"
        self.expected = {
            path: content(self.folder / path) for job in self.jobs for path in job.outputs
        }
        self.copy = self.folder.with_name("undisturbed")
        shutil.copytree(self.folder, self.copy, symlinks=True)

    def run(self, *more: str, fault: str = "", paths: Sequence[str] = ()) -> tuple[int, str]:
        """Exit code and output of the command: the milestones, and ``more`` targets; with a fault,
        it makes ``paths`` again.
        """
        options = ["--cores", str(len(paths) or 1), *(["--forcerun", *paths] if fault else [])]
        return self.server.snakemake(
            self.folder, *more, *self.milestones, *options, fault=fault, paths=paths
        )

    def job(self, rule: str) -> Job:
        """The job of a rule."""
        return next(job for job in self.jobs if job.rule == rule)

    def records(self) -> dict[str, Any]:
        """What Snakemake noted of every file that was made."""
        folder, found = self.folder / ".snakemake/metadata", {}
        for record in filter(Path.is_file, folder.rglob("*")):
            # A long name is cut into folders.
            parts = record.relative_to(folder).parts
            name = "".join(part.removeprefix("@") for part in parts)
            path = base64.urlsafe_b64decode(name).decode()
            found[path] = json.loads(record.read_text(encoding="utf-8"))
        return found

    def recorded(self) -> list[Job]:
        """One job of every rule, as Snakemake recorded it: the first that made a file under its
        first name.
        """
        found: dict[tuple[str, int], list[str]] = defaultdict(list)
        for path, facts in self.records().items():
            if facts["rule"] and (self.folder / path).exists():
                found[facts["rule"], facts["job_hash"]].append(path)
        jobs = sorted(Job(rule, tuple(sorted(paths))) for (rule, _), paths in found.items())
        first = {job.rule: job for job in reversed(jobs)}
        return sorted(first.values())

    def differing(self) -> list[str]:
        """The results that are not those of the undisturbed run."""
        return [
            path
            for path, expected in self.expected.items()
            if not (self.folder / path).exists() or content(self.folder / path) != expected
        ]

    def reset(self) -> None:
        """The folder as it was built."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.copy, self.folder, symlinks=True)

    def interrupted(self, fault: str, paths: Sequence[str]) -> str:
        """What is wrong after a fault at files that are made again, and the same command once more:
        "" if nothing is.
        """
        code, said = self.run(fault=fault, paths=paths)
        met = len(list((self.server.folder / "meeting").iterdir()))
        if met < len(paths):
            return f"only {met} of {len(paths)} jobs met the fault:\n{said[-2000:]}"
        if code == 0:
            return f"the command with the fault ended well:\n{said[-2000:]}"
        if fault == "all killed":
            code, said = self.server.snakemake(self.folder, "--unlock")
            if code:
                return f"--unlock fails:\n{said[-2000:]}"
        return self.again()

    def damaged(self, fault: str, paths: Sequence[str]) -> str:
        """What is wrong after files were deleted or emptied, and the same command: "" if nothing
        is.
        """
        for path in paths:
            if fault == "deleted":
                (self.folder / path).unlink()
            else:
                os.truncate(self.folder / path, 0)
        # What a milestone names is made again by itself; what is only needed on the way is named
        # here.
        return self.again(*paths)

    def again(self, *targets: str) -> str:
        """What is wrong after the command: "" if nothing is."""
        code, said = self.run(*targets)
        return f"the same command fails:\n{said[-2000:]}" if code else " ".join(self.differing())

    def levels(self) -> list[list[Job]]:
        """The jobs, such that none of a level needs a file of another: what befalls one is nothing
        to the others.
        """
        records = self.records()

        @functools.cache
        def level(path: str) -> int:
            return 1 + max(
                (level(one) for one in records[path]["input"] if one in records), default=0
            )

        found = defaultdict(list)
        for job in self.jobs:
            found[max(map(level, job.outputs))].append(job)
        return [found[number] for number in sorted(found)]


def keep(server: Warm, folder: Path, run: str, output: str) -> None:
    """Keep a trained run of a workflow in another folder of it."""
    command = ["-m", "gram.export", "--run", f"results/{run}", "--output", output]
    subprocess.run(
        [sys.executable, *command], cwd=folder, env=server.environment(folder), check=True
    )


def shrink(workflow: Any) -> None:
    """Experiments that train for two steps, and milestones that try no more than needed."""
    steps = {"steps": 2, "warmup_steps": 1, "eval_every": 2, "log_every": 1}
    for path in (workflow / "config/experiments").iterdir():
        workflow.edit(
            f"config/experiments/{path.name}", lambda content: content["train"].update(steps)
        )
    rules = workflow / "workflow/rules/evaluate.smk"
    text = rules.read_text(encoding="utf-8")
    for module, fewer in LESS.items():
        assert f" {module} --run" in text
        text = text.replace(f" {module} --run", f" {module} {fewer} --run")
    rules.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def built(
    server: Warm, tiny: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> Built:
    """One run on one task, with its table and figures."""
    workflow = tiny(tmp_path_factory.mktemp("built") / "gram")
    shrink(workflow)
    runs = [{"task": "nqueens6", "methods": ["gram"], "seeds": [0]}]
    workflow.edit("config/config.yaml", lambda config: config.update(runs=runs, ablations=[]))
    return Built(server, workflow, ["quick"], None)


SHARE = [
    ("check_data", "Ctrl-C"),
    ("check_data", "all killed"),
    ("configure", "emptied"),
    ("train", "job killed"),
    ("evaluate", "Ctrl-C"),
    ("evaluate", "emptied"),
    ("table", "deleted"),
]


@pytest.mark.parametrize(("rule", "fault"), SHARE, ids=[" ".join(pair) for pair in SHARE])
def test_the_same_command_goes_on(built: Built, rule: str, fault: str) -> None:
    path = built.job(rule).outputs[0]
    meet = built.interrupted if fault in FAULTS else built.damaged
    wrong = meet(fault, [path])
    if wrong:
        built.reset()
    assert not wrong


def test_a_damaged_file_is_the_same_clear_line_until_it_is_deleted(built: Built) -> None:
    os.truncate(built.folder / WEIGHTS, 1000)
    for _ in range(2):
        code, said = built.run()
        assert code != 0 and re.search(f"^error: {WEIGHTS}: .*delete it", said, re.M), said
    (built.folder / WEIGHTS).unlink()
    assert not built.again()


WEIGHTS = "results/runs/nqueens6/gram/seed0/weights.safetensors"
UNMADE = {
    "a misspelt name": (
        lambda folder: start_from(folder, "nosuch/weights.safetensors"),
        "weights.safetensors cannot be made: nosuch/weights.safetensors is missing, and no rule "
        "makes it; rule train needs it: correct the setting that names it",
    ),
    "a folder": (
        lambda folder: start_from(folder, "/"),
        "weights.safetensors cannot be made: /meta.json is missing, and no rule makes it; rule "
        "train needs it: correct the setting that names it",
    ),
    "itself": (
        lambda folder: start_from(folder, WEIGHTS),
        f"{WEIGHTS} cannot be made: {WEIGHTS} is made from itself; rule train needs it: correct "
        "the setting that names it",
    ),
    "a deleted list": (
        lambda folder: (folder / "resources/checksums.tsv").unlink(),
        "results/data/nqueens6/checked.json cannot be made: resources/checksums.tsv is missing, "
        "and no rule makes it; rule check_data needs it: restore it with git",
    ),
}


def start_from(folder: Path, path: str) -> None:
    """Let GRAM start from the weights in a file."""
    experiment = folder / "config/experiments/nqueens6.yaml"
    content = yaml.safe_load(experiment.read_text(encoding="utf-8"))
    content["methods"]["gram"] = {"train": {"initial_weights": path}}
    experiment.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.mark.parametrize(("change", "expected"), UNMADE.values(), ids=UNMADE)
def test_results_that_nothing_can_make_again_are_not_taken_for_finished(
    built: Built, change: Callable[[Path], None], expected: str
) -> None:
    config = {
        path: (built.folder / path).read_bytes()
        for path in ("config/experiments/nqueens6.yaml", "resources/checksums.tsv")
    }
    change(built.folder)
    code, said = built.run()
    for path, data in config.items():
        (built.folder / path).write_bytes(data)
    assert code != 0 and any(expected in line for line in said.splitlines()), said
    assert not built.differing()


def test_a_kept_run_in_a_folder_of_any_name(built: Built) -> None:
    strange = "resources/a `touch pwned`; [b]{c} $(touch pwned) 'd\""
    (built.folder / strange).mkdir()
    code, said = built.server.snakemake(built.folder, "--config", f"reference_runs={strange}")
    assert code != 0 and "does not fit: A folder of kept runs" in said, said
    folder = "resources/a+b@c,d=e-.f"
    run = "runs/nqueens6/gram/seed0"
    keep(built.server, built.folder, run, f"{folder}/{run}")
    shutil.rmtree(built.folder / "results/runs")
    path = built.folder / "config/config.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(
        yaml.safe_dump(yaml.safe_load(before) | {"reference_runs": folder}), encoding="utf-8"
    )
    target = f"results/{run}/weights.safetensors"
    code, said = built.server.snakemake(built.folder, target)
    (built.folder / folder / run / "history.jsonl").unlink()
    later, without = built.server.snakemake(built.folder, "results/tables/table1.md")
    built.reset()
    assert code == 0 and "Restore gram on nqueens6" in said, said
    assert not list(built.folder.rglob("pwned"))
    # A file less, and it cannot be restored, though the copy is there.
    assert later != 0 and f"{folder}/{run}/history.jsonl is missing" in without, without


@pytest.fixture(scope="module")
def extended(
    tiny: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The workflow with the toy family, which alone is made from a file, and a server that has
    it.
    """
    workflow = tiny(tmp_path_factory.mktemp("whole") / "gram")
    for name in ("gram", "config"):
        shutil.copytree(TOY / name, workflow / name, dirs_exist_ok=True)
    with warm(tmp_path_factory.mktemp("e"), workflow.folder) as server:
        server.seconds = 3600.0  # all milestones, perhaps beside other work
        workflow.server = server
        yield workflow


@pytest.fixture(scope="module")
def whole(extended: Any) -> Built:
    """Every rule of the workflow: two folds, two methods, of which one fold of one was kept, the
    toy, and all milestones.
    """
    workflow, server = extended, extended.server
    shrink(workflow)
    runs = [
        {"task": "nqueens5", "methods": ["gram", "deterministic"], "seeds": [0]},
        {"task": "toy4", "methods": ["toy"], "seeds": [0]},
    ]
    more = {"runs": runs, "ablations": [], "sources": str(TOY)}
    workflow.edit("config/config.yaml", lambda config: config.update(more))
    workflow.edit(  # samplers that start again need some depth
        "config/experiments/nqueens5.yaml", lambda content: content["evaluate"].update(depth=8)
    )
    run = "runs/nqueens5-fold0/gram/seed0"
    code, said = server.snakemake(workflow.folder, f"results/{run}/weights.safetensors")
    assert code == 0, said
    keep(server, workflow.folder, run, f"{KEPT}/{run}")
    shutil.rmtree(workflow / "results/runs")
    workflow.edit("config/config.yaml", lambda config: config.update(reference_runs=KEPT))
    names = {
        option: set(re.findall(r"^\w+$", server.snakemake(workflow.folder, option)[1], re.M))
        for option in ("--list-target-rules", "--list-rules")
    }
    milestones = names["--list-target-rules"]
    assert {"quick", "scaling"} <= milestones < names["--list-rules"]
    return Built(server, workflow, sorted(milestones), names["--list-rules"] - milestones)


@pytest.mark.slow
def test_every_rule_goes_on_after_every_fault(whole: Built) -> None:
    """Tries all of them, or those of the rules in GRAM_RULES, writes the counts where
    GRAM_RELIABILITY says, beside those of other rules that stand there, and then fails if one was
    not survived.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    wrong = {}
    chosen = os.environ.get("GRAM_RULES", "").split() or {job.rule for job in whole.jobs}

    def meet(fault: str, tried: Sequence[tuple[Job, str]]) -> None:
        paths = [path for _, path in tried]
        found = (whole.interrupted if fault in FAULTS else whole.damaged)(fault, paths)
        named = [path for path in paths if path in found.split()]
        for job, path in tried:
            counts[job.rule, fault][0] += 1
            if found and (path in named or not named):
                wrong[job.rule, fault, path] = found
            else:
                counts[job.rule, fault][1] += 1
        if found:
            whole.reset()

    for level in whole.levels():
        jobs = [job for job in level if job.rule in chosen]
        for fault in FAULTS if jobs else ():
            meet(fault, [(job, job.outputs[0]) for job in jobs])
        for row in itertools.zip_longest(*(job.outputs for job in jobs)):
            tried = [(job, path) for job, path in zip(jobs, row, strict=True) if path]
            for fault in ("deleted", "emptied"):
                meet(fault, tried)
        if table := os.environ.get("GRAM_RELIABILITY"):
            write_counts(Path(table), counts)
    print(f"{len(counts)} pairs of rule and fault, {sum(n for n, _ in counts.values())} tries")
    assert not wrong, "\n\n".join(f"{key}: {text}" for key, text in wrong.items())


def write_counts(path: Path, counts: dict[tuple[str, str], list[int]]) -> None:
    """Write the counts into a table, in which the lines of other rules stay."""
    commit = (provenance(torch.device("cpu"))["commit"] or "outside of git")[:12]
    lines: list[tuple[Any, ...]] = [
        (rule, fault, tried, same, tried - same, commit)
        for (rule, fault), (tried, same) in counts.items()
    ]
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            _, *others = map(tuple, csv.reader(file, delimiter="\t"))
        counted = {rule for rule, _ in counts}
        lines += [line for line in others if line[0] not in counted]
    files.write_tsv(path, COLUMNS, sorted(lines, key=lambda line: line[0]))
