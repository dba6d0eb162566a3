"""Snakemake itself on the stand-in: whole small workflows, signals, and crashes of the head."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import snakemake.common.tests
import yaml

from snakemake_executor_plugin_runpod import Executor, ExecutorSettings
from tests.runpod.standin import StandIn

# Two seeds, each trained and evaluated on one pod. A training saves its state, waits for `go`, and
# resumes from what it saved.
SNAKEFILE = """
rule all:
    input: "table.txt"

rule data:
    output: "data.txt"
    shell: "echo on ${{RUNPOD_POD_ID:-the head}} > {output}"

rule train:
    input: "data.txt"
    output: "weights{seed}.txt"
    threads: 3
    resources: gpu=1
    shell:
        "[ ! -e saved{wildcards.seed} ] || echo resumed >> resumed.txt;"
        " touch saved{wildcards.seed}; while [ ! -e go ]; do sleep 0.05; done;"
        " echo {threads} threads >&2; echo seed {wildcards.seed} on $RUNPOD_POD_ID > {output}"

rule evaluate:
    input: "weights{seed}.txt"
    output: "score{seed}.txt"
    resources: gpu=1
    shell: "echo evaluated on $RUNPOD_POD_ID > {output}"

rule table:
    input: "data.txt", "score1.txt", "score2.txt"
    output: "table.txt"
    shell: "cat {input} > {output}"
"""


class Head:
    """A running snakemake, and what it printed."""

    def __init__(self, folder: Path, arguments: list[str], key: str) -> None:
        self.printed = folder / "printed.txt"
        with open(self.printed, "w", encoding="utf-8") as file:
            command = [sys.executable, "-m", "snakemake", *arguments]
            environment = os.environ | {"RUNPOD_API_KEY": key}
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
            )

    def wait_for(self, condition: Callable[[], Any], seconds: float = 300.0) -> None:
        """Wait until a condition holds, while it runs."""
        end = time.monotonic() + seconds
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError(self.printed.read_text())
            time.sleep(0.02)

    def output(self, *, fails: bool = False) -> str:
        """What it printed until it ended; it must have succeeded, or failed if ``fails``."""
        try:
            self.process.wait(timeout=300)
        finally:
            self.process.kill()
        output = self.printed.read_text()
        assert (self.process.returncode != 0) == fails, output
        return output


class Toy:
    """The small workflow in a folder on the pretended volume, with a profile for the stand-in."""

    def __init__(self, volume: Path, standin: StandIn) -> None:
        self.standin = standin
        self.folder = volume / "toy"
        self.folder.mkdir()
        (self.folder / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
        self.profile: dict[str, Any] = {
            "executor": "runpod",
            "cores": 1,
            "jobs": 10,
            "groups": ["train=run", "evaluate=run"],
            "seconds-between-status-checks": 0,
            "rerun-incomplete": True,
            "runpod-image": "image",
            "runpod-volume-id": "volume",
            "runpod-mount-path": str(volume),
            "runpod-gpu-types": "NVIDIA A40, NVIDIA L4",
            "runpod-budget": 1,
            "runpod-beat": 0.3,
            "runpod-stale": 30,
            "runpod-grace": 1,
            "runpod-api-url": standin.url,
        }

    def start(self, *arguments: str, **profile: Any) -> Head:
        """Start snakemake, with the key in its environment; None takes a key out of the profile."""
        folder = self.folder / "profile"
        folder.mkdir(exist_ok=True)
        content = {
            name: value for name, value in (self.profile | profile).items() if value is not None
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return Head(self.folder, ["--profile", "profile", *arguments], self.standin.KEY)

    def saved(self, *seeds: int) -> bool:
        """Whether the trainings of these seeds have begun."""
        return all((self.folder / f"saved{seed}").exists() for seed in seeds)

    def ledger(self) -> list[dict[str, Any]]:
        """What was paid."""
        return [
            json.loads(line)
            for line in (self.folder / ".snakemake/runpod/ledger.jsonl").read_text().splitlines()
        ]


@pytest.fixture
def toy(tmp_path: Path, standin: StandIn) -> Toy:
    """The small workflow."""
    return Toy(tmp_path, standin)


def files_with(key: str, folder: Path) -> list[str]:
    """Every file below a folder that holds the key."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and key.encode() in path.read_bytes()
    ]


