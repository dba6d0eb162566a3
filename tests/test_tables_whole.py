"""Table 1 with all its families: compute, tasks of several sizes, failed runs, what others report,
and the paper's ordering.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gram.system import files
from gram.system.code_version import code_hash
from gram.tables.__main__ import main
from gram.tables.layout import document, section
from gram.tables.ordering import ordering
from gram.tables.paper import group, rows_of
from gram.tables.render import latex, markdown, standalone_html
from gram.tables.reported import read_others, read_params, read_reported
from gram.tables.rows import table1
from tests.pages import table_rows

REPORTED = Path(__file__).parents[1] / "resources/reported.csv"
Make = Callable[..., dict[str, Any]]


def cells(text: str, caption: str) -> dict[str, list[str]]:
    """The rows of the Markdown table under a caption, by their first cell."""
    lines = text[text.index(f"{caption}:\n") :].splitlines()[2:]
    return table_rows("\n".join(lines[: lines.index("")]))


def page(evaluations: list[dict[str, Any]], task: str, **more: Any) -> str:
    """One section of table 1 as Markdown."""
    table = table1(evaluations, read_reported(REPORTED), None, **more)
    return markdown(document(table, "title", [task], read_others(REPORTED)))


def test_forward_passes_count_every_call_of_the_network(synthetic_evaluation: Make) -> None:
    evaluations = [
        synthetic_evaluation(method="ar", depth=1, calls=25),
        synthetic_evaluation(method="mdlm", depth=1, calls=128),
        synthetic_evaluation(method="hrm", depth=8, draws=1, calls=1),
        synthetic_evaluation(method="gram", depth=8),  # an evaluation of before it was written down
    ]
    table = cells(page(evaluations, "nqueens5"), "Compute")
    header = table.pop("method")
    names = ("depth", "draws per input", "calls per step", "forward passes per input")
    numbers = operator.itemgetter(*map(header.index, names))
    found = {name: numbers(row) for name, row in table.items() if not name.startswith("-")}
    assert found["AR"] == ("1", "20", "25", "500") and found["MDLM"] == ("1", "20", "128", "2,560")
    assert found["HRM"] == ("8", "1", "1", "8") and found["GRAM"] == ("8", "20", "1", "160")


def test_weights_stored_in_half_precision_are_said_to_be(synthetic_evaluation: Make) -> None:
    kept = synthetic_evaluation(weights_dtype="float16")
    trained = synthetic_evaluation(
        method="deterministic"
    )  # an evaluation of before it was written down
    table = cells(page([kept, trained], "nqueens5"), "Compute")
    place = table["method"].index("weights")
    assert (
        table["GRAM"][place] == "ema float16"
        and table["Deterministic twin"][place] == "ema float32"
    )


def test_a_rollout_with_another_width_of_its_noise_is_said_to_be(
    synthetic_evaluation: Make,
) -> None:
    plain, narrow = synthetic_evaluation(method="gram"), synthetic_evaluation(method="axial")
    narrow["run"]["noise_scale"] = 0.75
    column = "noise × at test"
    table = cells(page([plain, narrow], "nqueens5"), "Compute")
    place = table["method"].index(column)
    assert (table["GRAM"][place], table["axial"][place]) == ("1.0", "0.75")
    assert column not in cells(page([plain], "nqueens5"), "Compute")["method"]


def test_another_experiment_on_a_task_stands_beside_the_papers_numbers(
    synthetic_evaluation: Make,
) -> None:
    evaluations = [synthetic_evaluation(task="nqueens8-cpu", values={"accuracy": 0.5})]
    table = table1(evaluations, read_reported(REPORTED), None)
    assert list(dict.fromkeys(table["task"])) == [
        "nqueens8-cpu",
        "coloring8",
        "coloring10",
        "nqueens10",
    ]  # once, not twice
    text = page(evaluations, "nqueens8-cpu")
    beside = cells(text, "Beside the paper")
    assert beside["GRAM"][:3] == ["99.7 ± 0.3", "50.0 (1)", "−49.7"] and beside["AR"][:2] == [
        "96.3 ± 1.0",
        "not run",
    ]
    assert (
        "another experiment on the paper's nqueens8" in text
        and "config/experiments/nqueens8-cpu.yaml" in text
    )
    # Where the paper's own size was run too, each has its section, and only the other one the note.
    both = page([*evaluations, synthetic_evaluation(task="nqueens8")], "nqueens8")
    assert (
        "another experiment" not in both
        and cells(both, "Beside the paper")["GRAM"][1] == "25.0 (1)"
    )


def test_the_papers_coverage_is_over_graphs_on_colouring_and_over_pairs_on_queens(
    synthetic_evaluation: Make,
) -> None:
    values = {"coverage_paper": 0.6, "coverage_micro": 0.8}
    coloured = synthetic_evaluation(task="coloring8", values=values)
    coloured["metrics"]["conflict_edges"] = {"value": 4}
    table = table1(
        [coloured, synthetic_evaluation(task="nqueens8", values=values)],
        read_reported(REPORTED),
        None,
    )
    rows = {(row.task, row.metric): row for row in table[table["method"] == "gram"].itertuples()}
    assert rows["coloring8", "coverage_micro"].gap == pytest.approx(80 - 85.8)
    assert rows["nqueens8", "coverage_paper"].gap == pytest.approx(60 - 90.3)
    assert pd.isna(rows["coloring8", "coverage_paper"].paper_mean) and pd.isna(
        rows["nqueens8", "coverage_micro"].paper_mean
    )
    conflicts = rows["coloring8", "conflict_edges"]
    assert (conflicts.unit, conflicts.ours_mean, conflicts.gap) == (
        "edges",
        4.0,
        pytest.approx(1.3),
    )
    assert ("nqueens8", "conflict_edges") not in rows


def test_conflict_edges_stand_where_a_task_counts_them(synthetic_evaluation: Make) -> None:
    """A task that the paper does not have is asked itself."""
    evaluations = [synthetic_evaluation(task="coloring5", seed=seed) for seed in (0, 1)]
    for count, evaluation in zip((3, 6), evaluations, strict=True):
        evaluation["metrics"]["conflict_edges"] = {"value": count}
    assert cells(page(evaluations, "coloring5"), "Accuracies")["GRAM"][-1] == "4.5 ± 2.1 (2)"
    assert "conflict_edges" not in page([synthetic_evaluation()], "nqueens5")


def test_a_failed_run_is_a_marked_hole(synthetic_evaluation: Make) -> None:
    evaluations = [synthetic_evaluation(seed=seed) for seed in (0, 1)] + [
        synthetic_evaluation(method="trm", code="0ld")
    ]
    text = page(
        evaluations,
        "nqueens5",
        failed=[("nqueens5", "hrm", 0), ("nqueens5", "hrm", 1), ("nqueens5", "trm", 1)],
    )
    accuracies = cells(text, "Accuracies")
    assert (
        set(accuracies["HRM"]) == {"failed"}
        and accuracies["TRM§"][0] == "25.0 (1)"
        and accuracies["GRAM"][0] == "25.0 ± 0.0 (2)"
    )
    assert "HRM" not in cells(text, "Compute")
    assert text.count("failed: a run of this row") == 1 and text.count("§ incomplete:") == 1
    # Beside the paper, it is told from what was not asked for.
    beside = cells(page([], "nqueens8", failed=[("nqueens8", "hrm", 0)]), "Beside the paper")
    assert beside["HRM"][1] == "failed" and beside["TRM"][1] == "not run"
    whole = table1(evaluations, {}, None, [("nqueens6", "gram", 0)])
    assert section("nqueens6", whole[whole["task"] == "nqueens6"]).text == [
        "No run ended without an error."
    ]


def test_ceilings_that_differ_stay_with_their_methods(synthetic_evaluation: Make) -> None:
    other = synthetic_evaluation(method="mdlm", width=3, draws=3)
    for name in ("coverage_paper", "coverage_micro"):
        other["metrics"][name]["ceiling"] = 0.6
    coverages = cells(page([synthetic_evaluation(), other], "nqueens5"), "Coverages")
    assert coverages["GRAM"][:3] == ["25.0 (1) of 90.0", "25.0 (1) of 90.0", "25.0 (1)"]
    assert coverages["MDLM"][:3] == ["25.0 (1) of 60.0", "25.0 (1) of 60.0", "25.0 (1)"]
    assert coverages["at most"] == ["", "", "90.0", "90.0"]


def test_tasks_that_nobody_asked_for_are_one_line(synthetic_evaluation: Make) -> None:
    evaluations = [synthetic_evaluation(), synthetic_evaluation(task="nqueens8-cpu")]
    failed = [("coloring8", "hrm", 0)]
    text = markdown(document(table1(evaluations, read_reported(REPORTED), None, failed), "title"))
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["## coloring8", "## nqueens5", "## nqueens8-cpu"]  # a failed one was asked
    assert "Also in the paper, and not run: coloring10, nqueens10.\n" in text
    assert cells(text[text.index("## nqueens8-cpu") :], "Beside the paper")["AR"][1] == "not run"


def test_the_title_names_the_paper_where_it_stands_beside(
    synthetic_evaluation: Make, command: Any, tmp_path: Path
) -> None:
    for task, title in (
        ("nqueens5", "# Accuracy and coverage, as in the paper's Table 1"),
        ("nqueens8", "# Table 1: the paper beside this reproduction"),
    ):
        files.write_json(tmp_path / "test.json", synthetic_evaluation(task=task))
        more = ("--reported", REPORTED, "--output", tmp_path / "table")
        command(main, "table1", "--evaluations", tmp_path / "test.json", *more)
        assert (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()[0] == title


def test_failed_runs_on_the_command_line(
    synthetic_evaluation: Make, command: Any, tmp_path: Path
) -> None:
    files.write_json(tmp_path / "test.json", synthetic_evaluation(code=code_hash()))
    common = ("--reported", REPORTED, "--output", tmp_path / "table1")
    named = (
        "--evaluations",
        tmp_path / "test.json",
        "--failed",
        "nqueens5/hrm/seed0",
        "nqueens5/hrm/seed1",
    )
    assert command(main, "table1", *named, *common).code == 0
    for suffix in (".md", ".html", ".tex", ".csv"):
        assert "failed" in (tmp_path / "table1").with_suffix(suffix).read_text(encoding="utf-8")
    assert (
        command(main, "table1", "--evaluations", "--failed", "nqueens5/gram/seed0", *common).code
        == 0
    )  # nothing ended
    assert (
        command(
            main, "table3", "--evaluations", "--failed", "nqueens5/noise-only/seed0", *common
        ).code
        == 0
    )
    table = pd.read_csv(tmp_path / "table1.csv")
    failed = table[table["status"] == "failed"]
    assert set(failed["method"]) == {"noise-only"} and set(failed["table"]) == {"table3b"}
    outcome = command(main, "table1", "--evaluations", "--failed", "nqueens5/gram/0", *common)
    assert (
        outcome.code == 2
        and "--failed nqueens5/gram/0: expected {task}/{method}/seed{seed}" in outcome.err
    )


def test_what_others_report_stands_beside_the_papers_gram(synthetic_evaluation: Make) -> None:
    seeds = [
        synthetic_evaluation(task="nqueens8", seed=seed, values={"accuracy": 0.7 + 0.02 * seed})
        for seed in (0, 1)
    ]
    text = page(seeds, "nqueens8")
    table = cells(text, "GRAM, the paper's and others'")
    assert table["the paper"] == ["99.7 ± 0.3", "90.3 ± 1.9", "—"]
    assert table["ad3002/gram (batch 768)"] == ["89.5", "74.0", "92.3"]
    assert table["here"] == ["71.0 ± 1.4 (2)", "25.0 ± 0.0 (2)", "25.0 ± 0.0 (2)"]
    assert "README of github.com/ad3002/gram: 1 seed (42)" in text
    assert cells(
        page([synthetic_evaluation(task="nqueens8-cpu")], "nqueens8-cpu"),
        "GRAM, the paper's and others'",
    )
    assert "ad3002" not in page([synthetic_evaluation()], "nqueens5") and "ad3002" not in page(
        [], "nqueens10"
    )


def test_parameter_counts_of_the_paper() -> None:
    params = read_params(REPORTED)
    assert (
        params["direct32"] == "100M" and params["gram"] == "10M" and "deterministic" not in params
    )
    assert set(params) == {name for name, method in rows_of().items() if method.paper}


@pytest.fixture
def judge(synthetic_evaluation: Make) -> Callable[..., list[str]]:
    """``judge(hrm=(0.9, 0.0), gram=(0.8, 0.6))``: the statements, from accuracy and the share of
    the slice several.
    """

    def verdicts(**methods: tuple[float, float]) -> list[str]:
        evaluations = [
            synthetic_evaluation(
                method=method,
                seed=seed,
                values={"accuracy": accuracy + 0.01 * seed},
                several={"accuracy": several, "coverage_macro": several / 2},
            )
            for method, (accuracy, several) in methods.items()
            for seed in (0, 1)
        ]
        return list(ordering(table1(evaluations, {}, None)))

    return verdicts


def test_the_families_are_those_of_the_paper() -> None:
    rows = rows_of()
    assert group(rows, "generative") == {"ar", "mdlm", "gram"}
    assert group(rows, "deterministic") == {
        *("direct8", "direct32", "looped", "hrm", "trm", "deterministic")
    }


def test_the_ordering_of_the_paper_is_judged_from_the_rows(judge: Any) -> None:
    several, covered, best = judge(
        hrm=(0.9, 0.1), looped=(0.5, 0.2), ar=(0.7, 0.6), mdlm=(0.72, 0.5), gram=(0.8, 0.9)
    )
    # The least of those that should be above, against the greatest of those that should be below.
    assert (
        several.startswith("holds: ")
        and "(accuracy_several: MDLM 50.0 ± 0.0 (2) against Looped TF 20.0 ± 0.0 (2))" in several
    )
    assert (
        covered.startswith("holds: ")
        and "MDLM 25.0 ± 0.0 (2) against Looped TF 10.0 ± 0.0 (2)" in covered
    )
    assert (
        best.startswith("holds: ")
        and "(accuracy: GRAM 80.5 ± 0.7 (2) against MDLM 72.5 ± 0.7 (2))" in best
    )


def test_where_it_differs_that_is_said(judge: Any) -> None:
    several, covered, best = judge(hrm=(0.9, 0.55), mdlm=(0.805, 0.5), gram=(0.8, 0.9))
    assert several.startswith("does not hold here: ") and covered.startswith("does not hold here: ")
    assert "MDLM 50.0 ± 0.0 (2) against HRM 55.0 ± 0.0 (2)" in several
    assert (
        best.startswith("does not hold here: GRAM is the most accurate")
        and "closer than their deviations" in best
    )
    (tie, _) = judge(deterministic=(0.5, 0.0), gram=(0.8, 0.0))
    assert tie.startswith("does not hold here: ")


def test_what_cannot_be_judged_is_not(judge: Any) -> None:
    assert judge(gram=(0.8, 0.5)) == [] and judge(hrm=(0.8, 0.5)) == []
    assert len(judge(ar=(0.8, 0.5), gram=(0.9, 0.5))) == 1


def test_notes_are_in_every_format(synthetic_evaluation: Make) -> None:
    evaluations = [synthetic_evaluation(method=method) for method in ("gram", "hrm")]
    whole = document(table1(evaluations, {}, None), "title")
    assert len(whole.sections[0].notes["The ordering among families that the paper finds"]) == 2
    assert "\n- does not hold here: on inputs" in markdown(whole)
    assert "<li>does not hold here: on inputs" in standalone_html(whole)
    assert "\n\\item does not hold here: on inputs" in latex(
        whole
    ) and r"accuracy\_several: GRAM" in latex(whole)
    assert latex(whole).isascii()
