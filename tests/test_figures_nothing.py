"""Figures of answers from nothing: how often each was drawn, and valid ones against depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from gram.evaluate import metrics
from gram.evaluate.metrics import ratio
from gram.figures.nothing import (
    FIGURES,
    depths_data,
    draw_depths,
    draw_drawn,
    drawn_data,
    read_papers,
)
from gram.system.errors import GramError
from tests import synthetic
from tests.test_figures_readable import complaints

ROOT = Path(__file__).parents[1]


def from_nothing(rows: list[tuple[int, int, int]], **facts: Any) -> dict[str, Any]:
    """An evaluation of one input whose answers were drawn so often: times, seen, new."""
    found = synthetic.evaluation(task="emptysudoku4", **facts)
    drawn = sum(times * (seen + new) for times, seen, new in rows)
    found["metrics"] = {"accuracy": ratio(drawn, drawn + 5)}
    found["by_times"] = [dict(zip(("times", "seen", "new"), row, strict=True)) for row in rows]
    found["listed"] = {"seen": 144, "new": 144}
    return found


def scaled(method: str, seed: int, values: dict[int, float], **facts: Any) -> dict[str, Any]:
    """A scaling of these shares of valid answers by depth, the same at both widths."""
    found = synthetic.evaluation(task="emptysudoku9", method=method, seed=seed, **facts)
    found["by_depth_and_width"] = [
        {"depth": depth, "width": width, "accuracy": ratio(value, 1)}
        for depth, value in values.items()
        for width in (1, 50)
    ]
    return found


def test_answers_are_counted_by_how_often_they_were_drawn() -> None:
    """Over two inputs: 7 three times and 2 twice, 9 once, and 7 once of the other."""
    found = np.array([[7, 2, 7, -1, 2, 9, 7], [7, -1, -1, -1, -1, -1, -1]])
    known = np.array([[True, False, True, True, False, False, True], [False] * 7])
    samples = metrics.Samples(np.array([10, 10]), found, {})
    assert metrics.by_times(samples, known) == [
        {"times": 1, "seen": 0, "new": 2},
        {"times": 2, "seen": 0, "new": 1},
        {"times": 3, "seen": 1, "new": 0},
    ]
    nothing = metrics.Samples(np.array([10]), np.full((1, 4), -1), {})
    assert metrics.by_times(nothing, np.zeros((1, 4), dtype=bool)) == []


def test_what_was_never_drawn_stands_at_zero() -> None:
    data = drawn_data([from_nothing([(1, 10, 4), (7, 130, 139)])])
    heights = data.set_index(["kind", "times"])["answers"]
    assert heights["seen", 0] == 4 and heights["new", 0] == 1 and heights["new", 7] == 139
    (axes,) = draw_drawn(data).axes
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert sum(bar.get_height() for bar in bars) == 288
    (line,) = axes.lines  # what even draws would give: as many answers, as often on average
    even = np.asarray(line.get_ydata())
    assert even.argmax() == 6 and 100 < even.sum() < 288  # 6.9 times on average, 7 at most here
    assert draw_drawn(data).legends


def test_a_large_data_set_hides_no_bar_and_has_no_even_line() -> None:
    (axes,) = draw_drawn(drawn_data([from_nothing([(1, 0, 90), (2, 0, 3)])])).axes
    assert axes.get_ylim()[1] < 120 and [text.get_text() for text in axes.texts] == ["195"]
    assert not axes.lines


def test_the_papers_points_stand_at_their_network_calls(tmp_path: Path) -> None:
    papers = read_papers(ROOT / "resources/reported.csv").set_index("method")
    assert papers.loc["GRAM, 10.9M", "x"] == 16
    assert papers.loc["D3PM-Uniform (Small), 15.9M"].tolist() == [1000, 29.24]
    text = (ROOT / "resources/reported.csv").read_text(encoding="utf-8")
    broken = tmp_path / "reported.csv"
    broken.write_text(text.replace("16 steps; 100K", "100K"), encoding="utf-8")
    with pytest.raises(GramError, match=r"table9: GRAM: its note does not begin with a number"):
        read_papers(broken)


def test_valid_answers_against_depth_can_be_read() -> None:
    evaluations = [
        scaled("gram", 0, {4: 0.0, 16: 0.3, 32: 0.6, 96: 0.9}, parameters=537507),
        scaled("d3pm-uniform", 0, {1: 0.2}, parameters=200000, calls=1000),
    ]
    data = depths_data(evaluations, read_papers(ROOT / "resources/reported.csv"))
    ours = data[data["method"] == "gram"].set_index("x")["value"]
    assert ours.to_dict() == {4: 0.0, 16: 30.0, 32: 60.0, 96: 90.0}
    assert data[data["method"] == "d3pm-uniform"]["x"].tolist() == [1000]
    figure = draw_depths(data)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0].endswith(", 0.54M") and "the paper" in labels
    assert complaints(figure) == []


def test_bars_can_be_read() -> None:
    both = [from_nothing([(1, 10, 4), (7, 130, 139)], method=name) for name in ("gram", "ar")]
    assert complaints(draw_drawn(drawn_data(both))) == []


def test_what_the_figures_are_made_of() -> None:
    assert FIGURES["depths"].shown.paper == "resources/reported.csv"
    assert set(FIGURES["drawn"].sections) == {"by_times", "listed", "metrics"}
