"""Coverage and accuracy against width for every sampler, at equal compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.figures.curves import ceiling_handle, log_ticks, spread_line
from gram.figures.style import CEILING, STYLE, new_figure, percent_axis

SECTIONS = ("by_sampler", "summary")
# Okabe and Ito's palette, as for the methods; independent samples in black.
COLOURS = {
    "iid": "#000000",
    "antithetic": "#0072B2",
    "quasi": "#56B4E9",
    "repulsion": "#CC79A7",
    "reseed": "#D55E00",
    "antithetic+reseed": "#009E73",
}
MARKERS = {
    "iid": "o",
    "antithetic": "s",
    "quasi": "^",
    "repulsion": "v",
    "reseed": "D",
    "antithetic+reseed": "P",
}
PANELS = {
    "coverage_paper": "completions found, over (input, target) rows",
    "coverage_macro": "completions found, mean over inputs",
    "accuracy": "valid samples",
}


def samplers_data(evaluations: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """What :func:`draw_samplers` draws, one row per value.

    Args:
        evaluations: JSON contents by gram.compare_samplers, of one task and method.

    Returns:
        Columns task, method, sampler, x (width), metric, value and ceiling (percent; NaN where there is none).
    """
    rows = [
        {key: evaluation["run"][key] for key in ("task", "method")}
        | {"sampler": row["sampler"], "x": row["width"], "metric": metric}
        | {key: 100 * row[metric][key] for key in ("value", "ceiling") if key in row[metric]}
        for evaluation in evaluations
        for row in evaluation["by_sampler"]
        for metric in PANELS
    ]
    return pd.DataFrame(rows)


def draw_samplers(data: pd.DataFrame) -> Figure:
    """A panel per metric, a line per sampler, and the ceiling of independent samples."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 3.9)
        for axes, (metric, text) in zip(
            figure.subplots(1, len(PANELS)), PANELS.items(), strict=True
        ):
            part = data[data["metric"] == metric]
            ceiling = part.groupby("x")["ceiling"].mean().dropna()
            axes.plot(
                ceiling.index.to_numpy(), ceiling.to_numpy(), "--", color=CEILING, linewidth=1.1
            )
            # Each sampler a little beside the next, so that bars do not hide each other.
            for place, (sampler, shade) in enumerate(COLOURS.items()):
                beside = part["x"] * 1.03 ** (place - len(COLOURS) // 2)
                chosen = part.assign(x=beside)[part["sampler"] == sampler]
                spread_line(axes, chosen, color=shade, marker=MARKERS[sampler], linewidth=1.1)
            log_ticks(axes, sorted(part["x"].unique()), "trajectories per input (width)")
            axes.set_title(text)
            percent_axis(axes, metric)
        handles = [
            Line2D([], [], color=shade, marker=MARKERS[name], label=name)
            for name, shade in COLOURS.items()
        ]
        handles.append(ceiling_handle("ceiling of independent samples"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        task = data["task"].iloc[0]
        spread = "marker: mean over runs and rollout seeds; bar: least to greatest"
        figure.suptitle(
            f"{task}: samplers at equal compute ({spread})", fontsize=10, x=0.01, ha="left"
        )
    return figure
