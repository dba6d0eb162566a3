"""Pooling: the folds together give what scoring their union gives, and nothing is pooled that does
not belong together.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gram.data.splits import build, load_split
from gram.evaluate import evaluation, metrics, pool
from gram.evaluate.metrics import Samples
from gram.settings import EvaluateConfig
from gram.settings.config import Experiment, load_experiment, resolve
from gram.system import files
from gram.system.errors import GramError

FOLDS = 3
Evaluation = tuple[dict[str, Any], pd.DataFrame]


@pytest.fixture(scope="module")
def folded(experiment_file: Path) -> Experiment:
    """The tiny experiment as three folds of a few steps each."""
    return load_experiment(experiment_file, {"split": {"folds": FOLDS}, "train": {"steps": 3}})


@pytest.fixture(scope="module")
def folds(
    folded: Experiment, train_run: Any, tmp_path_factory: pytest.TempPathFactory
) -> list[Evaluation]:
    """Evaluation and samples of every fold."""
    results = []
    for task in folded.tasks("nqueens5"):
        folder = tmp_path_factory.mktemp(task)
        settings = resolve(folded, task, "gram", 0)
        build(settings.data, folder / "data")
        run = train_run(settings, folder / "data", folder / "run")
        config = EvaluateConfig(depth=2, width=4)
        subject = evaluation.load_subject(
            run, folder / "data", "test", EvaluateConfig(), torch.device("cpu")
        )
        content, table = evaluation.evaluate(subject, config)
        results.append((content, table.to_pandas()))
    return results


@pytest.fixture
def evaluations(folds: list[Evaluation]) -> list[dict[str, Any]]:
    """One evaluation per fold, to be changed at will."""
    return copy.deepcopy([content for content, _ in folds])


def assert_close(a: Any, b: Any) -> None:
    """Equal structures, and numbers equal up to rounding."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key])
    elif isinstance(a, list):
        for one, other in zip(a, b, strict=True):
            assert_close(one, other)
    else:
        assert a == (None if b is None else pytest.approx(b, rel=1e-9))


def test_pooled_folds_equal_scoring_their_union(evaluations: list[dict[str, Any]]) -> None:
    """With answers put in: the folds' own samples, scored once fold by fold and once all
    together.
    """
    rng = np.random.default_rng(0)
    parts = []
    for index, inputs in enumerate((9, 14, 20)):
        counts = rng.integers(
            1, 2 + index, inputs
        )  # the first fold has no input with several completions
        found = rng.integers(-1, counts[:, None], (inputs, 5))
        chosen = {rule: rng.integers(0, 5, inputs) for rule in ("vote", "lprm")}
        parts.append(Samples(counts, found, chosen))
        scored = {
            "metrics": metrics.slices(parts[-1]),
            "by_completions": metrics.by_completions(parts[-1]),
            "by_width": metrics.by_width(parts[-1], (1, 3, 5)),
        }
        evaluations[index] |= scored
    union = Samples(
        np.concatenate([p.counts for p in parts]),
        np.concatenate([p.found for p in parts]),
        {
            "vote": np.concatenate([p.answers["vote"] for p in parts]),
            "lprm": np.concatenate([p.answers["lprm"] for p in parts]),
        },
    )
    result = pool.pool(evaluations)
    assert_close(result["metrics"], metrics.slices(union))
    assert_close(result["by_completions"], metrics.by_completions(union))
    assert_close(result["by_width"], metrics.by_width(union, (1, 3, 5)))
    assert_close(pool.pool(evaluations[::-1])["metrics"], result["metrics"])  # in any order


def test_all_folds_together_test_every_input_once(
    folds: list[Evaluation], evaluations: list[dict[str, Any]], tmp_path: Path, command: Any
) -> None:
    paths, tables = [], []
    for index, (content, table) in enumerate(folds):
        paths.append(tmp_path / f"{index}.json")
        tables.append(tmp_path / f"{index}.parquet")
        files.write_json(paths[-1], content)
        table.to_parquet(tables[-1], index=False)
    output, samples = tmp_path / "all.json", tmp_path / "all.parquet"
    arguments = (
        "--evaluations",
        *paths,
        "--fold-samples",
        *tables,
        "--output",
        output,
        "--samples",
        samples,
    )
    assert command(pool.main, *arguments).code == 0
    content, table = files.read_json(output), pd.read_parquet(samples)
    assert table.groupby("input_id").size().tolist() == [4] * 125
    assert content["metrics"]["accuracy"]["denominator"] == 4 * 125 == len(table)
    assert content["metrics"]["accuracy"]["numerator"] == (table["completion_id"] >= 0).sum()
    assert content["metrics"]["slices"]["several"]["inputs"] == 25
    assert (
        content["run"]["inputs"] == 125
        and content["run"]["folds"] == FOLDS
        and content["run"]["task"] == "nqueens5"
    )
    assert content["run"]["training_examples"] == sum(
        e["run"]["training_examples"] for e in evaluations
    )
    assert set(content["run"]["data_md5"]) == {f"nqueens5-fold{index}" for index in range(FOLDS)}


