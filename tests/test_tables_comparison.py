"""Numbers beside kept ones: the rule by hand and on real seeds, and both verdicts."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from gram.tables.__main__ import main
from gram.tables.comparison import (
    Comparison,
    Number,
    columns_of,
    compare_tasks,
    inputs_of,
    tolerance,
    values_of,
)
from gram.tables.evaluations import read_evaluations
from gram.tables.names import HEADLINES
from gram.tables.reference import REFERENCE, Runs, runs_of
from tests import synthetic
from tests.reference_runs import EPYC, XEON, write_runs

ROOT = Path(__file__).parents[1]
NQUEENS7 = {"gram": {0: 0.90, 1: 0.92}}


@pytest.fixture
def beside(tmp_path: Path) -> Any:
    """``beside(values, kept)``: the comparison of made-up runs with kept ones."""

    def compared(
        values: dict[str, dict[int, float]],
        kept: dict[str, dict[int, float]] = NQUEENS7,
        more: dict[str, Any] | None = None,
        **facts: Any,
    ) -> Comparison:
        write_runs(tmp_path / "kept/cpu_default", kept, **(more or {}))
        paths = write_runs(tmp_path / "results", values, **facts)
        found = compare_tasks(runs_of(paths, read_evaluations(paths)), tmp_path / "kept")
        assert list(found) == ["nqueens7"]
        return found["nqueens7"]

    return compared


def test_tolerance_is_three_standard_errors_of_seeds_and_inputs() -> None:
    # Variance among seeds 8 (60 and 64; 70 and 74), over inputs 100^2 * 0.67 * 0.33 / 100.
    assert tolerance([60, 64], [70, 74], 100) == pytest.approx(3 * math.sqrt(8 + 22.11))
    # One seed each says nothing of the variance among seeds, three against one do.
    assert tolerance([50], [50], 100) == pytest.approx(3 * math.sqrt(25 * 2))
    assert tolerance([50], [49, 50, 51], 100) == pytest.approx(3 * math.sqrt((1 + 25) * (4 / 3)))


@pytest.mark.parametrize(
    ("here", "kept", "agrees"),
    [
        ([65.6, 66.4], [69.6, 65.6], True),  # measured on two processors
        ([50.4, 50.4], [50.0, 50.0], True),  # one input more; both seeds are alike by chance
        ([60.0, 62.0], [90.72, 89.28], False),
        ([100.0, 100.0], [100.0, 100.0], True),
        ([0.0, 0.0], [86.0, 84.0], False),  # a twin in the place of GRAM
    ],
)
def test_both_verdicts(here: list[float], kept: list[float], agrees: bool) -> None:
    assert Number("gram", "accuracy", here, kept, 125).agrees is agrees


def kept_groups() -> list[tuple[Runs, str]]:
    """Every kept method of several seeds, with each headline number that it has."""
    paths = sorted((ROOT / REFERENCE).glob("*/eval/*/*/seed*/test.json"))
    folders = itertools.groupby(paths, key=lambda path: path.parents[4])
    found = []
    for _, group in folders:
        part = list(group)
        for runs in runs_of(part, read_evaluations(part)).values():
            found += [(runs, name) for name in columns_of(runs) if len(values_of(runs, name)) > 1]
    return found


def test_the_rule_is_right_about_real_seeds() -> None:
    """Few seeds may be said to differ from others of their run. By their spread, many would be."""
    differ = by_seeds = count = 0
    for runs, name in kept_groups():
        values = values_of(runs, name)
        for size in (1, 2):
            for here in itertools.combinations(range(len(values)), size):
                kept = [value for place, value in enumerate(values) if place not in here]
                if not kept:
                    continue
                ours = [values[place] for place in here]
                count += 1
                differ += not Number("gram", name, ours, kept, inputs_of(runs, name)).agrees
                apart = abs(statistics.mean(ours) - statistics.mean(kept))
                by_seeds += apart > tolerance(ours, kept, 10**9) + 1e-9  # no error of the inputs
    assert count > 500 and differ / count < 0.04 < 0.2 < by_seeds / count


def test_what_other_seeds_would_give_agrees(beside: Any) -> None:
    found = beside({"gram": {2: 0.87, 3: 0.88}})
    assert found.verdict() == (
        "agrees with the kept reference runs: GRAM, accuracy: 87.5 ± 0.7 here, 91.0 ± 1.4 kept "
        "(2 seeds); all 3 differences are within the spread of seeds"
    )
    assert [number.words for number in found.numbers] == list(HEADLINES["completions"].values())


def test_a_wrong_result_differs_and_is_named(beside: Any) -> None:
    text = beside({"gram": {0: 0.60, 1: 0.62}}).verdict()
    assert text.startswith("DIFFERS from the kept reference runs in 3 of 3 numbers")
    assert "GRAM, accuracy: 61.0 ± 1.4 here, 91.0 ± 1.4 kept" in text


def test_the_same_seeds_on_the_same_machine_are_equal(beside: Any) -> None:
    assert beside({"gram": {1: 0.92}}).verdict() == "equals the kept reference runs in every digit"
    assert beside({"gram": {1: 0.9201}}).verdict().startswith("agrees")
    assert beside({"gram": {2: 0.92}}).verdict().startswith("agrees")  # another seed


def test_methods_that_were_not_kept_are_named(beside: Any) -> None:
    text = beside({"gram": NQUEENS7["gram"], "revealed": {0: 0.5}}).verdict()
    assert (
        text == "equals the kept reference runs in every digit (no such run was kept of revealed)"
    )


@pytest.mark.parametrize(
    "more",
    [
        {"train": {"steps": 7}},
        {"depth": 3},
        {"data_md5": {"test": "other", "train": synthetic.TRAIN_MD5}},
    ],
)
def test_other_settings_or_data_are_not_compared(more: dict[str, Any], beside: Any) -> None:
    found = beside(NQUEENS7, NQUEENS7, more)
    assert found.verdict() == ("not compared: no kept reference run has these settings and data")


def test_how_a_machine_carries_out_a_run_is_no_setting(beside: Any) -> None:
    assert beside(NQUEENS7, train={"threads": 7, "compile": "default"}).equal


def test_initial_weights_of_other_seeds_are_no_difference(beside: Any) -> None:
    kept = {"revealed-carried": {0: 0.5}}
    found = beside({"revealed-carried": {1: 0.5}}, kept)
    assert found.numbers  # resolved, its initial weights have the seed in their path


def test_without_metas_nothing_is_said(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, NQUEENS7)
    for path in tmp_path.glob("runs/**/meta.json"):
        path.unlink()
    assert compare_tasks(runs_of(paths, read_evaluations(paths)), ROOT / REFERENCE) == {}


def test_runs_of_another_type_of_processor_are_told_apart(beside: Any, tmp_path: Path) -> None:
    other = {"gram": {0: 0.86, 1: 0.88}}
    write_runs(tmp_path / "kept/cpu_default_other_processor", other, made_on=XEON)
    name = "Intel Xeon (family 6, model 207, AVX512)"
    on_epyc = beside(NQUEENS7, made_on=EPYC)
    assert on_epyc.said() == [
        "equals the kept reference runs in every digit",
        f"on another type of processor ({name}): GRAM 87.0 ± 1.4, 87.0 ± 1.4, 87.0 ± 1.4",
    ]
    on_xeon = beside(other, made_on=XEON)  # its own kind goes before the default's
    assert on_xeon.said() == [
        "equals the kept reference runs in every digit",
        "on another type of processor (AMD EPYC): GRAM 91.0 ± 1.4, 91.0 ± 1.4, 91.0 ± 1.4",
    ]
    apple = {"device": "Apple M2", "device_type": "cpu"}
    assert (
        beside({"gram": {0: 0.87}}, made_on=apple)
        .verdict()
        .startswith("agrees with the kept reference runs (made on AMD EPYC): ")
    )


def test_the_page_says_it_below_each_task(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path / REFERENCE / "cpu_default", NQUEENS7)
    paths = write_runs(Path("results"), {"gram": {0: 0.3, 1: 0.3}})
    reported = ROOT / "resources/reported.csv"
    arguments = ("--evaluations", *paths, "--reported", reported, "--output", "quick")
    assert command(main, "table1", *arguments).code == 0
    for suffix in (".md", ".html", ".tex"):
        text = (tmp_path / "quick").with_suffix(suffix).read_text(encoding="utf-8")
        assert re.search(r"Beside kept reference runs.*DIFFERS from", text, re.DOTALL)


def test_table_3_says_it_once(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = write_runs(Path("results"), NQUEENS7)  # GRAM stands in both halves
    reported = ROOT / "resources/reported.csv"
    arguments = ("--evaluations", *paths, "--reported", reported, "--output", "table3")
    assert command(main, "table3", *arguments).code == 0
    text = (tmp_path / "table3.md").read_text(encoding="utf-8")
    assert text.count("## nqueens7: ") == 2 and text.count("Beside kept reference runs:") == 1
