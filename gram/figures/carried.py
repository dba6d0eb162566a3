"""Is the choice carried? The KL of every supervision step, by the number of completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.evaluate.carried import SECTION
from gram.figures.axes import spread_line
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
from gram.tables.names import in_order, label

SECTIONS = (SECTION,)
CHOICE = "log m, what a choice among m completions is worth"


def carried_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_carried` draws, one row per run, group of inputs and supervision step.

    Args:
        evaluations: JSON contents by gram.carried, of one task.

    Returns:
        Columns task, method, seed, group (completions of an input, as words), x (supervision step,
        from 1), value (KL) and log_m, both in nats per board.
    """
    rows = []
    for evaluation in evaluations:
        run = {key: evaluation["run"][key] for key in ("task", "method", "seed")}
        for row in evaluation[SECTION]:
            kl, log_m = row["kl"]["value"], row["log_m"]["value"]
            rows.append(
                run | {"group": row["group"], "x": row["step"], "value": kl, "log_m": log_m}
            )
    return pd.DataFrame(rows)


def draw_carried(data: pd.DataFrame) -> Figure:
    """A panel per group of inputs, a line per method; see :func:`carried_data`."""
    groups, methods = list(dict.fromkeys(data["group"])), in_order(data["method"])
    signs = signs_of(methods)
    top = 1.05 * max(data["value"].max(), data["log_m"].max())
    with matplotlib.rc_context(STYLE):
        figure = new_figure(2.6 * len(groups) + 0.6, 3.9)
        panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
        for axes, group in zip(panels, groups, strict=True):
            part = data[data["group"] == group]
            for method in methods:
                line = part[part["method"] == method]
                spread_line(axes, line, **signs[method]._asdict())
            group_panel(axes, part, group, top)
        panels[0].set_ylabel("KL of a supervision step (nats)")
        shape: dict[str, Any] = {"markersize": 5, "markerfacecolor": "white"}
        handles = [Line2D([], [], label=label(m), **signs[m]._asdict(), **shape) for m in methods]
        handles.append(Line2D([], [], color=CEILING, linestyle="--", linewidth=1.1, label=CHOICE))
        legend_below(figure, handles, columns=4)
        title = f"{the_task(data)}: is the choice carried from one supervision step to the next?"
        heading(figure, title, seeds_note(data))
    return figure


def group_panel(axes: Axes, part: pd.DataFrame, group: str, top: float) -> None:
    """The axes of one group: supervision steps, and the dashed line at log m."""
    last = int(part["x"].max())
    axes.axhline(part["log_m"].mean(), linestyle="--", color=CEILING, linewidth=1.1)
    axes.set_ylim(-0.03 * top, top)
    axes.set_xlim(0.5, last + 0.5)
    apart = max(last // 4, 1)
    axes.set_xticks(sorted({1, *range(apart, last + 1, apart)}))
    axes.set_xlabel("supervision step")
    axes.set_title("1 completion" if group == "1" else f"{group} completions")


FIGURES = {
    "carried": Drawing(
        Shown(
            drawn="the KL of every supervision step on {task}",
            label="by supervision step: is the choice carried?",
            of="carried",
            caption=(
                "The KL between posterior and prior of every supervision step on {task}, "
                "along trajectories that the posterior steers to a training target, for "
                "inputs with so many completions. An input with m completions leaves a choice "
                "worth log m (dashed). Where the choice is carried from step to step, it is "
                "paid for at the beginning and the line falls to 0. Where the line stays up, "
                "what was chosen is forgotten, and every step decides anew. A diagnosis of "
                "{count} trained runs, not a result: these trajectories see the targets."
            ),
        ),
        # A diagnosis of training, whose trajectories see the targets.
        draw=lambda read: draw_carried(carried_data(read)),
        sections=SECTIONS,
        split="train",
    ),
}
