"""Coverage and accuracy against width for every sampler, at equal compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.figures.axes import beside, log_ticks, percent_axis, spread_line
from gram.figures.curves import ceiling_handle, draw_ceiling
from gram.figures.declared import Drawing, Shown
from gram.figures.style import (
    STYLE,
    Sign,
    counted,
    heading,
    legend_below,
    new_figure,
    signs_of,
    the_task,
)

SECTIONS = ("by_sampler", "summary")
# Okabe and Ito's palette, as for the methods; independent samples in black.
SIGNS = {
    "iid": Sign("#000000", "o"),
    "antithetic": Sign("#0072B2", "s"),
    "quasi": Sign("#56B4E9", "^"),
    "repulsion": Sign("#CC79A7", "v"),
    "reseed": Sign("#D55E00", "D"),
    "antithetic+reseed": Sign("#009E73", "P"),
}
INDEPENDENT = "iid"
NAMES = {INDEPENDENT: "independent (iid)", "quasi": "quasi-random (quasi)"}
PANELS = {
    "coverage_paper": "Completions found, over (input, target) rows",
    "coverage_macro": "Completions found, mean over inputs",
    "accuracy": "Valid samples",
}
PAIR = ["run", "rollout_seed", "x", "metric"]  # draws of two samplers that are compared


def samplers_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_samplers` draws, one row per value.

    Args:
        evaluations: JSON contents by gram.compare_samplers, of one task and method.

    Returns:
        Columns task, method, run (its seed), rollout_seed, sampler, x (width), metric, value and
        ceiling (percent; NaN where there is none), and difference, to the value of independent
        samples by the same run with the same rollout seed.
    """
    rows = []
    for evaluation in evaluations:
        run = evaluation["run"]
        of_run = {"task": run["task"], "method": run["method"], "run": run["seed"]}
        for row in evaluation["by_sampler"]:
            at = {"rollout_seed": row["rollout_seed"], "sampler": row["sampler"], "x": row["width"]}
            for metric in PANELS:
                shown = [key for key in ("value", "ceiling") if key in row[metric]]
                found = {key: 100 * row[metric][key] for key in shown}
                rows.append(of_run | at | {"metric": metric} | found)
    data = pd.DataFrame(rows)
    independent = data[data["sampler"] == INDEPENDENT].set_index(PAIR)["value"]
    pairs = pd.MultiIndex.from_frame(data[PAIR])
    return data.assign(difference=data["value"].to_numpy() - independent.loc[pairs].to_numpy())


def draw_samplers(data: pd.DataFrame) -> Figure:
    """A column per metric: above, a line per sampler and the ceiling; below, differences to iid."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 6)
        grid = figure.subplots(2, len(PANELS))
        for above, below, (metric, text) in zip(*grid, PANELS.items(), strict=True):
            part = data[data["metric"] == metric]
            widths = sorted(part["x"].unique())
            draw_ceiling(above, part)
            draw_means(above, part)
            draw_differences(below, part)
            log_ticks(above, widths, "")
            log_ticks(below, widths, "trajectories per input")
            above.set_title(text)
            percent_axis(above)
        same_height(grid[1])
        grid[0][0].set_ylabel("mean (%)")
        grid[1][0].set_ylabel("difference to iid (points)")
        handles = [
            Line2D([], [], markerfacecolor="white", label=NAMES.get(name, name), **sign)
            for name, sign in signs(data).items()
        ]
        legend_below(figure, [*handles, ceiling_handle()], columns=7)
        draws = len(data[["run", "rollout_seed"]].drop_duplicates())
        note = (
            "Below: each sampler less independent samples (iid) of the same run and rollout seed, "
            f"in percentage points. Markers: means over {counted([draws], 'pair')} of run and "
            "rollout seed; bars: from the least to the greatest."
        )
        heading(figure, f"{the_task(data)}: ways to draw samples, at equal compute", note)
    return figure


def signs(data: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and marker of every sampler in the data: those of the list in its order, then others
    by name.
    """
    found = signs_of(data["sampler"], SIGNS)
    names = [name for name in SIGNS if name in found] + sorted(set(found) - set(SIGNS))
    return {name: found[name]._asdict() for name in names}


def draw_means(axes: Axes, data: pd.DataFrame) -> None:
    """The mean of each sampler; how they differ is seen in :func:`draw_differences`."""
    for sampler, sign in signs(data).items():
        mean = data[data["sampler"] == sampler].groupby("x")["value"].mean()
        style = sign | {"markersize": 5, "linewidth": 1.1, "markerfacecolor": "white"}
        axes.plot(mean.index.to_numpy(), mean.to_numpy(), **style)


def draw_differences(axes: Axes, data: pd.DataFrame) -> None:
    """The differences to independent samples, samplers side by side."""
    axes.axhline(0, color=SIGNS[INDEPENDENT].color, linewidth=1.1)
    others = {name: sign for name, sign in signs(data).items() if name != INDEPENDENT}
    moves = beside(len(others), 0.06, 0.3)
    for (sampler, sign), move in zip(others.items(), moves, strict=True):
        shown = data[data["sampler"] == sampler]
        shown = shown.assign(x=shown["x"] * np.exp(move), value=shown["difference"])
        spread_line(axes, shown, linestyle="none", **sign)


def same_height(row: Sequence[Axes]) -> None:
    """One vertical range for all panels, with 0 in its middle."""
    reach = max(abs(end) for axes in row for end in axes.get_ylim())
    for axes in row:
        axes.set_ylim(-reach, reach)


FIGURES = {
    "samplers": Drawing(
        Shown(
            drawn="the samplers of {task} at equal compute",
            label="samplers: ways to draw samples",
            of="samplers",
            caption=(
                "Completions of {task}'s test inputs found by GRAM when its trajectories are "
                "drawn independently (iid, as in the paper) and in other ways, all with the "
                "same number of supervision steps. Above, the means; below, what each way "
                "gains or loses against independent draws of the same run and rollout seed, "
                "where 0 is no difference. Dashed: what independent samples from the uniform "
                "distribution over all completions would reach; a sampler whose trajectories "
                "know of each other may pass it. From {count} runs with several rollout seeds "
                "each."
            ),
        ),
        draw=lambda read: draw_samplers(samplers_data(read)),
        sections=SECTIONS,
    ),
}
