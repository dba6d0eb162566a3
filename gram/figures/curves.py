"""Accuracy and coverage by number of completions, and coverage by number of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.figures.axes import beside, log_ticks, percent_axis, room_for, spread_line
from gram.figures.declared import Drawing, Shown
from gram.figures.style import (
    CEILING,
    STYLE,
    Sign,
    heading,
    legend_below,
    new_figure,
    seeds_note,
    signs_of,
    the_task,
)
from gram.settings.config import sized_task
from gram.settings.tasks import papers_coverage
from gram.tables.names import in_order, label

JOINED = 3  # places of the horizontal axis from which on their markers are joined by lines
PAPERS = "accuracy in the paper"  # the metric of its points
PAPERS_SIGN: Any = {"marker": "x", "markersize": 4, "linestyle": (0, (1, 2)), "linewidth": 1.0}
# What the panels show, as people say it.
PANELS = {
    "accuracy": "Valid samples",
    "coverage_macro": "Completions found, mean over inputs",
    "coverage_micro": "Completions found, the paper's average",
    "coverage_paper": "Completions found, the paper's average",
}


def curve_data(
    evaluations: Sequence[dict[str, Any]], rows: str, x: str, metrics: Sequence[str]
) -> pd.DataFrame:
    """What a figure draws, one row per value.

    Args:
        evaluations: from :func:`gram.tables.evaluations.read_evaluations`.
        rows: "by_completions" or "by_width".
        x: the key of the horizontal axis in those rows.
        metrics: the keys of the values.

    Returns:
        Columns task, method, seed, x, inputs, metric, value and ceiling (both in percent; NaN where
        there is none).
    """
    found = []
    for evaluation in evaluations:
        run = evaluation["run"]
        for row in evaluation[rows]:
            for metric in metrics:
                value, ceiling = row[metric]["value"], row[metric].get("ceiling")
                if value is None:
                    continue
                found.append(
                    {"task": run["task"], "method": run["method"], "seed": run["seed"], "x": row[x]}
                    | {
                        "inputs": row.get("inputs", run["inputs"]),
                        "metric": metric,
                        "value": 100 * value,
                    }
                    | {"ceiling": np.nan if ceiling is None else 100 * ceiling}
                )
    return pd.DataFrame(
        found, columns=["task", "method", "seed", "x", "inputs", "metric", "value", "ceiling"]
    )


def completions_data(
    evaluations: Sequence[dict[str, Any]], papers: pd.DataFrame | None = None
) -> pd.DataFrame:
    """:func:`curve_data` over the number of completions of an input, with what the paper shows.

    Args:
        evaluations: as of :func:`curve_data`.
        papers: from :func:`gram.tables.reported.read_figure4`. Its points of the same board, at
            numbers that are tested here, are rows whose metric is ``PAPERS`` and whose seed is NaN.
    """
    data = curve_data(
        evaluations, "by_completions", "n_completions", ("accuracy", "coverage_macro")
    )
    if papers is None:
        return data
    boards = {sized_task(task) for task in data["task"]}
    beside = papers[papers["task"].isin(boards) & papers["x"].isin(data["x"])]
    return pd.concat([data, beside.assign(metric=PAPERS)], ignore_index=True)


def width_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """:func:`curve_data` over the number of samples per input."""
    return curve_data(
        evaluations, "by_width", "width", ("coverage_macro", "coverage_micro", "coverage_paper")
    )


def lines(axes: Axes, data: pd.DataFrame, signs: Mapping[str, Sign], *, joined: bool) -> None:
    """Markers with bars per method, ``joined`` by a line or not."""
    for method in in_order(data["method"]):
        shown = data[data["method"] == method]
        style: dict[str, Any] = {"linestyle": "-" if joined else "none"}
        spread_line(axes, shown, **style, **signs[method]._asdict())


def draw_ceiling(axes: Axes, data: pd.DataFrame) -> None:
    """The dashed ceiling, where there is one."""
    ceiling = data.groupby("x")["ceiling"].max().dropna()
    if len(ceiling):
        axes.plot(ceiling.index.to_numpy(), ceiling.to_numpy(), "--", color=CEILING, linewidth=1.1)


def legend(figure: Figure, data: pd.DataFrame, more: Sequence[Line2D], *, joined: bool) -> None:
    """One legend under the panels, with the signs of :func:`lines`."""
    shape: dict[str, Any] = {"markersize": 5, "markerfacecolor": "white"}
    shape["linestyle"] = "-" if joined else "none"
    signs = signs_of(data["method"])
    handles = [
        Line2D([], [], label=label(m), **signs[m]._asdict(), **shape)
        for m in in_order(data["method"])
    ]
    legend_below(figure, [*handles, *more], columns=4)


def ceiling_handle() -> Line2D:
    """The legend's entry of the dashed ceiling."""
    text = "ceiling of independent samples"
    return Line2D([], [], color=CEILING, linestyle="--", linewidth=1.1, label=text)


