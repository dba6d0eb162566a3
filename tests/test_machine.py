"""Too little memory, or no compiler: one line that names the setting, and a state to go on from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.models.gram import GRAM
from gram.runs.checkpoint import read_tensors
from gram.settings import RunSettings
from gram.system import files
from gram.system.errors import GramError
from gram.system.machine import explained, micro_batch_fix
from gram.train import loop
from gram.train.__main__ import main as train_main
from gram.train.trainer import Trainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def weights(folder: Path) -> bytes:
    """The bytes of a run's weights."""
    return (folder / "weights.safetensors").read_bytes()


def too_large() -> None:
    """Ask the real allocator for more than any address space holds."""
    torch.empty(2**60)


def out_of_gpu_memory() -> None:
    """What torch raises on a GPU."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


@pytest.mark.parametrize("failure", [too_large, out_of_gpu_memory])
@pytest.mark.parametrize(("micro_batch", "now"), [(None, 8), (6, 6)])
def test_memory_that_runs_out_names_the_micro_batch_and_keeps_the_last_state(
    failure: Any,
    micro_batch: int | None,
    now: int,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
    command: Any,
    gram_run: Path,
) -> None:
    files.write_json(tmp_path / "config.json", change(settings, micro_batch=micro_batch).as_dict())
    forward, calls = GRAM.forward, []

    def fails(model: GRAM, *arguments: Any, targets: Any = None, **named: Any) -> Any:
        if (
            targets is not None and torch.is_grad_enabled()
        ):  # a training step, not a rollout or a bound
            calls.append(1)
            if len(calls) == (12 if micro_batch is None else 2 * 11 + 2):
                failure()
        return forward(model, *arguments, targets=targets, **named)

    monkeypatch.setattr(GRAM, "forward", fails)
    monkeypatch.setattr(loop, "refuse_long", lambda trainer: None)  # which takes passes as well
    arguments = (
        "--config",
        tmp_path / "config.json",
        "--data",
        data_folder,
        "--output",
        tmp_path,
        "--device",
        "cpu",
    )
    outcome = command(train_main, *arguments)
    monkeypatch.undo()
    resume = tmp_path / "resume.safetensors"
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert outcome.err.strip().splitlines()[-1] == (
        f"error: {tmp_path}: step 11: out of memory; set train: micro_batch: {now // 2} (now "
        f"{now}) and run the same command "
        f"again; the last good state is kept in {resume}"
    )
    assert read_tensors(resume)[1]["step"] == 10
    if (
        micro_batch is None
    ):  # the advice of the message, but for the rounding of another micro-batch
        loop.train(Trainer(settings, data_folder, tmp_path, CPU))
        assert weights(tmp_path) == weights(gram_run)


def test_carry_that_does_not_fit_names_the_batch(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    with pytest.raises(
        GramError, match=r"out of memory; the carry does not fit; lower train: batch_size"
    ):
        Trainer(change(settings, batch_size=2**57), data_folder, tmp_path, CPU)


def test_nothing_is_left_to_halve() -> None:
    assert "micro_batch is 1 already" in micro_batch_fix(1)
    assert "micro_batch: 3 (now 7)" in micro_batch_fix(7)


def test_other_errors_pass_unchanged() -> None:
    for error in (RuntimeError("shapes do not match"), ValueError("x"), GramError("y")):
        with pytest.raises(type(error)) as raised, explained("here", str):
            raise error
        assert raised.value is error


def test_missing_compiler_is_one_line(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    """Through the real command on a machine whose only C++ compiler does not exist."""
    files.write_json(
        tmp_path / "config.json",
        change(settings, compile="default", steps=2, eval_inputs=0).as_dict(),
    )
    command = [
        sys.executable,
        "-m",
        "gram.train",
        "--device",
        "cpu",
        "--config",
        tmp_path / "config.json",
        "--data",
        data_folder,
    ]
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.run(
        [*map(str, command), "--output", str(tmp_path / "run")],
        cwd=ROOT,
        env=os.environ | cache | {"CXX": str(tmp_path / "no-such-compiler")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 2 and "Traceback" not in process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'run'}: step 0: torch.compile failed: ")
    assert last.endswith(
        "install a C++ compiler (on a GPU also Triton), or set train: compile: none"
    )
