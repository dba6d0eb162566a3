"""The figures of scaling and of samplers: what is drawn are the numbers of the JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gram import files
from gram.figures.__main__ import main
from gram.figures.samplers import COLOURS, draw_samplers, samplers_data
from gram.figures.scaling import CHOOSERS, draw_halting, draw_scaling, halting_data, scaling_data


def percent(axes: Any) -> list[list[float]]:
    """The heights of every line with error bars, in the order of drawing."""
    return [[float(y) for y in container.lines[0].get_ydata()] for container in axes.containers]


def test_scaling_draws_a_line_per_depth(scalings: list[dict[str, Any]]) -> None:
    figure = draw_scaling(scaling_data(scalings))
    twin, gram = figure.axes[:4], figure.axes[4:]
    assert percent(twin[0]) == [[10, 40]] and percent(gram[0]) == [
        [pytest.approx(20), pytest.approx(50)]
    ]
    for place, (axes, title) in enumerate(zip(gram[1:], CHOOSERS.values(), strict=True)):
        assert axes.get_title(loc="left") == title
        lines = [
            [10 * (depth + place + 1), 10 * (depth + place + 2)] for depth in (1, 4)
        ]  # the mean of seeds 0 and 2
        assert percent(axes) == [[pytest.approx(y) for y in line] for line in lines]
        assert list(axes.get_xticks()) == [1, 5]


def test_halting_adds_up_to_all_trajectories(scalings: list[dict[str, Any]]) -> None:
    data = halting_data(scalings)
    one = data[(data["method"] == "gram") & (data["seed"] == 0)]
    assert list(zip(one["step"], one["trajectories"], one["valid"], strict=True)) == [
        (1, 8, 2),
        (2, 4, 4),
        (3, 8, 3),
    ]
    axes = draw_halting(data).axes[1]
    whole, valid = ([float(bar.get_height()) for bar in container] for container in axes.containers)
    assert whole == [40, 20, 40] and sum(whole) == 100 and valid == [10, 20, 15]
    assert axes.get_title(loc="left") == "GRAM: 45.0 % valid where they halt"
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == "never"


def test_samplers_draw_their_means_and_the_ceiling(comparison: dict[str, Any]) -> None:
    figure = draw_samplers(samplers_data([comparison]))
    for axes in figure.axes:
        assert percent(axes) == [
            [pytest.approx(5 * (place + width + 1)) for width in (2, 5)]
            for place in range(len(COLOURS))
        ]
    assert list(figure.axes[0].lines[0].get_ydata()) == [pytest.approx(20), pytest.approx(50)]
    assert np.size(figure.axes[2].lines[0].get_ydata()) == 0  # no ceiling for accuracy


def test_same_input_same_bytes(
    scalings: list[dict[str, Any]], comparison: dict[str, Any], command: Any, tmp_path: Path
) -> None:
    for number, content in enumerate([*scalings, comparison]):
        files.write_json(tmp_path / f"{number}.json", content)
    of_scaling = [tmp_path / f"{number}.json" for number in range(3)]
    for name, paths in (
        ("scaling", of_scaling),
        ("halting", of_scaling),
        ("samplers", [tmp_path / "3.json"]),
    ):
        for folder in ("once", "again"):
            assert (
                command(
                    main, name, "--evaluations", *paths, "--output", tmp_path / folder / name
                ).code
                == 0
            )
        for suffix in (".svg", ".png"):
            once, again = (
                (tmp_path / folder / name).with_suffix(suffix).read_bytes()
                for folder in ("once", "again")
            )
            assert once == again and len(once) > 5000


def test_an_evaluation_of_another_kind_is_refused(
    synthetic_evaluation: Any, scalings: list[dict[str, Any]], command: Any, tmp_path: Path
) -> None:
    files.write_json(tmp_path / "test.json", synthetic_evaluation())
    files.write_json(tmp_path / "scaling.json", scalings[0])
    for figure, path, missing in (
        ("scaling", "test.json", "by_depth_and_width"),
        ("samplers", "scaling.json", "by_sampler"),
        ("width", "scaling.json", "overlap_with_training"),
    ):
        outcome = command(
            main, figure, "--evaluations", tmp_path / path, "--output", tmp_path / figure
        )
        assert (
            outcome.code == 2
            and f"{tmp_path / path}: not the evaluation needed here ({missing} is missing)"
            in outcome.err
        )
