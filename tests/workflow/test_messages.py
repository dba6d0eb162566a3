"""What a mistake on the command line is told, and what a rerun says of its reason: one line that
names it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NQUEENS6 = "config/experiments/nqueens6.yaml"
CONFIGS = [
    f"results/runs/{run}/seed0/config.json"
    for run in ("nqueens6/gram", "nqueens5-fold0/deterministic")
]
NOTICES = (
    "Using workflow specific profile ",
    "Config file ",
    "Building DAG of jobs...",
    "left out: ",
)


@pytest.fixture(scope="module")
def fresh(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workflow in which nothing has run; for dry runs."""
    return tiny(tmp_path_factory.mktemp("fresh") / "gram")


def told(workflow: Any, *arguments: str) -> str:
    """The line with which a dry run fails; the only one, but for notices that say what was read."""
    output = workflow.snakemake("--dry-run", *arguments, fails=True)
    *notices, line = output.splitlines()
    assert all(one.startswith(NOTICES) for one in notices), output
    begin, _, message = line.partition("error: ")
    assert not begin, output
    return message


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "results/eval/nqueens9/gram/seed0/test.json",
            "no experiment 'nqueens9' in config/experiments; did you mean 'nqueens6' or "
            "'nqueens5'?",
        ),
        (
            "results/eval/nqueens6/grma/seed0/test.json",
            "no 'grma' in nqueens6; did you mean 'gram'?",
        ),
        (
            "results/eval/nqueens6/gram/seedx/test.json",
            "seedx: a seed is a whole number, as in seed0",
        ),
        (
            "results/eval/nqueens6/gram/seed7/tets.json",
            "nothing makes this; did you mean 'results/eval/nqueens6/gram/seed7/test.json'?",
        ),
        (
            "results/runs/nqueens5/gram/seed0/meta.json",
            "nqueens5 is made in folds; ask for nqueens5-fold0, nqueens5-fold1",
        ),
        ("results/data/nqueens5-fold2/card.json", "no fold 'nqueens5-fold2'; did you mean "),
        ("results/tables/tabel1.md", "no table 'tabel1'; did you mean 'table1'"),
        (
            "results/tables/table1.mdd",
            "nothing makes this; did you mean 'results/tables/table1.md'?",
        ),
        ("table1_smal", "nothing makes this; did you mean 'table1_small'?"),
        (NQUEENS6, "nothing makes this; targets: quick, table1_small, all, datasets"),
    ],
)
def test_a_target_that_nothing_makes_is_told_what_was_meant(
    fresh: Any, target: str, expected: str
) -> None:
    assert told(fresh, target).startswith(f"{target}: {expected}")


