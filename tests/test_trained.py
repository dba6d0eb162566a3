"""No number under other settings: what lies in a run's folder is of one training, or is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.data.splits import build
from gram.evaluate import evaluation
from gram.evaluate.__main__ import main as evaluate_main
from gram.figures import solve
from gram.figures.boards import read_samples
from gram.figures.training import training_data
from gram.runs import checkpoint, export, trained
from gram.settings import EvaluateConfig, RunSettings
from gram.settings.config import Experiment, resolve
from gram.system import files
from gram.system.errors import GramError
from gram.tables.evaluations import read_evaluations, status
from gram.train.trainer import Trainer
from tests.damage import note_anew

CPU = torch.device("cpu")
BOARD = "Q..../...../...../...../....."


@pytest.fixture
def run(gram_run: Path, tmp_path: Path) -> Path:
    """A copy of a trained run, to be changed."""
    return Path(shutil.copytree(gram_run, tmp_path / "runs/nqueens5/gram/seed0"))


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON file, with its digest."""
    content = files.read_json(path)
    change(content)
    files.write_json(path, content)


def readers(run: Path, data: Path) -> list[Callable[[], Any]]:
    """Whatever shows numbers of a run."""
    return [
        lambda: evaluation.load_subject(run, data, "test", EvaluateConfig(), CPU),
        lambda: export.export(run, run.parent / "kept"),
        lambda: solve.read_puzzle([BOARD], folder=run),
    ]


def changed_settings(run: Path, _: Path) -> None:
    """The settings were edited while the old training went on."""
    edit(run / "config.json", lambda content: content["train"].update(steps=30))


def changed_seed(run: Path, _: Path) -> None:
    edit(run / "config.json", lambda content: content.update(seed=1))


def another_meta(run: Path, other: Path) -> None:
    shutil.copy(other / "meta.json", run)


def another_weights(run: Path, other: Path) -> None:
    shutil.copy(other / "weights.safetensors", run)


def flipped_bit(run: Path, _: Path) -> None:
    content = bytearray((run / "weights.safetensors").read_bytes())
    content[-100] ^= 1
    (run / "weights.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    "damage", [changed_settings, changed_seed, another_meta, another_weights, flipped_bit]
)
def test_whatever_shows_a_run_refuses_files_of_another(
    damage: Any, run: Path, deterministic_run: Path, data_folder: Path
) -> None:
    damage(run, deterministic_run)
    for read in readers(run, data_folder):
        with pytest.raises(GramError, match=r"trained|MD5"):
            read()
    assert not (run.parent / "kept").exists()


def test_the_weights_of_another_fold_are_refused(
    experiment: Experiment, tmp_path: Path, train_run: Any, change: Any
) -> None:
    """They were trained on what this fold tests."""
    split = {"split": {"folds": 2}}
    folds = []
    for fold in (0, 1):
        settings = change(resolve(experiment, "nqueens5", "gram", 0), steps=2, eval_inputs=0)
        data = settings.data.__class__(
            f"nqueens5-fold{fold}",
            settings.data.generator,
            settings.data.split.__class__(**split["split"]),
        )
        build(data, tmp_path / f"data{fold}")
        settings = change(settings, task=data.task, data=data)
        folds.append(train_run(settings, tmp_path / f"data{fold}", tmp_path / f"run{fold}"))
    for name in ("weights.safetensors", "meta.json", "config.json"):
        mixed = Path(shutil.copytree(folds[1], tmp_path / f"mixed-{name}"))
        shutil.copy(folds[0] / name, mixed)
        with pytest.raises(GramError, match=r"fold|MD5"):
            evaluation.load_subject(mixed, tmp_path / "data1", "test", EvaluateConfig(), CPU)
    for one in (0, 1):  # a whole run beside the other's data
        with pytest.raises(GramError, match="data set of another run"):
            evaluation.load_subject(
                folds[one], tmp_path / f"data{1 - one}", "test", EvaluateConfig(), CPU
            )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_one_line_that_names_the_tensor(
    value: float, run: Path, data_folder: Path
) -> None:
    path = run / "weights.safetensors"
    tensors, _ = checkpoint.read_tensors(path)
    tensors["ema/z0_h"][0] = value
    checkpoint.write_tensors(path, tensors)
    note_anew(run)
    with pytest.raises(GramError, match="z0_h holds NaN or infinite numbers"):
        evaluation.load_subject(run, data_folder, "test", EvaluateConfig(), CPU)
    with pytest.raises(GramError, match="z0_h holds NaN or infinite numbers"):
        export.export(run, run.parent / "kept")
    evaluation.load_subject(run, data_folder, "test", EvaluateConfig(weights="raw"), CPU)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_weights_of_another_kind_of_number_are_one_line(
    dtype: torch.dtype, run: Path, data_folder: Path
) -> None:
    path = run / "weights.safetensors"
    tensors, _ = checkpoint.read_tensors(path)
    checkpoint.write_tensors(path, tensors | {"ema/z0_h": tensors["ema/z0_h"].to(dtype)})
    note_anew(run)
    with pytest.raises(
        GramError, match=r"z0_h is of type torch\.\w+ in the file and torch.float32"
    ):
        evaluation.load_subject(run, data_folder, "test", EvaluateConfig(), CPU)


