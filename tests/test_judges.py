"""Judges: what is counted where an input has more answers than can be listed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from gram.data.splits import Split
from gram.evaluate import metrics
from gram.evaluate.evaluation import Drawn, majority, score
from gram.evaluate.judges import JUDGES, met
from gram.settings.tasks import FAMILIES
from gram.system.errors import GramError
from gram.tasks import make_task
from gram.tasks.grids import BLANK


def split_of(inputs: Any, completions: Any, offsets: Any) -> Split:
    """A split of few rows."""
    inputs, completions = (np.array(tokens, dtype=np.uint8) for tokens in (inputs, completions))
    return Split(np.arange(len(inputs)), inputs, completions, np.array(offsets), md5="")


def test_every_family_has_a_judge() -> None:
    assert {family.judge for family in FAMILIES.values()} == set(JUDGES)


def test_validity_by_hand() -> None:
    """Of 8 samples 6 are valid: two answers three and two times, the second known, and one once."""
    found = np.array([[5, 5, 5, -1, 2, 2, 9, -1]])
    known = np.array([[False, False, False, True, True, True, False, False]])
    samples = metrics.Samples(
        np.array([3]), found, {}, {"wrong": np.array([[0, 0, 0, 4, 0, 0, 0, 2]])}
    )
    result = metrics.validity(samples, known)
    assert (result["accuracy"]["numerator"], result["accuracy"]["denominator"]) == (6, 8)
    assert (result["distinct"]["numerator"], result["distinct"]["denominator"]) == (3, 6)
    assert (result["seen"]["numerator"], result["seen"]["denominator"]) == (2, 6)
    assert (result["seen_answers"]["numerator"], result["seen_answers"]["denominator"]) == (1, 3)
    shares = (1 / 2, 1 / 3, 1 / 6)
    assert result["entropy"]["value"] == pytest.approx(-sum(p * math.log(p) for p in shares))
    assert result["wrong_mean"]["value"] == 6 / 8


def test_without_a_valid_sample_nothing_is_divided() -> None:
    samples = metrics.Samples(np.array([3]), np.full((1, 4), -1), {})
    result = metrics.validity(samples, np.zeros((1, 4), dtype=bool))
    assert result["accuracy"]["value"] == 0 and result["entropy"]["value"] == 0
    assert all(result[name]["value"] is None for name in ("distinct", "seen", "seen_answers"))


def test_valid_answers_that_no_list_has_are_told_apart() -> None:
    """Answers of 4x4 boards from nothing: listed ones by their number, others by their content,
    invalid ones as -1.
    """
    task = make_task("emptysudoku4", {"boards": 288})
    boards = task.examples().completions
    split = split_of([[BLANK] * 16], boards[:10], [0, 10])
    wrong = boards[0].copy()
    wrong[:2] = wrong[1::-1]
    tokens = np.stack([boards[3], boards[200], boards[100], boards[200], wrong])[None]
    blank = np.zeros((1, 5))
    drawn = Drawn(tokens, blank.astype(np.float32), blank.astype(np.int64), blank.astype(bool))
    scored = score(task, split, drawn)
    assert scored.found.tolist() == [[3, 11, 10, 11, -1]]
    assert scored.answers["vote"].tolist() == [1]
    train = split_of([[BLANK] * 16], boards[100:101], [0, 1])
    assert met(train, split, tokens).tolist() == [[False, False, True, False, False]]
    # Where the list is said to be complete, such an answer is a bug.
    task.complete = True
    with pytest.raises(GramError, match="the verifier and the list of completions disagree"):
        score(task, split, drawn)


def test_completions_of_another_input_are_not_met() -> None:
    train = split_of([[1, 1], [1, 2]], [[5, 5], [6, 6]], [0, 1, 2])
    split = split_of([[1, 2], [2, 2]], [[5, 5], [6, 6]], [0, 1, 2])
    tokens = np.array([[[5, 5], [6, 6]], [[5, 5], [6, 6]]], dtype=np.uint8)
    assert met(train, split, tokens).tolist() == [[False, True], [False, False]]


def test_a_majority_is_the_earliest_of_the_most_frequent() -> None:
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 4, size=(200, 9))
    slow = [(row[:, None] == row[None]).sum(axis=1).argmax() for row in answers]
    assert majority(answers).tolist() == slow
