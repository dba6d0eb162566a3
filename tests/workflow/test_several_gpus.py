"""Several GPUs on one machine, with pretend ones: each job has its own, and a training that asks
for two runs in two processes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

LOCAL = ("--profile", "profiles/local", "--config", "device=auto")
EXPERIMENT = "config/experiments/nqueens6.yaml"


@pytest.fixture(scope="module")
def workflow(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The tiny workflow on a machine with the GPUs a and b; torch sees neither and computes on the
    CPU.
    """
    folder = tmp_path_factory.mktemp("machine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
        patch.setenv("TMPDIR", str(folder))
        workflow = tiny(folder / "gram")
        workflow.edit(
            EXPERIMENT,
            lambda content: content["methods"]["deterministic"].update(train={"processes": 2}),
        )
        yield workflow


def gpus_in_use(process: Any) -> list[str]:
    """The GPUs of the trainings that run below a process."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.cmdline()[2:3] == ["gram.train"]:
                found.append(child.environ()["CUDA_VISIBLE_DEVICES"])
        except psutil.Error:  # it has just ended
            pass
    return found


def test_two_trainings_at_once_have_their_own_gpus(workflow: Any) -> None:
    runs = [f"results/runs/nqueens6/gram/seed{seed}/weights.safetensors" for seed in range(2)]
    process = workflow.start(*runs, *LOCAL, "--resources", "gpu=2", "--cores", "2")
    seen: Counter[tuple[str, ...]] = Counter()
    while process.poll() is None:
        seen[tuple(sorted(gpus_in_use(process)))] += 1
        time.sleep(0.05)
    assert process.returncode == 0, process.communicate()
    assert ("a", "b") in seen and set(seen) <= {(), ("a",), ("b",), ("a", "b")}


def test_a_training_on_two_gpus_runs_under_torchrun(workflow: Any) -> None:
    run, log = (
        "results/runs/nqueens6/deterministic/seed0",
        "results/logs/train/nqueens6/deterministic/seed0.log",
    )
    # With fewer GPUs in the profile's total, the same run has as many processes as there are.
    assert "--processes 1 gram.train" in workflow.snakemake(
        f"{run}/weights.safetensors", *LOCAL, "--dry-run"
    )
    workflow.snakemake(f"{run}/weights.safetensors", *LOCAL, "--resources", "gpu=2")
    assert workflow.json(f"{run}/meta.json")["processes"] == 2
    lines = workflow.text(log).splitlines()
    assert [line for line in lines if " x 2 processes" in line] and not [
        line for line in lines if line.startswith("error")
    ]
    assert (
        workflow.planned(f"{run}/weights.safetensors", *LOCAL) == set()
    )  # another number of GPUs trains nothing anew


def test_a_gpu_that_is_not_there_is_missed(workflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = "results/runs/nqueens6/gram/seed7/weights.safetensors"
    output = workflow.snakemake(run, *LOCAL, fails=True)
    (line,) = {line for line in output.splitlines() if line.startswith("error: ")}
    assert "a GPU was asked for (--resources gpu=N" in line and "device: cpu" in line
    # Without the profile nobody asks for one.
    assert "--device auto" in workflow.snakemake(
        run, "--config", "device=auto", "--dry-run", "--printshellcmds"
    )
