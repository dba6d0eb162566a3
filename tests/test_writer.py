"""One training per run folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gram.settings import RunSettings
from gram.system import files
from gram.system.errors import GramError
from gram.system.writer import NAME, only_writer
from gram.train.__main__ import main as train_main

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_second_training_is_refused_until_the_first_has_ended(
    number: signal.Signals,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    command: Any,
) -> None:
    run = tmp_path / "run"
    endless = change(settings, steps=10**6, eval_inputs=0)
    files.write_json(run / "config.json", endless.as_dict())
    where = ["--config", run / "config.json", "--data", data_folder, "--output", run]
    first = subprocess.Popen(
        [sys.executable, "-m", "gram.train", *map(str, where), "--device", "cpu"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    while not (run / "resume.safetensors").exists():
        assert first.poll() is None
        time.sleep(0.01)
    second = command(train_main, *where, "--device", "cpu")
    assert second.code == 2 and second.err.count("\n") == 1
    line = (
        rf"error: {run}: another training writes here \(pid {first.pid} on .+, since .+\); let it"
    )
    assert re.match(line, second.err)
    assert first.poll() is None
    first.send_signal(number)
    first.wait(timeout=60)
    assert (run / NAME).exists() == (number == signal.SIGKILL)
    # What it left behind is no obstacle, and is removed in the end.
    files.write_json(run / "config.json", change(settings, steps=2).as_dict())
    assert command(train_main, *where, "--device", "cpu").code == 0
    assert sorted(path.name for path in run.iterdir()) == [
        "config.json",
        "history.jsonl",
        "meta.json",
        "weights.safetensors",
    ]


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Removed between opening and locking: the other begins again, with a file of its own."""
    opened, whole = [], os.open

    def opening(path: Any, *arguments: Any, **options: Any) -> int:
        descriptor = whole(path, *arguments, **options)
        if Path(path).name == NAME and not opened:
            opened.append(path)
            Path(path).unlink()
        return descriptor

    monkeypatch.setattr(os, "open", opening)
    with only_writer(tmp_path):
        assert opened and (tmp_path / NAME).exists()
        with pytest.raises(GramError, match=rf"pid {os.getpid()} on"), only_writer(tmp_path):
            pass
        assert (tmp_path / NAME).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(GramError, match=r"file/run/.writer: cannot be opened \(Not a directory\)"),
        only_writer(tmp_path / "file" / "run"),
    ):
        pass
