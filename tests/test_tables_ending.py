"""The last lines of a run: two rows per task, short, and with the places where everything lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gram.tables.__main__ import main
from gram.tables.headlines import headlines
from gram.tables.rows import table1, whole_table
from tests.reference_runs import write_runs

ROOT = Path(__file__).parents[1]
REPORTED = ROOT / "resources/reported.csv"
REPORT = "snakemake --report reports/report.html"


@pytest.fixture
def printed(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``printed(path, ...)``: the lines about these evaluations, in a folder without kept runs."""
    monkeypatch.chdir(tmp_path)

    def lines(*paths: Path) -> list[str]:
        places = ("--page", "results/tables/quick.md", "--figures", "results/figures/quick")
        arguments = ("--evaluations", *paths, "--reported", REPORTED, *places, "--report", REPORT)
        outcome = command(main, "summary", "--layout", "table1", *arguments)
        assert outcome.code == 0, outcome.err
        return outcome.out.splitlines()

    return lines


def test_two_rows_per_task_and_the_places(printed: Any, tmp_path: Path) -> None:
    values = {"gram": {0: 0.8, 1: 0.9}, "deterministic": {0: 0.5}, "hrm": {0: 0.7}}
    lines = printed(*write_runs(tmp_path / "results", values, task="nqueens5", depth=8))
    rows = [line for line in lines if line.startswith("nqueens5: ")]
    assert rows[0].split(": ")[1].split() == "Deterministic twin† 50.0 50.0 50.0".split()
    assert rows[1].split(": ")[1].split() == ["GRAM†", *["85.0", "±", "7.1"] * 3]
    assert lines[-2:] == ["table:   results/tables/quick.md", f"report:  {REPORT}"]
    (tmp_path / "results/figures/quick").mkdir(parents=True)
    again = printed(*sorted((tmp_path / "results").glob("eval/*/*/*/test.json")))
    assert "figures: results/figures/quick/" in again
    assert any(line.startswith("nqueens5 not compared: ") for line in again)


def test_it_fits_on_a_screen(printed: Any, tmp_path: Path) -> None:
    paths = [
        path
        for task in ("coloring5", "coloring8", "nqueens5", "nqueens8")
        for path in write_runs(
            tmp_path / "results", {"gram": {0: 0.8}, "trm": {0: 0.7}, "hrm": {0: 0.6}}, task=task
        )
    ]
    lines = printed(*paths)
    assert len(lines) <= 20 and max(len(line) for line in lines if ": " not in line) <= 80
    assert "and nqueens8: see the table" in lines


def test_who_stands_for_a_task(synthetic_evaluation: Any) -> None:
    def of(**accuracies: float) -> list[str]:
        evaluations = [
            synthetic_evaluation(method=method, values={"accuracy": value})
            for method, value in accuracies.items()
        ]
        (one,) = headlines(table1(evaluations, {}, None, [("nqueens5", "ar", 0)]))
        assert (one.task, one.inputs, one.with_several) == ("nqueens5", 10, 4)
        return [row.method for row in one.rows]

    assert of(gram=0.1, deterministic=0.2, hrm=0.9) == ["deterministic", "gram"]
    assert of(gram=0.1, hrm=0.8, trm=0.9) == ["trm", "gram"]
    assert of(hrm=0.8, trm=0.9, looped=0.1) == ["trm", "hrm"]
    assert of(looped=0.1) == ["looped"]


def test_table_3_has_each_of_them_once(synthetic_evaluation: Any) -> None:
    evaluations = [synthetic_evaluation(method=name) for name in ("gram", "deterministic")]
    (one,) = headlines(whole_table("table3", evaluations, REPORTED, None))
    assert [row.method for row in one.rows] == ["deterministic", "gram"]
    assert [row.cells for row in one.rows] == [["25.0", "25.0", "25.0"]] * 2


def test_nothing_that_ended_prints_no_row(synthetic_evaluation: Any) -> None:
    assert headlines(table1([], {}, None, [("nqueens5", "gram", 0)])) == []