def test_a_method_of_another_experiment_is_not_one_of_this(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    workflow.edit(NQUEENS6, lambda experiment: experiment["methods"].pop("deterministic"))
    workflow.edit("config/config.yaml", lambda config: config.update(ablations=[]))
    target = "results/eval/nqueens6/deterministic/seed0/test.json"
    assert told(workflow, target) == f"{target}: no 'deterministic' in nqueens6; known ones: gram"


def test_the_command_line_is_read_as_yaml_and_named_where_it_is_wrong(fresh: Any) -> None:
    runs = "runs=[{task: nqueens6, methods: [gram], seeds: [3]}]"
    jobs = fresh.planned("results/tables/table1.md", "--config", runs, "quick=null")
    assert "Train gram on nqueens6, seed 3" in jobs and len(jobs) == 5
    wrong = runs.replace("[3]", "[three]")
    assert told(fresh, "--config", wrong) == (
        "--config: runs[0]: seeds[0]: 'three' is not of type 'integer'"
    )
    overrides = "overrides={nqueens6: {train: {stepz: 3}}}"
    assert told(fresh, "--config", overrides).endswith(
        "unknown key 'stepz'; did you mean 'steps'? "
        "(with the overrides in config/config.yaml + --config)"
    )
    assert told(fresh, "--config", "runs=[").startswith("--config runs: not YAML: ")


def test_the_file_is_named_from_which_a_wrong_value_came(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    workflow.write("more.yaml", {"runs": [{"task": "nqueens6", "methods": [], "seeds": [0]}]})
    workflow.write("last.yaml", {"device": 1})
    files = ("--configfile", "more.yaml", "last.yaml")
    assert told(workflow, *files).startswith("more.yaml: runs[0]: methods: [] ")
    workflow.write("more.yaml", {"device": 2})
    assert told(workflow, *files) == "last.yaml: device: 1 is not of type 'string'"


def test_a_broken_configuration_is_told_with_its_line(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    path = workflow / "config/config.yaml"
    path.write_text(f"{path.read_text(encoding='utf-8')}quick: [\n", encoding="utf-8")
    line = len(path.read_text(encoding="utf-8").splitlines()) + 1
    output = workflow.snakemake("--dry-run", fails=True)
    (message,) = re.findall(r"^error: (.*)$", output, re.MULTILINE)
    assert message.startswith("config/config.yaml: not a YAML file: ")
    assert f"line {line}," in message and "Traceback" not in output


@pytest.mark.parametrize(
    ("put", "expected"),
    [
        (lambda path: path.write_text("- runs"), "no mapping: holds no `key: value` at its top"),
        (os.mkfifo, "is a named pipe and not a file; name a file"),
        (
            lambda path: None,
            "no such file; restore it with git, or name one with --configfile",
        ),
    ],
    ids=("a list", "a pipe", "missing"),
)
def test_a_configuration_that_is_none_is_one_line(
    fresh: Any, put: Callable[[Path], object], expected: str
) -> None:
    path = fresh / "config/config.yaml"
    kept = path.rename(path.with_name("kept"))
    try:
        put(path)
        assert told(fresh) == f"config/config.yaml: {expected}"
    finally:
        path.unlink(missing_ok=True)
        kept.rename(path)


@pytest.mark.parametrize("content", [b"{", b"{}"])
def test_a_report_of_a_damaged_table_is_one_line(fresh: Any, content: bytes) -> None:
    path = fresh / "results/tables/table1.summary.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    said = told(fresh, "--report", "report.html")
    path.unlink()
    assert said.startswith("results/tables/table1.summary.json: not a")
    assert said.endswith("; delete it and build it again")


def test_a_file_that_is_no_experiment_stops_only_who_asks_for_it(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    folder = workflow / "config/experiments"
    shutil.copy(workflow / NQUEENS6, folder / "mytask.yaml")
    (folder / "nqueens4.yaml").write_text("methods: {gram: {train: {steps: 0}}}", encoding="utf-8")
    (folder / ".#nqueens6.yaml").symlink_to("me@host.1:2")  # the lock of an editor
    for name in ("._nqueens6", ".hidden", "nqueens6.bak", "nqueens6-fold0", "a b"):
        (folder / f"{name}.yaml").write_bytes(b"\xff")
    output = workflow.snakemake("--dry-run", CONFIGS[0])
    mytask = "config/experiments/mytask.yaml: task 'mytask': no such task"
    left_out = "config/experiments/nqueens4.yaml: gram: train: steps: 0 is less than 1"
    assert f"left out: {mytask}" in output and f"left out: {left_out}\n" in output
    assert output.count("left out") == 2
    for task, expected in {
        "nqueens4": left_out,
        "nqueens6.bak": "'nqueens6.bak' is no task: a name has letters",
    }.items():
        target = f"results/eval/{task}/gram/seed0/test.json"
        assert told(workflow, target).startswith(f"{target}: {expected}")


def test_a_key_that_stands_twice_is_told_with_its_lines(fresh: Any, tmp_path: Path) -> None:
    path = tmp_path / "more.yaml"
    path.write_text("device: cpu\nquick: null\ndevice: cuda", encoding="utf-8")
    expected = f"{path}: line 3: the key 'device' stands there twice, first in line 1"
    assert told(fresh, "--configfile", str(path)).startswith(expected)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("ref`touch pwned`", "'ref`touch pwned`' does not fit: A folder of kept runs"),
        ("../kept", "../kept: holds no runs/{task}/{method}/seed{seed}/weights.safetensors"),
    ],
)
def test_a_folder_that_holds_no_kept_runs_is_one_line(
    fresh: Any, folder: str, expected: str
) -> None:
    said = told(fresh, "--config", f"reference_runs={folder}")
    assert said.startswith(f"--config: reference_runs: {expected}")


def test_a_rerun_names_the_settings_that_changed_and_no_others(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    workflow.snakemake(*CONFIGS)
    swapped = {"eval_every": 4, "eval_inputs": 10}  # the values of each other
    workflow.edit(NQUEENS6, lambda experiment: experiment["train"].update(swapped))
    workflow.edit(
        "config/config.yaml",
        lambda config: config["overrides"]["nqueens6"].update(
            train={"weight_decay": 0.25, "beta": 0.5}
        ),
    )
    output = workflow.snakemake("--dry-run", *CONFIGS)
    (reason,) = re.findall(r"^Reason: (.*Params have changed.*)$", output, re.MULTILINE)
    before, now = reason.split("before: ")[1].split(" now: ")
    assert set(before.split(",")) == {
        "'train: eval_every: 10'",
        "'train: eval_inputs: 4'",
        "'train: weight_decay: 0.5'",
    }
    assert set(now.strip().split(",")) == {
        "'train: eval_every: 4'",
        "'train: eval_inputs: 10'",
        "'train: weight_decay: 0.25'",
    }
    assert len(reason) < 350


def test_results_of_another_form_of_params_are_kept_by_touch(tiny: Any, tmp_path: Path) -> None:
    """What is told to those who have results of a version that wrote params in another form."""
    workflow = tiny(tmp_path / "gram")
    workflow.snakemake(*CONFIGS)
    path = workflow / "workflow/rules/train.smk"
    source = path.read_text(encoding="utf-8")
    changed = source.replace('*tracked("data", "model", "train"),', '*tracked("train"),')
    assert changed != source
    path.write_text(changed, encoding="utf-8")
    assert len(workflow.planned(*CONFIGS)) == 2
    workflow.snakemake("--touch", *CONFIGS)
    assert workflow.planned(*CONFIGS) == set()
