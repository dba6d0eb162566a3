"""The stand-in for RunPod's API, fleets that use it, and small workflows whose jobs become its pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakemake_executor_plugin_runpod.api import Client
from snakemake_executor_plugin_runpod.fleet import Fleet
from snakemake_executor_plugin_runpod.key import ApiKey
from snakemake_executor_plugin_runpod.pods import Job
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume
from tests.runpod.standin import StandIn

BEAT = 0.1
STALE = 1.5


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[StandIn]:
    """The API, without pods."""
    api = StandIn(tmp_path / "standin")
    yield api
    api.stop()


def gpu_bodies(*names: str) -> list[dict[str, Any]]:
    """Requests for a pod with one of these GPUs, the preferred first."""
    return [{"image": "image", "gpu": {"id": name, "count": 1}} for name in names]


class FleetRun:
    """A fleet on a folder, and the loop that the executor is in reality."""

    def __init__(self, folder: Path, standin: StandIn, **settings: Any) -> None:
        self.folder = folder
        self.lines: list[str] = []
        volume = Volume(folder)
        defaults: dict[str, Any] = {
            "run": "test",
            "max_pods": 5,
            "budget": 10.0,
            "say": self.lines.append,
        }
        heartbeat = Heartbeat(volume.head, BEAT, STALE)
        self.fleet = Fleet(
            Client(ApiKey(standin.KEY), standin.url), volume, heartbeat, **{**defaults, **settings}
        )

    def submit(self, command: str, *gpus: str, limit: float | None = None) -> Job:
        """Put a shell command on the list."""
        task = {"command": command, "cwd": str(self.folder), "grace": 0.5, "limit": limit}
        return self.fleet.submit("rule", gpu_bodies(*(gpus or ["NVIDIA A40"])), task)

    def until(
        self, condition: Callable[[], Any], *jobs: Job, seconds: float = 20.0
    ) -> dict[str, str]:
        """Carry jobs on until a condition holds; the outcomes by then."""
        outcomes: dict[str, str] = {}
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.lines
            self.fleet.refresh()
            for job in jobs:
                if job.name not in outcomes and (outcome := self.fleet.step(job)) is not None:
                    outcomes[job.name] = outcome
                    if len(outcomes) == len(jobs):
                        return outcomes
            time.sleep(0.02)
        return outcomes

    def finish(self, *jobs: Job) -> list[str]:
        """The outcomes of jobs, in their order."""
        outcomes = self.until(lambda: False, *jobs)
        return [outcomes[job.name] for job in jobs]


@pytest.fixture
def fleet_run(tmp_path: Path, standin: StandIn) -> Iterator[Callable[..., FleetRun]]:
    """``fleet_run(budget=1.0)``: an open fleet on this test's folder, closed at the end."""
    opened: list[FleetRun] = []

    def open_one(**settings: Any) -> FleetRun:
        run = FleetRun(tmp_path / "state", standin, **settings)
        run.fleet.open()
        opened.append(run)
        return run

    yield open_one
    for run in opened:
        run.fleet.close()
