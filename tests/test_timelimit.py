"""A time limit: the run saves and ends before it, and goes on to the same bytes."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from gram.runs.checkpoint import read_tensors
from gram.settings import RunSettings
from gram.system import files, timelimit
from gram.system.errors import Interrupted
from gram.system.stopping import PATIENCE, Stopped
from gram.system.timelimit import SLOW, TENSORS, WAY_OUT, TimeLimit, began, seconds
from gram.train import loop
from gram.train.trainer import Trainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
REACTION = PATIENCE + WAY_OUT
# `gram.train` of which the third step does not end by itself. In the second, eight seconds of its
# hour are left, and it prints the time.
COMMAND = """
import sys, time
from types import SimpleNamespace
from gram.system import timelimit
from gram.train.__main__ import main
from gram.system.errors import run
from gram.train.trainer import Trainer
supervise, ahead, began = Trainer._supervise, [0.0], timelimit.began()
def slow(self, terms):
    if self.step == 1:
        ahead[0] = 3600 - 8 - (time.monotonic() - began)
        print(time.time(), flush=True)
    while self.step == 2:
        time.sleep(1)
    return supervise(self, terms)
Trainer._supervise = slow
clock = {"monotonic": lambda: time.monotonic() + ahead[0]}
timelimit.time = SimpleNamespace(**vars(time) | clock)
run(main)
"""


def test_a_run_cut_at_every_third_step_ends_with_the_bytes_of_one_uncut(
    gram_run: Path,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a clock of which each step takes a thousand seconds, and by the alarms of the kernel."""
    step, now = Trainer.train_step, [0.0]

    def a_thousand_seconds(trainer: Trainer) -> None:
        step(trainer)
        now[0] += 1000

    monkeypatch.setattr(Trainer, "train_step", a_thousand_seconds)
    monkeypatch.setattr(timelimit, "time", SimpleNamespace(monotonic=lambda: now[0]))
    saving = change(settings, save_every=1)
    steps: list[int] = []
    for _ in range(8):
        trainer = Trainer(saving, data_folder, tmp_path, CPU)
        with pytest.raises(Interrupted) as cut:
            loop.train(trainer, limit=TimeLimit(REACTION + 1500))
        steps.append(trainer.step)
        assert cut.value.exit_code == 143 and str(cut.value) == (
            f"{tmp_path}: time limit: state saved at step {trainer.step}; "
            "run the same command again to go on"
        )
    assert steps == [3, 6, 9, 12, 15, 18, 21, 24]
    loop.train(Trainer(saving, data_folder, tmp_path, CPU))  # which has to write the results
    for name in ("weights.safetensors", "history.jsonl"):
        assert (tmp_path / name).read_bytes() == (gram_run / name).read_bytes()
    assert files.read_json(tmp_path / "meta.json")["sessions"] == 9


def test_the_command_ends_before_its_limit_also_within_a_step(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    run = tmp_path / "run"
    files.write_json(run / "config.json", change(settings, save_every=1).as_dict())
    command = [sys.executable, "-c", COMMAND, "--config", run / "config.json"]
    command += ["--data", data_folder, "--output", run, "--device", "cpu", "--time-limit", 3600]
    process = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    took = time.time() - float(process.stdout)
    assert process.returncode == 143, process.stderr
    assert process.stderr.splitlines()[-1] == (
        f"error: {run}: time limit: state saved at step 2; run the same command again to go on"
    )
    assert read_tensors(run / "resume.safetensors")[1]["step"] == 2
    assert took < 8


def test_the_limit_counts_from_the_start_of_the_process() -> None:
    assert time.monotonic() - began() == pytest.approx(
        time.time() - psutil.Process().create_time(), abs=2
    )
    parent = psutil.Process().parent()
    assert parent is not None
    age = time.time() - parent.create_time()
    assert time.monotonic() - began(processes=2) == pytest.approx(age, abs=2)


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of every alarm that is set, at a standing clock."""
    found: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, left: found.append(left))
    monkeypatch.setattr(timelimit.time, "monotonic", lambda: 1000.0)
    return found


def test_the_alarm_leaves_time_for_a_save(
    alarms: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as the longest took, twice; before the first, for so many bytes on a slow disk."""
    model = nn.Linear(1000, 1000, bias=False)
    with TimeLimit(600.0, since=900.0).kept(20.0, model) as limit:
        before = 500 - 20 - WAY_OUT
        assert alarms == [pytest.approx(before - TENSORS * 4e6 / SLOW)]
        for took, longest in ((3.0, 3.0), (1.0, 3.0), (7.0, 7.0)):
            clock = iter([1000.0, 1000.0 + took, 1000.0])
            monkeypatch.setattr(timelimit.time, "monotonic", lambda clock=clock: next(clock))
            with limit.saving():
                pass
            assert alarms[-1] == pytest.approx(before - 2 * longest)
    assert alarms[-1] == 0  # and no alarm comes later


def test_without_a_limit_there_is_no_alarm(alarms: list[float]) -> None:
    with TimeLimit().kept(0.5, nn.Linear(2, 2)) as limit, limit.saving():
        pass
    assert alarms == [0]


def test_a_limit_that_is_over_stops_at_once(alarms: list[float]) -> None:
    with TimeLimit(10.0, since=900.0).kept(0.5, nn.Linear(2, 2)):
        assert 0 < alarms[0] < 1e-3  # zero would mean no alarm


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "a day"])
def test_a_limit_is_a_number_of_seconds(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no number of seconds; 0 is no limit"):
        seconds(text)
    assert (seconds("0"), seconds("42600")) == (0, 42600)


def test_a_time_limit_has_the_exit_code_of_sigterm() -> None:
    stopped = Stopped(signal.SIGALRM)
    assert stopped.exit_code == Stopped(signal.SIGTERM).exit_code == 143
    assert str(stopped).startswith("time limit: stopped on request")
