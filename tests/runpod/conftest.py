"""The stand-in for RunPod's API, fleets that use it, and small workflows whose jobs become its
pods.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter

from snakemake_executor_plugin_runpod.api import Client
from snakemake_executor_plugin_runpod.clock import Clock
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.fleet import Fleet
from snakemake_executor_plugin_runpod.key import ApiKey
from snakemake_executor_plugin_runpod.pods import Job
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume
from tests.runpod.standin import StandIn, reply
from tests.runpod.standin_pods import PretendedPod

BEAT = 0.1
STALE = 30.0  # busy machines are slow
SOON = 1.5  # where a test waits for it


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

    def __init__(
        self, folder: Path, standin: StandIn, stale: float = STALE, **settings: Any
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        volume = Volume(folder)
        defaults: dict[str, Any] = {
            "run": "test",
            "max_pods": 5,
            "budget": 10.0,
            "say": self.lines.append,
        }
        heartbeat = Heartbeat(volume.head, BEAT, stale)
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


class PretendedClock(Clock):
    """A clock that goes on only when somebody waits."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Direct(BaseAdapter):
    """Carries requests to a stand-in without a network."""

    def __init__(self, api: StandIn) -> None:
        super().__init__()
        self.api = api

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        raw = request.body or b""
        raw = raw.encode() if isinstance(raw, str) else raw
        sign = request.headers.get("Authorization", "")
        status, payload, headers = reply(
            self.api, str(request.method), request.path_url, sign, bytes(raw)
        )
        answer = requests.Response()
        answer.status_code, answer.raw = status, io.BytesIO(payload)
        answer.headers.update(headers)
        answer.encoding = "utf-8"
        answer.request, answer.url = request, str(request.url)
        return answer

    def close(self) -> None:
        pass


class Pretence:
    """A fleet and the API in one process and by a pretended clock: an hour takes a moment. Waits
    are those of the profile.

    Args:
        folder: for the state and the stand-in.
        settings: of the fleet.
    """

    INTERVAL = 15.0  # seconds-between-status-checks

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = PretendedClock()
        self.api = StandIn(folder / "standin", port=None, clock=self.clock, kind=PretendedPod)
        self.lines: list[str] = []
        self.client = Client(ApiKey(self.api.KEY), self.api.url)
        self.client._session.mount(self.api.url, Direct(self.api))
        volume = Volume(folder / "state", "volume")
        self.heartbeat = Heartbeat(volume.head, 15.0, 300.0, self.clock)
        defaults: dict[str, Any] = {
            "run": "test",
            "max_pods": 4,
            "budget": 1000.0,
            "say": self.lines.append,
            "clock": self.clock,
        }
        self.fleet = Fleet(self.client, volume, self.heartbeat, **{**defaults, **settings})
        self.jobs: list[Job] = []
        self.outcomes: dict[str, str] = {}
        self.stopped: str | None = None

    def submit(self, count: int, *gpus: str) -> None:
        """Put jobs on the list."""
        task = {"command": "true", "cwd": "/", "grace": 30.0, "limit": None}
        bodies = gpu_bodies(*(gpus or self.api.GPUS[:3]))
        self.jobs += [self.fleet.submit("train", bodies, task) for _ in range(count)]

    def round(self) -> list[OSError]:
        """One look of the executor's, and the interval after it; what the volume did not take."""
        self.api.tick()
        troubles: list[OSError] = []
        for job in [None, *self.jobs]:
            try:
                if job is None:
                    self.fleet.refresh()
                elif job.name not in self.outcomes:
                    outcome = self.fleet.step(job)
                    if outcome is not None:
                        self.outcomes[job.name] = outcome
            except OSError as error:
                troubles.append(error)
        self.clock.now += self.INTERVAL
        return troubles

    def pass_by(self, seconds: float) -> None:
        """Let time pass, with a look of the executor's at every interval; stop where the fleet
        does.
        """
        end = self.clock.now + seconds
        while self.clock.now < end and self.stopped is None:
            try:
                assert self.round() == []
            except RunPodError as error:
                self.stopped = str(error)
                self.fleet.close()

    def most_requests(self, seconds: float, method: str | None = None) -> int:
        """The most requests that were sent within so many seconds."""
        times = [when for when, kind, _ in self.api.log if method in (None, kind)]
        most = begin = 0
        for end, when in enumerate(times):
            while times[begin] <= when - seconds:
                begin += 1
            most = max(most, end - begin + 1)
        return most


@pytest.fixture
def pretence(tmp_path: Path) -> Iterator[Callable[..., Pretence]]:
    """``pretence(budget=1.0)``: an open fleet by a pretended clock, closed at the end."""
    opened: list[Pretence] = []

    def open_one(**settings: Any) -> Pretence:
        made = Pretence(tmp_path, **settings)
        made.fleet.open()
        opened.append(made)
        return made

    yield open_one
    for made in opened:
        made.fleet.close()


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
