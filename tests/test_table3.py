"""Table 3: each half has its own rows, the paper's numbers stand beside ours, and nothing that is
missing is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gram.settings.config import load_experiment
from gram.system import files
from gram.tables.__main__ import main
from gram.tables.paper import paper_table, rows_of
from gram.tables.rows import whole_table

ROOT = Path(__file__).parents[1]
REPORTED = ROOT / "resources/reported.csv"
PARTS = paper_table("table3").parts
Make = Callable[..., dict[str, Any]]


def row(table: pd.DataFrame, half: str, method: str, metric: str = "accuracy") -> pd.Series:
    """The one row of a half, method and metric on 8x8."""
    chosen = (
        (table["table"] == half)
        & (table["task"] == "nqueens8")
        & (table["method"] == method)
        & (table["metric"] == metric)
    )
    assert chosen.sum() == 1
    return table[chosen].iloc[0]


def test_the_paper_and_ours_stand_in_both_halves(synthetic_evaluation: Make) -> None:
    seeds = [
        synthetic_evaluation(
            task="nqueens8", method=method, seed=seed, values={"accuracy": accuracy + 0.02 * seed}
        )
        for method, accuracy in (
            ("gram", 0.9),
            ("deterministic", 0.6),
            ("noise-only", 0.5),
            ("base-ds-sg", 0.8),
        )
        for seed in (0, 1)
    ]
    table = whole_table("table3", seeds, REPORTED, None)
    assert row(table, "table3a", "gram")["paper_mean"] == 99.69 and row(table, "table3a", "gram")[
        "ours_mean"
    ] == pytest.approx(91)
    assert row(table, "table3b", "gram")["ours_mean"] == pytest.approx(91) and pd.isna(
        row(table, "table3b", "gram")["paper_mean"]
    )
    # The twin is the ablated guidance of 3b; in 3a the paper has HRM and TRM in its place.
    assert row(table, "table3b", "deterministic")["gap"] == pytest.approx(61 - 72.91)
    assert pd.isna(row(table, "table3a", "deterministic")["paper_mean"])
    assert row(table, "table3b", "noise-only")["gap"] == pytest.approx(51 - 50.27)
    assert row(table, "table3a", "base-ds-sg")["gap"] == pytest.approx(81 - 100)
    for half in PARTS:
        assert list(dict.fromkeys(table.loc[table["table"] == half, "method"])) == list(
            rows_of(half)
        )


def test_every_number_of_the_paper_is_there(synthetic_evaluation: Make) -> None:
    table = whole_table("table3", [synthetic_evaluation()], REPORTED, None)
    paper = pd.read_csv(REPORTED)
    for half in PARTS:
        given = paper[paper["table"] == half]
        shown = table[
            (table["table"] == half) & (table["metric"] == "accuracy") & table["paper_mean"].notna()
        ]
        assert sorted(shown["paper_mean"]) == sorted(given["value"]) and len(given) > 9


def test_what_was_not_run_is_a_hole_and_not_absent(
    synthetic_evaluation: Make, command: Any, tmp_path: Path
) -> None:
    path, stem = tmp_path / "test.json", tmp_path / "table3"
    files.write_json(path, synthetic_evaluation(values={"accuracy": 0.5}))
    assert (
        command(
            main, "table3", "--evaluations", path, "--reported", REPORTED, "--output", stem
        ).code
        == 0
    )
    text = stem.with_suffix(".md").read_text(encoding="utf-8")
    part = text[
        text.index(PARTS["table3b"].heading.format(task="nqueens5")) : text.index("- **DS**")
    ]
    rows = {line.split("|")[1].strip() for line in part.splitlines() if line.startswith("| ")}
    gram = "stochastic guidance, N(μ, σ²) (GRAM)†"
    assert rows == {"method", gram, "at most"} and f"| {gram} | 50.0 (1) |" in part
    labels = [row.name for method, row in rows_of("table3b").items() if method != "gram"]
    assert f"Not run: {', '.join(labels)}." in part
    for suffix in (".tex", ".html"):
        assert "not run" in stem.with_suffix(suffix).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["nqueens5", "nqueens8"])
def test_experiments_have_every_ablation_that_is_ours(name: str) -> None:
    ours = {method for half in PARTS for method in rows_of(half)} - {"hrm", "trm"}
    assert ours <= set(load_experiment(ROOT / f"config/experiments/{name}.yaml").methods)
