"""What all figures share: colours for colour-blind readers, sizes for a report, and saving without dates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from gram import files
from gram.errors import GramError

# Okabe and Ito's palette, which stays distinct for colour-blind readers; its yellow, faint on white, gives way to Tol's wine.
COLOURS = {
    "gram": "#0072B2",
    "deterministic": "#D55E00",
    "trm": "#009E73",
    "hrm": "#CC79A7",
    "looped": "#E69F00",
    "direct8": "#56B4E9",
    "direct32": "#882255",
    "ar": "#888888",
    "mdlm": "#333333",
}
# The variants of GRAM that 7x7 and 8x8 are trained with take the signs of baselines that no configuration shows beside them.
ALIKE = {
    "diagonal": "ar",
    "diagonal-carried": "mdlm",
    "diagonal-deterministic": "direct8",
    "revealed": "hrm",
    "revealed-carried": "looped",
    "settled": "trm",
    "settled-carried": "direct32",
}
OTHER = "#999999"
CEILING = "#000000"
MARKERS = {
    "gram": "o",
    "deterministic": "s",
    "trm": "^",
    "hrm": "v",
    "looped": "D",
    "direct8": "<",
    "direct32": ">",
}
MARKERS |= {"ar": "P", "mdlm": "*"}
STYLE: Any = {  # matplotlib types its keys one by one
    "font.family": "DejaVu Sans",  # ships with matplotlib, so it is there on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "svg.hashsalt": "gram",  # names inside the SVG would be random otherwise
    "svg.fonttype": "path",  # the same letters in every viewer
}
# No date and no version: neither belongs to what is seen.
METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}


def colour(method: str) -> str:
    """The method's colour."""
    return COLOURS.get(ALIKE.get(method, method), OTHER)


def marker(method: str) -> str:
    """The method's marker, a second sign beside its colour."""
    return MARKERS.get(ALIKE.get(method, method), "X")


def percent_axis(axes: Axes, what: str) -> None:
    """A vertical axis from 0 to 100 %, with a little room for markers on its ends."""
    axes.set_ylim(-3, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel(f"{what} (%)")


def new_figure(width: float, height: float, **layout: Any) -> Figure:
    """An empty figure of the given inches, without any window system behind it; ``layout`` as of ConstrainedLayoutEngine."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(**layout))
    FigureCanvasAgg(figure)
    return figure


def legend_below(figure: Figure, handles: Sequence[Line2D], columns: int, **more: Any) -> None:
    """One legend under the panels, in rows of at most ``columns`` entries."""
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), columns), **more
    )


def save(figure: Figure, stem: Path) -> None:
    """Write ``stem``.svg and ``stem``.png, the same bytes for the same figure.

    Raises:
        GramError: the folder cannot be written.
    """
    for kind in METADATA:
        write(figure, stem.parent / f"{stem.name}.{kind}")


def write(figure: Figure, path: Path) -> None:
    """Write one file, of the kind that the ending of ``path`` says: .svg or .png.

    Raises:
        GramError: another ending, or a folder that cannot be written.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in METADATA:
        raise GramError(f"{path}: a figure ends in .{' or .'.join(METADATA)}")
    with files.atomic_write(path) as temporary, matplotlib.rc_context(STYLE):
        figure.savefig(temporary, format=kind, metadata=METADATA[kind])
