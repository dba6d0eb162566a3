"""Metrics: the paper's ceilings over all pairs, samplers with a known coverage, hand computation,
and pooling.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from gram.evaluate import metrics
from gram.evaluate.metrics import Samples, coverages, expected_found, iid_ceiling
from gram.evaluate.pool import pool_rows, pool_values
from gram.evaluate.votes import answer_numbers, majority
from gram.tasks import Examples

# What gram-facts derives from the paper's own numbers, over all pairs or inputs, to the digits that
# it gives.
CEILINGS = {
    8: {"coverage_paper": (0.9065, 4), "coverage_micro": (0.980, 3), "coverage_macro": (0.997, 3)},
    10: {"coverage_paper": (0.5799, 4), "coverage_micro": (0.913, 3), "coverage_macro": (0.987, 3)},
}
# Ratio of coverage to accuracy of a model with one answer per input.
ONE_ANSWER = {
    8: {"coverage_paper": (0.326, 3), "coverage_micro": (0.608, 3)},
    10: {"coverage_paper": (0.107, 3), "coverage_micro": (0.343, 3)},
}


@pytest.fixture(params=[8, 10])
def board(request: pytest.FixtureRequest) -> tuple[int, np.ndarray]:
    """Size of the board and the number of completions of each of its inputs."""
    enumeration: Examples = request.getfixturevalue(f"enumeration{request.param}")
    return request.param, enumeration.counts


def test_ceilings_of_the_paper(board: tuple[int, np.ndarray]) -> None:
    n, counts = board
    result = coverages(counts, np.zeros(len(counts)), 20)
    for name, (ceiling, digits) in CEILINGS[n].items():
        assert round(result[name]["ceiling"], digits) == ceiling


def test_one_right_answer_per_input_covers_what_the_paper_implies(
    board: tuple[int, np.ndarray],
) -> None:
    n, counts = board
    result = coverages(counts, np.ones(len(counts)), 20)
    for name, (share, digits) in ONE_ANSWER[n].items():
        assert round(result[name]["value"], digits) == share


def draw(counts: np.ndarray, width: int, skew: float, rng: np.random.Generator) -> Samples:
    """A sampler that is always right: uniform at skew 0, and the more one-sided the higher
    ``skew``.
    """
    found = [
        rng.choice(m, size=width, p=(p := np.exp(-skew * np.arange(m))) / p.sum()) for m in counts
    ]
    return Samples(counts, np.array(found), {})


@pytest.mark.parametrize("name", ["coverage_paper", "coverage_micro", "coverage_macro"])
def test_uniform_sampler_reaches_the_ceiling_and_a_one_sided_one_does_not(
    name: str, enumeration8: Examples
) -> None:
    counts, width = enumeration8.counts[enumeration8.counts > 1], 20
    m = counts.astype(float)
    # Exact variance of the number of distinct completions in `width` uniform draws.
    twice = m * (m - 1) * (1 - 2 / m) ** width
    variance = m * (1 - 1 / m) ** width + twice - (m * (1 - 1 / m) ** width) ** 2
    weight = {"coverage_paper": m, "coverage_micro": np.ones_like(m), "coverage_macro": 1 / m}[name]
    error = float(np.sqrt((weight**2 * variance).sum()) / (weight * m).sum())
    assert 0 < error < 0.006
    uniform = metrics.metrics(draw(counts, width, 0.0, np.random.default_rng(1)))[name]
    assert abs(uniform["value"] - uniform["ceiling"]) < 4 * error
    skewed = metrics.metrics(draw(counts, width, 0.7, np.random.default_rng(1)))[name]
    assert skewed["value"] < skewed["ceiling"] - 8 * error


def test_ceiling_is_the_average_over_all_sequences_of_draws() -> None:
    for m, width in ((1, 3), (2, 4), (3, 3), (4, 2)):
        sequences = np.stack(np.meshgrid(*[np.arange(m)] * width), axis=-1).reshape(-1, width)
        brute = np.mean([len(set(row)) for row in sequences.tolist()])
        assert iid_ceiling(np.array([m]), width)[0] == pytest.approx(brute)


def mean_found(row: list[int], draws: int) -> float:
    """How many completions ``draws`` of the samples find, a mean over all ways to take as many."""
    subsets = combinations(row, draws)
    return float(np.mean([len(set(subset) - {-1}) for subset in subsets]))


def test_expected_found_is_the_average_over_all_subsets() -> None:
    width = 6
    found = np.random.default_rng(0).integers(-1, 4, (12, width))
    found[0], found[1] = -1, 2
    samples = Samples(np.full(12, 4), found, {})
    for draws in range(1, width + 1):
        brute = [mean_found(row, draws) for row in found.tolist()]
        assert expected_found(samples, draws) == pytest.approx(brute, abs=1e-12)


def test_expected_found_stays_exact_where_binomials_overflow() -> None:
    width = 2000
    found = np.zeros((1, width), dtype=np.int64)
    found[0, 0] = 1  # drawn once: missed by 1 - 1000/2000 of the subsets
    assert expected_found(Samples(np.array([2]), found, {}), 1000)[0] == pytest.approx(
        1.5, abs=1e-9
    )


def test_deterministic_model_never_covers_more_than_one_completion(
    enumeration8: Examples,
) -> None:
    counts = enumeration8.counts
    answer = np.random.default_rng(0).integers(
        -1, counts
    )  # one answer per input, right or wrong, for all 20 draws
    result = metrics.metrics(Samples(counts, np.repeat(answer[:, None], 20, axis=1), {}))
    right = (answer >= 0).sum()
    assert 0 < right < len(counts)
    assert result["coverage_micro"]["numerator"] == pytest.approx(right)
    assert result["coverage_micro"]["value"] == pytest.approx(right / counts.sum())
    assert result["coverage_macro"]["value"] == pytest.approx(((answer >= 0) / counts).mean())
    assert result["coverage_macro"]["value"] < result["accuracy"]["value"]


# Three inputs with 1, 2 and 3 completions, two samples each; -1 is an invalid board.
HAND = Samples(
    counts=np.array([1, 2, 3]),
    found=np.array([[0, -1], [1, 1], [0, 2]]),
    answers={"vote": np.array([1, 0, 0]), "lprm": np.array([0, 1, 1])},
)


def test_hand_computation() -> None:
    result = metrics.metrics(HAND)
    expected = {
        "accuracy": (5, 6),
        "accuracy_paper": (1 * 1 + 2 * 2 + 3 * 2, 6 * 2),
        "exact_match": (1 + 2 + 2, 6 * 2),
        "accuracy_best": (3, 3),
        "accuracy_vote": (2, 3),
        "accuracy_lprm": (3, 3),
        "coverage_paper": (1 * 1 + 2 * 1 + 3 * 2, 1 + 4 + 9),
        "coverage_micro": (1 + 1 + 2, 6),
        "coverage_macro": (1 + 1 / 2 + 2 / 3, 3),
    }
    assert result.keys() == expected.keys()
    for name, (numerator, denominator) in expected.items():
        assert result[name]["numerator"] == pytest.approx(numerator), name
        assert result[name]["denominator"] == denominator, name
        assert result[name]["value"] == pytest.approx(numerator / denominator), name
    assert result["coverage_micro"]["ceiling"] == pytest.approx((1 + 1.5 + 3 * (1 - 4 / 9)) / 6)


def random_samples(inputs: int, width: int, seed: int) -> Samples:
    """Samples of a model that is sometimes right, over inputs with one to five completions."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, inputs)
    found = rng.integers(-1, counts[:, None], (inputs, width))
    return Samples(
        counts,
        found,
        {"vote": rng.integers(0, width, inputs), "lprm": rng.integers(0, width, inputs)},
    )


