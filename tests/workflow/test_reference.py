"""Reference runs in the workflow: what is kept is restored, everything else is trained, and nothing
that was trained is lost.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CONFIG, NQUEENS6 = "config/config.yaml", "config/experiments/nqueens6.yaml"
KEPT, RUN = "resources/reference_runs/tiny", "runs/nqueens6/gram/seed0"
RESTORE, TRAIN = f"Restore gram on nqueens6, seed 0, from {KEPT}", "Train gram on nqueens6, seed 0"


@pytest.fixture(scope="module")
def trained(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workflow with one trained run that was kept, but is not asked for."""
    workflow = tiny(tmp_path_factory.mktemp("trained") / "gram")
    workflow.snakemake(f"results/{RUN}/weights.safetensors")
    workflow.python("gram.export", "--run", f"results/{RUN}", "--output", f"{KEPT}/{RUN}")
    return workflow


@pytest.fixture
def asked(trained: Any, tmp_path: Path) -> Any:
    """The same without the trained run, asking for the kept one."""
    workflow = trained.copied(tmp_path / "gram")
    shutil.rmtree(workflow / "results/runs")
    workflow.edit(CONFIG, lambda config: config.update(reference_runs=KEPT))
    return workflow


def test_kept_runs_are_restored_and_the_others_trained(asked: Any) -> None:
    jobs = asked.planned("results/tables/table1.md", "results/tables/table3.md")
    assert RESTORE in jobs and TRAIN not in jobs
    trainings = {job for job in jobs if job.startswith(("Train", "Restore"))} - {RESTORE}
    folds = {
        f"Train {method} on nqueens5-fold{fold}, seed 0"
        for method in ("gram", "deterministic")
        for fold in (0, 1)
    }
    assert trainings == {*folds, "Train deterministic on nqueens6, seed 0"}
    evaluation = "results/eval/nqueens6/gram/seed0/test.json"
    assert RESTORE in asked.jobs(evaluation)
    for name in ("weights.safetensors", "meta.json", "history.jsonl"):
        assert (asked / f"results/{RUN}/{name}").read_bytes() == (
            asked / f"{KEPT}/{RUN}/{name}"
        ).read_bytes()
    assert asked.json(evaluation)["run"]["weights_dtype"] == "float16"
    assert asked.planned(evaluation) == set()
    # Without the key, the same command trains.
    asked.edit(CONFIG, lambda config: config.update(reference_runs=None))
    assert TRAIN in asked.planned(evaluation)


def test_a_run_with_other_settings_is_not_restored(asked: Any) -> None:
    asked.edit(NQUEENS6, lambda experiment: experiment["train"].update(learning_rate=0.25))
    output = asked.snakemake(f"results/{RUN}/weights.safetensors", fails=True)
    (line,) = [line for line in output.splitlines() if line.startswith("error:")]
    for text in (
        f"{KEPT}/{RUN}/config.json: train: learning_rate: 0.0001, but 0.25",
        "leave reference_runs out",
    ):
        assert text in line
    assert not (asked / f"results/{RUN}/weights.safetensors").exists()


def test_a_trained_run_is_not_replaced(trained: Any) -> None:
    before = (trained / f"results/{RUN}/weights.safetensors").read_bytes()
    output = trained.snakemake("--config", f"reference_runs={KEPT}", "--forceall", fails=True)
    assert (
        f"reference_runs: {KEPT}: would replace results/{RUN}, which was trained here; move that "
        f"away" in output
    )
    assert "Traceback" not in output
    assert (trained / f"results/{RUN}/weights.safetensors").read_bytes() == before


def test_a_folder_without_kept_runs_is_named(trained: Any) -> None:
    output = trained.snakemake("--config", "reference_runs=resources/nothing", fails=True)
    expected = (
        "reference_runs: resources/nothing: holds no "
        "runs/{task}/{method}/seed{seed}/weights.safetensors; null trains all runs"
    )
    assert expected in output and "Traceback" not in output


def test_the_committed_reference_configuration_trains_nothing(
    committed: Any, tmp_path: Path
) -> None:
    workflow = committed(tmp_path / "gram")
    kept = list(
        (workflow.folder / "resources/reference_runs/proving_ground/runs").glob("*/*/*/meta.json")
    )
    jobs = workflow.planned("results/tables/table1.md", "--configfile", "config/reference.yaml")
    assert len([job for job in jobs if job.startswith("Restore")]) == len(kept) > 0
    assert (
        not [job for job in jobs if job.startswith("Train")]
        and "Write table1 from all its configured runs" in jobs
    )
