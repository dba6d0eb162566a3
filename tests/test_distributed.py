"""Several processes against one: real ``torchrun`` on the CPU, over gloo."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.runs.checkpoint import read_tensors
from gram.settings import RunSettings
from gram.system import files, provenance
from gram.system.errors import GramError
from gram.train import distributed, loop
from gram.train.distributed import PeerLost, Processes
from gram.train.trainer import Trainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def torchrun(program: Sequence[object], processes: int = 2, **more: Any) -> subprocess.Popen[str]:
    """``torchrun --nproc-per-node 2 ...`` as a user starts it, in a session of its own."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        processes,
        *program,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def arguments(folder: Path, data: Path) -> list[object]:
    """The program and its arguments, for the run in ``folder``."""
    return [
        "-m",
        "gram.train",
        "--device",
        "cpu",
        "--config",
        folder / "config.json",
        "--data",
        data,
        "--output",
        folder,
    ]


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's history."""
    return [
        json.loads(line)
        for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def assert_same_run(one: Path, other: Path) -> None:
    """Both runs have the same history and weights, but for rounding."""
    for a, b in zip(history(one), history(other), strict=True):
        assert a.keys() == b.keys() and a["step"] == b["step"]
        if a["event"] == "losses":
            assert {k: v for k, v in b.items() if k != "event"} == pytest.approx(
                {k: v for k, v in a.items() if k != "event"}, rel=1e-3, abs=1e-5
            )
    tensors = [read_tensors(folder / "weights.safetensors")[0] for folder in (one, other)]
    assert (
        max(float((tensors[0][name] - tensors[1][name]).abs().max()) for name in tensors[0]) < 1e-3
    )


def error_lines(text: str) -> list[str]:
    """What gram itself said about an error, beside what torchrun says."""
    return [line for line in text.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    "variant",
    [{}, {"halt": "q", "micro_batch": 3, "supervision": "streaming"}],
    ids=["plain", "halting"],
)
def test_two_processes_are_one(
    variant: dict[str, Any],
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    train_run: Any,
) -> None:
    settings = change(settings, steps=8, log_every=1, eval_every=4, **variant)
    one = train_run(change(settings, micro_batch=None), data_folder, tmp_path / "one")
    files.write_json(tmp_path / "two" / "config.json", settings.as_dict())
    process = torchrun(arguments(tmp_path / "two", data_folder))
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert_same_run(one, tmp_path / "two")
    assert err.count("parameters on cpu x 2 processes") == 1  # only the first process says it
    a, b = (files.read_json(folder / "meta.json") for folder in (one, tmp_path / "two"))
    assert (a["processes"], b["processes"]) == (1, 2) and a["training_examples"] == b[
        "training_examples"
    ]
    assert sorted(path.name for path in one.iterdir()) == sorted(
        path.name for path in (tmp_path / "two").iterdir()
    )


def test_stopped_runs_go_on_with_another_number_of_processes(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any, train_run: Any
) -> None:
    """One process, then two that a signal to one of them stops, then one again."""
    # A tenth of the fixture's rate: AdamW turns differences of rounding into steps of its rate
    # wherever a gradient is near zero, and how many there are depends on the processor.
    settings = change(settings, steps=150, learning_rate=3e-4, T=1, save_every=5, eval_every=50)
    whole, output = train_run(settings, data_folder, tmp_path / "whole"), tmp_path / "parts"
    resume = output / "resume.safetensors"
    first = Trainer(settings, data_folder, output, CPU)
    first.log_rollouts()
    for step in range(1, 8):
        first.train_step()
        if step % 5 == 0:
            first.log_losses()
    first.save_resume_state()
    files.write_json(output / "config.json", settings.as_dict())
    process = torchrun(arguments(output, data_folder))
    before = resume.stat().st_mtime_ns
    while process.poll() is None and resume.stat().st_mtime_ns == before:
        time.sleep(0.005)
    workers = [
        int(pid)
        for pid in subprocess.check_output(["pgrep", "-P", str(process.pid)], text=True).split()
    ]
    os.kill(workers[-1], signal.SIGTERM)
    _, err = process.communicate(timeout=600)
    stopped = read_tensors(resume)[1]["step"]
    message = (
        f"error: {output}: SIGTERM: state saved at step {stopped}; run the same command again to"
        " go on"
    )
    assert error_lines(err) == [message], err
    assert err.count("Traceback") == 1  # torchrun's own
    assert 7 < stopped < 150
    train_run(settings, data_folder, output)
    assert files.read_json(output / "meta.json")["sessions"] == 3
    assert_same_run(whole, output)


# A program that trains as the command does, but in which one process meets a failure.
FAILING = """
import os, signal, sys, torch
from datetime import timedelta
from gram.train import distributed
from gram.train.__main__ import main
from gram.system.errors import run
from gram.train.trainer import Trainer
kind, step = sys.argv.pop(1), Trainer.train_step
if kind == "freeze":
    distributed.SAYS_AFTER = 4.0
def failing(self):
    if self.step == 12 and self.processes.rank == 1:
        if kind == "memory":
            Trainer._supervise = lambda *_: torch.empty(2**60)
        elif kind == "nan":
            self.stream.state.h.fill_(torch.nan)
        elif kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
    if self.step == 12 and self.processes.rank == 0 and kind == "freeze":
        # Not from the start: on a busy machine a process may well take that long.
        distributed.PATIENCE = timedelta(seconds=20)
        torch.distributed.distributed_c10d._set_pg_timeout(distributed.PATIENCE)
    if self.step == 12 and self.processes.rank == 0 and kind == "disk":
        self.output = self.output / "config.json"
    step(self)
Trainer.train_step = failing
run(main)
"""


@pytest.mark.parametrize(
    ("kind", "says", "codes"),
    [
        ("memory", "step 12: out of memory; set train: micro_batch: 2 (now 4)", [2, 2]),
        ("nan", "loss or gradient is NaN or infinite at step 12", [2, 2]),
        ("kill", "another process of this run has ended without a message", [2, -signal.SIGKILL]),
        ("disk", "config.json/resume.safetensors: cannot be written", [2, 2]),
        (
            "freeze",
            "another process of this run has not answered for 0:00:20",
            [2, -signal.SIGKILL],
        ),
    ],
)
def test_failure_of_one_process_ends_all_with_one_line(
    kind: str,
    says: str,
    codes: list[int],
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
) -> None:
    """Two processes as torchrun starts them, without torchrun, which would end the second one
    itself.
    """
    output = tmp_path / "run"
    files.write_json(
        output / "config.json", change(settings, steps=10_000, eval_inputs=0).as_dict()
    )
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": "2",
        }
    with open(tmp_path / "err", "w+", encoding="utf-8") as err:
        command = list(
            map(
                str,
                [
                    sys.executable,
                    tmp_path / "failing.py",
                    kind,
                    *arguments(output, data_folder)[2:],
                ],
            )
        )
        processes = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | meeting | {"RANK": rank, "LOCAL_RANK": rank},
                stderr=err,
            )
            for rank in ("0", "1")
        ]
        ended = [processes[0].wait(timeout=600)]
        if kind == "freeze":
            processes[1].kill()
        assert [*ended, processes[1].wait(timeout=600)] == codes
        err.seek(0)
        text = err.read()
    (line,) = error_lines(text)
    assert says in line and "Traceback" not in text
    assert ("process 0 waits for another process of this run" in text) == (kind == "freeze")
    assert read_tensors(output / "resume.safetensors")[1]["step"] == 10


