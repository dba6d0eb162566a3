"""Training that starts from another run's weights: which ones, what they cost, and what it
refuses.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.data.splits import build
from gram.runs import checkpoint, export
from gram.runs.warm_start import SPENT, added
from gram.settings import RunSettings
from gram.settings.config import load_experiment, resolve
from gram.system import files
from gram.system.errors import GramError
from gram.train.trainer import Trainer
from tests.damage import note_anew

CPU = torch.device("cpu")


@pytest.fixture
def start(settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any) -> Any:
    """``start(path)``: a trainer of the tiny run that starts from those weights."""
    return lambda path: Trainer(
        change(settings, initial_weights=str(path)), data_folder, tmp_path / "run", CPU
    )


def test_starts_from_the_averaged_weights(gram_run: Path, start: Any) -> None:
    trainer = start(gram_run / "weights.safetensors")
    averaged = checkpoint.read_weights(gram_run / "weights.safetensors", "ema")
    for model in (trainer.model, trainer.ema.model):
        assert all(
            torch.equal(tensor, averaged[name]) for name, tensor in model.state_dict().items()
        )
    h, _ = trainer.model.initial_state(len(trainer.stream.inputs), trainer.draws)
    torch.testing.assert_close(trainer.stream.state.h, h)  # the carry too starts at that run's z_0


def test_kept_weights_serve_as_well(gram_run: Path, tmp_path: Path, start: Any) -> None:
    export.export(gram_run, tmp_path / "kept")
    trainer = start(tmp_path / "kept/weights.safetensors")
    averaged = checkpoint.read_weights(gram_run / "weights.safetensors", "ema")
    for name, tensor in trainer.model.state_dict().items():
        assert tensor.dtype == averaged[name].dtype
        torch.testing.assert_close(tensor, averaged[name].half().to(tensor.dtype))


def test_what_the_initial_weights_took_is_counted(
    gram_run: Path,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    train_run: Any,
) -> None:
    path = gram_run / "weights.safetensors"
    own, first = (
        files.read_json(
            train_run(change(settings, steps=6, **more), data_folder, tmp_path / name) / "meta.json"
        )
        for name, more in (("from-it", {"initial_weights": str(path)}), ("from-random", {}))
    )
    before = files.read_json(gram_run / "meta.json")
    for name in ("steps", "training_examples", "supervision_steps"):
        assert own[name] == first[name] + before[name]
    assert own["seconds"] >= before["seconds"]  # the six steps themselves may round to none
    expected = {"path": str(path), "md5": files.md5(path), "commit": before["commit"]} | {
        name: before[name] for name in SPENT
    }
    assert own["initial_weights"] == expected
    assert first["initial_weights"] is None


def test_all_that_was_spent_adds_up() -> None:
    spent = {name: 1.5 * place for place, name in enumerate(SPENT)}
    assert added(spent, None) == spent
    assert added(spent, {"path": "there", **dict.fromkeys(SPENT, 10.0)}) == {
        name: spent[name] + 10 for name in SPENT
    }


def test_a_resumed_run_keeps_its_own_weights_and_another_start_begins_anew(
    gram_run: Path, tmp_path: Path, start: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = Path(shutil.copytree(gram_run, tmp_path / "initial"))
    trainer = start(copied / "weights.safetensors")
    trainer.train_step()
    trainer.save_resume_state()
    again = start(copied / "weights.safetensors")
    assert again.restore() and again.step == 1
    for one, other in zip(again.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.equal(one, other)
    tensors, _ = checkpoint.read_tensors(copied / "weights.safetensors")
    checkpoint.write_tensors(
        copied / "weights.safetensors", {name: tensor * 0.5 for name, tensor in tensors.items()}
    )
    with pytest.raises(GramError, match=r"weights\.safetensors: MD5 \w+, but its meta\.json says"):
        start(copied / "weights.safetensors")
    note_anew(copied)
    assert not start(copied / "weights.safetensors").restore()
    assert "starting from step 0" in capsys.readouterr().err


def test_refuses_a_run_of_other_splits(
    gram_run: Path, settings: RunSettings, tmp_path: Path, change: Any
) -> None:
    """Its training inputs may be test inputs here."""
    weights = gram_run / "weights.safetensors"
    other = dataclasses.replace(
        settings.data, split=dataclasses.replace(settings.data.split, test_fraction=0.3)
    )
    build(other, tmp_path / "other")
    here = dataclasses.replace(change(settings, initial_weights=str(weights)), data=other)
    with pytest.raises(
        GramError, match=r"weights\.safetensors: train: initial_weights: .*tested here; name a run"
    ):
        Trainer(here, tmp_path / "other", tmp_path / "run", CPU)


def test_refuses_what_is_missing_or_of_another_architecture(
    gram_run: Path, deterministic_run: Path, tmp_path: Path, start: Any
) -> None:
    with pytest.raises(GramError, match=r"nowhere/meta\.json"):
        start(tmp_path / "nowhere/weights.safetensors")
    with pytest.raises(GramError, match="weights of another architecture"):
        start(deterministic_run / "weights.safetensors")
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    shutil.copy(gram_run / "meta.json", lonely)
    with pytest.raises(GramError, match=r"lonely/weights\.safetensors: no such checkpoint"):
        start(lonely / "weights.safetensors")


def test_the_path_names_the_runs_own_task_and_seed(experiment_file: Path) -> None:
    train = {"initial_weights": "runs/{task}/gram/seed{seed}/weights.safetensors"}
    experiment = load_experiment(experiment_file, {"split": {"folds": 2}, "train": train})
    settings = resolve(experiment, "nqueens5-fold1", "gram", 3)
    assert settings.train.initial_weights == "runs/nqueens5-fold1/gram/seed3/weights.safetensors"