@pytest.mark.parametrize("averaged", [True, False])
def test_a_training_whose_weights_are_not_finite_saves_nothing(
    averaged: bool, settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    trainer = Trainer(settings, data_folder, tmp_path / "run", CPU)
    trainer.train_step()
    trainer.save_resume_state()
    before = trainer.resume_path.read_bytes()
    model = trainer.ema.model if averaged else trainer.model
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = torch.nan
    for save in (trainer.save_resume_state, trainer.save_results):
        with pytest.raises(GramError, match="is NaN or infinite at step 1; the last good state"):
            save()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["resume.safetensors"]
    assert trainer.resume_path.read_bytes() == before


def test_a_history_of_another_run_is_not_drawn(run: Path, deterministic_run: Path) -> None:
    path = run / "history.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:-1]), encoding="utf-8")
    for content in (None, deterministic_run / "history.jsonl"):
        if content:
            shutil.copy(content, path)
        with pytest.raises(GramError, match=r"history\.jsonl: MD5 \w+, but its meta\.json says"):
            training_data([path])


def test_a_resume_state_of_other_code_is_listed_and_marked(
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files.write_json(tmp_path / "config.json", settings.as_dict())
    hashes = []
    for code in ("old", "old", "new"):
        monkeypatch.setattr("gram.train.trainer.code_hash", lambda made_by, code=code: code)
        trainer = Trainer(settings, data_folder, tmp_path, CPU)
        trainer.restore()
        trainer.train_step()
        trainer.log_losses()
        trainer.save_resume_state()
        hashes.append(trainer.code_hashes)
    assert hashes == [["old"], ["old"], ["old", "new"]]
    assert capsys.readouterr().err.count("saved by another version of the code") == 1
    trainer.save_results()
    assert files.read_json(tmp_path / "meta.json")["code_hashes"] == ["old", "new"]
    subject = evaluation.load_subject(tmp_path, data_folder, "test", EvaluateConfig(), CPU)
    facts = subject.facts(EvaluateConfig(depth=1, width=1))
    assert facts["trained_by"]["code_hash"] == "old+new"
    assert status([facts], lambda by: "new") == "mixed"


def test_an_evaluation_in_the_place_of_another_is_refused(
    run: Path, data_folder: Path, tmp_path: Path, command: Any
) -> None:
    path = tmp_path / "eval/nqueens5/gram/seed0/test.json"
    samples = path.with_name("test.samples.parquet")
    arguments = ("--run", run, "--data", data_folder, "--output", path, "--samples", samples)
    assert command(evaluate_main, *arguments, "--width", 2, "--depth", 2).code == 0
    assert read_evaluations([path]) and len(read_samples(samples)) > 0
    for place in ("nqueens5/gram/seed1", "nqueens5/trm/seed0", "nqueens6/gram/seed0"):
        other = tmp_path / "eval" / place / "test.json"
        other.parent.mkdir(parents=True)
        shutil.copy(path, other)
        with pytest.raises(GramError, match="in the place of another run"):
            read_evaluations([other])
    content = samples.read_bytes()
    samples.write_bytes(content[:-4] + b"\0" + content[-3:])
    with pytest.raises(GramError, match=r"samples\.parquet: MD5 \w+, but its evaluation says"):
        read_samples(samples)
    # Trained again, and not evaluated again.
    edit(
        run / "meta.json",
        lambda meta: meta[trained.FILES_MD5].update(
            dict.fromkeys(meta[trained.FILES_MD5], "0" * 32)
        ),
    )
    with pytest.raises(GramError, match="the run was trained again; evaluate it again"):
        read_evaluations([path])


def test_older_runs_without_digests_are_read(run: Path, data_folder: Path) -> None:
    def older(meta: dict[str, Any]) -> None:
        for key in (trained.FILES_MD5, "code_hashes"):
            del meta[key]

    edit(run / "meta.json", older)
    text = json.dumps(files.read_json(run / "meta.json"))
    (run / "meta.json").write_text(text, encoding="utf-8")
    assert (
        evaluation.load_subject(run, data_folder, "test", EvaluateConfig(), CPU).meta["task"]
        == "nqueens5"
    )
