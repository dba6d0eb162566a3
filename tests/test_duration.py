"""How long a training will take, told before its first step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.data.splits import build
from gram.settings import RunSettings
from gram.settings.config import load_experiment, resolve
from gram.system import files
from gram.system.errors import GramError
from gram.train import loop
from gram.train.__main__ import main as train_main
from gram.train.duration import DAY, in_words, refuse_long, seconds_left
from gram.train.trainer import Trainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
# Other processors, and what is not counted: evaluations, the optimizer, threads that wait for each
# other.
FACTOR = 4


@pytest.fixture
def trainer_of(tmp_path: Path) -> Any:
    """``trainer_of(settings)``: a trainer, with its data set built."""

    def make(settings: RunSettings) -> Trainer:
        build(settings.data, tmp_path / "data")
        return Trainer(settings, tmp_path / "data", tmp_path / "run", CPU)

    return make


@pytest.mark.parametrize("method", ["gram", "deterministic"])
def test_estimate_is_what_a_kept_run_took(method: str, trainer_of: Any) -> None:
    kept = ROOT / f"resources/reference_runs/cpu_default/runs/nqueens5-fold0/{method}/seed0"
    experiment = load_experiment(ROOT / "config/experiments/nqueens5.yaml")
    left = seconds_left(trainer_of(resolve(experiment, "nqueens5-fold0", method, 0)), limit=0)
    took = files.read_json(kept / "meta.json")["seconds"]
    assert took / FACTOR < left < took * FACTOR


def test_estimate_at_the_papers_size_is_what_was_measured(trainer_of: Any, change: Any) -> None:
    measured = files.read_json(ROOT / "resources/benchmarks/cpu_paper_size.json")
    settings = RunSettings.of(measured["settings"], "cpu_paper_size.json")
    settings = change(settings, precision="fp32")
    _, seconds, _ = measured["variants"]["fp32"]["seconds_per_step"]
    trainer = trainer_of(settings)
    assert len(trainer.stream.inputs) == 8
    start = time.thread_time()
    per_step = seconds_left(trainer, DAY) / settings.train.steps
    assert seconds / FACTOR < per_step < seconds * FACTOR
    assert time.thread_time() - start < 30


def test_a_short_training_is_tried_on_one_row_only(
    settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    trainer = Trainer(settings, data_folder, tmp_path, CPU)
    start = time.thread_time()
    assert 0 < seconds_left(trainer, DAY) < DAY / 100
    assert time.thread_time() - start < 0.5


def test_remaining_steps_count(settings: RunSettings, data_folder: Path, tmp_path: Path) -> None:
    trainer = Trainer(settings, data_folder, tmp_path, CPU)
    refuse_long(trainer, limit=seconds_left(trainer, 0) * 100)
    with pytest.raises(GramError, match=r"days on this CPU for 24 steps of .* seconds; config/sin"):
        refuse_long(trainer, limit=1e-9)
    whole = seconds_left(trainer, 0)
    trainer.step = 23
    assert seconds_left(trainer, 0) < whole / 4
    trainer.step = 24
    assert seconds_left(trainer, 0) == 0


def test_a_training_of_days_is_one_line_and_a_switch(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any, command: Any
) -> None:
    run = tmp_path / "run"
    endless = change(settings, steps=10**9, eval_inputs=0)
    files.write_json(run / "config.json", endless.as_dict())
    where = ("--config", run / "config.json", "--data", data_folder, "--output", run)
    outcome = command(train_main, *where, "--device", "cpu")
    assert outcome.code == 2 and outcome.err.count("\n") == 2  # what is trained, and the error
    line = outcome.err.splitlines()[-1]
    assert line.startswith(f"error: {run}: about ") and " days on this CPU" in line
    assert "--long-trainings allow (long_trainings: allow in the configuration)" in line
    assert [path.name for path in run.iterdir()] == ["config.json"]
    files.write_json(run / "config.json", settings.as_dict())
    assert command(train_main, *where, "--device", "cpu", "--long-trainings", "allow").code == 0


def test_trying_a_few_rows_does_not_change_the_run(
    settings: RunSettings, data_folder: Path, tmp_path: Path, gram_run: Path
) -> None:
    trainer = Trainer(settings, data_folder, tmp_path, CPU)
    assert seconds_left(trainer, 0) > 0
    loop.train(trainer, refuses_long=True)
    for name in ("weights.safetensors", "history.jsonl"):
        assert (tmp_path / name).read_bytes() == (gram_run / name).read_bytes()


def test_days_in_words() -> None:
    assert [in_words(days * DAY) for days in (1.26, 9.94, 46.2)] == [
        "1.3 days",
        "9.9 days",
        "46 days",
    ]
