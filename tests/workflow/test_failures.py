"""The workflow when something is wrong: a misspelt configuration, data that differ, a training that
is killed.
"""

from __future__ import annotations

import random
import re
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pages import cells_after

ENTRY = {"task": "nqueens6", "methods": ["gram"], "seeds": [0]}
RUN = "results/runs/nqueens6/gram/seed0"
WEIGHTS, RESUME = f"{RUN}/weights.safetensors", f"{RUN}/resume.safetensors"

# What is laid over the configuration, and what one line of the output must then say.
BAD = {
    "unknown key": (
        {"sedds": [0]},
        [
            "config/config.yaml: unknown key 'sedds'; known keys: runs, quick, ablations, solving, "
            "boards_from_nothing, device, long_trainings, reference_runs, sources, estimate",
        ],
    ),
    "unknown key in a run": (
        {"runs": [ENTRY | {"seed": 1}]},
        ["config/config.yaml: runs[0]: unknown key 'seed'; did you mean 'seeds'?"],
    ),
    "wrong type": (
        {"runs": [ENTRY | {"seeds": ["a"]}]},
        ["config/config.yaml: runs[0]: seeds[0]: 'a' is not of type 'integer'"],
    ),
    "unknown experiment": (
        {"runs": [ENTRY | {"task": "nqueens66"}]},
        [
            "config/config.yaml: runs[0]: task: no experiment 'nqueens66' in config/experiments; "
            "did you mean 'nqueens6'"
        ],
    ),
    "unknown method": (
        {"runs": [ENTRY | {"methods": ["grma"]}]},
        ["config/config.yaml: runs[0]: methods: no 'grma' in nqueens6; did you mean 'gram'?"],
    ),
    "unknown ablation": (
        {"ablations": [ENTRY | {"methods": ["base"]}]},
        [
            "config/config.yaml: ablations[0]: methods: no 'base' in nqueens6; known ones: gram, "
            "deterministic"
        ],
    ),
    "quick beyond runs": (
        {"runs": [ENTRY], "quick": [ENTRY | {"seeds": [0, 7]}]},
        [
            "config/config.yaml: quick: gram on nqueens6, seed 7, is not among runs; list there "
            "what is, or `quick: null`"
        ],
    ),
    "wrong type of quick": (
        {"quick": 1},
        ["config/config.yaml: quick: 1 is not of type 'array', 'null'"],
    ),
    "a mapping in the place of a list": (
        {"quick": {}},
        ["config/config.yaml: quick: {} is not of type 'array', 'null'"],
    ),
    "device that does not exist": (
        {"device": "gpu"},
        ["config/config.yaml: device: 'gpu' does not fit: ", "such as cuda:1"],
    ),
    "a value as long as a file": (
        {"device": [ENTRY] * 1000},
        ["config/config.yaml: device: [{'", " ... ", " is not of type 'string'"],
    ),
    "more folds than inputs": (
        {"overrides": {"nqueens5": {"split": {"folds": 126}}}},
        [
            "config/experiments/nqueens5.yaml: nqueens5: split: folds: 126 is more than its 125 "
            "inputs",
            "with the overrides in config/config.yaml",
        ],
    ),
    "more queens removed than there are": (
        {"overrides": {"nqueens5": {"generator": {"removed": [3, 9]}}}},
        ["nqueens5.yaml: nqueens5: generator: removed: 9 is not between 1 and 4"],
    ),
    "override of an unknown experiment": (
        {"overrides": {"nqueens66": {}}},
        ["config/config.yaml: overrides: no experiment 'nqueens66'; did you mean 'nqueens6'"],
    ),
    "override of an unknown setting": (
        {"overrides": {"nqueens6": {"train": {"stpes": 1}}}},
        [
            "config/experiments/nqueens6.yaml",
            "unknown key 'stpes'; did you mean 'steps'?",
            "with the overrides in config/config.yaml",
        ],
    ),
}


@pytest.mark.parametrize(("values", "expected"), BAD.values(), ids=BAD.keys())
def test_bad_configuration_is_one_clear_line(
    tiny: Any, tmp_path: Path, values: dict[str, Any], expected: list[str]
) -> None:
    workflow = tiny(tmp_path / "gram")
    workflow.edit("config/config.yaml", lambda config: config.update(values))
    output = workflow.snakemake(fails=True)
    lines = output.splitlines()
    for text in expected:  # all of them in one line
        lines = [line for line in lines if text in line]
    assert lines, output
    assert "Traceback" not in output
    assert not (workflow / "results").exists()


