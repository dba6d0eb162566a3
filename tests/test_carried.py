"""gram.carried: the KL of every supervision step, from the command line and pooled over folds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.evaluate import carried
from gram.evaluate.evaluation import load_subject
from gram.evaluate.pool import pool_rows
from gram.settings import EvaluateConfig
from gram.system import files
from gram.train import elbo

CPU = torch.device("cpu")


def test_command_line(gram_run: Path, data_folder: Path, command: Any, tmp_path: Path) -> None:
    output = tmp_path / "carried.json"
    folders = ("--run", gram_run, "--data", data_folder, "--output", output, "--device", "cpu")
    outcome = command(carried.main, *folders, "--pairs", 8, "--settings", "{depth: 3, seed: 5}")
    assert outcome.code == 0, outcome.err
    content = files.read_json(output)
    assert content["run"]["split"] == "train" and content["run"]["depth"] == 3
    subject = load_subject(gram_run, data_folder, "train", EvaluateConfig(), CPU)
    config = dataclasses.replace(subject.settings.train, N_sup=3)
    generator = subject.generator("carried", 5)
    found = elbo.by_supervision_step(subject.model, subject.split, config, generator, 8)
    assert found is not None
    rows = content[carried.SECTION]
    assert [(row["group"], row["step"]) for row in rows] == [
        (group, step) for group in found for step in (1, 2, 3)
    ]
    for row in rows:
        means = found[row["group"]]
        assert row["kl"]["value"] == pytest.approx(means["kl"][row["step"] - 1])
        assert row["log_m"]["value"] == pytest.approx(means["log_m"])
        assert row["kl"]["denominator"] == means["pairs"]


def test_folds_are_pooled_by_their_pairs(gram_run: Path, data_folder: Path) -> None:
    subject = load_subject(gram_run, data_folder, "train", EvaluateConfig(), CPU)
    few, more = (
        carried.carried(subject, EvaluateConfig(depth=2), pairs)[carried.SECTION]
        for pairs in (4, 12)
    )
    for row, one, other in zip(pool_rows([few, more]), few, more, strict=True):
        assert row["group"] == one["group"] and row["step"] == one["step"]
        total = one["kl"]["numerator"] + other["kl"]["numerator"]
        pairs = one["kl"]["denominator"] + other["kl"]["denominator"]
        assert row["kl"]["value"] == pytest.approx(total / pairs)


def test_bad_input_is_one_line(
    gram_run: Path, deterministic_run: Path, data_folder: Path, command: Any, tmp_path: Path
) -> None:
    output = tmp_path / "carried.json"
    for run, more, said in (
        (deterministic_run, (), "has no posterior that could steer it"),
        (gram_run, ("--pairs", 0), "--pairs 0: give at least 1"),
    ):
        outcome = command(
            carried.main, "--run", run, "--data", data_folder, "--output", output, *more
        )
        assert outcome.code == 2 and said in outcome.err and outcome.err.count("\n") == 1
        assert not output.exists()
