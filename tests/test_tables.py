"""Table 1: every value recomputed by hand, what is missing shown as missing, and runs that do not
belong together.
"""

from __future__ import annotations

import functools
import io
import json
import math
import operator
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gram.evaluate.__main__ import main as evaluate_main
from gram.system import files
from gram.system.code_version import code_hash, present_code
from gram.system.errors import GramError
from gram.system.shapes import FORMER_NAMES, MEASURED
from gram.tables.__main__ import main
from gram.tables.evaluations import read_evaluations, status
from gram.tables.layout import section
from gram.tables.names import METRICS
from gram.tables.paper import rows_of
from gram.tables.reported import read_reported
from gram.tables.rows import COLUMNS, table1
from tests import synthetic
from tests.pages import table_rows

ROOT = Path(__file__).parents[1]
REPORTED = ROOT / "resources/reported.csv"
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., list[Path]]:
    """``written(evaluation, ...)``: the paths of evaluations, after writing them."""

    def write(*evaluations: dict[str, Any]) -> list[Path]:
        paths = [tmp_path / f"evaluation{number}.json" for number in range(len(evaluations))]
        for path, evaluation in zip(paths, evaluations, strict=True):
            files.write_json(path, evaluation)
        return paths

    return write


def row(table: pd.DataFrame, task: str, method: str, metric: str) -> pd.Series:
    """The one row of a task, method and metric."""
    found = table[
        (table["task"] == task) & (table["method"] == method) & (table["metric"] == metric)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_values_are_percent_means_with_sample_deviation_and_gap(synthetic_evaluation: Make) -> None:
    seeds = [
        synthetic_evaluation(
            task="nqueens8",
            seed=seed,
            values={"accuracy": a, "coverage_paper": c},
            several={"coverage_macro": h},
        )
        for seed, a, c, h in ((0, 0.80, 0.70, 0.5), (1, 0.90, 0.76, 0.7))
    ]
    table = table1(
        seeds,
        {
            ("nqueens8", "gram", "accuracy"): (99.7, 0.3),
            ("nqueens8", "gram", "coverage"): (90.3, 1.9),
        },
        None,
    )
    accuracy = row(table, "nqueens8", "gram", "accuracy")
    assert (accuracy["paper_mean"], accuracy["paper_std"], accuracy["n"]) == (99.7, 0.3, 2)
    assert accuracy["ours_mean"] == pytest.approx(85.0)
    assert accuracy["ours_std"] == pytest.approx(
        math.sqrt(50)
    )  # (80 - 85)^2 + (90 - 85)^2, over n - 1 = 1
    assert accuracy["gap"] == pytest.approx(-14.7)
    assert math.isnan(accuracy["ceiling"])
    coverage = row(table, "nqueens8", "gram", "coverage_paper")
    assert (
        coverage["paper_mean"] == 90.3
        and coverage["gap"] == pytest.approx(73.0 - 90.3)
        and coverage["ceiling"] == 90.0
    )
    # The paper has one accuracy; it stands beside both of ours, and its coverage beside
    # coverage_paper alone.
    assert row(table, "nqueens8", "gram", "accuracy_paper")["gap"] == pytest.approx(25 - 99.7)
    assert math.isnan(row(table, "nqueens8", "gram", "coverage_macro")["paper_mean"])
    several = row(table, "nqueens8", "gram", "coverage_macro_several")
    assert several["ours_mean"] == pytest.approx(60.0)
    assert (accuracy["n_inputs"], accuracy["n_inputs_several"], accuracy["forward_passes"]) == (
        10,
        4,
        160,
    )


def test_the_page_says_what_training_has_met(synthetic_evaluation: Make) -> None:
    page = section("nqueens5", table1([synthetic_evaluation()], {}, None))
    assert "0 of these inputs occur in training; 7 of their 14 completions do" in page.text[0]


def test_one_seed_has_no_deviation(synthetic_evaluation: Make) -> None:
    accuracy = row(
        table1([synthetic_evaluation(values={"accuracy": 0.5})], {}, None),
        "nqueens5",
        "gram",
        "accuracy",
    )
    assert accuracy["n"] == 1 and accuracy["ours_mean"] == 50.0 and math.isnan(accuracy["ours_std"])


def test_a_value_over_nothing_is_missing_not_zero(synthetic_evaluation: Make) -> None:
    table = table1([synthetic_evaluation(several={"accuracy": None})], {}, None)
    assert math.isnan(row(table, "nqueens5", "gram", "accuracy_several")["ours_mean"])
    assert row(table, "nqueens5", "gram", "accuracy_several")["n"] == 0


def test_the_whole_grid_of_the_paper_stands_beside_what_was_run(synthetic_evaluation: Make) -> None:
    reported = read_reported(REPORTED)
    table = table1(
        [synthetic_evaluation(), synthetic_evaluation(task="nqueens8", method="deterministic")],
        reported,
        None,
    )
    assert list(table.columns) == list(COLUMNS)
    assert list(table.columns[:8]) == [
        "task",
        "method",
        "metric",
        "paper_mean",
        "paper_std",
        "ours_mean",
        "ours_std",
        "n",
    ]
    assert list(dict.fromkeys(table["task"])) == [
        "nqueens5",
        "nqueens8",
        "coloring8",
        "coloring10",
        "nqueens10",
    ]
    paper = pd.read_csv(REPORTED)
    paper = paper[paper["table"] == "table1"]
    ours = {method.paper: name for name, method in rows_of().items()}
    for given in paper.itertuples():
        for name, metric in METRICS.items():
            if metric.papers(str(given.task)) == given.metric:
                found = row(table, str(given.task), ours[str(given.method)], name)
                assert (found["paper_mean"], found["paper_std"]) == (given.value, given.std)
                assert found["status"] == "not run" and found["n"] == 0
    assert set(table.loc[table["metric"] == "conflict_edges", "task"]) == {
        "coloring8",
        "coloring10",
    }
    assert set(table.loc[table["task"] == "nqueens8", "method"]) == set(rows_of())


def test_stale_and_mixed(synthetic_evaluation: Make) -> None:
    def of(*codes: str) -> str:
        return status([synthetic_evaluation(code=code)["run"] for code in codes], lambda by: "now")

    assert of("now", "now") == "ok"
    assert of("old", "old") == "stale"
    assert of("now", "old") == "mixed"
    assert of("now+old") == "mixed"  # folds of one seed
    assert status([], lambda by: "now") == "not run"
    for one_sided in ("trained_by", "evaluated_by"):
        runs = [
            synthetic_evaluation(code="now", **{one_sided: {"code_hash": code}})["run"]
            for code in ("now", "old")
        ]
        assert status(runs, lambda by: "now") == "mixed"
    evaluated_later = synthetic_evaluation(
        trained_by={"code_hash": "old"}, evaluated_by={"code_hash": "now"}
    )["run"]
    assert status([evaluated_later], lambda by: "now") == "stale"
    assert status([evaluated_later], None) == "ok"


def test_a_result_is_compared_with_the_code_that_would_make_it_now(
    synthetic_evaluation: Make,
) -> None:
    """One that says its modules with these and their imports, an older one with the package."""
    command, task = "gram.evaluate.__main__", "gram.tasks.nqueens"
    own = {"code_of": [command, task], "code_hash": code_hash((command, task))}
    whole = {"code_hash": code_hash()}
    for one in (own, whole):
        for other in (own, whole):
            run = synthetic_evaluation(trained_by=one, evaluated_by=other)["run"]
            assert status([run], present_code) == "ok"
    assert own["code_hash"] != whole["code_hash"]
    for wrong in (
        own | {"code_hash": whole["code_hash"]},
        own | {"code_of": [command, "gram.tasks.coloring"]},
        own | {"code_of": [command, "gram.tasks.gone"]},
        {"code_hash": own["code_hash"]},
    ):
        run = synthetic_evaluation(trained_by=wrong, evaluated_by=own)["run"]
        assert status([run], present_code) == "stale"


class Cells(HTMLParser):
    """The text of all cells of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.inside = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells.append(data)


def test_all_four_files_say_the_same(
    synthetic_evaluation: Make, written: Any, command: Any, tmp_path: Path
) -> None:
    now = code_hash()
    paths = written(
        synthetic_evaluation(
            task="nqueens8", depth=16, seed=0, values={"coverage_paper": 0.7}, code=now
        ),
        synthetic_evaluation(
            task="nqueens8", depth=16, seed=1, values={"coverage_paper": 0.8}, code=now
        ),
        synthetic_evaluation(task="nqueens8", depth=16, method="trm", code="0ld"),
        synthetic_evaluation(task="nqueens8", depth=16, method="hrm", seed=0, code=now),
        synthetic_evaluation(task="nqueens8", depth=16, method="hrm", seed=1, code="0ld"),
    )
    stem = tmp_path / "tables" / "table1"
    assert (
        command(
            main, "table1", "--evaluations", *paths, "--reported", REPORTED, "--output", stem
        ).code
        == 0
    )
    table = pd.read_csv(io.StringIO(stem.with_suffix(".csv").read_text(encoding="utf-8")))
    assert row(table, "nqueens8", "gram", "coverage_paper")["ours_mean"] == 75.0
    assert set(table.loc[table["method"] == "trm", "status"]) == {
        "stale",
        "not run",
    }  # not run on the other tasks
    text = stem.with_suffix(".md").read_text(encoding="utf-8")
    lines = table_rows(beside(text))
    del lines["method"]  # the head, which has two lines in the other formats
    ours = ["25.0 ± 0.0 (2)", "−74.7"]
    assert lines["GRAM"] == [
        "99.7 ± 0.3",
        *ours,
        *ours,
        "90.3 ± 1.9",
        "75.0 ± 7.1 (2)",
        "−15.3",
    ]
    assert lines["at most"] == ["", "", "", "", "", "", "90.0", ""]  # once, not in each cell
    assert lines["TRM†"][1] == "25.0 (1)"  # one seed: no ±
    assert lines["HRM‡"][1] == "25.0 ± 0.0 (2)"
    assert lines["AR"] == [
        "96.3 ± 1.0",
        "not run",
        "—",
        "not run",
        "—",
        "84.8 ± 0.8",
        "not run",
        "—",
    ]
    for mark in ("† stale:", "‡ mixed:"):
        assert sum(line.startswith(mark) for line in text.splitlines()) == 1
    for name, metric in METRICS.items():
        # That of conflicts is measured of tasks that were not run.
        shown = metric.always and "completions" in metric.judges
        assert text.count(f"- **{name}**: {metric.meaning}") == shown
    # Every cell of the Markdown tables stands in the HTML and, escaped, in the LaTeX.
    page = stem.with_suffix(".html").read_text(encoding="utf-8")
    parser = Cells()
    parser.feed(page)
    shown_cells = {cell for line in lines.values() for cell in line if cell}
    assert shown_cells <= set(parser.cells)
    assert "http" not in page and "<script" not in page
    latex = stem.with_suffix(".tex").read_text(encoding="utf-8")
    assert r"GRAM & 99.7 $\pm$ 0.3 & 25.0 $\pm$ 0.0 (2) & $-$74.7" in latex
    assert (
        latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == latex.count(r"\toprule")
    )
    assert not re.search(r"(?<!\\)_", latex.replace("% \\usepackage", "")) and latex.isascii()


def beside(text: str) -> str:
    """The table "Beside the paper" of 8x8, from its caption on."""
    start = text.index("Beside the paper", text.index("## nqueens8"))
    return text[start : text.index("GRAM, the paper's and others'", start)].strip()


def test_rows_of_one_latex_table_have_as_many_cells_as_columns(
    synthetic_evaluation: Make, written: Any, command: Any, tmp_path: Path
) -> None:
    stem = tmp_path / "table1"
    command(
        main,
        "table1",
        "--evaluations",
        *written(synthetic_evaluation()),
        "--reported",
        REPORTED,
        "--output",
        stem,
    )
    for columns, body in re.findall(
        r"\\begin\{tabular\}\{(l+r*)\}(.*?)\\end\{tabular\}",
        stem.with_suffix(".tex").read_text(),
        re.DOTALL,
    ):
        rows = [
            line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
        ]
        assert rows and all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in rows)


def test_real_evaluations_make_a_table(
    gram_run: Path, deterministic_run: Path, data_folder: Path, command: Any, tmp_path: Path
) -> None:
    paths = []
    for folder in (gram_run, deterministic_run):
        paths.append(tmp_path / folder.name / "test.json")
        arguments = (
            "--run",
            folder,
            "--data",
            data_folder,
            "--depth",
            2,
            "--width",
            3,
            "--device",
            "cpu",
            "--output",
            paths[-1],
        )
        assert command(evaluate_main, *arguments).code == 0
    table = table1(read_evaluations(paths), read_reported(REPORTED), present_code)
    for path in paths:
        evaluation = files.read_json(path)
        accuracy = row(table, "nqueens5", evaluation["run"]["method"], "accuracy")
        counts = evaluation["metrics"]["accuracy"]
        assert accuracy["ours_mean"] == pytest.approx(
            100 * counts["numerator"] / counts["denominator"]
        )
        assert accuracy["status"] == "ok"
    assert row(table, "nqueens5", "deterministic", "accuracy")["forward_passes"] == 2
    assert row(table, "nqueens5", "gram", "accuracy")["forward_passes"] == 6


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ({}, "nqueens5 gram seed 0 is also in"),
        ({"seed": 1, "depth": 16}, "depth 16 differs from 8"),
        ({"seed": 1, "supervision_steps_seen": 1}, "supervision_steps_seen 1 differs from 640"),
        (
            {"method": "trm", "data_md5": {"test": "other", "train": synthetic.TRAIN_MD5}},
            "data_md5",
        ),
        ({"seed": 1, "split": "valid"}, "evaluates the split 'valid'"),
    ],
)
def test_evaluations_that_cannot_be_averaged(
    second: dict[str, Any],
    expected: str,
    synthetic_evaluation: Make,
    written: Any,
    command: Any,
    tmp_path: Path,
) -> None:
    paths = written(synthetic_evaluation(), synthetic_evaluation(**second))
    stem = tmp_path / "table1"
    outcome = command(
        main, "table1", "--evaluations", *paths, "--reported", REPORTED, "--output", stem
    )
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert str(paths[1]) in outcome.err and expected in outcome.err
    assert not stem.with_suffix(".csv").exists()


def test_methods_may_differ_in_compute(synthetic_evaluation: Make, written: Any) -> None:
    paths = written(
        synthetic_evaluation(), synthetic_evaluation(method="deterministic", draws=1, parameters=7)
    )
    assert len(read_evaluations(paths)) == 2


@pytest.mark.parametrize(
    "content",
    [[], {"run": {}}, {"metrics": {}, "by_width": [], "by_completions": [], "run": {"task": "x"}}],
)
def test_a_foreign_file_is_named(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    files.write_json(path, content)
    with pytest.raises(GramError, match=r"foreign\.json: not the evaluation needed here"):
        read_evaluations([path])


def test_an_evaluation_of_before_is_read_with_the_names_of_now(
    synthetic_evaluation: Make, comparison: dict[str, Any], tmp_path: Path
) -> None:
    now, before = tmp_path / "now.json", tmp_path / "before.json"
    for content, kind in ((synthetic_evaluation(), "metrics"), (comparison, "by_sampler")):
        text = json.dumps({name: content[name] for name in ("run", kind)})
        now.write_text(text, encoding="utf-8")
        for former, name in FORMER_NAMES.items():
            text = text.replace(f'"{name}"', f'"{former}"')
        before.write_text(text, encoding="utf-8")
        assert now.read_bytes() != before.read_bytes()
        assert read_evaluations([before], (kind,)) == read_evaluations([now], (kind,))


@pytest.mark.parametrize("place", [(), ("slices", "baseline"), ("slices", "several")])
@pytest.mark.parametrize("name", MEASURED)
def test_an_evaluation_without_one_of_its_metrics_is_refused(
    name: str, place: tuple[str, ...], synthetic_evaluation: Make, tmp_path: Path
) -> None:
    """A table would show a hole, as of what was not measured."""
    content = synthetic_evaluation()
    part = functools.reduce(operator.getitem, ("metrics", *place), content)
    del part[name]
    path = tmp_path / "test.json"
    path.write_text(json.dumps(content), encoding="utf-8")  # without a digest
    missing = ".".join(("metrics", *place, name))
    with pytest.raises(GramError, match=rf"{re.escape(missing)} is missing"):
        read_evaluations([path])


def test_a_method_of_the_paper_without_counterpart_is_named(tmp_path: Path) -> None:
    path = tmp_path / "reported.csv"
    path.write_text(
        "table,task,method,params,metric,value,std,note\ntable1,nqueens8,New,1M,accuracy,1.0,,\n",
        encoding="utf-8",
    )
    with pytest.raises(GramError, match="'New' of table1 has no counterpart"):
        read_reported(path)
    path.write_text("task,method\n", encoding="utf-8")
    with pytest.raises(GramError, match="the column 'metric' is missing"):
        read_reported(path)
    with pytest.raises(GramError, match="no such file"):
        read_reported(tmp_path / "absent.csv")
