"""Axes and lines that several figures share: percent, steps, nats; means with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from gram.figures.style import Sign
from gram.tables.names import in_order

BESIDE_PANEL = (
    0.75  # inches of a panel's share of the figure that the vertical axis and the gap take
)
GAP = 0.07  # inches between two tick labels, at least


def percent_axis(axes: Axes, what: str = "") -> None:
    """A vertical axis from 0 to 100 %, with room for markers on its ends, and a name if given."""
    axes.set_ylim(-3, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    if what:
        axes.set_ylabel(f"{what} (%)")


def step_axis(axes: Axes, last: int, *, named: bool = True) -> None:
    """A horizontal axis of optimizer steps from 0 to ``last``, with whole numbers as ticks."""
    last = max(last, 1)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    found = MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True).tick_values(0, last)
    ticks = [int(tick) for tick in found if tick <= last]
    labels = [str(tick) for tick in ticks]
    shown = room_for(axes, [(tick / last + 0.02) / 1.04 for tick in ticks], labels)
    axes.set_xticks([ticks[place] for place in shown])
    if named:
        axes.set_xlabel("optimizer steps")


def nats_limits(values: pd.Series, decades: float = np.inf) -> tuple[float, float]:
    """The ends of a logarithmic axis for values in nats.

    It spans a decade at least, and about ``decades`` at most, counted from the top. Zero and
    negative values are not on such an axis. Without any positive value it goes from 1 to 10.
    """
    positive = values[values > 0]
    if positive.empty:
        return 1.0, 10.0
    low, high = 0.9 * positive.min(), 1.1 * positive.max()
    slack = max(0.0, 1 - np.log10(high / low)) / 2
    low, high = low * 10**-slack, high * 10**slack
    least = high / 10**decades
    return (low if low >= least else float(f"{least:.1g}")), high


def nats_axis(axes: Axes, limits: tuple[float, float], what: str = "") -> None:
    """A vertical logarithmic axis in nats with plain numbers as ticks.

    They are 0.01, 0.1, 1; on an axis of up to two decades also 0.2 and 0.5.
    """
    low, high = limits
    digits = (1,) if high / low > 100 else (1, 2, 5)
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [digit * 10.0**exponent for exponent in exponents for digit in digits]
    axes.set_ylim(low, high)
    axes.set_yscale("log", nonpositive="mask")  # not a steep line to where 0 would be
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    if what:
        axes.set_ylabel(what)


def text_inches(text: str, size: float) -> float:
    """How wide the longest line of a text is, in letters of ``size`` points."""
    lines = [line for line in text.split("\n") if line]
    return max(TextPath((0, 0), line, size=size).get_extents().width / 72 for line in lines)


def room_for(axes: Axes, places: Sequence[float], labels: Sequence[str]) -> list[int]:
    """Which of the labels under a horizontal axis have room, as indices; the first always has.

    Args:
        axes: a panel of a grid; its width before the layout is known to a tenth of an inch.
        places: where the labels stand, as shares of the axis from 0 to 1, ascending.
        labels: what they say; of several lines the longest counts.
    """
    columns = axes.get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
    inches = axes.figure.get_figwidth() / columns - BESIDE_PANEL  # type: ignore[union-attr]
    size = matplotlib.rcParams["font.size"]
    shown: list[int] = []
    free = -np.inf  # where the last shown label ends
    for index, (place, text) in enumerate(zip(places, labels, strict=True)):
        half = (text_inches(text, size) + GAP) / 2
        if inches * place - half >= free:
            shown.append(index)
            free = inches * place + half
    return shown


def log_ticks(axes: Axes, values: Sequence[int], name: str) -> None:
    """A logarithmic horizontal axis with a tick at each value, labelled where there is room."""
    ends = min(values) / 1.25, max(values) * 1.25
    span = np.log(ends[1] / ends[0])
    labels = [str(value) for value in values]
    shown = room_for(axes, [float(np.log(value / ends[0]) / span) for value in values], labels)
    axes.set_xscale("log")
    axes.set_xlim(*ends)
    axes.set_xticks(values, [text if i in shown else "" for i, text in enumerate(labels)])
    axes.minorticks_off()
    axes.set_xlabel(name)


def beside(number: int, step: float, widest: float) -> list[float]:
    """Moves by which ``number`` markers stand side by side: ``step`` apart, ``widest`` in all."""
    step = min(step, widest / max(number - 1, 1))
    return [(place - (number - 1) / 2) * step for place in range(number)]


def spread_line(axes: Axes, data: pd.DataFrame, **style: Any) -> None:
    """Means of the values at each x, joined by a line, with bars from the least to the greatest.

    Args:
        axes: where to draw.
        data: columns x and value.
        style: as of errorbar. Markers are hollow, so that a bar shorter than its marker is seen.
    """
    spread = data.groupby("x")["value"].agg(["mean", "min", "max"])
    mean = spread["mean"].to_numpy()
    bars = np.stack([mean - spread["min"].to_numpy(), spread["max"].to_numpy() - mean])
    bars[:, bars.sum(axis=0) == 0] = np.nan  # no bar, rather than one without length
    whole: dict[str, Any] = {
        "markersize": 5,
        "markerfacecolor": "white",
        "capsize": 2.5,
        "elinewidth": 1,
        "barsabove": True,
        "clip_on": False,
        "zorder": 3,
    } | style
    axes.errorbar(spread.index.to_numpy(), mean, yerr=bars, **whole)


def run_lines(
    axes: Axes, data: pd.DataFrame, signs: Mapping[str, Sign], *, behind: bool = False
) -> None:
    """A thick line per method, the mean over its runs, over a thin line for each of several runs.

    Args:
        axes: where to draw.
        data: columns method, run, step and value.
        signs: of all methods of the figure.
        behind: the mean alone, as a dotted line behind all others.
    """
    for method in in_order(data["method"]):
        colour = signs[method].color
        table = data[data["method"] == method].pivot(index="step", columns="run", values="value")
        steps = table.index.to_numpy()
        if behind:
            mean = table.mean(axis="columns").to_numpy()
            axes.plot(steps, mean, color=colour, linewidth=1.1, linestyle=":", zorder=1)
            continue
        if table.shape[1] > 1:
            for run in table:
                here = table[run].to_numpy()
                axes.plot(steps, here, color=colour, linewidth=0.5, alpha=0.5)
        axes.plot(steps, table.mean(axis="columns").to_numpy(), color=colour, linewidth=1.8)
