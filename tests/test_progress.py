"""Long work says that it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gram.settings import RunSettings
from gram.system import progress
from gram.train import loop
from gram.train.trainer import Trainer


def test_the_first_rollout_shows_progress(
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it begins, and, as if every part took long, within it."""
    monkeypatch.setattr(progress, "DELAY", 1e-9)
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0)
    trainer = Trainer(change(settings, steps=1), data_folder, tmp_path / "run", torch.device("cpu"))
    whole, seen = trainer.log_rollouts, []

    def log_rollouts() -> dict[str, Any]:
        if not seen:
            seen.append(capsys.readouterr().err)
        return whole()

    monkeypatch.setattr(trainer, "log_rollouts", log_rollouts)
    loop.train(trainer)
    assert "run:   0%" in seen[0] and "0/1 [" in seen[0] and "rolling out" in seen[0]
    after = capsys.readouterr().err
    assert "supervision steps: " in after and "bounds: " in after


def test_short_parts_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in progress.progress_of_part(iterable=range(3), desc="part"):
        pass
    assert capsys.readouterr().err == ""
