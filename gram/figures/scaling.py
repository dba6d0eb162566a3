"""Accuracy over depth and width at test time (the paper's Figure 4), and where trajectories would halt (its Figure 15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.figures.curves import SPREAD, log_ticks, spread_line
from gram.figures.style import STYLE, colour, marker, new_figure, percent_axis
from gram.tables.names import in_order, label

SECTIONS = ("by_depth_and_width", "halting", "by_halting_step")
CHOOSERS = {
    "accuracy_vote": "most frequent answer",
    "accuracy_lprm": "highest LPRM value",
    "accuracy_best": "any valid sample (oracle)",
}


def scaling_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_scaling` draws, one row per value.

    Args:
        evaluations: JSON contents by gram.scaling, of one task.

    Returns:
        Columns task, method, seed, depth, width, metric ("accuracy" or a key of CHOOSERS) and value in percent.
    """
    rows = [
        {key: evaluation["run"][key] for key in ("task", "method", "seed")}
        | {
            "depth": row["depth"],
            "width": row["width"],
            "metric": metric,
            "value": 100 * row[metric]["value"],
        }
        for evaluation in evaluations
        for row in evaluation["by_depth_and_width"]
        for metric in ("accuracy", *CHOOSERS)
    ]
    return pd.DataFrame(rows)


def draw_scaling(data: pd.DataFrame) -> Figure:
    """A row per method: one sample against depth, then each way to choose against width with a line per depth."""
    methods, depths, widths = (
        in_order(data["method"]),
        sorted(data["depth"].unique()),
        sorted(data["width"].unique()),
    )
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.1, 1, len(depths)))
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 2.7 * len(methods) + 0.7)
        grid = figure.subplots(len(methods), 1 + len(CHOOSERS), squeeze=False)
        for method, (first, *others) in zip(methods, grid, strict=True):
            part = data[data["method"] == method]
            single = part[(part["metric"] == "accuracy") & (part["width"] == widths[0])]
            spread_line(
                first,
                single.rename(columns={"depth": "x"}),
                color=colour(method),
                marker=marker(method),
            )
            log_ticks(first, depths, "supervision steps (depth)")
            first.set_title(f"{label(method)}: one sample")
            percent_axis(first, "accuracy")
            for axes, (metric, text) in zip(others, CHOOSERS.items(), strict=True):
                for depth, shade in zip(depths, shades, strict=True):
                    chosen = part[(part["metric"] == metric) & (part["depth"] == depth)]
                    spread_line(
                        axes, chosen.rename(columns={"width": "x"}), color=shade, marker="."
                    )
                log_ticks(axes, widths, "samples to choose from (width)")
                axes.set_title(text)
                percent_axis(axes, "accuracy")
        handles = [
            Line2D([], [], color=shade, marker=".", label=str(depth))
            for depth, shade in zip(depths, shades, strict=True)
        ]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), title="depth"
        )
        task = data["task"].iloc[0]
        figure.suptitle(
            f"{task}: accuracy by depth and width ({SPREAD})", fontsize=10, x=0.01, ha="left"
        )
    return figure


def halting_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_halting` draws, one row per run and supervision step.

    Returns:
        Columns task, method, seed, step (one past the deepest for trajectories that never halt), trajectories and valid (counts).
    """
    rows = []
    for evaluation in evaluations:
        run = {key: evaluation["run"][key] for key in ("task", "method", "seed")}
        whole, steps = evaluation["halting"], evaluation["by_halting_step"]
        counted = [
            (row["step"], row["trajectories"]["numerator"], row["accuracy"]["numerator"])
            for row in steps
        ]
        halted_valid = sum(valid for _, _, valid in counted)
        counted.append(
            (
                len(steps) + 1,
                whole["never"]["numerator"],
                whole["accuracy"]["numerator"] - halted_valid,
            )
        )
        rows += [
            run | {"step": step, "trajectories": here, "valid": valid}
            for step, here, valid in counted
        ]
    return pd.DataFrame(rows)


def halting_bars(axes: Axes, counts: pd.DataFrame, method: str) -> None:
    """The histogram of one method: trajectories per step, the valid ones among them filled."""
    total = counts["trajectories"].sum()
    steps = counts.index.to_numpy()
    shares = {name: 100 * counts[name].to_numpy() / total for name in ("trajectories", "valid")}
    axes.bar(
        steps,
        shares["trajectories"],
        color="white",
        edgecolor=colour(method),
        linewidth=0.8,
        width=0.9,
    )
    axes.bar(steps, shares["valid"], color=colour(method), width=0.9)
    axes.set_axisbelow(True)
    last = int(steps[-1])
    ticks = [step for step in (1, last // 4, last // 2, 3 * last // 4) if step >= 1]
    axes.set_xticks([*sorted(set(ticks)), last], [*map(str, sorted(set(ticks))), "never"])
    axes.set_xlabel("supervision step of the first halt")
    percent_axis(axes, "trajectories")
    mean = 100 * counts["valid"].sum() / total
    axes.set_title(f"{label(method)}: {mean:.1f} % valid where they halt")


def draw_halting(data: pd.DataFrame) -> Figure:
    """A histogram per method, all seeds together."""
    methods = in_order(data["method"])
    with matplotlib.rc_context(STYLE):
        figure = new_figure(4 * len(methods) + 0.4, 3.4)
        for method, axes in zip(
            methods, figure.subplots(1, len(methods), squeeze=False)[0], strict=True
        ):
            counts = data[data["method"] == method].groupby("step")[["trajectories", "valid"]].sum()
            halting_bars(axes, counts, method)
        task = data["task"].iloc[0]
        figure.suptitle(
            f"{task}: where trajectories halt (filled: with a valid answer)",
            fontsize=10,
            x=0.01,
            ha="left",
        )
    return figure
