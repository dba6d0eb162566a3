"""Every figure can be read: no text is cut, on another or a name of the code; no line is faint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from gram.evaluate.metrics import ratio
from gram.figures import boards, samplers, style
from gram.figures.axes import nats_axis, nats_limits, step_axis
from gram.figures.carried import carried_data, draw_carried
from gram.figures.curves import completions_data, draw_completions, draw_width, width_data
from gram.figures.declared import declared
from gram.figures.elbo import draw_elbo, elbo_data
from gram.figures.samplers import draw_samplers, samplers_data
from gram.figures.scaling import (
    depth_signs,
    draw_halting,
    draw_scaling,
    halting_data,
    scaling_data,
)
from gram.figures.training import draw_training, training_data
from gram.figures.trajectories import draw_trajectories, trajectory_data
from gram.settings.config import load_experiment
from gram.system import files
from gram.tables.paper import rows_of
from gram.tasks import make_task
from gram.tasks.nqueens import NQueens
from gram.train.elbo import GROUPS
from tests import synthetic

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "config/experiments").glob("*.yaml"))
LONGEST = max((path.stem for path in EXPERIMENTS), key=len)
VARIANTS = {method for path in EXPERIMENTS for method in load_experiment(path).methods}
LONG_METHODS = sorted(VARIANTS - set(rows_of()), key=len)[-4:]
NUMBER = re.compile(r"[-−]?\d+(\.\d+)?")


def shown_texts(figure: Figure) -> Iterator[Text]:
    """Every text that is drawn, ticks within their axis only."""
    figure.draw_without_rendering()
    ticks = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                ticks |= {tick.label1, tick.label2}
                seen = axes.axison and tick.label1.get_visible()
                if seen and low <= tick.get_loc() <= high and tick.label1.get_text():
                    yield tick.label1
            if axes.axison and axis.label.get_text():
                yield axis.label
    names = {axis.label for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)}
    for text in figure.findobj(Text):
        if text not in ticks | names and text.get_visible() and text.get_text():
            yield text


def complaints(figure: Figure) -> list[str]:
    """What cannot be read in a figure, a line each."""
    texts = list(shown_texts(figure))
    boxes = [text.get_window_extent() for text in texts]
    found = []
    for text, box in zip(texts, boxes, strict=True):
        ends = (box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1)
        if min(ends) < -0.5:
            found.append(f"cut: {text.get_text()!r}")
        if "_" in text.get_text():
            found.append(f"a name of the code: {text.get_text()!r}")
    for (one, here), (other, there) in combinations(zip(texts, boxes, strict=True), 2):
        across = min(here.x1, there.x1) - max(here.x0, there.x0)
        along = min(here.y1, there.y1) - max(here.y0, there.y0)
        if across > 1 and along > 1:
            found.append(f"one on another: {one.get_text()!r}, {other.get_text()!r}")
    return found


def test_complaints_are_made() -> None:
    """The check itself: each kind of fault is found, and nothing in a figure without one."""
    figure = style.new_figure(2, 2)
    axes = figure.subplots()
    axes.set_title("short")
    assert complaints(figure) == []
    axes.set_title("much longer than the two inches of this figure")
    axes.set_ylabel("coverage_macro")
    axes.set_xticks([0.5, 0.51], ["half", "more"])
    kinds = {line.split(":")[0] for line in complaints(figure)}
    assert kinds == {"cut", "a name of the code", "one on another"}


def evaluations(methods: Sequence[str], counts: dict[int, int]) -> list[dict[str, Any]]:
    """Evaluations with the longest task name, two seeds each; ``counts``: inputs by completions."""
    made = []
    for method in methods:
        for seed in (0, 1):
            one = synthetic.evaluation(task=LONGEST, method=method, seed=seed)
            row = one["by_completions"][0]
            one["by_completions"] = [
                row | {"n_completions": number, "inputs": inputs}
                for number, inputs in counts.items()
            ]
            made.append(one)
    return made


@pytest.mark.parametrize(
    ("methods", "counts"),
    [
        (list(rows_of()), {1: 100, 2: 25}),
        (LONG_METHODS, {1: 24, 2: 26, 3: 12, 4: 17, 5: 1, 6: 9, 8: 5, 12: 3, 18: 3}),
        (["gram"], dict.fromkeys(range(1, 865, 9), 15984)),
        (["gram"], {1: 125}),
    ],
)
def test_curves_can_be_read(methods: list[str], counts: dict[int, int]) -> None:
    made = evaluations(methods, counts)
    assert complaints(draw_completions(completions_data(made))) == []


@pytest.mark.parametrize(
    ("methods", "widths"),
    [
        (list(rows_of()), (1, 2, 3, 5, 7, 10, 15, 20)),
        (LONG_METHODS, (1, 2, 4)),
        (["gram"], (1, 50, 98, 99, 100)),
    ],
)
def test_width_can_be_read(methods: list[str], widths: tuple[int, ...]) -> None:
    made = evaluations(methods, {1: 10})
    for one in made:
        one["by_width"] = [one["by_width"][0] | {"width": width} for width in widths]
    figure = draw_width(width_data(made))
    assert complaints(figure) == []
    assert LONGEST in figure.get_suptitle()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert not any(LONGEST in title for title in titles)  # once is enough


@pytest.fixture
def histories(tmp_path: Path) -> Callable[..., list[Path]]:
    """``histories(methods, steps=20, loss=4.5)``: two runs of each, with rollouts and bounds."""

    def write(methods: Sequence[str], *, steps: int, loss: float) -> list[Path]:
        paths = []
        for method in methods:
            for seed in (0, 1):
                folder = tmp_path / method / f"seed{seed}"
                meta = synthetic.meta(task=LONGEST, method=method, seed=seed)
                files.write_json(folder / "meta.json", meta)
                lines: list[dict[str, Any]] = []
                for step in (0, steps // 2, steps):
                    counts = {group: {"valid": 1, "inputs": 8} for group in ("one", "several")}
                    terms = {"cross_entropy": loss, "kl": loss * step / steps}
                    elbo = {"full": terms, "surrogate": terms}
                    watched = {"train": counts, "valid": counts, "elbo": elbo}
                    lines.append({"event": "rollout", "step": step} | watched)
                    losses = {"cross_entropy": loss + step / 1000, "kl_nats": 1000 * loss}
                    lines.append({"event": "losses", "step": step} | losses)
                paths.append(folder / "history.jsonl")
                files.write_text(paths[-1], "".join(json.dumps(line) + "\n" for line in lines))
        return paths

    return write


@pytest.mark.parametrize(
    ("methods", "steps", "loss"),
    [
        (list(rows_of()), 20, 4.5),
        (["gram"], 7, 1e-5),
        (["gram"], 32000, 60.0),
        (LONG_METHODS, 1000000, 0.5),
    ],
)
def test_training_and_elbo_can_be_read(
    histories: Callable[..., list[Path]], methods: list[str], steps: int, loss: float
) -> None:
    paths = histories(methods, steps=steps, loss=loss)
    for figure in (draw_training(training_data(paths)), draw_elbo(elbo_data(paths))):
        assert complaints(figure) == []
        assert LONGEST in figure.get_suptitle()
        for axes in figure.axes:
            assert axes.get_xlim() == (-0.02 * steps, 1.02 * steps)
            for label in axes.get_xticklabels():
                assert label.get_text().isdigit()  # no half steps


def test_an_elbo_figure_without_the_bounds_can_be_read() -> None:
    assert complaints(draw_elbo(elbo_data([]))) == []


@pytest.mark.parametrize(
    "values", [(4.5, 4.6), (6.0, 6.0), (0.0, 3.0), (0.0,), (1e-4, 80.0), (0.3, 9.0)]
)
def test_ticks_in_nats_are_plain_numbers(values: tuple[float, ...]) -> None:
    figure = style.new_figure(3, 2)
    axes = figure.subplots()
    axes.plot(range(len(values)), values)
    nats_axis(axes, nats_limits(pd.Series(values)), "nats")
    step_axis(axes, 50)
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert high >= 9.99 * low
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) >= 3 and all(NUMBER.fullmatch(label) for label in labels)
    assert not axes.get_yticklabels(minor=True)


def test_scaling_and_halting_can_be_read() -> None:
    made = []
    for method in (*LONG_METHODS[-2:], "deterministic"):
        one = synthetic.scaling(method, 0)
        one["run"]["task"] = LONGEST
        rows = one["by_depth_and_width"]
        one["by_depth_and_width"] = [
            rows[0] | {"depth": depth, "width": width}
            for depth in (1, 4, 16, 64, 128)
            for width in (1, 5, 10, 20, 50, 100)
        ]
        one["by_halting_step"] = [
            {"step": step, "trajectories": ratio(1, 20), "accuracy": ratio(1, 1)}
            for step in range(1, 129)
        ]
        made.append(one)
    for figure in (draw_scaling(scaling_data(made)), draw_halting(halting_data(made))):
        assert complaints(figure) == []
        assert LONGEST in figure.get_suptitle()


def test_methods_of_a_scaling_figure_share_their_axes(scalings: list[dict[str, Any]]) -> None:
    """The twin was tried at fewer widths; its panels are as wide as those of the other."""
    scalings[2]["by_depth_and_width"] = [
        row for row in scalings[2]["by_depth_and_width"] if row["width"] == 1
    ]
    figure = draw_scaling(scaling_data(scalings))
    for upper, lower in zip(figure.axes[1:4], figure.axes[5:8], strict=True):
        assert upper.get_xlim() == lower.get_xlim()


@pytest.mark.parametrize("depth", [1, 4, 16, 64])
def test_carried_can_be_read(depth: int) -> None:
    made = evaluations(LONG_METHODS, {1: 10})
    nats = ratio(2.5, 1)
    for one in made:
        one["by_supervision_step"] = [
            {"group": group, "step": step, "log_m": nats, "kl": nats}
            for group in GROUPS
            for step in range(1, depth + 1)
        ]
    assert complaints(draw_carried(carried_data(made))) == []


@pytest.mark.parametrize("depth", [1, 16])
def test_trajectories_can_be_read(depth: int) -> None:
    made = evaluations(LONG_METHODS[:3], {1: 10})
    for one in made:
        steps = [
            {"sample": sample, "step": step, "x": sample, "y": step * 0.1, "right": 0.9}
            | {"valid": sample == 1, "tokens": [1]}
            for sample in range(2)
            for step in range(1, depth + 1)
        ]
        one["trajectories"] = {"explained": [0.3, 0.1], "steps": steps}
    figure = draw_trajectories(trajectory_data(made))
    assert complaints(figure) == []
    assert "40 % of the variance" in figure.axes[0].get_xlabel()


def test_samplers_can_be_read() -> None:
    one = synthetic.comparison()
    one["run"]["task"] = LONGEST
    assert complaints(draw_samplers(samplers_data([one]))) == []


@pytest.mark.parametrize(("size", "columns"), [(4, 2), (10, 5), (5, 1)])
def test_boards_can_be_read(size: int, columns: int) -> None:
    task = make_task(f"nqueens{size}", {"removed": [1]})
    assert isinstance(task, NQueens)
    given = np.ones(size * size, dtype=np.uint8)
    crowded = np.full(size * size, 2, dtype=np.uint8)
    crowded[0] = 1
    given[0] = given[1] = 2
    failing = boards.Row(123456, given, 864, [], crowded, 1000, 1000, crowded, answer_valid=False)
    found = [(given, 999)] * 7
    succeeding = replace(failing, drawn=found, answer=given, answer_valid=True)
    for rows in ([failing], [failing, succeeding], [succeeding]):
        assert complaints(boards.draw_boards(task, rows, columns)) == []


def contrast(colour: str) -> float:
    """The contrast of a colour with white as WCAG defines it: 1 for white itself, 21 for black."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)


