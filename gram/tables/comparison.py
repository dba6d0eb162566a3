"""Whether numbers agree with those of kept reference runs, by their seeds and not by their digits.

Two runs of one seed agree in every digit on one type of processor. On another they differ in the
last bits of the first step, and after some hundred steps they are as different as two seeds are. So
the question is whether the difference between two means is one that other seeds would give as well.
They agree if it is at most

    3 · sqrt((s² + p (1 - p) / N) · (1 / n + 1 / m))

with n seeds here and m kept ones, s² the variance among seeds, pooled over both sides, p the mean
of all their values, and N the test inputs. s alone will not do: of two seeds each it is often a
tenth of what it should be, by chance. Had training decided about every input by a coin of its own,
a run's mean over the inputs would have the variance p (1 - p) / N, to which s² is added. 3 rather
than 2, because all numbers of a task are judged at once, and one that fails by chance would accuse
the whole reproduction. Tried on the reference runs themselves, by comparing one or two of their
seeds with the others: 1 in 40 of the numbers is said to differ, and with s alone 1 in 3.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gram.runs.facts import differ, same_among
from gram.settings import RunSettings
from gram.system.errors import GramError
from gram.system.processor import described, same_type
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import GRAM, METRICS, headlines_of, in_order, label
from gram.tables.reference import (
    ABLATION_RUNS,
    DEFAULT_RUNS,
    GAP_RUNS,
    OTHER_PROCESSOR,
    PROVING_RUNS,
    REFERENCE,
    TABLE1_RUNS,
    Runs,
    kept_runs,
)
from gram.tables.rows import measured

STANDARD_ERRORS = 3.0
MOST_SHOWN = 3  # of the numbers that differ
# Which kind is named where several hold the same runs: the one that the README shows first.
ORDER = (DEFAULT_RUNS, TABLE1_RUNS, PROVING_RUNS, ABLATION_RUNS, GAP_RUNS)


class Number(NamedTuple):
    """A number of a method, here and kept: a value per seed, in percent, over some test inputs."""

    method: str
    words: str
    here: list[float]
    kept: list[float]
    inputs: int

    @property
    def tolerance(self) -> float:
        """How far the two means may be apart, in points; see the head of this module."""
        return tolerance(self.here, self.kept, self.inputs)

    @property
    def agrees(self) -> bool:
        """Whether they are no farther apart."""
        difference = abs(statistics.mean(self.here) - statistics.mean(self.kept))
        return difference <= self.tolerance + 1e-9  # of two equal means of floats

    def said(self) -> str:
        """As "GRAM, accuracy: 89.8 ± 0.2 here, 90.0 ± 1.0 kept (2 seeds)"."""
        name = f"{label(self.method)}, {self.words}"
        seeds = f"{len(self.kept)} seed{'s' * (len(self.kept) > 1)}"
        return f"{name}: {spread(self.here)} here, {spread(self.kept)} kept ({seeds})"


def tolerance(here: Sequence[float], kept: Sequence[float], inputs: int) -> float:
    """How far apart the means of two groups of seeds may be, in points; see this module's head.

    Args:
        here, kept: a value per seed, in percent.
        inputs: the test inputs over which each value is a mean; both have the same.
    """
    squares = sum(
        (value - statistics.mean(group)) ** 2 for group in (here, kept) for value in group
    )
    freedom = len(here) + len(kept) - 2
    p = statistics.mean([*here, *kept]) / 100
    of_inputs = 100**2 * p * (1 - p) / inputs
    variance = (squares / freedom if freedom else 0.0) + of_inputs
    return STANDARD_ERRORS * math.sqrt(variance * (1 / len(here) + 1 / len(kept)))


def spread(values: Sequence[float]) -> str:
    """Values of seeds as "89.8 ± 0.2"."""
    std = statistics.stdev(values) if len(values) > 1 else math.nan
    return mean_and_std(statistics.mean(values), std)


def columns_of(runs: Runs) -> Mapping[str, str]:
    """The headline numbers of the task of these runs, with their words."""
    return headlines_of(runs.evaluations[0]["run"]["task"])


def values_of(runs: Runs, metric: str) -> list[float]:
    """A metric of every seed that has it, in percent."""
    found = [measured(one, METRICS[metric]) for one in runs.evaluations]
    return [100.0 * one["value"] for one in found if one]


def inputs_of(runs: Runs, metric: str) -> int:
    """The test inputs that a metric is a mean over."""
    one = runs.evaluations[0]
    path = METRICS[metric].path
    return int(
        one["metrics"]["slices"][path[1]]["inputs"] if len(path) > 1 else one["run"]["inputs"]
    )


def settings(runs: Runs) -> list[str] | None:
    """What training depends on but for the seed, fold by fold; None where it is not known."""
    found = set()
    for meta in runs.metas:
        try:
            one = RunSettings.of(meta.get("settings"), "meta.json").without_execution()
        except GramError:  # made-up runs, and settings that the code no longer knows
            return None
        text = repr({key: value for key, value in one.items() if key != "seed"})
        found.add(text.replace(f"/seed{meta['seed']}/", "/seed{seed}/"))  # initial_weights
    return sorted(found) or None


def comparable(here: Runs, kept: Runs) -> bool:
    """Whether two groups of runs differ in seeds alone: not data, settings or test compute."""
    one, other = (runs.evaluations[0]["run"] for runs in (here, kept))
    alike = not any(differ(one, other, key) for key in same_among("kept"))
    return alike and settings(here) == settings(kept)


def kept_beside(here: Runs, root: Path) -> list[Runs]:
    """The kept runs that a group can be compared with, those of its type of processor first.

    Args:
        here: the group.
        root: the folder of all reference runs.
    """
    if settings(here) is None:
        return []
    run = here.evaluations[0]["run"]
    folders = [path for path in root.glob("*") if path.is_dir() and path != here.folder]
    kept = [kept_runs(folder, run["task"], run["method"]) for folder in sorted(folders, key=_place)]
    alike = [one for one in kept if one and comparable(here, one)]
    return sorted(alike, key=lambda one: -_nearness(here, one))


def _place(folder: Path) -> tuple[bool, int, str]:
    """Where a folder of reference runs stands among all of them."""
    kind = folder.name.removesuffix(OTHER_PROCESSOR)
    place = ORDER.index(kind) if kind in ORDER else len(ORDER)
    return kind != folder.name, place, kind


def _nearness(one: Runs, other: Runs) -> int:
    """2 for runs on one type of processor, 1 where their metas say too little, 0 for two types."""
    return {True: 2, None: 1, False: 0}[same_type(one.metas[0], other.metas[0])]


def same_digits(here: Runs, kept: Runs) -> bool:
    """Whether every seed here was kept too, and has the same value of every headline number."""

    names = columns_of(here)

    def values(runs: Runs) -> dict[int, list[Any]]:
        found = {}
        for one in runs.evaluations:
            numbers = [measured(one, METRICS[name]).get("value") for name in names]
            found[one["run"]["seed"]] = numbers
        return found

    return values(here).items() <= values(kept).items()


@dataclass(frozen=True)
class Comparison:
    """The methods of one task beside kept runs of them.

    Attributes:
        numbers: the headline numbers of every method that has kept runs.
        alone: the methods that have none.
        equal: whether the numbers are those of the same kept seeds in every digit.
        kept_on: the type of processor of the kept runs, where it is another one.
        elsewhere: kept runs on other types of processor than these: type -> method -> runs.
    """

    numbers: list[Number]
    alone: list[str]
    equal: bool
    kept_on: str | None
    elsewhere: dict[str, dict[str, Runs]]

    def verdict(self) -> str:
        """One line that says whether the numbers agree."""
        if not self.numbers:
            return "not compared: no kept reference run has these settings and data"
        wrong = [number for number in self.numbers if not number.agrees]
        of_gram = [number for number in self.numbers if number.method == GRAM]
        shown = (of_gram or self.numbers)[0].said()
        kept = "the kept reference runs" + (f" (made on {self.kept_on})" if self.kept_on else "")
        if self.equal:
            text = f"equals {kept} in every digit"
        elif wrong:
            text = (
                f"DIFFERS from {kept} in {len(wrong)} of {len(self.numbers)} numbers by more than "
                f"the spread of seeds: {'; '.join(number.said() for number in wrong[:MOST_SHOWN])}"
                + (f"; and {len(wrong) - MOST_SHOWN} more" if len(wrong) > MOST_SHOWN else "")
            )
        else:
            count = len(self.numbers)
            text = (
                f"agrees with {kept}: {shown}; all {count} differences are within the spread of"
                " seeds"
            )
        names = ", ".join(label(method) for method in self.alone)
        return f"{text} (no such run was kept of {names})" if names else text

    def said(self) -> list[str]:
        """The verdict, and what other types of processor make of the same runs, a line each."""
        return [self.verdict(), *(on_another(name, runs) for name, runs in self.elsewhere.items())]


def compare(runs: Mapping[str, Runs], root: Path = REFERENCE) -> Comparison | None:
    """One task's runs beside the kept ones; None where the settings of none are known.

    Args:
        runs: by method, from :func:`gram.tables.reference.runs_of`.
        root: the folder of all reference runs.
    """
    known = {method: one for method, one in runs.items() if settings(one)}
    found = {method: kept_beside(known[method], root) for method in in_order(known)}
    beside = {method: kept[0] for method, kept in found.items() if kept}
    numbers = [
        Number(method, words, here, there, inputs_of(kept, name))
        for method, kept in beside.items()
        for name, words in columns_of(kept).items()
        if (here := values_of(known[method], name)) and (there := values_of(kept, name))
    ]
    equal = all(same_digits(known[method], kept) for method, kept in beside.items())
    others = [
        described(kept.metas[0])
        for method, kept in beside.items()
        if not _nearness(known[method], kept)
    ]
    elsewhere: dict[str, dict[str, Runs]] = {}
    for method, kept in beside.items():
        for other in found[method][1:]:
            if not _nearness(kept, other):
                elsewhere.setdefault(described(other.metas[0]), {}).setdefault(method, other)
    alone = [method for method, kept in found.items() if not kept]
    if not known:
        return None
    return Comparison(numbers, alone, equal, others[0] if others else None, elsewhere)


def compare_tasks(
    runs: Mapping[tuple[str, str], Runs], root: Path = REFERENCE
) -> dict[str, Comparison]:
    """:func:`compare` for every task of which settings are known.

    Args:
        runs: by task and method, from :func:`gram.tables.reference.runs_of`.
        root: the folder of all reference runs.
    """
    by_task: dict[str, dict[str, Runs]] = {}
    for (task, method), one in runs.items():
        by_task.setdefault(task, {})[method] = one
    found = {task: compare(methods, root) for task, methods in by_task.items()}
    return {task: comparison for task, comparison in found.items() if comparison}


def on_another(processor: str, runs: Mapping[str, Runs]) -> str:
    """What another type of processor makes of the same runs, as one sentence.

    Args:
        processor: the type.
        runs: by method.
    """
    rows = []
    for method in in_order(runs):
        cells = [
            spread(values) if (values := values_of(runs[method], name)) else NOTHING
            for name in columns_of(runs[method])
        ]
        rows.append(f"{label(method)} {', '.join(cells)}")
    return f"on another type of processor ({processor}): {'; '.join(rows)}"