def test_exact_match_and_paper_accuracy_equal_a_loop_over_pair_rows() -> None:
    samples = random_samples(30, 7, 0)
    rows = [(i, target) for i, m in enumerate(samples.counts) for target in range(m)]
    exact = [answer == target for i, target in rows for answer in samples.found[i]]
    valid = [answer >= 0 for i, _ in rows for answer in samples.found[i]]
    result = metrics.metrics(samples)
    assert result["exact_match"]["value"] == pytest.approx(np.mean(exact))
    assert result["accuracy_paper"]["value"] == pytest.approx(np.mean(valid))
    # Pair rows of coverage: input i stands m_i times, each time with all its m_i completions.
    found = [len(set(samples.found[i].tolist()) - {-1}) for i, _ in rows]
    assert result["coverage_paper"]["value"] == pytest.approx(
        sum(found) / sum(samples.counts[i] for i, _ in rows)
    )


def test_slices_are_metrics_of_the_inputs_with_one_and_with_several() -> None:
    result = metrics.slices(HAND)
    only_first = Samples(
        HAND.counts[:1], HAND.found[:1], {rule: chosen[:1] for rule, chosen in HAND.answers.items()}
    )
    others = Samples(
        HAND.counts[1:], HAND.found[1:], {rule: chosen[1:] for rule, chosen in HAND.answers.items()}
    )
    assert result["slices"]["baseline"] == {"inputs": 1} | metrics.metrics(only_first)
    assert result["slices"]["several"] == {"inputs": 2} | metrics.metrics(others)
    assert {name: value for name, value in result.items() if name != "slices"} == metrics.metrics(
        HAND
    )
    assert result["slices"]["baseline"]["accuracy"]["value"] == 0.5
    assert result["slices"]["several"]["accuracy_vote"]["value"] == 1.0