def test_rows_are_split_evenly_or_the_setting_is_named() -> None:
    assert [Processes(rank, 4).rows(12) for rank in range(4)] == [
        slice(0, 3),
        slice(3, 6),
        slice(6, 9),
        slice(9, 12),
    ]
    with pytest.raises(
        GramError, match=r"train: batch_size: 10 is not a multiple of the 4 processes"
    ):
        Processes(0, 4).rows(10)


def test_processes_must_find_the_same_resume_state(
    settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    class Elsewhere(Processes):
        """Beside a process that resumes at step 7."""

        def all_reduce_max(self, value: int) -> int:
            return max(value, 7)

    with pytest.raises(GramError, match="not all processes find the same resume state"):
        loop.train(Trainer(settings, data_folder, tmp_path, CPU, Elsewhere()))


def test_one_process_meets_nobody() -> None:
    alone = distributed.join()
    tensor = torch.tensor([1.5])
    alone.all_reduce_sum([tensor])
    assert (alone.count, alone.first, alone.all_reduce_max(3), float(tensor)) == (1, True, 3, 1.5)
    assert (
        alone.all_gather(tensor) is tensor
        and alone.device("cpu") == CPU
        and alone.prints_error(GramError("x"))
    )


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    tried: list[torch.device] = []
    monkeypatch.setattr(provenance, "try_out", tried.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert (
        Processes(3, 4).device("auto") == Processes(3, 4).device("cuda") == torch.device("cuda:1")
    )
    # No process touches a GPU that another one has.
    assert chosen == tried == [torch.device("cuda:1")] * 2
    assert Processes(3, 4).device("cpu") == CPU
    with pytest.raises(
        GramError,
        match="--device cuda:0: each of the 4 processes takes its own GPU; use --device cuda",
    ):
        Processes(3, 4).device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(GramError, match="this machine has 2 CUDA devices"):
        Processes(3, 4).device("cuda")
    assert Processes(0, 1).device("cuda:1") == torch.device("cuda:1")


def test_only_the_first_to_ask_prints() -> None:
    asked = []

    def asks_first() -> bool:
        asked.append(1)
        return len(asked) == 1

    assert Processes(1, 2, asks_first).prints_error(GramError("x")) and not Processes(
        0, 2, asks_first
    ).prints_error(PeerLost("y"))

    def gone() -> bool:
        raise RuntimeError("the store is gone")

    assert Processes(1, 2, gone).prints_error(GramError("x")) and not Processes(
        1, 2, gone
    ).prints_error(PeerLost("y"))


def test_torchrun_ends_with_a_line_in_the_place_of_a_traceback(tmp_path: Path) -> None:
    program = tmp_path / "fails.py"
    for ending, says, code in (
        ("sys.exit(3)", "ended with code 3", 3),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL", 137),
    ):
        program.write_text(f"import os, sys\n{ending}\n", encoding="utf-8")
        options = ["--standalone", "--nproc-per-node", "1"]
        done = subprocess.run(
            [sys.executable, "-m", "gram.torchrun", *options, str(program)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code and "Traceback" not in done.stderr
        (line,) = error_lines(done.stderr)
        assert "process 0 of the run (pid " in line and says in line
