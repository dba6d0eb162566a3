"""Accuracy and coverage as sums and counts that are divided once, each average by its own name
(section B.2).

A test split holds N unique inputs; input i has m_i completions and gets W samples. Two kinds of
rows are averaged over: the unique inputs, and the (input, target) pairs, where input i stands m_i
times. The paper's own numbers on N-Queens fit only the second, so what is called ``*_paper`` here
weights input i by m_i. Those on graph colouring fit the unique inputs, which are graphs there: what
the paper calls coverage is ``coverage_micro``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """What a model answered.

    Attributes:
        counts: [N] int64, completions that exist for each input (m).
        found: [N, W] int64, which completion each sample is, or -1 where it is invalid. Valid
            answers that the examples do not list have numbers from m on.
        answers: chosen sample per input by rule ("vote", "lprm"), each [N] int64 column numbers.
        violations: by name, how often each sample breaks a rule of its task, each [N, W] int64.
        columns: what the judge of the task knows of them beyond that, by name, each [N] or [N, W].
    """

    counts: NDArray[np.int64]
    found: NDArray[np.int64]
    answers: dict[str, NDArray[np.int64]]
    violations: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    columns: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Samples per input, W."""
        return self.found.shape[1]

    def where(self, mask: NDArray[np.bool_]) -> Samples:
        """Only the inputs under ``mask`` [N]."""

        def part(group: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            return {name: values[mask] for name, values in group.items()}

        groups = map(part, (self.answers, self.violations, self.columns))
        return Samples(self.counts[mask], self.found[mask], *groups)


def ratio(numerator: float, denominator: float, **more: float | None) -> dict[str, float | None]:
    """A metric that can be pooled: value (null over nothing), numerator, denominator."""
    value = float(numerator) / float(denominator) if denominator else None
    return {
        "value": value,
        "numerator": float(numerator),
        "denominator": float(denominator),
        **more,
    }


def iid_ceiling(counts: NDArray[np.int64], draws: int) -> Floats:
    """Expected number of distinct completions among ``draws`` uniform independent ones: m (1 - (1 -
    1/m)^draws), [N].

    No sampler that draws independently finds more on average, because the uniform one is the best
    of them.
    """
    m = counts.astype(np.float64)
    return np.asarray(m * (1 - (1 - 1 / m) ** draws))


def missed(times: NDArray[np.int64], total: int, draws: int) -> Floats:
    """Share of all subsets of ``draws`` among ``total`` samples that hold none of ``times`` given
    ones, elementwise.

    It is C(total - times, draws) / C(total, draws).
    """
    share = np.ones(np.shape(times))
    for i in range(draws):  # the ratio of binomials as a product, which cannot overflow
        share *= np.clip(total - times - i, 0, None) / (total - i)
    return share


def expected_found(samples: Samples, draws: int) -> Floats:
    """Distinct completions expected in ``draws`` of the W samples, averaged over all subsets of
    that size: [N].
    """
    total = np.zeros(len(samples.counts))
    for index, found in enumerate(samples.found):
        _, times = np.unique(found[found >= 0], return_counts=True)
        total[index] = (1 - missed(times, samples.width, draws)).sum()
    return total


def expected_best(valid: NDArray[np.bool_], draws: int) -> Floats:
    """How many of all subsets of ``draws`` among W samples hold a valid one, as a share: [N, W] ->
    [N].
    """
    return 1 - missed(valid.sum(axis=1), valid.shape[1], draws)


def expected_highest(
    valid: NDArray[np.bool_], value: NDArray[np.floating[Any]], draws: int
) -> Floats:
    """How often the sample of the highest value is valid, over all subsets of ``draws`` among W
    samples: [N, W] twice -> [N].

    The r-th highest is the highest of a subset that misses the r - 1 above it, but not itself. Of
    equal values the earlier sample counts as higher, as argmax has it.
    """
    W = valid.shape[1]
    order = np.argsort(-value, axis=1, kind="stable")
    share = -np.diff(missed(np.arange(W + 1), W, draws))
    return np.asarray(np.take_along_axis(valid, order, axis=1) @ share)


def coverages(
    counts: NDArray[np.int64], found: Floats, draws: int
) -> dict[str, dict[str, float | None]]:
    """The three averages of found / m, each beside the ceiling of ``draws`` independent samples.

    Args:
        counts: [N] completions that exist, m.
        found: [N] completions found.
        draws: samples per input that the ceiling assumes.
    """
    m = counts.astype(np.float64)
    best = iid_ceiling(counts, draws)
    weights = {"coverage_paper": m, "coverage_micro": np.ones_like(m), "coverage_macro": 1 / m}
    result = {}
    for name, weight in weights.items():
        whole = float((weight * m).sum())
        ceiling = float((weight * best).sum()) / whole if whole else None
        result[name] = ratio(float((weight * found).sum()), whole, ceiling=ceiling)
    return result


def metrics(samples: Samples) -> dict[str, dict[str, float | None]]:
    """All metrics over the inputs of ``samples``.

    accuracy: valid samples among all samples, over unique inputs. accuracy_paper: the same over
    pair rows. exact_match: samples equal to the row's target, over pair rows. accuracy_vote,
    accuracy_lprm: one answer per input, chosen by majority or by value. accuracy_best: inputs with
    any valid sample (the oracle). coverage_*: see :func:`coverages`. conflict_edges and other
    violations: a count without a denominator, the total over one answer per input, its first
    sample, since the paper's are whole numbers of about that size; with _mean, the mean over all
    samples.
    """
    m, W = samples.counts, samples.width
    valid = samples.found >= 0
    per_input = valid.sum(axis=1)
    result = {
        "accuracy": ratio(per_input.sum(), m.size * W),
        "accuracy_paper": ratio((m * per_input).sum(), m.sum() * W),
        # A valid sample equals exactly one of the m targets of its input's m rows.
        "exact_match": ratio(per_input.sum(), m.sum() * W),
        "accuracy_best": ratio((per_input > 0).sum(), m.size),
    }
    for rule, chosen in samples.answers.items():
        result[f"accuracy_{rule}"] = ratio(valid[np.arange(m.size), chosen].sum(), m.size)
    for name, times in samples.violations.items():
        result[name] = {"value": int(times[:, 0].sum())}
        result[f"{name}_mean"] = ratio(times.sum(), times.size)
    return result | coverages(m, expected_found(samples, W), W)


def slices(samples: Samples) -> dict[str, Any]:
    """``metrics``, and under it those of two slices: baseline, the inputs with one completion, and
    several, those with more.
    """
    several = samples.counts > 1
    parts = {"baseline": samples.where(~several), "several": samples.where(several)}
    return metrics(samples) | {
        "slices": {name: {"inputs": len(p.counts)} | metrics(p) for name, p in parts.items()}
    }


def by_completions(samples: Samples) -> list[dict[str, Any]]:
    """Accuracy and coverage for each number of completions."""
    rows = []
    for m in np.unique(samples.counts):
        part = samples.where(samples.counts == m)
        values = metrics(part)
        kept = {name: values[name] for name in ("accuracy", "coverage_macro")}
        rows.append({"n_completions": int(m), "inputs": len(part.counts)} | kept)
    return rows


def by_width(samples: Samples, widths: Sequence[int]) -> list[dict[str, Any]]:
    """The coverages that fewer samples would have given, with their ceilings."""
    chosen = [w for w in widths if w <= samples.width]
    return [{"width": w} | coverages(samples.counts, expected_found(samples, w), w) for w in chosen]


def by_times(samples: Samples, known: NDArray[np.bool_]) -> list[dict[str, int]]:
    """How many different valid answers were drawn how often, over all inputs: ``times``, and how
    many answers stand in training (``seen``) and do not (``new``).

    Args:
        samples, known: as of :func:`validity`.
    """
    counts: Counter[tuple[int, bool]] = Counter()
    for found, met in zip(samples.found, known, strict=True):
        valid = found >= 0
        _, first, times = np.unique(found[valid], return_index=True, return_counts=True)
        counts.update(zip(times.tolist(), met[valid][first].tolist(), strict=True))
    drawn = sorted({times for times, _ in counts})
    return [{"times": n, "seen": counts[n, True], "new": counts[n, False]} for n in drawn]


def entropy(found: NDArray[np.int64]) -> float:
    """Entropy in nats of how often each valid answer was drawn for one input: [W] numbers, -1 where
    invalid; 0 without any.
    """
    times = np.unique(found[found >= 0], return_counts=True)[1].astype(np.float64)
    share = times / times.sum()
    return float(-(share * np.log(share)).sum())


def validity(samples: Samples, known: NDArray[np.bool_]) -> dict[str, dict[str, float | None]]:
    """What is asked of boards from nothing (section D.5).

    accuracy: valid samples among all. distinct: different answers among the valid samples. seen:
    valid samples that stand in training as completions of their input. seen_answers: the same of
    the different answers, each counted once. entropy: in nats, of the valid samples, a mean over
    inputs; log m for a uniform draw from m answers, as long as there are many samples.

    Args:
        samples: what a model answered.
        known: [N, W], whether training has met each sample as a completion of its input.
    """
    valid = samples.found >= 0
    distinct = seen = 0
    nats = 0.0
    for found, met in zip(samples.found, known, strict=True):
        answers, first = np.unique(found[found >= 0], return_index=True)
        distinct += len(answers)
        seen += int(met[found >= 0][first].sum())
        nats += entropy(found)
    result = {
        "accuracy": ratio(valid.sum(), valid.size),
        "distinct": ratio(distinct, valid.sum()),
        "seen": ratio((valid & known).sum(), valid.sum()),
        "seen_answers": ratio(seen, distinct),
        "entropy": ratio(nats, len(samples.found)),
    }
    for name, times in samples.violations.items():
        result[f"{name}_mean"] = ratio(times.sum(), times.size)
    return result
