"""Coverage against closed forms: samplers of known distribution, right ones and wrong ones, through
the project's own metrics.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gram.data.splits import Split
from gram.evaluate import metrics
from gram.evaluate.metrics import Samples
from gram.evaluate.scoring import Drawn, score
from gram.tasks import make_task

Floats = NDArray[np.float64]
P = np.array([0.4, 0.25, 0.15, 0.1])  # of four completions; the rest of the draws are invalid
WIDTH = 6
INPUTS = 4000


def drawn(p: Floats, width: int, inputs: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Independent draws: completion j with probability p[j], -1 with the rest; [inputs, width]."""
    numbers = np.append(np.arange(len(p)), -1)
    return np.random.default_rng(seed).choice(
        numbers, size=(inputs, width), p=np.append(p, 1 - p.sum())
    )


def samples(found: NDArray[np.int64], completions: int) -> Samples:
    """``found`` as the answers to inputs with equally many completions."""
    first = np.zeros(len(found), dtype=np.int64)
    return Samples(np.full(len(found), completions), found, {"vote": first, "lprm": first})


def expected_distinct(p: Floats, width: int) -> float:
    """sum over completions of 1 - (1 - p)^W."""
    return float((1 - (1 - p) ** width).sum())


def variance_distinct(p: Floats, width: int) -> float:
    """Of the number of distinct completions among W draws, from the chance to miss one, and to miss
    two.
    """
    missed, both = (1 - p) ** width, (1 - p[:, None] - p) ** width
    covariance = both - np.outer(missed, missed)
    np.fill_diagonal(covariance, missed * (1 - missed))
    return float(covariance.sum())


def law_of_distinct(p: Floats, width: int) -> Floats:
    """P(number of distinct completions = d) for d = 0..len(p), by inclusion and exclusion over the
    sets that may be found.
    """
    law = np.zeros(len(p) + 1)
    for size in range(len(p) + 1):
        for found in itertools.combinations(range(len(p)), size):
            for part in range(size + 1):
                for within in itertools.combinations(found, part):
                    law[size] += (-1) ** (size - part) * (
                        1 - p.sum() + p[list(within)].sum()
                    ) ** width
    return law


def coverage(found: NDArray[np.int64], completions: int) -> float:
    value = metrics.metrics(samples(found, completions))["coverage_macro"]["value"]
    assert value is not None
    return value


def deviations(observed: float, p: Floats, width: int, inputs: int) -> float:
    """How many standard errors the mean coverage of independent inputs lies from its
    expectation.
    """
    error = (max(variance_distinct(p, width), 0) / inputs) ** 0.5 / len(p)
    return abs(observed - expected_distinct(p, width) / len(p)) / max(error, 1e-12)


@pytest.mark.parametrize(
    "p", [P, np.full(4, 0.25), np.array([0.9, 0.05, 0.05]), np.array([0.02, 0.01])]
)
@pytest.mark.parametrize("width", [1, WIDTH, 20])
def test_mean_coverage_is_the_closed_form(p: Floats, width: int) -> None:
    assert deviations(coverage(drawn(p, width, INPUTS), len(p)), p, width, INPUTS) < 4


def test_uniform_sampler_reaches_the_ceiling() -> None:
    p = np.full(5, 0.2)
    value = metrics.metrics(samples(drawn(p, 8, INPUTS), 5))["coverage_macro"]
    assert value["ceiling"] == pytest.approx(expected_distinct(p, 8) / 5)
    assert deviations(float(value["value"] or 0), p, 8, INPUTS) < 4


def test_fewer_samples_are_taken_from_more_without_bias() -> None:
    found = drawn(P, 20, INPUTS)
    for width in (1, 3, 10):
        row = metrics.by_width(samples(found, len(P)), [width])[0]["coverage_macro"]["value"]
        assert (
            deviations(row, P, width, INPUTS) < 4
        )  # all subsets together vary less than one of them
        assert row != coverage(found[:, :width], len(P))


def counts_of_distinct(found: NDArray[np.int64]) -> torch.Tensor:
    """Inputs by the number of completions that the metrics find: [5]."""
    distinct = metrics.expected_found(samples(found, len(P)), found.shape[1])
    return torch.from_numpy(np.bincount(distinct.round().astype(int), minlength=len(P) + 1))


def test_distribution_of_coverage_is_the_closed_form(chi_square: Callable[..., float]) -> None:
    law = law_of_distinct(P, WIDTH)
    assert law.sum() == pytest.approx(1) and law @ np.arange(5) == pytest.approx(
        expected_distinct(P, WIDTH)
    )
    assert (
        chi_square(counts_of_distinct(drawn(P, WIDTH, INPUTS)), torch.from_numpy(INPUTS * law))
        > 0.01
    )


@pytest.mark.parametrize("wrong", ["sharper", "repeats", "avoids repeats"])
def test_wrong_samplers_are_caught(wrong: str, chi_square: Callable[..., float]) -> None:
    found = drawn(P, WIDTH, INPUTS)
    if wrong == "sharper":  # the same completions at a lower temperature
        sharp = P**1.5 / (P**1.5).sum() * P.sum()
        found = drawn(sharp, WIDTH, INPUTS)
    elif wrong == "repeats":  # now and then an answer is handed out twice
        again = np.random.default_rng(1).random(INPUTS) < 0.5
        found[again, 1] = found[again, 0]
    else:
        again = found[:, 1] == found[:, 0]
        found[again, 1] = drawn(P, WIDTH, INPUTS, seed=1)[again, 0]
    assert (
        chi_square(counts_of_distinct(found), torch.from_numpy(INPUTS * law_of_distinct(P, WIDTH)))
        < 1e-4
    )
    assert deviations(coverage(found, len(P)), P, WIDTH, INPUTS) > 4


def test_closed_form_through_verifier_and_enumeration() -> None:
    task = make_task("nqueens5", {"removed": [3, 4]})
    every = task.examples()
    index = int(every.counts.argmax())
    completions = every.completions[every.offsets[index] : every.offsets[index + 1]]
    m, repeats, width = len(completions), 2000, 3
    split = Split(
        input_ids=np.arange(repeats),
        inputs=np.repeat(every.inputs[[index]], repeats, axis=0),
        completions=np.tile(completions, (repeats, 1)),
        offsets=np.arange(repeats + 1) * m,
        md5="",
    )
    p = np.array([0.5, 0.2])
    assert m == len(p)
    numbers = drawn(p, width, repeats)
    boards = np.concatenate((completions, every.inputs[[index]]))[
        numbers
    ]  # -1: the input itself, which lacks queens
    nothing = np.zeros((repeats, width))
    result = metrics.metrics(
        score(
            task,
            split,
            Drawn(boards, nothing.astype(np.float32), nothing.astype(np.int64), nothing > 0),
        )
    )
    assert deviations(float(result["coverage_macro"]["value"] or 0), p, width, repeats) < 4
    accuracy = float(result["accuracy"]["value"] or 0)
    assert abs(accuracy - 0.7) < 4 * (0.7 * 0.3 / (repeats * width)) ** 0.5
