"""Stop requests: whatever a command does, a signal ends it at once, and what it made is kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gram.runs.checkpoint import read_tensors
from gram.settings import RunSettings
from gram.system import files
from gram.system.errors import GramError, run
from gram.system.stopping import Stopped, listening

ROOT = Path(__file__).parents[1]
SECONDS = 2.0  # within which a command ends
# A command in which one call of a function does not end. It touches a file when it begins. "deaf"
# is a single call into a library, as is the backward pass of a large network: Python calls no
# handler before it has returned, after hours here.
COMMAND = """
import importlib, runpy, sys, time
from functools import reduce
from pathlib import Path
import torch
module, owner, name, call, kind, begun = sys.argv[1:7]
del sys.argv[1:7]
owner, _, attributes = owner.partition(":")
at = reduce(getattr, filter(None, attributes.split(".")), importlib.import_module(owner))
calls, whole = [], getattr(at, name)
def slow(*arguments, **options):
    calls.append(1)
    if len(calls) == int(call):
        Path(begun).touch()
        if kind == "deaf":
            torch.linalg.matrix_power(torch.eye(2000), 2**62 - 1)
        time.sleep(100)
    return whole(*arguments, **options)
setattr(at, name, slow)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class Ended(NamedTuple):
    """How a command ended after a signal."""

    code: int
    line: str  # of the error
    seconds: float  # since the signal


