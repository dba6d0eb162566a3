"""What a dry run and a start print as the cost of their trainings."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gram.bench import estimate

ROOT = Path(__file__).parents[2]
GPU = {"estimate": {"gpu": "NVIDIA A100 80GB PCIe", "share": 0.5}}


def estimated(output: str) -> list[str]:
    """The lines of an estimate."""
    return [line for line in output.splitlines() if line.startswith("ESTIMATE")]


def test_a_dry_run_of_the_paper_on_pods_prints_jobs_hours_and_dollars_without_a_key(
    committed: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    trainings = [f"coloring8/{run}" for run in ("ar/seed0", "ar/seed1", "mdlm/seed2")]
    targets = [f"results/eval/{run}/test.json" for run in trainings]
    configured = ("--configfile", "config/paper.yaml", "--dry-run")
    workflow = committed(tmp_path / "paper")
    output = workflow.snakemake(
        *targets, "--profile", "profiles/runpod", "--cores", "all", *configured
    )

    assert re.search(r"^train +3$", output, flags=re.MULTILINE)  # Snakemake's own table of jobs
    config = estimate.workflow_config(ROOT / "config/paper.yaml", ROOT)
    rate = estimate.rate_of(
        config["estimate"]["gpu"], share=None, dollars=None, precision="bf16", root=ROOT
    )
    counted = [
        estimate.estimate(settings, runs)
        for settings, runs in estimate.planned(config, trainings, ROOT)
    ]
    assert [one.runs for one in counted] == [2, 1]
    lines = estimate.table(counted, config["estimate"]["gpu"], rate)
    assert estimated(output) == estimated("\n".join(lines))
    assert "others measured, not we" in lines[0] and "in all: 3 trainings" in lines[-1]


def test_only_the_trainings_that_are_needed_and_missing_are_counted(
    tiny: Callable[[Path], Any], tmp_path: Path
) -> None:
    workflow = tiny(tmp_path / "tiny")
    workflow.write("config/gpu.yaml", GPU)
    configured = ("--configfile", "config/gpu.yaml")
    run = "results/runs/nqueens6/gram/seed0/weights.safetensors"
    # Two methods on two folds, and one without folds.
    assert "in all: 5 trainings," in estimated(workflow.snakemake("--dry-run", *configured))[-1]
    started = workflow.snakemake(run, *configured)
    assert (
        len(estimated(started)) == 3 and "in all: 1 trainings," in estimated(started)[-1]
    )  # once, not again in its jobs
    assert started.index("ESTIMATE") < started.index("Train gram on nqueens6")
    assert "in all: 4 trainings," in estimated(workflow.snakemake("--dry-run", *configured))[-1]
    for silent in (
        (run, "--dry-run"),
        ("--dry-run", "--quiet", "all"),
        ("--report", "report.html", run),
    ):
        assert not estimated(workflow.snakemake(*silent, *configured)), silent


def test_the_default_prints_none(tiny: Callable[[Path], Any], tmp_path: Path) -> None:
    assert not estimated(tiny(tmp_path / "tiny").snakemake("--dry-run"))