def draw_completions(data: pd.DataFrame) -> Figure:
    """Accuracy and coverage_macro by number of completions; see :func:`completions_data`."""
    signs = signs_of(data["method"])
    papers = data[data["metric"] == PAPERS]
    data = data[data["metric"] != PAPERS]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(8, 4)
        panels = figure.subplots(1, 2)
        for axes, metric in zip(panels, ("accuracy", "coverage_macro"), strict=True):
            completions_panel(axes, data[data["metric"] == metric], metric, signs)
        papers_lines(panels[0], papers, sorted(data["x"].unique()), signs)
        one_found: dict[str, Any] = {"color": "#444444", "linestyle": ":", "linewidth": 1.1}
        more = [ceiling_handle(), Line2D([], [], label="one completion found", **one_found)]
        more += [
            Line2D(
                *([], []),
                color=signs[method].color,
                label=f"{label(method)}, the paper's",
                **PAPERS_SIGN,
            )
            for method in in_order(papers["method"])
        ]
        legend(figure, data, more, joined=data["x"].nunique() >= JOINED)
        title = f"{the_task(data)}: accuracy and coverage by number of completions"
        heading(figure, title, seeds_note(data))
    return figure


def papers_lines(
    axes: Axes, papers: pd.DataFrame, numbers: Sequence[int], signs: Mapping[str, Sign]
) -> None:
    """The paper's points in the colours of the methods, at the places of ``numbers`` of
    completions.
    """
    for method in in_order(papers["method"]):
        shown = papers[papers["method"] == method].sort_values("x")
        places = np.searchsorted(numbers, shown["x"])
        axes.plot(places, shown["value"].to_numpy(), color=signs[method].color, **PAPERS_SIGN)


def completions_panel(
    axes: Axes, data: pd.DataFrame, metric: str, signs: Mapping[str, Sign]
) -> None:
    """One metric: a place per number of completions, where the methods stand side by side."""
    inputs = data.groupby("x")["inputs"].first().astype(int)
    numbers = inputs.index.to_numpy()
    places = data.assign(x=np.searchsorted(numbers, data["x"]))
    draw_ceiling(axes, places)
    if metric == "coverage_macro":
        axes.plot(range(len(numbers)), 100 / numbers, ":", color="#444444", linewidth=1.1)
    methods = in_order(data["method"])
    moves = dict(zip(methods, beside(len(methods), 0.12, 0.6), strict=True))
    moved = places.assign(x=places["x"] + places["method"].map(moves))
    lines(axes, moved, signs, joined=len(numbers) >= JOINED)
    labels = [f"{number}\n({count})" for number, count in inputs.items()]
    shares = [(place + 0.5) / len(labels) for place in range(len(labels))]
    shown = room_for(axes, shares, labels)
    axes.set_xticks(shown, [labels[place] for place in shown])
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_xlabel("completions of an input (test inputs with so many)")
    percent_axis(axes, PANELS[metric].split(",")[0].lower())
    axes.set_title(PANELS[metric])


def draw_width(data: pd.DataFrame) -> Figure:
    """coverage_macro and the paper's coverage by number of samples; see :func:`width_data`."""
    task = the_task(data)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(8, 4)
        methods = in_order(data["method"])
        moves = dict(zip(methods, np.exp(beside(len(methods), 0.03, 0.16)), strict=True))
        metrics = ("coverage_macro", papers_coverage(task))
        for axes, metric in zip(figure.subplots(1, 2), metrics, strict=True):
            part = data[data["metric"] == metric]
            draw_ceiling(axes, part)
            moved = part.assign(x=part["x"] * part["method"].map(moves))
            lines(axes, moved, signs_of(methods), joined=True)
            log_ticks(axes, sorted(part["x"].unique()), "samples per input")
            percent_axis(axes, "completions found")
            axes.set_title(PANELS[metric])
        legend(figure, data, [ceiling_handle()], joined=True)
        heading(figure, f"{task}: coverage by number of samples", seeds_note(data))
    return figure


FIGURES = {
    "completions": Drawing(
        Shown(
            drawn="accuracy and coverage of {task} against the number of completions",
            label="by number of completions: accuracy",
            of="evaluations",
            paper="resources/figure4.csv",
            caption=(
                "Test inputs of {task}, grouped by how many valid completions they have. "
                "Left, the share of a method's samples that are valid; right, the share of an "
                "input's completions that its samples find, as the mean over inputs. A "
                "deterministic model gives one answer per input, so it cannot pass the dotted "
                "line. Dashed: what independent samples from the uniform distribution over "
                "all completions would reach with the same number of samples. From {count} "
                "evaluations. On 8x8 N-Queens crosses show what the paper's Figure 4 does, "
                "read off its axes."
            ),
        ),
        draw=lambda *read: draw_completions(completions_data(*read)),
        sections=("by_completions",),
    ),
    "width": Drawing(
        Shown(
            drawn="coverage of {task} against the number of samples",
            label="by number of samples: coverage",
            of="evaluations",
            caption=(
                "The share of all valid completions of {task}'s test inputs that is found "
                "with a given number of samples per input. Left, every input counts once; "
                "right, the average that fits the paper's own numbers, in which an input with "
                "many completions counts more. Dashed: what independent samples from the "
                "uniform distribution over all completions would reach. More samples do not "
                "help a deterministic model. From {count} evaluations."
            ),
        ),
        draw=lambda read: draw_width(width_data(read)),
        sections=("by_width",),
    ),
}
