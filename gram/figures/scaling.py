"""Accuracy over depth and width (the paper's Figure 4), and where it would halt (Figure 15)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.figures.axes import beside, log_ticks, percent_axis, spread_line
from gram.figures.declared import Drawing, Shown
from gram.figures.style import (
    MARKERS,
    STYLE,
    counted,
    heading,
    legend_below,
    new_figure,
    seeds_note,
    signs_of,
    the_task,
)
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
        Columns task, method, seed, depth, width, metric ("accuracy" or a key of CHOOSERS) and value
        in percent.
    """
    rows = []
    for evaluation in evaluations:
        run = {key: evaluation["run"][key] for key in ("task", "method", "seed")}
        for row in evaluation["by_depth_and_width"]:
            at = {"depth": row["depth"], "width": row["width"]}
            for metric in ("accuracy", *CHOOSERS):
                rows.append(run | at | {"metric": metric, "value": 100 * row[metric]["value"]})
    return pd.DataFrame(rows)


def depth_signs(depths: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Colour and marker of each depth, the deeper the darker, none faint on white."""
    shades = matplotlib.colormaps["viridis_r"](np.linspace(0.28, 1, len(depths)))
    shapes = itertools.cycle(MARKERS.values())
    return {
        depth: {"color": to_hex(shade), "marker": shape}
        for depth, shade, shape in zip(depths, shades, shapes, strict=False)
    }


def draw_scaling(data: pd.DataFrame) -> Figure:
    """A row per method: one sample by depth, then each way to choose by width, a line per depth."""
    methods = in_order(data["method"])
    depths, widths = sorted(data["depth"].unique()), sorted(data["width"].unique())
    shades, signs = depth_signs(depths), signs_of(methods)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 2.7 * len(methods) + 0.9)
        grid = figure.subplots(len(methods), 1 + len(CHOOSERS), squeeze=False)
        for method, (first, *others) in zip(methods, grid, strict=True):
            part = data[data["method"] == method]
            single = part[(part["metric"] == "accuracy") & (part["width"] == widths[0])]
            spread_line(first, single.rename(columns={"depth": "x"}), **signs[method]._asdict())
            log_ticks(first, depths, "supervision steps")
            first.set_title(f"{label(method)}: one sample")
            percent_axis(first, "valid answers")
            for axes, (metric, text) in zip(others, CHOOSERS.items(), strict=True):
                chosen = part[part["metric"] == metric].rename(columns={"width": "x"})
                depth_lines(axes, chosen, shades)
                log_ticks(axes, widths, "samples to choose from")
                axes.set_title(f"{text[0].upper()}{text[1:]}")
                percent_axis(axes)
        handles = [
            Line2D([], [], markerfacecolor="white", markersize=5, label=str(depth), **sign)
            for depth, sign in shades.items()
        ]
        legend_below(figure, handles, columns=len(handles), title="supervision steps")
        title = f"{the_task(data)}: accuracy by supervision steps (depth) and samples (width)"
        heading(figure, title, seeds_note(data))
    return figure


def depth_lines(axes: Axes, data: pd.DataFrame, signs: dict[int, dict[str, Any]]) -> None:
    """A line per depth over x, side by side, so that bars do not hide each other."""
    moves = np.exp(beside(len(signs), 0.05, 0.35))
    for (depth, sign), move in zip(signs.items(), moves, strict=True):
        here = data[data["depth"] == depth]
        spread_line(axes, here.assign(x=here["x"] * move), linewidth=1.2, **sign)


def halting_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_halting` draws, one row per run and supervision step.

    Returns:
        Columns task, method, seed, step (one past the deepest for trajectories that never halt),
        trajectories and valid (counts).
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


def doubling(last: int) -> dict[str, int]:
    """Names and last steps of the bars 1, 2, 3-4, 5-8, ..., whose last one ends at ``last``."""
    ends = [2**power for power in range(last.bit_length()) if 2**power < last]
    starts = [1, *(end + 1 for end in ends)]
    spans = zip(starts, [*ends, last], strict=True)
    return {str(start) if start == end else f"{start}-{end}": end for start, end in spans}


def halting_bars(axes: Axes, counts: pd.DataFrame, method: str, colour: str) -> None:
    """The histogram of one method over steps 1, 2, 3-4, 5-8, ...; filled: the valid ones."""
    never = int(counts.index[-1])
    ends = doubling(never - 1) | {"never": never}
    names = list(ends)
    grouped = counts.groupby(np.searchsorted(list(ends.values()), counts.index)).sum()
    total = counts["trajectories"].sum()
    shares = {name: (100 * grouped[name] / total).tolist() for name in ("trajectories", "valid")}
    outline: dict[str, Any] = {"color": "white", "edgecolor": colour, "linewidth": 0.8}
    whole = shares["trajectories"]
    bars = axes.bar(range(len(names)), whole, width=0.8, **outline)
    axes.bar(range(len(names)), shares["valid"], color=colour, width=0.8)
    axes.bar_label(bars, [f"{share:.1f}" for share in whole], fontsize=7, padding=2)
    axes.set_axisbelow(True)
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_xlabel("supervision step of the first halt")
    percent_axis(axes, "trajectories")
    axes.set_ylim(0, 108)
    mean = 100 * counts["valid"].sum() / total
    axes.set_title(f"{label(method)}: {mean:.1f} % valid where they halt")


def draw_halting(data: pd.DataFrame) -> Figure:
    """A histogram per method, all seeds together."""
    methods = in_order(data["method"])
    with matplotlib.rc_context(STYLE):
        signs = signs_of(methods)
        columns = min(len(methods), 3)
        rows = -(-len(methods) // columns)
        figure = new_figure(max(4.2 * columns, 5.5), 2.6 * rows + 0.8)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(methods) :]:
            axes.set_axis_off()
        for method, axes in zip(methods, grid.flat, strict=False):
            counts = data[data["method"] == method].groupby("step")[["trajectories", "valid"]].sum()
            halting_bars(axes, counts, method, signs[method].color)
        seeds = counted(data.groupby("method")["seed"].nunique(), "seed")
        title = f"{the_task(data)}: when trajectories would halt for the first time"
        heading(figure, title, f"Filled: with a valid answer there. All trajectories of {seeds}.")
    return figure


FIGURES = {
    "scaling": Drawing(
        Shown(
            drawn="accuracy of {task} over depth and width",
            label="by depth and samples: accuracy",
            of="scaling",
            caption=(
                "Accuracy on the test inputs of {task} when more supervision steps and more "
                "samples are spent, for three ways to choose one answer: the most frequent "
                "one; the one with the highest LPRM value (the accuracy that the network "
                "itself expects of its answer); and an oracle that takes a valid sample if "
                "there is one. All depths are read off the same trajectories. A deterministic "
                "model gains from depth alone. Lines stand a little beside each other, so "
                "that their bars can be told apart. From {count} runs."
            ),
        ),
        draw=lambda read: draw_scaling(scaling_data(read)),
        sections=SECTIONS,
    ),
    "halting": Drawing(
        Shown(
            drawn="where the trajectories of {task} halt",
            label="halting: at which step",
            of="scaling",
            caption=(
                "The supervision step at which trajectories on test inputs of {task} first "
                "say that they would halt, in steps that double, with the percentage over "
                "each bar; filled, those whose answer there is valid. The trajectories went "
                "on regardless; nothing in the tables halts unless ``evaluate: act`` is set. "
                "From {count} runs."
            ),
        ),
        draw=lambda read: draw_halting(halting_data(read)),
        sections=SECTIONS,
    ),
}