def test_no_line_is_faint_on_white() -> None:
    depths = [sign["color"] for count in range(1, 9) for sign in depth_signs(range(count)).values()]
    drawn = [*style.COLOURS.values(), *(sign.color for sign in samplers.SIGNS.values()), *depths]
    assert {colour: contrast(colour) for colour in drawn if contrast(colour) < 2} == {}
    assert contrast("#bddf26") < 2  # the light end of viridis, which was too faint


NAMED = {"black": "#000000", "blue": "#0000ff", "orange": "#ff8800", "red": "#ff0000"}
NAMED |= {"green": "#008000", "grey": "#888888", "yellow": "#ffff00", "purple": "#800080"}


def name_of(colour: str) -> str:
    """How people call a colour: the nearest of NAMED."""
    return min(NAMED, key=lambda name: abs(np.array(to_rgb(colour)) - to_rgb(NAMED[name])).sum())


def test_captions_name_the_colours_that_are_drawn() -> None:
    used = {name_of(colour) for colour in (boards.GIVEN, boards.ADDED, boards.WRONG)}
    for name, figure in declared().items():
        words = set(re.findall(r"[a-z]+", figure.shown.caption)) & set(NAMED)
        assert words == (used if name == "boards" else set()), name
    assert used == {"black", "blue", "orange"}
