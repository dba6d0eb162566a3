"""Where latent states go while one puzzle is solved (the paper's Figures 18 and 19)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gram.evaluate.trajectories import SECTION
from gram.figures.declared import Drawing, Shown
from gram.figures.style import STYLE, heading, new_figure, the_task
from gram.tables.names import in_order, label

SECTIONS = (SECTION,)
COLOURS = "viridis"  # from dark to light, and told apart by everyone


def trajectory_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_trajectories` draws, one row per run, trajectory and supervision step.

    Args:
        evaluations: JSON contents by gram.trajectories, of one task; of several seeds of a method
            the first counts.

    Returns:
        Columns task, method, sample, step (from 1), x, y (principal components), right (share of
        the answer's tokens), valid, and explained (share of the variance that x and y show).
    """
    first: dict[str, dict[str, Any]] = {}
    for evaluation in sorted(evaluations, key=lambda one: int(one["run"]["seed"])):
        first.setdefault(evaluation["run"]["method"], evaluation)
    rows = []
    for method, evaluation in first.items():
        found = evaluation[SECTION]
        same = {"task": evaluation["run"]["task"], "method": method}
        same["explained"] = sum(found["explained"])
        for row in found["steps"]:
            rows.append(same | {key: value for key, value in row.items() if key != "tokens"})
    return pd.DataFrame(rows)


def draw_trajectories(data: pd.DataFrame) -> Figure:
    """A panel per method; see :func:`trajectory_data`."""
    methods = in_order(data["method"])
    with matplotlib.rc_context(STYLE):
        figure = new_figure(3.1 * len(methods) + 1.0, 3.9)
        panels = figure.subplots(1, len(methods), squeeze=False)[0]
        for axes, method in zip(panels, methods, strict=True):
            shown = panel(axes, data[data["method"] == method], least=float(data["right"].min()))
        bar = figure.colorbar(shown, ax=panels[-1])
        bar.set_label("share of the answer that is right")
        steps = int(data["step"].max())
        title = f"{the_task(data)}: the latent state of one input, step by step"
        note = (
            f"Lines: trajectories of {steps} supervision steps, from small to large dots; ringed: a"
            " right answer at the end. Axes: the two principal components of a method's states."
        )
        heading(figure, title, note)
    return figure


def panel(axes: Axes, data: pd.DataFrame, least: float) -> Any:
    """The trajectories of one method, coloured from ``least`` to all that is right; returns what a
    colour bar is made from.
    """
    last = int(data["step"].max())
    for _, path in data.groupby("sample"):
        axes.plot(path["x"], path["y"], color="#bbbbbb", linewidth=0.6, zorder=1)
    size = 5 + 22 * data["step"] / last
    colours: dict[str, Any] = {"c": data["right"], "cmap": COLOURS, "vmin": least, "vmax": 1}
    shown = axes.scatter(data["x"], data["y"], s=size, linewidth=0, **colours)
    ended = data[(data["step"] == last) & data["valid"]]
    axes.scatter(ended["x"], ended["y"], s=60, facecolor="none", edgecolor="#222222", linewidth=0.9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(f"{100 * data['explained'].iloc[0]:.0f} % of the variance")
    samples = data["sample"].nunique()
    many = "1 trajectory" if samples == 1 else f"{samples} trajectories"
    axes.set_title(f"{label(str(data['method'].iloc[0]))}: {many}")
    return shown


FIGURES = {
    "trajectories": Drawing(
        Shown(
            drawn="the latent trajectories of one input of {task}",
            label="where the latent state goes",
            of="trajectories",
            caption=(
                "The high-level state h after every supervision step on one test input of {task}, "
                "in the plane in which a method's states differ most (their first two principal "
                "components). A trajectory is a line whose dots grow with the steps; the lighter a "
                "dot, the more of the answer that is read there is right. Trajectories of one "
                "input part where noise is drawn; without noise there is one. {count} runs, each "
                "with a plane of its own."
            ),
        ),
        draw=lambda read: draw_trajectories(trajectory_data(read)),
        sections=SECTIONS,
    ),
}
