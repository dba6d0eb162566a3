"""profiles/runpod: a dry run without a key, and pods that train the weights of a local run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runpod.standin import StandIn

RUN = "results/runs/nqueens6/gram/seed0"
EVALUATION = "results/eval/nqueens6/gram/seed0"


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    """RunPod's API, whose pods are processes of this machine."""
    api = StandIn(tmp_path / "standin")
    yield api
    api.stop()


def test_a_dry_run_needs_no_key(tiny: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    planned = tiny(tmp_path / "dry").planned("--profile", "profiles/runpod", "--cores", "all", f"{EVALUATION}/test.json")
    assert "Train gram on nqueens6, seed 0" in planned


def test_pods_train_the_weights_of_a_local_run(
    tiny: Callable[[Path], Any], tmp_path: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, remote = tiny(tmp_path / "local"), tiny(tmp_path / "remote")
    target = f"{EVALUATION}/test.json"
    local.snakemake(target)
    monkeypatch.setenv("RUNPOD_API_KEY", standin.KEY)
    settings = {
        "image": "image",
        "volume-id": "volume",
        "mount-path": tmp_path,
        "gpu-types": "NVIDIA A40",
        "beat": 0.5,
        "stale": 60,
    }
    options = [word for name, value in {**settings, "api-url": standin.url}.items() for word in (f"--runpod-{name}", str(value))]
    pace = ["--seconds-between-status-checks", "0"]
    remote.snakemake("--profile", "profiles/runpod", "--cores", "all", target, *pace, *options)

    # Training and evaluation on pods, the data on this machine.
    assert sorted(pod.body["name"].split("-")[3] for pod in standin.all) == ["evaluate", "train"]
    assert standin.pods == {}
    sums = [hashlib.md5((workflow / f"{RUN}/weights.safetensors").read_bytes()).hexdigest() for workflow in (local, remote)]
    assert sums[0] == sums[1]
    assert local.json(target)["metrics"] == remote.json(target)["metrics"]
    assert not any(standin.KEY.encode() in path.read_bytes() for path in (tmp_path / "remote").rglob("*") if path.is_file())