def test_a_wrong_sum_stops_before_training(tiny: Any, tmp_path: Path) -> None:
    workflow, wrong = tiny(tmp_path / "gram"), "0" * 32
    listed = workflow / "resources/checksums.tsv"
    workflow.python(
        "gram.data", "--experiment", "config/experiments/nqueens6.yaml", "--output", "elsewhere"
    )
    workflow.python("gram.checksums", "record", "--cards", "elsewhere/card.json")
    right = workflow.json("elsewhere/card.json")["tables"]["test"]["md5"]
    content = listed.read_text(encoding="utf-8")
    listed.write_text(content.replace(right, wrong), encoding="utf-8")
    output = workflow.snakemake(WEIGHTS, fails=True)
    line = next(line for line in output.splitlines() if line.startswith("error:"))
    for text in (
        "results/data/nqueens6/test.parquet",
        right,
        wrong,
        "python -m gram.checksums record",
        "build it again",
    ):
        assert text in line
    assert workflow.text("results/logs/train/nqueens6/gram/seed0.log") == f"{line}\n"
    # The right sum is all it takes to go on.
    listed.write_text(content, encoding="utf-8")
    workflow.snakemake("results/data/nqueens6/checked.json")


def row_of(text: str, caption: str, method: str) -> list[str]:
    """The cells of a method in the Markdown table under a caption."""
    return cells_after(text[text.index(f"{caption}:\n") :], method)


def test_a_failed_method_is_a_hole_in_its_table_that_the_next_run_fills(
    tiny: Any, tmp_path: Path
) -> None:
    workflow = tiny(tmp_path / "gram")
    rate = {"train": {"learning_rate": 10.0, "weight_decay": 100.0}}  # NaN within a few steps
    workflow.edit(
        "config/experiments/nqueens6.yaml",
        lambda content: content["methods"]["deterministic"].update(rate),
    )
    both = [ENTRY | {"methods": ["gram", "deterministic"]}]
    workflow.edit("config/config.yaml", lambda config: config.update(runs=both, ablations=[]))
    output = workflow.snakemake(
        "--keep-going", "--cores", "2", "results/tables/table1.md", fails=True
    )
    assert (
        "NaN or infinite" in output
        and "results/tables/table1.md: 1 of 2 runs marked as failed" in output
    )
    text = workflow.text("results/tables/table1.md")
    assert set(row_of(text, "Accuracies", "Deterministic twin")) == {"failed"}
    assert re.fullmatch(r"\d+\.\d \(1\)", row_of(text, "Accuracies", "GRAM")[0])
    # Even without the failed method, the table is not taken for finished; the evaluation that is
    # there is kept.
    workflow.edit("config/config.yaml", lambda config: config.update(runs=[ENTRY]))
    assert workflow.planned("results/tables/table1.md") == {
        "Write table1 from all its configured runs"
    }
    workflow.edit("config/config.yaml", lambda config: config.update(runs=both))
    rate["train"]["learning_rate"] = 1e-3
    workflow.edit(
        "config/experiments/nqueens6.yaml",
        lambda content: content["methods"]["deterministic"].update(rate),
    )
    jobs = workflow.jobs("results/tables/table1.md")
    assert "Write table1 from all its configured runs" in jobs and not [
        job for job in jobs if "gram" in job
    ]
    assert "failed" not in workflow.text("results/tables/table1.md")


def long(workflow: Any) -> Any:
    """The workflow with a training that is long enough to be killed on its way."""
    steps = {"steps": 400, "save_every": 20, "eval_every": 100}
    workflow.edit(
        "config/experiments/nqueens6.yaml", lambda experiment: experiment["train"].update(steps)
    )
    return workflow


@pytest.fixture(scope="module")
def uninterrupted(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The workflow after a training that nobody killed."""
    workflow = long(tiny(tmp_path_factory.mktemp("uninterrupted") / "gram"))
    workflow.snakemake(WEIGHTS)
    return workflow


def kill_training(workflow: Any, number: signal.Signals) -> str:
    """Start the run, send its process a signal some time after its first save, and return what
    snakemake printed.
    """
    process = workflow.start(WEIGHTS)
    deadline = time.monotonic() + 120
    while not (workflow / RESUME).exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.5))
    for child in psutil.Process(process.pid).children(recursive=True):
        if "gram.train" in child.cmdline()[1:3]:
            child.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0, output
    return output


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_killed_training_goes_on_and_ends_with_the_same_weights(
    tiny: Any, tmp_path: Path, uninterrupted: Any, number: signal.Signals
) -> None:
    workflow = long(tiny(tmp_path / "gram"))
    output = kill_training(workflow, number)
    assert (workflow / RESUME).exists() and not (workflow / WEIGHTS).exists()
    if number is signal.SIGTERM:
        assert re.search(
            r"error: .*SIGTERM: state saved at step \d+; run the same command again to go on",
            output,
        ), output
    workflow.snakemake(WEIGHTS)
    assert (
        workflow.json(f"{RUN}/meta.json")["sessions"] == 2
    )  # it went on from a saved state, rather than from the start
    assert not (workflow / RESUME).exists()
    for path in (WEIGHTS, f"{RUN}/history.jsonl"):
        assert (workflow / path).read_bytes() == (uninterrupted / path).read_bytes()
