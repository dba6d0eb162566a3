"""The full negative ELBO and the surrogate that training minimises, against optimizer steps (the paper's Figure 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gram.figures.style import STYLE, colour, legend_below, new_figure
from gram.figures.training import curve, read_history
from gram.tables.names import in_order, label
from gram.tables.rows import natural

PANELS = {
    "full": "Full negative ELBO, whole rollout",
    "surrogate": "Surrogate, one supervision step",
}
TERMS: dict[str, Any] = {"total": "-", "cross_entropy": "--", "kl": ":"}
NAMES = {"total": "sum", "cross_entropy": "cross-entropy", "kl": "KL"}
NOTHING = "nothing to draw: no run with a KL,\nor histories of an older version,\nwhich did not hold the ELBO"


def elbo_data(histories: Sequence[Path]) -> pd.DataFrame:
    """What the figure draws, one row per value.

    Args:
        histories: history.jsonl files, each beside its meta.json; those of runs without a KL, and of older versions, which did
            not write the bounds, give no rows.

    Returns:
        Columns task (without fold), method, run, step, panel ("full" or "surrogate"), term ("total", "cross_entropy" or "kl"), and
        value in nats per input.
    """
    rows = []
    for path in histories:
        run, lines = read_history(path)
        for line in lines:
            for panel, terms in line.get("elbo", {}).items():
                values = terms | {"total": sum(terms.values())}
                rows += [
                    run
                    | {"step": line["step"], "panel": panel, "term": term, "value": values[term]}
                    for term in TERMS
                ]
    return pd.DataFrame(rows, columns=["task", "method", "run", "step", "panel", "term", "value"])


def draw_panel(axes: Axes, data: pd.DataFrame, panel: str) -> None:
    """One bound of one task: three lines per method."""
    part = data[data["panel"] == panel]
    for method in in_order(part["method"]):
        for term, line in TERMS.items():
            curve(axes, part[(part["method"] == method) & (part["term"] == term)], method, line)
    axes.set_title(PANELS[panel])
    axes.set_xlabel("optimizer steps")
    # Values span orders of magnitude, and a KL is exactly 0 before the first step.
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.02)


def draw_elbo(data: pd.DataFrame) -> Figure:
    """A row of two panels per task; see :func:`elbo_data`. Without any rows, an empty panel that says why."""
    tasks = sorted(data["task"].unique(), key=natural)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(8, 2.9 * max(len(tasks), 1) + 0.7)
        if not tasks:
            figure.subplots().text(0.5, 0.5, NOTHING, ha="center", va="center")
            return figure
        grid = figure.subplots(len(tasks), len(PANELS), squeeze=False)
        for task, row in zip(tasks, grid, strict=True):
            for panel, axes in zip(PANELS, row, strict=True):
                draw_panel(axes, data[data["task"] == task], panel)
            row[0].set_ylabel(f"{task}\nnats per input")
        methods = in_order(data["method"])
        handles = [
            matplotlib.lines.Line2D([], [], color=colour(method), label=label(method))
            for method in methods
        ]
        handles += [
            matplotlib.lines.Line2D([], [], color="#444444", linestyle=line, label=NAMES[t])
            for t, line in TERMS.items()
        ]
        legend_below(figure, handles, columns=5)
        figure.suptitle(
            "The bound and what training minimises, on validation pairs (line: mean over runs; band: least to greatest run)",
            fontsize=10,
            x=0.01,
            ha="left",
        )
    return figure