@pytest.fixture
def stop(tmp_path: Path) -> Callable[..., Ended]:
    """``stop(number, "gram.data", ("gram.data.splits", "build_tables", 1, "deaf"), ...)``.

    Sends a signal to a command in its slow call: module, function, the call's number, and the kind.
    """

    def signalled(
        number: signal.Signals, module: str, slow: tuple[object, ...], *arguments: object
    ) -> Ended:
        (tmp_path / "command.py").write_text(COMMAND, encoding="utf-8")
        begun = tmp_path / "begun"
        command = [sys.executable, tmp_path / "command.py", module, *slow, begun, *arguments]
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        while not begun.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        start = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=100)
        seconds = time.monotonic() - start
        (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in err
        return Ended(process.returncode, line, seconds)

    return signalled


@pytest.fixture
def run_folder(settings: RunSettings, tmp_path: Path) -> Path:
    """The folder of a run that was not trained."""
    files.write_json(tmp_path / "run" / "config.json", settings.as_dict())
    return tmp_path / "run"


def training(run: Path, data: Path) -> list[object]:
    """The command line of a training."""
    return ["--config", run / "config.json", "--data", data, "--output", run, "--device", "cpu"]


GOES_ON = "run the same command again to go on"


@pytest.mark.parametrize(
    ("slow", "number", "says"),
    [
        # In the first rollout; in those of step 10; in the first, second and third micro-batch.
        (
            ("gram.train.watch", "rollout", 1, "sleeps"),
            signal.SIGINT,
            "stopped before the first step",
        ),
        (
            ("gram.train.watch", "rollout", 1, "deaf"),
            signal.SIGTERM,
            "stopped before the first step",
        ),
        (("gram.train.watch", "rollout", 3, "sleeps"), signal.SIGTERM, "state saved at step 10"),
        (("gram.train.elbo", "bounds", 2, "deaf"), signal.SIGHUP, "state saved at step 10"),
        (("gram.train.trainer", "supervise", 20, "sleeps"), signal.SIGINT, "state saved at step 6"),
        (("gram.train.trainer", "supervise", 23, "deaf"), signal.SIGTERM, "state saved at step 7"),
        (
            ("gram.train.trainer:Stream", "record", 24, "deaf"),
            signal.SIGHUP,
            "state saved at step 7",
        ),
    ],
)
def test_training_ends_at_once_and_goes_on_to_the_same_bytes(
    slow: tuple[object, ...],
    number: signal.Signals,
    says: str,
    stop: Any,
    settings: RunSettings,
    change: Any,
    data_folder: Path,
    run_folder: Path,
    train_run: Any,
) -> None:
    """Of three micro-batches a step, some are in the carry already when the step is given up."""
    split = change(settings, micro_batch=3)
    files.write_json(run_folder / "config.json", split.as_dict())
    ended = stop(number, "gram.train", slow, *training(run_folder, data_folder))
    assert ended.code == 128 + number
    assert ended.line.startswith(f"error: {run_folder}: {number.name}: {says}")
    assert ended.seconds < SECONDS
    names = sorted(path.name for path in run_folder.iterdir())
    if "saved" in says:
        assert ended.line.endswith(GOES_ON) and names == ["config.json", "resume.safetensors"]
        step = read_tensors(run_folder / "resume.safetensors")[1]["step"]
        assert says == f"state saved at step {step}"
    else:
        assert names == ["config.json"]
    train_run(split, data_folder, run_folder)
    whole = train_run(split, data_folder, run_folder.with_name("whole"))
    for name in ("weights.safetensors", "history.jsonl"):
        assert (run_folder / name).read_bytes() == (whole / name).read_bytes()


DRAWING = ("gram.evaluate.evaluation", "rollouts")


@pytest.mark.parametrize(
    ("module", "slow", "number", "options"),
    [
        ("gram.evaluate", (*DRAWING, 2, "sleeps"), signal.SIGTERM, ["--width", 40]),
        ("gram.evaluate", (*DRAWING, 1, "deaf"), signal.SIGINT, []),
        (
            "gram.scaling",
            ("gram.evaluate.metrics", "expected_best", 2, "sleeps"),
            signal.SIGINT,
            [],
        ),
        ("gram.compare_samplers", (*DRAWING, 3, "deaf"), signal.SIGTERM, ["--widths", 2]),
    ],
)
def test_evaluations_end_at_once_and_write_nothing(
    module: str,
    slow: tuple[object, ...],
    number: signal.Signals,
    options: list[object],
    stop: Any,
    gram_run: Path,
    data_folder: Path,
    tmp_path: Path,
) -> None:
    where = ["--run", gram_run, "--data", data_folder, "--output", tmp_path / "out" / "test.json"]
    ended = stop(number, module, slow, *where, "--device", "cpu", *options)
    assert ended.code == 128 + number and ended.seconds < SECONDS
    assert ended.line.startswith(f"error: {number.name}: stopped on request; no file is half writ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["sleeps", "deaf"])
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [("gram.data.splits", "content_hash", 1), ("gram.data.splits:pq", "write_table", 2)],
    ids=["splitting", "writing"],
)
def test_data_end_at_once_without_a_half_written_file(
    owner: str, name: str, call: int, kind: str, stop: Any, experiment_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slow = (owner, name, call, kind)
    ended = stop(
        signal.SIGTERM, "gram.data", slow, "--experiment", experiment_file, "--output", out
    )
    assert ended.code == 143 and ended.seconds < SECONDS
    written = [path.name for path in out.iterdir()] if out.exists() else []
    assert written == ["train.parquet"] * (call - 1)


# Within this process ------------------------------------------------------------------------------


def test_a_second_signal_does_not_disturb_the_way_out() -> None:
    seen = []
    with listening(), pytest.raises(Stopped) as raised:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            seen.append("the end")
    assert seen == ["the end"] and raised.value.exit_code == 143


def test_deferred_work_asks_itself_and_may_allow_a_cut() -> None:
    with listening() as stops:
        with stops.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert stops.number == signal.SIGTERM
            with pytest.raises(Stopped), stops.allowed():
                raise AssertionError("the request came before")
        assert stops.number == signal.SIGTERM


def test_handlers_are_put_back_and_an_ignored_hang_up_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        earlier = signal.getsignal(signal.SIGTERM)
        with listening() as stops:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stops.number == 0 and signal.getsignal(signal.SIGTERM) == stops.handle
            with listening() as inner:
                assert inner is stops
        assert signal.getsignal(signal.SIGTERM) == earlier
    finally:
        signal.signal(signal.SIGHUP, before)


def test_errors_and_stops_have_a_line_and_a_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)

    def fails() -> None:
        raise GramError("a file: a key: the\nfix")

    def is_stopped() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    for main, code, line in (
        (fails, 2, "error: a file: a key: the fix\n"),
        (is_stopped, 130, f"error: {Stopped(signal.SIGINT)}\n"),
    ):
        with pytest.raises(SystemExit) as end:
            run(main)
        assert (end.value.code, capsys.readouterr().err) == (code, line)
