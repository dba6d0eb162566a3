"""Whether a choice is carried: the table of the kept runs and the figure, from made-up
measurements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gram.evaluate.metrics import ratio
from gram.figures.__main__ import main
from gram.figures.carried import carried_data, draw_carried
from gram.reports.carried import carried
from gram.system import files
from tests import synthetic
from tests.pages import cells

KEPT = "resources/reference_runs/proving_ground"
PAIRS = 4


def measured(method: str, seed: int, kl: dict[str, list[float]]) -> dict[str, Any]:
    """The JSON of a run whose KL in each group of inputs is ``kl``, step by step."""
    one = synthetic.evaluation(task="nqueens7", method=method, seed=seed)
    rows = []
    for group, values in kl.items():
        for step, value in enumerate(values, 1):
            row: dict[str, Any] = {"group": group, "step": step}
            row["log_m"] = ratio(PAIRS * (0.0 if group == "1" else 0.75), PAIRS)
            row["kl"] = ratio(PAIRS * value, PAIRS)
            row["cross_entropy"] = ratio(PAIRS, PAIRS)
            rows.append(row)
    return {"run": one["run"] | {"split": "train"}, "by_supervision_step": rows}


@pytest.fixture
def runs() -> list[dict[str, Any]]:
    """Two seeds that forget, and one run of another method that carries its choice."""
    forgets = [measured("gram", s, {"1": [0.0] * 5, "2 to 3": [1.0 + s] * 5}) for s in (0, 1)]
    return [
        *forgets,
        measured("diagonal-once", 0, {"1": [0.5, 0, 0, 0, 0], "2 to 3": [1, 0.25] * 2 + [0]}),
    ]


def write(root: Path, contents: list[dict[str, Any]]) -> None:
    """Keep them below ``root``."""
    for content in contents:
        run = content["run"]
        folder = root / KEPT / f"eval/nqueens7/{run['method']}/seed{run['seed']}"
        files.write_json(folder / "carried.json", content)


def test_the_page_has_a_row_per_group_and_method(
    runs: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert carried(tmp_path).startswith("Not measured yet")
    write(tmp_path, runs)
    figure = tmp_path / KEPT / "figures/table1/nqueens7/carried.png"
    figure.parent.mkdir(parents=True)
    figure.touch()
    text = carried(tmp_path)
    rows = []
    for line in text.splitlines():
        if line.startswith("| ") and "---" not in line:
            rows.append(cells(line))
    assert rows[0] == ["completions", "log m", "method", "n", "step 1", "step 2", "step 4"]
    assert rows[1:] == [
        ["1", "0.00", "GRAM", "2", "0.00 ± 0.00", "0.00 ± 0.00", "0.00 ± 0.00"],
        ["1", "0.00", "diagonal-once", "1", "0.50", "0.00", "0.00"],
        ["2 to 3", "0.75", "GRAM", "2", "1.50 ± 0.71", "1.50 ± 0.71", "1.50 ± 0.71"],
        ["2 to 3", "0.75", "diagonal-once", "1", "1.00", "0.25", "0.25"],
    ]
    assert f"(../{KEPT}/figures/table1/nqueens7/carried.png)" in text


def test_the_figure_has_a_panel_per_group_and_the_line_of_the_choice(
    runs: list[dict[str, Any]],
) -> None:
    one, several = draw_carried(carried_data(runs)).axes
    assert one.get_title(loc="left") == "1 completion"
    assert several.get_title(loc="left") == "2 to 3 completions"
    drawn = [container.lines[0].get_ydata().tolist() for container in several.containers]
    assert drawn == [[1.5] * 5, [1, 0.25, 1, 0.25, 0]]
    dashed = [line for line in several.get_lines() if line.get_linestyle() == "--"]
    assert [list(line.get_ydata()) for line in dashed] == [[0.75, 0.75]]


def test_results_on_the_test_split_are_no_diagnosis(
    runs: list[dict[str, Any]], tmp_path: Path, command: Any
) -> None:
    path = tmp_path / "carried.json"
    files.write_json(path, runs[0])
    output = tmp_path / "figure"
    assert command(main, "carried", "--evaluations", path, "--output", output).code == 0
    assert output.with_suffix(".svg").exists()
    runs[0]["run"]["split"] = "test"
    files.write_json(path, runs[0])
    outcome = command(main, "carried", "--evaluations", path, "--output", output)
    assert outcome.code == 2 and "this takes the train split only" in outcome.err
