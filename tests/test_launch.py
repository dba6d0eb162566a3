"""Which GPU a job gets, with pretend ones: names in CUDA_VISIBLE_DEVICES, and an nvidia-smi that is
a shell script.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from gram.settings import RunSettings
from gram.system import files, launch
from gram.system.errors import GramError

ROOT = Path(__file__).parents[1]
# A module that says in a file what it was given, and then works until a file called stop appears.
JOB = """
import json, os, sys, time
from pathlib import Path
name, folder = sys.argv[1], Path(sys.argv[2])
facts = {"gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "rank": os.environ.get("RANK")}
facts |= {"arguments": sys.argv[3:]}
path = folder / f"{name}{facts['rank'] or ''}.json"
path.with_suffix(".tmp").write_text(json.dumps(facts))
path.with_suffix(".tmp").rename(path)
while not (folder / "stop").exists():
    time.sleep(0.02)
"""


class Machine:
    """A folder for locks and one for jobs; ``gpus`` is the CUDA_VISIBLE_DEVICES of all jobs.

    Args:
        folder: where to put both.
        gpus: names of the pretend GPUs, separated by commas.
    """

    def __init__(self, folder: Path, gpus: str) -> None:
        (folder / "locks").mkdir(parents=True)
        (folder / "job.py").write_text(JOB, encoding="utf-8")
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        path = os.pathsep.join(map(str, (folder, ROOT)))
        self.environment = os.environ | {
            "TMPDIR": str(folder / "locks"),
            "CUDA_VISIBLE_DEVICES": gpus,
            "PYTHONPATH": path,
        }

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        """Start a job in a session of its own."""
        command = [sys.executable, "-m", "gram.launch", *options, "job", name, str(self.folder)]
        process = subprocess.Popen(
            command, env=self.environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self.processes.append(process)
        return process

    def facts(self, name: str) -> Any:
        """What the job was given, once it runs."""
        wait_for(lambda: (self.folder / f"{name}.json").exists())
        return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    """``machine("a,b")`` has two pretend GPUs, ``machine("a")`` has one."""
    machines = []

    def make(gpus: str) -> Machine:
        machines.append(Machine(tmp_path / str(len(machines)), gpus))
        return machines[-1]

    yield make
    for one in machines:
        (one.folder / "stop").touch()
        for process in one.processes:
            process.communicate(timeout=60)


def waiting(process: subprocess.Popen[str]) -> str:
    """The line that a job prints when it finds no free GPU."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_two_jobs_get_two_gpus_and_a_third_waits_until_one_is_killed(machine: Any) -> None:
    two = machine("a,b")
    first, second = two.start("first"), two.start("second")
    assert {two.facts("first")["gpus"], two.facts("second")["gpus"]} == {"a", "b"}
    third = two.start("third")
    assert waiting(third) == "waiting: other jobs of this machine use the GPUs; 1 of a, b wanted\n"
    time.sleep(3 * launch.POLL_SECONDS)
    assert not (two.folder / "third.json").exists() and first.poll() is None is second.poll()
    second.kill()
    assert two.facts("third")["gpus"] == two.facts("second")["gpus"]


def test_the_job_is_the_process_that_was_started(machine: Any) -> None:
    """So that a signal to it reaches the training."""
    one = machine("a")
    process = one.start("first", "--device", "cuda")
    facts = one.facts("first")
    assert psutil.Process(process.pid).cmdline()[1:4] == ["-m", "job", "first"]
    assert facts == {"gpus": "a", "arguments": ["--device", "cuda"], "rank": None}


def test_a_job_takes_several_gpus_or_none(machine: Any) -> None:
    """One that needs both waits without a lock on the free one, so that a job for one GPU passes
    it.
    """
    two = machine("a,b")
    first = two.start("first")
    two.facts("first")
    both = two.start("both", "--processes", "2")
    assert waiting(both).endswith("; 2 of a, b wanted\n")
    second = two.start("second")
    assert two.facts("second")["gpus"] == "b"
    first.kill()
    second.kill()
    ranks = [two.facts(f"both{rank}") for rank in (0, 1)]
    assert [(facts["gpus"], facts["rank"]) for facts in ranks] == [("a,b", "0"), ("a,b", "1")]


def test_several_processes_end_with_torchrun(
    machine: Any, settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    """Torchrun is killed: its processes save their state, and the GPUs are free."""
    two, output = machine("a,b"), tmp_path / "run"
    files.write_json(output / "config.json", change(settings, steps=10**6, eval_inputs=0).as_dict())
    arguments = [
        "gram.train",
        "--config",
        output / "config.json",
        "--data",
        data_folder,
        "--output",
        output,
    ]
    command = [sys.executable, "-m", "gram.launch", "--processes", "2", *arguments]
    process = subprocess.Popen(
        list(map(str, command)), env=two.environment, stderr=subprocess.DEVNULL
    )
    wait_for((output / "resume.safetensors").exists)
    workers = psutil.Process(process.pid).children()
    assert ["gram.train" in worker.cmdline() for worker in workers] == [True, True]
    assert launch.try_take(["a"], 1, two.folder / "locks") is None
    process.kill()
    process.wait()
    taken = launch.try_take(["a", "b"], 2, two.folder / "locks")
    assert taken is not None
    for descriptor in itertools.chain.from_iterable(taken.values()):
        os.close(descriptor)
    wait_for(
        lambda: (
            not any(
                worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
                for worker in workers
            )
        )
    )


@pytest.mark.parametrize(
    ("gpus", "options", "given", "device"),
    [
        ("a,b", ["--device", "cpu"], "a,b", "cpu"),  # nothing is taken
        ("", ["--device", "auto"], "", "auto"),
        ("-1", [], "-1", "auto"),
        (
            "a,-1,b",
            [],
            "a",
            "auto",
        ),  # CUDA reads no further than the first name that it does not know
        ("a,b", ["--device", "cuda:1"], "b", "cuda"),
        ("a", ["--device", "gpu"], "a", "auto"),  # no driver knows it
    ],
)
def test_device_and_visible_gpus(
    machine: Any, gpus: str, options: list[str], given: str, device: str
) -> None:
    some = machine(gpus)
    some.start("job", *options)
    assert some.facts("job") == {"gpus": given, "arguments": ["--device", device], "rank": None}


def test_locks_have_the_name_of_the_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two containers or batch jobs may both call their own GPU 0, so a number is replaced by what
    the driver calls it.
    """
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf 'GPU-1-x\\nGPU-2-y\\n'\n", encoding="utf-8")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert launch.visible_gpus() == ["GPU-1-x", "GPU-2-y"]
    for value, expected in {
        "1": ["GPU-2-y"],
        "1,0": ["GPU-2-y", "GPU-1-x"],
        "GPU-2-y": ["GPU-2-y"],
        "7": ["7"],
    }.items():
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert launch.visible_gpus() == expected
    smi.write_text("#!/bin/sh\necho 'driver mismatch'\nexit 9\n", encoding="utf-8")
    assert launch.installed_gpus() == []


def test_a_gpu_that_was_asked_for_is_there_or_named(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that the driver shows is used, or the module says why not."""
    none = machine("")
    process = none.start("job", "--device", "gpu")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and err.count("\n") == 1
    assert err.startswith("error: a GPU was asked for") and "device: cpu" in err
    monkeypatch.setattr(launch, "installed_gpus", lambda: ["GPU-1"])
    monkeypatch.setattr(launch, "take", lambda gpus, count, folder: {})
    handed_on: list[str] = []
    monkeypatch.setattr(launch.os, "execv", lambda _, command: handed_on.extend(command))
    for device in ("gpu", "auto", "cuda:0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
        monkeypatch.setattr(launch.sys, "argv", ["launch", "--device", device, "gram.train"])
        launch.main()
        assert handed_on[-3:] == ["gram.train", "--device", "cuda"], device


def test_errors_name_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,b")
    with pytest.raises(
        GramError, match=r"--device cuda:2: 2 GPUs are visible here; use --device cpu or auto"
    ):
        launch.candidates("cuda:2")
    with pytest.raises(
        GramError,
        match=r"4 GPUs are needed and 2 visible; set train: processes: 2, or use --device cpu",
    ):
        launch.take(["a", "b"], 4, tmp_path)
    with pytest.raises(
        GramError,
        match=r"gram-gpu-a.lock: cannot be opened \(No such file or directory\): set TMPDIR",
    ):
        launch.take(["a"], 1, tmp_path / "nothing")


def test_a_signal_ends_a_waiting_job(machine: Any) -> None:
    one = machine("a")
    one.start("first")
    one.facts("first")
    second = one.start("second")
    waiting(second)
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) == 128 + signal.SIGTERM


def release(taken: dict[str, list[int]] | None) -> None:
    """Let go of locks."""
    for descriptor in itertools.chain.from_iterable((taken or {}).values()):
        os.close(descriptor)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/tmp/nowhere-at-all")])
def test_lock_files_are_files(make: Any, tmp_path: Path) -> None:
    """A pipe would be waited for without end, and a link leads to somebody else's folder."""
    path = tmp_path / "gram-gpu-a.lock"
    make(path)
    with pytest.raises(GramError, match=r"lock: is a .*; remove it, or set TMPDIR to a folder"):
        launch.take(["a"], 1, tmp_path)


def test_lock_files_serve_other_users_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        release(launch.try_take(["a"], 1, tmp_path))
    finally:
        os.umask(before)
    assert (tmp_path / "gram-gpu-a.lock").stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names without files")
def test_a_gpu_stays_taken_when_its_lock_file_is_removed(tmp_path: Path) -> None:
    """As by whatever tidies temporary folders."""
    taken = launch.try_take(["a"], 1, tmp_path)
    (tmp_path / "gram-gpu-a.lock").unlink()
    assert taken and launch.try_take(["a"], 1, tmp_path) is None
    release(taken)
    taken = launch.try_take(["a"], 1, tmp_path)
    assert taken
    release(taken)


def test_whoever_waits_says_so_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "SAID_EVERY", 0.01)
    monkeypatch.setattr(launch, "POLL_SECONDS", 0.02)
    tries = iter([None, None, None, {"a": []}])
    monkeypatch.setattr(launch, "try_take", lambda *_: next(tries))
    assert launch.take(["a"], 1, tmp_path) == {"a": []}
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("waiting: other jobs") and len(others) >= 2
    assert all("waiting for 0 minutes: other jobs" in line and "fuser" in line for line in others)
