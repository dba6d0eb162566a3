"""The figures of scaling and of samplers: what is drawn are the numbers of the JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gram.evaluate.metrics import ratio
from gram.figures.__main__ import main
from gram.figures.samplers import SIGNS, draw_samplers, samplers_data
from gram.figures.scaling import CHOOSERS, draw_halting, draw_scaling, halting_data, scaling_data
from gram.system import files


def percent(axes: Any) -> list[list[float]]:
    """The heights of every line with error bars, in the order of drawing."""
    return [container.lines[0].get_ydata().tolist() for container in axes.containers]


def bars(container: Any) -> list[float]:
    """The heights of its bars."""
    return [float(bar.get_height()) for bar in container]


def test_scaling_draws_a_line_per_depth(scalings: list[dict[str, Any]]) -> None:
    figure = draw_scaling(scaling_data(scalings))
    twin, gram = figure.axes[:4], figure.axes[4:]
    assert percent(twin[0]) == [[10, 40]] and percent(gram[0]) == [
        [pytest.approx(20), pytest.approx(50)]
    ]
    for place, (axes, title) in enumerate(zip(gram[1:], CHOOSERS.values(), strict=True)):
        assert axes.get_title(loc="left").lower() == title.lower()
        # The mean of seeds 0 and 2, at depths 1 and 4.
        lines = [[10 * (depth + place + 1), 10 * (depth + place + 2)] for depth in (1, 4)]
        assert percent(axes) == list(map(pytest.approx, lines))
        assert list(axes.get_xticks()) == [1, 5]


def test_halting_adds_up_to_all_trajectories(scalings: list[dict[str, Any]]) -> None:
    data = halting_data(scalings)
    one = data[(data["method"] == "gram") & (data["seed"] == 0)]
    assert list(zip(one["step"], one["trajectories"], one["valid"], strict=True)) == [
        (1, 8, 2),
        (2, 4, 4),
        (3, 8, 3),
    ]
    figure = draw_halting(data)
    axes = figure.axes[1]
    whole, valid = map(bars, axes.containers)
    assert whole == [40, 20, 40] and sum(whole) == 100 and valid == [10, 20, 15]
    assert axes.get_title(loc="left") == "GRAM: 45.0 % valid where they halt"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "never"]
    assert {"40.0", "20.0"} == {text.get_text() for text in axes.texts}


def test_halting_steps_are_grouped_by_doubling(scalings: list[dict[str, Any]]) -> None:
    """One bar of 64 would be eight pixels wide."""
    counts = [8, 4, 1, 1, *[0] * 15, 2]
    scalings[0]["by_halting_step"] = [
        {"step": step, "trajectories": ratio(here, 20), "accuracy": ratio(0, here or 1)}
        for step, here in enumerate(counts, 1)
    ]
    scalings[0]["halting"]["never"] = ratio(4, 20)
    axes = draw_halting(halting_data(scalings[:1])).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["1", "2", "3-4", "5-8", "9-16", "17-20", "never"]
    assert bars(axes.containers[0]) == pytest.approx([40, 20, 10, 0, 0, 10, 20])


def test_samplers_draw_their_means_and_the_ceiling(comparison: dict[str, Any]) -> None:
    figure = draw_samplers(samplers_data([comparison]))
    means = [pytest.approx([5 * (place + 3), 5 * (place + 6)]) for place in range(len(SIGNS))]
    ceiling = pytest.approx([20, 50])
    for axes, first in zip(figure.axes[:3], ([ceiling], [ceiling], []), strict=True):
        assert [list(np.asarray(line.get_ydata())) for line in axes.lines] == first + means


def test_samplers_draw_the_difference_to_independent_samples_of_the_same_seeds(
    comparison: dict[str, Any],
) -> None:
    figure = draw_samplers(samplers_data([comparison]))
    for axes in figure.axes[3:]:
        # The invented values differ by 5 points from sampler to sampler, by 10 from seed to seed.
        assert percent(axes) == [[pytest.approx(5 * place)] * 2 for place in range(1, len(SIGNS))]
        low, high = axes.get_ylim()
        assert low == -high


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
        ("width", "scaling.json", "by_width"),
    ):
        outcome = command(
            main, figure, "--evaluations", tmp_path / path, "--output", tmp_path / figure
        )
        assert (
            outcome.code == 2
            and f"{tmp_path / path}: not the evaluation needed here ({missing} is missing)"
            in outcome.err
        )
