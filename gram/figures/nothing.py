"""Answers that are drawn from nothing, such as boards of Sudoku: how often each was drawn, and how
many are valid after more supervision steps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from gram.figures.axes import log_ticks, percent_axis, spread_line
from gram.figures.declared import Drawing, Shown
from gram.figures.style import (
    CEILING,
    STYLE,
    heading,
    legend_below,
    new_figure,
    seeds_note,
    signs_of,
    the_task,
)
from gram.system.errors import GramError
from gram.tables.names import in_order, label
from gram.tables.reported import reported_rows

KINDS = {"seen": "stands in training", "new": "does not"}
COLOURS = {"seen": "#E69F00", "new": "#0072B2"}
TABLE = "table9"  # the paper's boards from nothing
# Network calls for one board, in the file's note: supervision steps, or steps of a diffusion.
CALLS = re.compile(r"(\d+) steps")


def drawn_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """How many answers were drawn how often, one row per evaluation, number of times and kind.

    Args:
        evaluations: with the sections ``by_times`` and ``listed``.

    Returns:
        Columns task, method, seed, samples, times (from 0), kind and answers. Listed answers that
        no sample is were drawn 0 times; new ones of an infinite supply are not counted there.
    """
    found = []
    for evaluation in evaluations:
        run, rows = evaluation["run"], evaluation["by_times"]
        facts = {key: run[key] for key in ("task", "method", "seed")}
        facts["samples"] = int(evaluation["metrics"]["accuracy"]["numerator"])
        for kind in KINDS:
            drawn = sum(row[kind] for row in rows)
            never = {"times": 0, kind: max(evaluation["listed"][kind] - drawn, 0)}
            found += [
                facts | {"times": row["times"], "kind": kind, "answers": row[kind]}
                for row in (never, *rows)
            ]
    columns = ["task", "method", "seed", "samples", "times", "kind", "answers"]
    return pd.DataFrame(found, columns=columns)


def draw_drawn(data: pd.DataFrame) -> Figure:
    """A panel for each method, of its first seed: bars of how many answers were drawn how often."""
    methods = in_order(data["method"])
    with matplotlib.rc_context(STYLE):
        figure = new_figure(8, 0.8 + 2.4 * len(methods))
        panels = figure.subplots(len(methods), 1, squeeze=False)[:, 0]
        for axes, method in zip(panels, methods, strict=True):
            part = data[data["method"] == method]
            part = part[part["seed"] == part["seed"].min()]
            drawn_panel(axes, part)
            axes.set_title(label(method))
        panels[-1].set_xlabel("times that an answer was drawn")
        handles: list[Any] = [
            Patch(color=COLOURS[k], label=f"an answer that {KINDS[k]}") for k in KINDS
        ]
        handles.append(Line2D([], [], color=CEILING, linestyle="--", label="draws that are even"))
        legend_below(figure, handles, columns=3)
        heading(figure, f"{the_task(data)}: how often each answer was drawn", "")
    return figure


def drawn_panel(axes: Axes, data: pd.DataFrame) -> None:
    """One run; the dashed line is what as many even draws from all listed answers would give."""
    bottom = np.zeros(int(data["times"].max()) + 1)
    for kind in KINDS:
        part = data[data["kind"] == kind].groupby("times")["answers"].sum()
        heights = np.zeros(len(bottom))
        heights[part.index.to_numpy()] = part.to_numpy()
        axes.bar(range(len(bottom)), heights, bottom=bottom, color=COLOURS[kind], width=0.8)
        bottom += heights
    highest = 1.15 * max(bottom[1:], default=1.0)
    if bottom[0] > highest:  # of a large data set, which would hide all others
        axes.set_ylim(0, highest)
        axes.annotate(f"{int(bottom[0]):,}", (0, highest), ha="center", va="bottom", fontsize=7.5)
    answers, samples = bottom.sum(), int(data["samples"].iloc[0])
    if samples >= answers > 0:  # fewer draws say nothing of how even they are
        mean = samples / answers
        times = np.arange(len(bottom))
        logs = times * np.log(mean) - mean - np.append(0, np.cumsum(np.log(times[1:])))
        axes.plot(times, answers * np.exp(logs), "--", color=CEILING, linewidth=1.1)
    axes.set_ylabel("answers")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(False, axis="x")


def depths_data(
    evaluations: Sequence[dict[str, Any]], papers: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Valid answers by supervision steps, one row per evaluation and depth, and the paper's points.

    Args:
        evaluations: of ``gram.scaling``.
        papers: from :func:`read_papers`, whose rows have no seed.

    Returns:
        Columns task, method, seed, parameters, x (network calls for an answer) and value
        (percent).
    """
    found = []
    for evaluation in evaluations:
        run = evaluation["run"]
        facts = {key: run[key] for key in ("task", "method", "seed", "parameters")}
        calls = run.get("calls", 1)
        values = {
            row["depth"]: row["accuracy"]["value"] for row in evaluation["by_depth_and_width"]
        }
        found += [facts | {"x": d * calls, "value": 100 * value} for d, value in values.items()]
    data = pd.DataFrame(found, columns=["task", "method", "seed", "parameters", "x", "value"])
    if papers is None:
        return data
    return pd.concat([data, papers.assign(task=the_task(data))], ignore_index=True)