def test_a_preempted_training_resumes_and_the_key_stays_hidden(
    toy: Toy, standin: StandIn, tmp_path: Path
) -> None:
    standin.without_capacity = {"NVIDIA A40"}
    head = toy.start("--verbose")  # without retries: those are for jobs that fail by themselves
    head.wait_for(lambda: toy.saved(1, 2))
    standin.preempt(standin.all[0])
    head.wait_for((toy.folder / "resumed.txt").exists)
    (toy.folder / "go").touch()
    output = head.output()

    data, *scores = (toy.folder / "table.txt").read_text().splitlines()
    assert data == "on the head"
    # Each seed was trained and evaluated on one pod of its own; the lost one was replaced.
    trained = [(toy.folder / f"weights{seed}.txt").read_text().split()[-1] for seed in (1, 2)]
    assert [score.split()[-1] for score in scores] == trained
    assert set(trained) == {pod.id for pod in standin.all[1:]}
    assert (toy.folder / "resumed.txt").read_text() == "resumed\n"
    # The head's single core does not bind the pods.
    assert len(standin.all) == 3
    assert standin.pods == {}
    assert sorted(line["outcome"].partition(" ")[0] for line in toy.ledger()) == [
        "done",
        "done",
        "pod",
    ]
    assert {line["compute"] for line in toy.ledger()} == {"1 x NVIDIA L4"}
    assert f"of 1.00 dollars; each pod is a line of {toy.folder}" in output
    # The key is nowhere: not on the terminal, in a file, in a request's body or a pod's
    # environment.
    assert standin.KEY not in output
    assert files_with(standin.KEY, tmp_path) == []
    assert not any(standin.KEY in text for text in standin.seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_pods_at_once(number: signal.Signals, toy: Toy, standin: StandIn) -> None:
    head = toy.start()
    head.wait_for(lambda: toy.saved(1, 2))
    head.process.send_signal(number)
    head.output(fails=True)
    assert standin.pods == {}
    assert [line["outcome"] for line in toy.ledger()] == ["ended with the head"] * 2
    assert len(standin.all) == 2
    assert json.loads((toy.folder / ".snakemake/runpod/head.json").read_text())["ended"]


def test_a_killed_head_is_replaced_and_no_job_runs_twice_at_once(
    toy: Toy, standin: StandIn
) -> None:
    patient = {"runpod-stale": 900}  # on a busy machine the next head may take minutes
    head = toy.start(**patient)
    head.wait_for(lambda: toy.saved(1, 2))
    head.process.kill()
    head.process.wait(10)
    assert len(standin.pods) == 2
    unlock = [sys.executable, "-m", "snakemake", "--cores", "1", "--unlock"]
    subprocess.run(unlock, cwd=toy.folder, check=True, capture_output=True)
    (toy.folder / "go").touch()
    output = toy.start(**patient).output()
    # Either head's pods are done before the other's begin, and what the first had finished stays
    # finished.
    assert standin.most_at_once == 2
    assert standin.pods == {}
    assert len({line["session"] for line in toy.ledger()}) == 1
    assert (toy.folder / "table.txt").exists()
    assert output.count("which an earlier head left behind") == 2


def test_a_spent_budget_is_said_once_and_ends_the_run(toy: Toy, standin: StandIn) -> None:
    output = toy.start(**{"runpod-budget": 0.0001, "runpod-max-pods": 1, "retries": 3}).output(
        fails=True
    )
    assert output.count("the budget of run snakemake is spent") == 1
    assert "Traceback" not in output
    assert len(standin.all) == 1
    assert standin.pods == {}


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"runpod-image": None}, "runpod-image: give a container image"),
        ({"envvars": ["RUNPOD_API_KEY"]}, "envvars: RUNPOD_API_KEY would be handed to the pods"),
    ],
)
def test_a_wrong_setting_is_one_line_and_no_pod(
    profile: dict[str, Any], message: str, toy: Toy, standin: StandIn
) -> None:
    output = toy.start(**profile).output(fails=True)
    assert message in output
    assert not re.search("Traceback|" + standin.KEY, output)
    assert standin.all == []


def test_jobs_may_be_checked_before_the_executor_is_ready() -> None:
    early = Executor.__new__(Executor)

    async def check() -> list[object]:
        return [info async for info in early.check_active_jobs([])]

    assert asyncio.run(check()) == []


class TestSnakemakesOwn(snakemake.common.tests.TestWorkflowsLocalStorageBase):
    """The test classes that Snakemake offers to executors: every job, also without a GPU, gets a
    pod.
    """

    __test__ = True

    @pytest.fixture(autouse=True)
    def on_the_volume(self, tmp_path: Path, standin: StandIn) -> None:
        key_file = tmp_path / "key"
        key_file.write_text(standin.KEY, encoding="utf-8")
        key_file.chmod(0o600)
        self.settings = ExecutorSettings(
            image="image",
            volume_id="volume",
            mount_path=str(tmp_path),
            gpu_types="NVIDIA A40",
            cpu_types="cpu5c",
            budget=1.0,
            key_file=key_file,
            beat=0.2,
            stale=30.0,
            api_url=standin.url,
        )

    def get_executor(self) -> str:
        return "runpod"

    def get_executor_settings(self) -> ExecutorSettings:
        return self.settings
