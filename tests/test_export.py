"""Kept runs: the averaged weights in half precision, with everything that says where they come
from.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gram.evaluate import evaluation
from gram.evaluate.__main__ import main as evaluate_main
from gram.evaluate.pool import pool
from gram.figures import __main__ as figures
from gram.runs import checkpoint, export
from gram.runs.trained import KEPT, read_history
from gram.settings import EvaluateConfig, RunSettings
from gram.system import files
from gram.system.errors import GramError
from gram.system.shapes import read_meta
from gram.tables.costs import costs
from gram.tables.evaluations import read_evaluations, unfinished_note
from gram.tables.rows import long_table
from gram.train.trainer import Trainer
from tests.damage import note_anew

CPU = torch.device("cpu")
RUN_FILES = {"config.json", "history.jsonl", "meta.json", "weights.safetensors"}


@pytest.fixture(params=["gram_run", "deterministic_run"])
def trained(request: pytest.FixtureRequest) -> Path:
    """A trained run of either kind."""
    run: Path = request.getfixturevalue(request.param)
    return run


@pytest.fixture
def copied(gram_run: Path, tmp_path: Path) -> Path:
    """A copy of a trained run, to be changed."""
    return Path(shutil.copytree(gram_run, tmp_path / "run"))


def edit(path: Path, change: Callable[[torch.Tensor], torch.Tensor], name: str = "") -> None:
    """Change one tensor in a file of weights, or all of them."""
    tensors, _ = checkpoint.read_tensors(path)
    changed = {
        key: change(tensor) if key.startswith(name) else tensor for key, tensor in tensors.items()
    }
    checkpoint.write_tensors(path, changed)
    note_anew(path.parent)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_keeps_the_averaged_weights_rounded_to_half(trained: Path, tmp_path: Path) -> None:
    export.export(trained, tmp_path / "kept")
    full, _ = checkpoint.read_tensors(trained / "weights.safetensors")
    kept, _ = checkpoint.read_tensors(tmp_path / "kept/weights.safetensors")
    assert kept.keys() == {name for name in full if name.startswith("ema/")}
    assert {"ema/z0_h", "ema/z0_l"} <= kept.keys()
    for name, tensor in kept.items():
        assert tensor.dtype == torch.float16
        # Within half a unit of the last of fp16's ten bits: bf16 would miss this eightfold.
        torch.testing.assert_close(tensor.float(), full[name], rtol=2**-11, atol=2**-25)


def test_keeps_what_says_where_it_comes_from(trained: Path, tmp_path: Path) -> None:
    export.export(trained, tmp_path)
    assert contents(tmp_path).keys() == RUN_FILES
    for name in ("config.json", "history.jsonl"):
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes()
    meta = files.read_json(tmp_path / "meta.json")
    md5s = [
        hashlib.md5((folder / "weights.safetensors").read_bytes()).hexdigest()
        for folder in (tmp_path, trained)
    ]
    assert meta.pop(KEPT) == {
        "which": "ema",
        "dtype": "float16",
        "md5": md5s[0],
        "md5_of_full": md5s[1],
        "history_md5": hashlib.md5((tmp_path / "history.jsonl").read_bytes()).hexdigest(),
    }
    assert meta == files.read_json(trained / "meta.json")


def test_evaluation_is_that_of_the_rounded_weights(
    gram_run: Path, copied: Path, data_folder: Path, tmp_path: Path
) -> None:
    export.export(gram_run, tmp_path / "kept")
    edit(copied / "weights.safetensors", lambda tensor: tensor.half().float())
    config = EvaluateConfig(depth=2, width=4)
    (ours, samples), (theirs, expected) = (
        evaluation.evaluate(
            evaluation.load_subject(run, data_folder, "test", EvaluateConfig(), CPU), config
        )
        for run in (tmp_path / "kept", copied)
    )
    ours_of, theirs_of = (one.drop_columns("tokens").to_pandas() for one in (samples, expected))
    pd.testing.assert_frame_equal(ours_of, theirs_of)
    assert samples["tokens"].equals(expected["tokens"])
    assert ours["metrics"] == theirs["metrics"]
    assert (ours["run"]["weights_dtype"], theirs["run"]["weights_dtype"]) == ("float16", "float32")


def test_raw_weights_of_a_kept_run_are_one_clear_line(
    gram_run: Path, data_folder: Path, tmp_path: Path, command: Any
) -> None:
    export.export(gram_run, tmp_path / "kept")
    arguments = (
        "--run",
        tmp_path / "kept",
        "--data",
        data_folder,
        "--output",
        tmp_path / "test.json",
        "--device",
        "cpu",
    )
    outcome = command(evaluate_main, *arguments, "--settings", "{weights: raw}")
    assert outcome.code == 2 and outcome.err == (
        f"error: {tmp_path}/kept/weights.safetensors: holds no raw weights (kept: ema); set "
        f"evaluate: weights: to what it holds, "
        "or train the run anew\n"
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (65520.0, r"z0_l reaches 65520, and torch\.float16 holds no more"),
        (float("-inf"), "z0_l holds NaN or infinite numbers"),
        (float("nan"), "z0_l holds NaN or infinite numbers"),
    ],
)
def test_numbers_beyond_half_precision_are_refused(
    copied: Path, tmp_path: Path, value: float, says: str
) -> None:
    path = copied / "weights.safetensors"
    # The greatest number of fp16 stays; the least that would become infinite does not.
    edit(path, lambda tensor: torch.full_like(tensor, 65504.0), "ema/z0_h")
    export.export(copied, tmp_path / "fits")
    edit(path, lambda tensor: torch.full_like(tensor, value), "ema/z0_l")
    with pytest.raises(
        GramError,
        match=rf"run/weights\.safetensors: {says}",
    ):
        export.export(copied, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_weights_too_large_for_a_repository_are_refused(
    gram_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    size = sum(
        tensor.numel() * 2
        for tensor in checkpoint.read_weights(gram_run / "weights.safetensors", "ema").values()
    )
    arguments = ("--run", gram_run, "--output", tmp_path / "kept")
    monkeypatch.setattr(export, "MOST_BYTES", size - 1)
    outcome = command(export.main, *arguments)
    assert (
        outcome.code == 2
        and outcome.err.count("\n") == 1
        and "belong in a repository; publish them elsewhere" in outcome.err
    )
    assert not (tmp_path / "kept").exists()
    monkeypatch.setattr(export, "MOST_BYTES", size)
    assert command(export.main, *arguments).code == 0


def test_a_trained_run_is_never_replaced(copied: Path, gram_run: Path) -> None:
    before = contents(copied)
    for run in (copied, gram_run):
        with pytest.raises(
            GramError,
            match="holds a run as it was trained, which its kept weights must not replace",
        ):
            export.export(run, copied)
    assert contents(copied) == before


def test_only_runs_as_they_were_trained_are_kept(
    copied: Path, gram_run: Path, tmp_path: Path
) -> None:
    export.export(gram_run, tmp_path / "kept")
    with pytest.raises(GramError, match="a kept run already, without its full weights"):
        export.export(tmp_path / "kept", tmp_path / "again")
    config = files.read_json(copied / "config.json")
    config["train"]["learning_rate"] = 0.25
    files.write_json(copied / "config.json", config)
    with pytest.raises(
        GramError,
        match=r"config\.json: train: learning_rate: 0\.25, but it was trained with 0\.003",
    ):
        export.export(copied, tmp_path / "again")
    (copied / "weights.safetensors").unlink()
    with pytest.raises(GramError, match=r"weights\.safetensors: no such checkpoint"):
        export.export(copied, tmp_path / "again")
    assert not (tmp_path / "again").exists()


# Unfinished runs ----------------------------------------------------------------------------------


@pytest.fixture
def unfinished(settings: RunSettings, data_folder: Path, tmp_path: Path) -> Path:
    """The folder of a run that was stopped after 10 of its 24 steps."""
    run = tmp_path / "unfinished"
    trainer = Trainer(settings, data_folder, run, CPU)
    for _ in range(10):
        trainer.train_step()
    trainer.log_losses()
    trainer.save_resume_state()
    files.write_json(run / "config.json", settings.as_dict())
    return run


def test_an_unfinished_run_is_kept_evaluated_and_says_how_far_it_came(
    unfinished: Path,
    data_folder: Path,
    tmp_path: Path,
    command: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path / "kept"
    outcome = command(export.main, "--run", unfinished, "--output", kept, "--unfinished")
    assert outcome == (0, "", "")
    state, _ = checkpoint.read_tensors(unfinished / "resume.safetensors")
    small, _ = checkpoint.read_tensors(kept / "weights.safetensors")
    assert small and all(torch.equal(small[name], state[name].half()) for name in small)
    meta, lines = read_history(kept)
    assert (meta["steps"], meta["supervision_steps"], lines[-1]["step"]) == (10, 80, 10)
    assert 0 < meta["training_examples"] < 80
    config = EvaluateConfig(depth=2, width=4)
    subject = evaluation.load_subject(kept, data_folder, "test", config, CPU)
    content, _ = evaluation.evaluate(subject, config)
    assert content["run"]["unfinished"] == meta["unfinished"] == {"step": 10, "steps": 24}
    path = tmp_path / "test.json"
    files.write_json(path, content)
    read = read_evaluations([path])
    assert long_table("table1", read, {}, None)["label"].unique() == ["GRAM (10 of 24 steps)"]
    assert unfinished_note([meta]) == "Unfinished: gram on nqueens5 (10 of 24 steps)."
    arguments = ("--histories", kept / "history.jsonl", "--output", tmp_path / "training")
    titles: list[str] = []
    monkeypatch.setattr(figures, "save", lambda figure, _: titles.append(figure.get_suptitle()))
    assert command(figures.main, "training", *arguments).code == 0
    assert titles[0].endswith("\nUnfinished: gram on nqueens5 (10 of 24 steps).")
    assert costs([meta | read_meta(kept / "meta.json")], None)["source"].iloc[0] == (
        "restored (10 of 24 steps)"
    )
    files.write_json(tmp_path / "kept/resume.safetensors", {})
    with pytest.raises(GramError, match="holds a run as it was trained"):
        export.export_unfinished(unfinished, kept)


def test_no_mean_over_a_finished_and_an_unfinished_run(
    synthetic_evaluation: Any, tmp_path: Path
) -> None:
    far = {"step": 10_674, "steps": 14_000}
    finished = synthetic_evaluation(seed=0)
    stopped = synthetic_evaluation(seed=1)
    stopped["run"]["unfinished"] = far
    paths = [tmp_path / "0.json", tmp_path / "1.json"]
    for path, content in zip(paths, (finished, stopped), strict=True):
        files.write_json(path, content)
    told = "nqueens5 gram seed 0: finished; nqueens5 gram seed 1: 10,674 of 14,000 steps"
    with pytest.raises(GramError, match=f"no mean over runs.*{told}.*leave one out"):
        read_evaluations(paths)
    for fold, one in enumerate((finished, stopped)):
        one["run"] |= {"task": f"nqueens5-fold{fold}", "folds": 2, "seed": 0}
    with pytest.raises(GramError, match=r"pool: .*10,674 of 14,000 steps; pool runs that"):
        pool([finished, stopped])


def test_what_is_no_unfinished_run_is_one_line(
    gram_run: Path, unfinished: Path, tmp_path: Path
) -> None:
    with pytest.raises(GramError, match=r"resume\.safetensors: no such state: .* come to its end"):
        export.export_unfinished(gram_run, tmp_path / "kept")
    path = unfinished / "resume.safetensors"
    tensors, facts = checkpoint.read_tensors(path)
    checkpoint.write_tensors(path, tensors, facts | {"step": 0})
    with pytest.raises(GramError, match="has taken no step, or is of an older version"):
        export.export_unfinished(unfinished, tmp_path / "kept")
    checkpoint.write_tensors(path, tensors, facts)
    config = unfinished / "config.json"
    other = files.read_json(config)
    other["train"]["learning_rate"] = 0.5
    files.write_json(config, other)
    with pytest.raises(GramError, match=r"learning_rate: 0\.5, but it was trained with 0\.003"):
        export.export_unfinished(unfinished, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
