"""Scaling: one pass gives every depth and width, and the widest and deepest equal the plain
evaluation.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gram.evaluate import evaluation, metrics, pool, scaling
from gram.evaluate.metrics import Samples
from gram.evaluate.scoring import Drawn
from gram.evaluate.votes import majority
from gram.models.rollout import Stop
from gram.settings import EvaluateConfig
from gram.system import files

CPU = torch.device("cpu")
CHOSEN = ("accuracy", "accuracy_vote", "accuracy_lprm", "accuracy_best")


@pytest.fixture(scope="module")
def subject(gram_run: Path, data_folder: Path) -> evaluation.Subject:
    """The tiny trained GRAM on its test split."""
    return evaluation.load_subject(gram_run, data_folder, "test", EvaluateConfig(), CPU)


def invented(N: int, W: int, seed: int = 0) -> tuple[Drawn, Samples]:
    """Samples of N inputs with up to three completions each; a token says which one it is, and 0 is
    no completion.
    """
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, N)
    found = rng.integers(-1, counts[:, None], (N, W))
    value = rng.random((N, W)).astype(np.float32)
    drawn = Drawn(
        (found[:, :, None] + 1).astype(np.uint8),
        value,
        np.full((N, W), 4),
        np.zeros((N, W), dtype=bool),
    )
    answers = {"vote": majority(found), "lprm": value.argmax(axis=1)}
    return drawn, Samples(counts, found, answers)


def test_all_samples_together_are_chosen_among_as_in_an_evaluation() -> None:
    drawn, samples = invented(40, 7)
    (row,) = scaling.by_depth_and_width(4, drawn, samples, [7])
    expected = metrics.metrics(samples)
    for name in (*CHOSEN, "coverage_paper", "coverage_micro", "coverage_macro"):
        for part, value in expected[name].items():
            assert row[name][part] == pytest.approx(value)
    assert (row["depth"], row["width"]) == (4, 7)


def test_one_sample_is_the_mean_over_all() -> None:
    drawn, samples = invented(40, 7)
    one, *more = scaling.by_depth_and_width(4, drawn, samples, [1, 2, 4, 7])
    for name in CHOSEN:
        assert one[name]["value"] == pytest.approx((samples.found >= 0).mean())
    best = [row["accuracy_best"]["value"] for row in (one, *more)]
    assert best == sorted(best) and best[0] < best[-1]
    assert {row["accuracy"]["value"] for row in more} == {one["accuracy"]["value"]}


def test_votes_are_taken_in_groups_that_share_no_sample() -> None:
    answers = np.array([[0, 1, 1, 0, 0, 0, 1], [2, 2, 2, 1, 1, 2, 1]])
    valid = answers == 1
    # Groups of three: (0 1 1) (0 0 0) and (2 2 2) (1 1 2); the seventh sample has no group.
    assert scaling.voted(answers, valid, 3) == (1 + 0 + 0 + 1) / 2
    # Groups of two: the earlier answer wins a tie.
    assert scaling.voted(answers, valid, 2) == (0 + 1 + 0 + 0 + 0 + 1) / 3
    assert scaling.voted(answers, valid, 7) == 0


def test_depths_are_those_of_separate_evaluations(subject: evaluation.Subject) -> None:
    config = EvaluateConfig(width=3)
    read = evaluation.draw_at(
        subject.model, subject.split, [Stop(1), Stop(4)], config, subject.generator("depths")
    )
    for depth, found in zip((1, 4), read, strict=True):
        alone = evaluation.draw(
            subject.model,
            subject.split,
            dataclasses.replace(config, depth=depth),
            subject.generator("depths"),
        )
        assert (
            all(np.array_equal(a, b) for a, b in zip(found, alone, strict=True))
            and (found.steps == depth).all()
        )


def test_halting_counts_where_trajectories_stop() -> None:
    steps = np.array([[1, 3, 3], [2, 3, 1]])
    halted = np.array(
        [[True, True, False], [True, False, True]]
    )  # two went through all three steps without halting
    found = np.array([[0, 0, 0], [-1, -1, -1]])
    drawn = Drawn(
        np.zeros((2, 3, 1), dtype=np.uint8), np.zeros((2, 3), dtype=np.float32), steps, halted
    )
    result = scaling.halting(drawn, Samples(np.array([1, 1]), found, {}), 3)
    rows = [
        (row["step"], row["trajectories"]["numerator"], row["accuracy"]["value"])
        for row in result["by_halting_step"]
    ]
    assert rows == [(1, 2, 0.5), (2, 1, 0.0), (3, 1, 1.0)]
    assert [result["halting"][key]["numerator"] for key in ("accuracy", "never", "steps")] == [
        3,
        2,
        13,
    ]
    assert {row["trajectories"]["denominator"] for row in result["by_halting_step"]} == {6}


def test_pooled_rows_equal_those_of_the_union(subject: evaluation.Subject) -> None:
    one, other = invented(9, 6, 0), invented(14, 6, 1)
    (drawn_of_one, scored_of_one), (drawn_of_other, scored_of_other) = one, other
    drawn = Drawn(*map(np.concatenate, zip(drawn_of_one, drawn_of_other, strict=True)))
    union = Samples(
        np.concatenate([scored_of_one.counts, scored_of_other.counts]),
        np.concatenate([scored_of_one.found, scored_of_other.found]),
        {},
    )

    def table(drawn: Drawn, scored: Samples) -> list[dict[str, Any]]:
        rows = (scaling.by_depth_and_width(depth, drawn, scored, [1, 2, 6]) for depth in (1, 2))
        return list(itertools.chain.from_iterable(rows))

    pooled, expected = pool.pool_rows([table(*one), table(*other)]), table(drawn, union)
    for row, other in zip(pooled, expected, strict=True):
        assert row.keys() == other.keys() and (row["depth"], row["width"]) == (
            other["depth"],
            other["width"],
        )
        for name in (*CHOSEN, "coverage_paper"):
            assert row[name] == {key: pytest.approx(value) for key, value in other[name].items()}


def test_command_line(
    gram_run: Path, data_folder: Path, subject: evaluation.Subject, command: Any, tmp_path: Path
) -> None:
    output = tmp_path / "scaling.json"
    arguments = ("--run", gram_run, "--data", data_folder, "--output", output, "--device", "cpu")
    more = (
        "--depths",
        2,
        1,
        "--widths",
        1,
        4,
        "--settings",
        "{depth: 16, seed: 3, act: true, sampler: quasi}",
    )
    outcome = command(scaling.main, *arguments, *more)
    assert outcome.code == 0, outcome.err
    content = files.read_json(output)
    facts = content["run"]
    assert [
        facts[key] for key in ("depth", "width", "draws", "act", "sampler", "rollout_seed")
    ] == [2, 4, 4, False, "iid", 3]
    rows = content["by_depth_and_width"]
    assert [(row["depth"], row["width"]) for row in rows] == [(1, 1), (1, 4), (2, 1), (2, 4)]
    assert [row["step"] for row in content["by_halting_step"]] == [1, 2]
    trajectories = 4 * len(subject.split.inputs)
    halting = sum(row["trajectories"]["numerator"] for row in content["by_halting_step"])
    assert (
        halting + content["halting"]["never"]["numerator"]
        == trajectories
        == rows[0]["accuracy"]["denominator"]
    )


def test_a_deterministic_run_gains_from_depth_alone(
    deterministic_run: Path, data_folder: Path
) -> None:
    twin = evaluation.load_subject(deterministic_run, data_folder, "test", EvaluateConfig(), CPU)
    content = scaling.scaling(twin, EvaluateConfig(), [1, 3], [1, 2, 5])
    assert content["run"]["draws"] == 1
    for row in content["by_depth_and_width"]:
        assert len({row[name]["value"] for name in CHOSEN}) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--depths", 0, 4), "evaluate: depth: 0 is less than 1"),
        (("--widths", 5, -1), "evaluate: width: -1 is less than 1"),
        (("--data", "a", "b"), "--data: needs one folder per --run, found 2 for 1"),
    ],
)
def test_bad_input_is_one_line(
    gram_run: Path,
    data_folder: Path,
    tmp_path: Path,
    command: Any,
    more: tuple[object, ...],
    message: str,
) -> None:
    arguments = (
        "--run",
        gram_run,
        "--data",
        data_folder,
        "--output",
        tmp_path / "scaling.json",
        "--device",
        "cpu",
    )
    outcome = command(scaling.main, *arguments, *more)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and message in outcome.err
    assert list(tmp_path.iterdir()) == []