def read_papers(path: Path) -> pd.DataFrame:
    """The paper's validity of boards from nothing (Table 9): columns method (the paper's name and
    size), x (network calls) and value (percent).

    Raises:
        GramError: as of :func:`gram.tables.reported.reported_rows`, or a note without the calls.
    """
    rows = []
    for row in reported_rows(path, TABLE):
        calls = CALLS.match(str(row["note"]))
        if not calls:
            raise GramError(
                f"{path}: {TABLE}: {row['method']}: its note does not begin with a number of steps"
            )
        name = f"{row['method']}, {row['params']}"
        rows.append({"method": name, "x": int(calls[1]), "value": float(row["value"])})
    return pd.DataFrame(rows, columns=["method", "x", "value"])


def draw_depths(data: pd.DataFrame) -> Figure:
    """Valid answers against network calls; see :func:`depths_data`."""
    ours, papers = data[data["seed"].notna()], data[data["seed"].isna()]
    signs = signs_of(ours["method"])
    with matplotlib.rc_context(STYLE):
        figure = new_figure(8, 4)
        axes = figure.subplots()
        handles = []
        for method in in_order(ours["method"]):
            part = ours[ours["method"] == method]
            spread_line(axes, part, linestyle="-", **signs[method]._asdict())
            size = part["parameters"].iloc[0] / 1e6
            text = f"{label(method)} here, {size:.2g}M"
            handles.append(Line2D([], [], label=text, **signs[method]._asdict()))
        for _, point in papers.iterrows():
            axes.plot([point["x"]], [point["value"]], "x", color=CEILING, clip_on=False)
            axes.annotate(
                point["method"],
                (point["x"], point["value"]),
                xytext=(-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7.5,
            )
        if len(papers):
            handles.append(
                Line2D([], [], label="the paper", color=CEILING, marker="x", linestyle="")
            )
        log_ticks(axes, sorted(data["x"].astype(int).unique()), "network calls for one answer")
        percent_axis(axes, "valid answers")
        legend_below(figure, handles, columns=4)
        heading(figure, f"{the_task(data)}: valid answers against depth", seeds_note(ours))
    return figure


FIGURES = {
    "drawn": Drawing(
        Shown(
            drawn="how often each answer of {task} was drawn",
            label="by answer: how often it was drawn",
            of="evaluations",
            caption=(
                "The different valid answers among the samples of {task}, by how often each was "
                "drawn, those that stand in training and those that do not. At 0 are answers that "
                "the data set lists and no sample is. Where there are more samples than listed "
                "answers, a dashed line shows what as many even draws from all of these would "
                "give. Of the first seed, from {count} evaluations."
            ),
        ),
        draw=lambda read: draw_drawn(drawn_data(read)),
        sections=("by_times", "listed", "metrics"),
    ),
    "depths": Drawing(
        Shown(
            drawn="valid answers of {task} against depth",
            label="by depth: valid answers",
            of="scaling",
            paper="resources/reported.csv",
            caption=(
                "The share of the answers to {task} that are valid, by how many times the network "
                "was called for one: supervision steps, or steps of a diffusion. Crosses: the "
                "paper's 9x9 boards from nothing (Table 9), GRAM at 16 steps and D3PM at 1000, "
                "with their numbers of parameters. From {count} evaluations."
            ),
        ),
        draw=lambda *read: draw_depths(depths_data(*read)),
        sections=("by_depth_and_width",),
        papers=read_papers,
    ),
}
