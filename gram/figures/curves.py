"""Accuracy and coverage against the number of completions, and coverage against the number of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gram.figures.style import (
    CEILING,
    STYLE,
    colour,
    legend_below,
    marker,
    new_figure,
    percent_axis,
)
from gram.tables.names import in_order, label, papers_coverage
from gram.tables.rows import natural

FEW = 12  # the widest range of x in which every value can have a tick label
SPREAD = "marker: mean over seeds; bar: least to greatest seed"


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
        Columns task, method, seed, x, inputs, metric, value and ceiling (both in percent; NaN where there is none).
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


def completions_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """:func:`curve_data` over the number of completions of an input."""
    return curve_data(
        evaluations, "by_completions", "n_completions", ("accuracy", "coverage_macro")
    )


def width_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """:func:`curve_data` over the number of samples per input."""
    return curve_data(
        evaluations, "by_width", "width", ("coverage_macro", "coverage_micro", "coverage_paper")
    )


def spread_line(axes: Axes, data: pd.DataFrame, **style: Any) -> None:
    """Means of the values at each x, joined by a line, with bars from the least to the greatest; ``style`` as of errorbar."""
    spread = data.groupby("x")["value"].agg(["mean", "min", "max"])
    mean = spread["mean"].to_numpy()
    bars = np.stack([mean - spread["min"].to_numpy(), spread["max"].to_numpy() - mean])
    whole: dict[str, Any] = {
        "markersize": 4.5,
        "capsize": 2.5,
        "elinewidth": 1,
        "clip_on": False,
        "zorder": 3,
    } | style
    axes.errorbar(spread.index.to_numpy(), mean, yerr=bars, **whole)


def log_ticks(axes: Axes, ticks: Sequence[int], text: str) -> None:
    """A logarithmic horizontal axis with a tick at each of a few whole numbers."""
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel(text)


def lines(axes: Axes, data: pd.DataFrame) -> None:
    """A line with markers per method, and the ceiling where there is one."""
    ceiling = data.groupby("x")["ceiling"].max().dropna()
    if len(ceiling):
        axes.plot(ceiling.index.to_numpy(), ceiling.to_numpy(), "--", color=CEILING, linewidth=1.1)
    for method in in_order(data["method"]):
        spread_line(
            axes, data[data["method"] == method], color=colour(method), marker=marker(method)
        )


def legend(figure: Figure, data: pd.DataFrame, more: Sequence[Line2D]) -> None:
    """One legend under the panels."""
    handles = [
        Line2D([], [], color=colour(m), marker=marker(m), markersize=4.5, label=label(m))
        for m in in_order(data["method"])
    ]
    legend_below(figure, [*handles, *more], columns=4)


def ceiling_handle(text: str) -> Line2D:
    """The legend's entry of the dashed ceiling."""
    return Line2D([], [], color=CEILING, linestyle="--", linewidth=1.1, label=text)


def panels(
    data: pd.DataFrame, metrics: Callable[[str], Sequence[str]]
) -> tuple[Figure, list[tuple[str, str, Axes]]]:
    """A figure with a row per task and a column per metric, of which a task has two: (task, metric, axes)."""
    tasks = sorted(data["task"].unique(), key=natural)
    figure = new_figure(8, 3.1 * len(tasks) + 0.9)
    pairs = zip(tasks, figure.subplots(len(tasks), 2, squeeze=False), strict=True)
    return figure, [
        (task, metric, axes)
        for task, row in pairs
        for metric, axes in zip(metrics(task), row, strict=True)
    ]


def draw_completions(data: pd.DataFrame) -> Figure:
    """Accuracy and coverage_macro against the number of completions; see :func:`completions_data`."""
    with matplotlib.rc_context(STYLE):
        figure, places = panels(data, lambda task: ("accuracy", "coverage_macro"))
        for task, metric, axes in places:
            part = data[(data["task"] == task) & (data["metric"] == metric)]
            lines(axes, part)
            inputs = part.groupby("x")["inputs"].first()
            m = inputs.index.to_numpy()
            if metric == "coverage_macro":
                axes.plot(m, 100 / m, ":", color="#444444", linewidth=1.1)
            if m.max() - m.min() < FEW:
                axes.set_xticks(m, [f"{x}\n({count})" for x, count in inputs.items()])
                axes.set_xlabel("completions of the input (test inputs)")
                axes.set_xlim(m.min() - 0.4, m.max() + 0.4)
            else:
                axes.set_xlabel("completions of the input")
                axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            percent_axis(axes, metric)
            axes.set_title(
                f"{task}: {'valid samples' if metric == 'accuracy' else 'completions found, mean over inputs'}"
            )
        more = [ceiling_handle("ceiling of independent samples")]
        more.append(
            Line2D(
                [], [], color="#444444", linestyle=":", linewidth=1.1, label="one completion found"
            )
        )
        legend(figure, data, more)
        figure.suptitle(
            f"Accuracy and coverage by number of completions ({SPREAD})",
            fontsize=10,
            x=0.01,
            ha="left",
        )
    return figure


def draw_width(data: pd.DataFrame) -> Figure:
    """coverage_macro and the paper's coverage against the number of samples per input; see :func:`width_data`."""
    with matplotlib.rc_context(STYLE):
        figure, places = panels(data, lambda task: ("coverage_macro", papers_coverage(task)))
        for task, metric, axes in places:
            part = data[(data["task"] == task) & (data["metric"] == metric)]
            lines(axes, part)
            log_ticks(axes, sorted(part["x"].unique()), "samples per input (width)")
            percent_axis(axes, metric)
            averaged = "mean over inputs" if metric == "coverage_macro" else "the paper's average"
            axes.set_title(f"{task}: completions found, {averaged}")
        legend(figure, data, [ceiling_handle("ceiling of independent samples")])
        figure.suptitle(f"Coverage by number of samples ({SPREAD})", fontsize=10, x=0.01, ha="left")
    return figure