def test_no_input_is_trained_and_tested_by_the_same_fold(
    folded: Experiment, tmp_path: Path
) -> None:
    for task in folded.tasks("nqueens5"):
        build(resolve(folded, task, "gram", 0).data, tmp_path / task)
        train, test = (load_split(tmp_path / task, name) for name in ("train", "test"))
        assert not {board.tobytes() for board in train.inputs} & {
            board.tobytes() for board in test.inputs
        }


@pytest.mark.parametrize("left_out", range(FOLDS))
def test_missing_fold_is_refused(evaluations: list[dict[str, Any]], left_out: int) -> None:
    del evaluations[left_out]
    with pytest.raises(
        GramError, match="expected every fold of one task once, found nqueens5-fold"
    ):
        pool.pool(evaluations)


def test_fold_given_twice_and_foreign_fold_are_refused(evaluations: list[dict[str, Any]]) -> None:
    for wrong in ([*evaluations, evaluations[0]], [evaluations[0], evaluations[1], evaluations[1]]):
        with pytest.raises(GramError, match="expected every fold of one task once"):
            pool.pool(wrong)
    for name in ("nqueens6-fold2", "nqueens5"):
        evaluations[2]["run"]["task"] = name
        with pytest.raises(
            GramError, match=f"expected every fold of one task once, found .*{name}"
        ):
            pool.pool(evaluations)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("depth", 9),
        ("width", 9),
        ("seed", 9),
        ("method", "deterministic"),
        ("split", "valid"),
        ("weights", "raw"),
        ("act", True),
    ],
)
def test_folds_that_were_evaluated_differently_are_refused(
    evaluations: list[dict[str, Any]], key: str, value: Any
) -> None:
    evaluations[1]["run"][key] = value
    with pytest.raises(GramError, match=f"pool: {key} differs among the folds: .*{value}"):
        pool.pool(evaluations)


def test_folds_of_mixed_code_are_marked(evaluations: list[dict[str, Any]]) -> None:
    hashes = evaluations[0]["run"]["trained_by"]["code_hash"]
    assert pool.pool(evaluations)["run"]["trained_by"]["code_hash"] == hashes
    evaluations[1]["run"]["trained_by"]["code_hash"] = "0" * 12
    assert pool.pool(evaluations)["run"]["trained_by"]["code_hash"] == f"{'0' * 12}+{hashes}"


def test_bad_input_is_one_line(
    evaluations: list[dict[str, Any]], tmp_path: Path, command: Any
) -> None:
    files.write_json(tmp_path / "0.json", evaluations[0])
    for paths, message in (
        ([tmp_path / "0.json"], "expected every fold of one task once"),
        ([tmp_path / "0.json", tmp_path / "1.json"], f"{tmp_path / '1.json'}: no such file"),
    ):
        outcome = command(pool.main, "--evaluations", *paths, "--output", tmp_path / "all.json")
        assert outcome.code == 2 and outcome.err.count("\n") == 1 and message in outcome.err
    assert not (tmp_path / "all.json").exists()


def test_samples_of_too_few_folds_are_refused(
    evaluations: list[dict[str, Any]], tmp_path: Path, command: Any
) -> None:
    paths = [tmp_path / f"{index}.json" for index in range(FOLDS)]
    for path, content in zip(paths, evaluations, strict=True):
        files.write_json(path, content)
    arguments = (
        "--evaluations",
        *paths,
        "--samples",
        tmp_path / "all.parquet",
        "--output",
        tmp_path / "all.json",
    )
    outcome = command(pool.main, *arguments)
    assert outcome.code == 2 and outcome.err.startswith(
        "error: --samples: needs one of --fold-samples per evaluation, found 0"
    )
    assert sorted(tmp_path.iterdir()) == paths
