"""A table in short: its sentences have the numbers of its rows, and the front page of a report can
be made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docutils.core import publish_parts

from gram.system import files
from gram.system.code_version import code_hash
from gram.tables.__main__ import main
from gram.tables.summary import SHORT_TABLE

REPORTED = Path(__file__).parents[1] / "resources/reported.csv"
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def stem(tmp_path: Path, command: Any) -> Callable[..., Path]:
    """``stem(evaluation, ..., more=[...])``: the path without extension of the table that these
    evaluations make.
    """

    def write(*evaluations: dict[str, Any], more: tuple[str, ...] = ()) -> Path:
        paths = [tmp_path / f"evaluation{number}.json" for number in range(len(evaluations))]
        for path, evaluation in zip(paths, evaluations, strict=True):
            files.write_json(path, evaluation)
        asked = ["table1", "--evaluations", *paths, "--reported", REPORTED, *more]
        assert command(main, *asked, "--output", tmp_path / "table1").code == 0
        return tmp_path / "table1"

    return write


def pair(make: Make, task: str = "nqueens5") -> list[dict[str, Any]]:
    """Two seeds of GRAM, and one of its twin, which finds less."""
    several = (
        {"accuracy": 0.6, "coverage_macro": 0.9},
        {"accuracy": 0.8, "coverage_macro": 0.8},
        {"accuracy": 0.1, "coverage_macro": 0.05},
    )
    runs: list[dict[str, Any]] = [
        {"method": "gram", "seed": 0},
        {"method": "gram", "seed": 1},
        {"method": "deterministic", "draws": 1},
    ]
    return [
        make(task=task, several=values, code=code_hash(), **run)
        for values, run in zip(several, runs, strict=True)
    ]


def test_sentences_and_rows_have_the_numbers_of_the_runs(
    synthetic_evaluation: Make, stem: Any
) -> None:
    options = "--options=--configfile config/other.yaml"
    failed = ("--failed", "nqueens5/hrm/seed3", options)
    written = files.read_json(
        stem(*pair(synthetic_evaluation), more=failed).with_suffix(".summary.json")
    )
    assert written["runs"] == [
        f"nqueens5/{run}"
        for run in ("deterministic/seed0", "gram/seed0", "gram/seed1", "hrm/seed3")
    ]
    assert written["options"] == "--configfile config/other.yaml"
    task = written["tasks"]["nqueens5"]
    assert task["sentences"] == [
        "On the 4 of 10 test inputs that have several solutions, 70.0 % of the answers of GRAM "
        "and 10.0 % of the "
        "answers of the deterministic twin are valid.",
        "Of all solutions of these inputs, GRAM finds 85.0 % and the deterministic twin finds 5.0 "
        "%.",
    ]
    assert task["rows"] == {
        "Deterministic twin": ["25.0", "10.0", "5.0"],
        "GRAM": ["25.0 ± 0.0", "70.0 ± 14.1", "85.0 ± 7.1"],
    }
    assert len(task["columns"]) == 3
    assert len(written["footnotes"]) == 1  # nothing is marked


def test_what_is_marked_in_the_table_is_marked_in_short(
    synthetic_evaluation: Make, stem: Any
) -> None:
    gram, other, _ = pair(synthetic_evaluation)
    old = synthetic_evaluation(method="trm", draws=1, code="0ld")
    written = files.read_json(stem(gram, other, old).with_suffix(".summary.json"))
    assert list(written["tasks"]["nqueens5"]["rows"]) == ["TRM†", "GRAM"]
    assert [note[:8] for note in written["footnotes"][1:]] == ["† stale:"]


def test_a_task_without_several_solutions_says_so(synthetic_evaluation: Make, stem: Any) -> None:
    none = synthetic_evaluation()
    none["metrics"]["slices"]["several"]["inputs"] = 0
    written = files.read_json(stem(none).with_suffix(".summary.json"))
    assert written["tasks"]["nqueens5"]["sentences"] == [
        "None of the 10 test inputs has several solutions."
    ]


def test_the_front_page_takes_both_pieces(synthetic_evaluation: Make, stem: Any) -> None:
    odd = synthetic_evaluation(task="nqueens5", method="a_<b>*", code=code_hash())
    runs = [*pair(synthetic_evaluation, "nqueens8"), odd]
    path = stem(*runs).with_suffix(".summary.rst")
    pieces = [
        publish_parts(f".. include:: {path}\n   :{which}: {SHORT_TABLE}\n", writer="html")
        for which in ("end-before", "start-after")
    ]
    sentences, tables = (piece["html_body"] for piece in pieces)
    assert "system-message" not in sentences + tables
    assert sentences.count("<p>") == 2 and sentences.count("<table") == 0
    assert "<strong>nqueens8</strong>: On the 4 of 10 test inputs" in sentences
    assert "“a_&lt;b&gt;*” finds" in sentences
    assert tables.count("<table") == 2 and "<td>70.0 ± 14.1</td>" in tables


def test_no_run_that_ended_is_said(stem: Any) -> None:
    written = stem(more=("--failed", "nqueens5/gram/seed0"))
    text = written.with_suffix(".summary.rst").read_text(encoding="utf-8")
    assert "<p>No run ended without an error.</p>" in text