def test_by_completions_adds_up_to_the_whole() -> None:
    samples = random_samples(40, 5, 1)
    rows = metrics.by_completions(samples)
    assert [row["n_completions"] for row in rows] == sorted(set(samples.counts.tolist()))
    whole = metrics.metrics(samples)
    for name in ("accuracy", "coverage_macro"):
        for part in ("numerator", "denominator"):
            assert sum(row[name][part] for row in rows) == pytest.approx(whole[name][part])
    for row in rows:
        chosen = samples.found[samples.counts == row["n_completions"]]
        assert row["inputs"] == len(chosen)
        assert row["accuracy"]["value"] == pytest.approx((chosen >= 0).mean())


def test_by_width_ends_at_the_whole_and_grows() -> None:
    samples = random_samples(40, 5, 2)
    rows = metrics.by_width(samples, (1, 2, 3, 5, 10))
    assert [row["width"] for row in rows] == [1, 2, 3, 5]  # no more than were drawn
    values = [row["coverage_micro"]["value"] for row in rows]
    assert values == sorted(values) and values[0] < values[-1]
    whole = metrics.metrics(samples)
    assert rows[-1] == {"width": 5} | {
        name: whole[name] for name in ("coverage_paper", "coverage_micro", "coverage_macro")
    }
    assert rows[0]["coverage_micro"]["ceiling"] == pytest.approx(
        len(samples.counts) / samples.counts.sum()
    )


def assert_equal(a: Any, b: Any) -> None:
    """Nested mappings and lists with equal keys, and numbers equal up to rounding."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == (None if b is None else pytest.approx(b, rel=1e-12))


def test_pooled_halves_equal_the_whole() -> None:
    samples = random_samples(50, 6, 3)
    several = samples.counts > 1
    # Uneven parts, one of them without any input that has several completions.
    first = ~several & (np.arange(50) % 2 == 0)
    parts = [samples.where(first), samples.where(~first)]
    assert len(set(parts[1].counts.tolist())) > len(set(parts[0].counts.tolist())) == 1
    assert_equal(pool_values([metrics.slices(part) for part in parts]), metrics.slices(samples))
    rows = [metrics.by_completions(part) for part in parts]
    assert_equal(pool_rows(rows), metrics.by_completions(samples))
    widths = [metrics.by_width(part, (1, 3, 6)) for part in parts]
    assert_equal(pool_rows(widths), metrics.by_width(samples, (1, 3, 6)))
    means = [metrics.slices(part)["accuracy"]["value"] for part in parts]
    assert np.mean(means) != pytest.approx(
        metrics.slices(samples)["accuracy"]["value"]
    )  # so pooling is not averaging


def test_nothing_to_divide_by_is_null() -> None:
    empty = metrics.metrics(HAND.where(np.zeros(3, dtype=bool)))
    for metric in empty.values():
        assert metric["value"] is None and metric["denominator"] == 0
    assert empty["coverage_paper"]["ceiling"] is None


@pytest.mark.parametrize("draws", [1, 2, 4, 7])
def test_choosing_among_subsets_equals_going_through_all_of_them(draws: int) -> None:
    rng = np.random.default_rng(0)
    N, W = 6, 7
    valid = rng.random((N, W)) < np.linspace(0, 1, N)[:, None]
    value = rng.integers(0, 4, (N, W)).astype(np.float32)  # with ties
    subsets = [list(subset) for subset in combinations(range(W), draws)]
    best = np.mean([valid[:, subset].any(axis=1) for subset in subsets], axis=0)
    chosen = [np.array(subset)[value[:, subset].argmax(axis=1)] for subset in subsets]
    highest = np.mean([valid[np.arange(N), column] for column in chosen], axis=0)
    assert np.allclose(metrics.expected_best(valid, draws), best)
    assert np.allclose(metrics.expected_highest(valid, value, draws), highest)


def test_majority_vote_and_its_ties() -> None:
    a, b, c = [1, 1, 2], [1, 2, 1], [2, 1, 1]
    tokens = np.array(
        [[a, b, b, c], [a, b, c, c], [b, a, a, b], [c, b, a, a], [a, a, b, c]], dtype=np.uint8
    )
    # Index of the earliest sample of the largest group; in the third row two groups tie and the
    # earlier one wins.
    assert majority(answer_numbers(tokens)).tolist() == [1, 2, 0, 2, 0]
