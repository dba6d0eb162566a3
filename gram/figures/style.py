"""What all figures share: colours, titles and legends that fit, saving without dates."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from gram.system import files
from gram.system.errors import GramError

# Okabe and Ito's palette, which stays distinct for colour-blind readers; its yellow, faint on
# white, gives way to Tol's wine.
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
    "diagonal-once": "#7A7A1F",  # a variant of GRAM with a sign of its own: no baseline's is left
}
# The variants of GRAM that 7x7 and 8x8 are trained with take the signs of baselines that no
# configuration shows beside them.
ALIKE = {
    "diagonal": "ar",
    "diagonal-carried": "mdlm",
    "diagonal-deterministic": "direct8",
    "revealed": "hrm",
    "revealed-carried": "looped",
    "settled": "trm",
    "settled-carried": "direct32",
}
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
MARKERS |= {"ar": "P", "mdlm": "*", "diagonal-once": "h"}


class Sign(NamedTuple):
    """How a method or a sampler is drawn: a colour, and a marker as a second sign beside it."""

    color: str
    marker: str


KNOWN = {name: Sign(COLOURS[name], MARKERS[name]) for name in COLOURS}
KNOWN |= {name: KNOWN[other] for name, other in ALIKE.items()}
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


def palette() -> Iterator[Sign]:
    """A hundred different signs: first each colour with the marker that it has in ``KNOWN``."""
    colours, markers = list(COLOURS.values()), list(MARKERS.values())
    for shift in range(len(markers)):
        for place, colour in enumerate(colours):
            yield Sign(colour, markers[(place + shift) % len(markers)])


def signs_of(names: Iterable[str], known: Mapping[str, Sign] = KNOWN) -> dict[str, Sign]:
    """The signs of all methods, or all samplers, of a figure; no two that are new share one.

    Args:
        names: of all that the figure shows.
        known: those that have a sign of their own; the others get, in the order of their names, the
            first of :func:`palette` that none of the figure has.
    """
    shown = sorted(set(names))
    found = {name: known[name] for name in shown if name in known}
    free = (sign for sign in palette() if sign not in set(found.values()))
    return found | {name: next(free) for name in shown if name not in known}


def the_task(data: pd.DataFrame) -> str:
    """The one task that a figure is of, from its column ``task``.

    Raises:
        GramError: several tasks.
    """
    tasks = sorted(set(data["task"]))
    if len(tasks) > 1:
        raise GramError(
            f"files of {' and '.join(tasks)}: a figure shows one task; give those of one"
        )
    return str(tasks[0])


def counted(numbers: Iterable[int], what: str) -> str:
    """``counted([2, 3], "seed")`` is "2 to 3 seeds"."""
    least, most = min(numbers), max(numbers)
    span = str(most) if least == most else f"{least} to {most}"
    return f"{span} {what}{'' if most == 1 else 's'}"


def seeds_note(data: pd.DataFrame) -> str:
    """What markers and bars of :func:`gram.figures.axes.spread_line` mean."""
    seeds = data.groupby("method")["seed"].nunique().tolist()
    if max(seeds) == 1:
        return "Markers: one seed each."
    return f"Markers: means over {counted(seeds, 'seed')}; bars: from the least to the greatest."


def new_figure(width: float, height: float, **layout: Any) -> Figure:
    """An empty figure of the given inches, without any window system behind it.

    ``layout`` as of ConstrainedLayoutEngine.
    """
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(**layout))
    FigureCanvasAgg(figure)
    return figure


def letters_in(figure: Figure, size: float) -> int:
    """How many letters of ``size`` points fit into a line; they are 0.6 of their size wide."""
    return int(figure.get_figwidth() * 72 / (0.62 * size))


def heading(figure: Figure, title: str, note: str = "") -> None:
    """The figure's title, and under it how to read it; both are wrapped to the figure's width."""
    size, letters = 9.5, letters_in(figure, 9.5)
    parts = [*title.splitlines(), note]
    lines = [line for text in parts for line in textwrap.wrap(text, letters)]
    figure.suptitle("\n".join(lines), fontsize=size, x=0.01, ha="left", linespacing=1.35)


def add_note(figure: Figure, note: str) -> None:
    """One more sentence under the figure's title; nothing where it is empty."""
    if note:
        heading(figure, figure.get_suptitle(), note)


def legend_below(figure: Figure, handles: Sequence[Artist], columns: int, **style: Any) -> None:
    """One legend under the panels, of at most ``columns`` columns, fewer where entries are long."""
    style = {"loc": "outside lower center"} | style
    for fewer in range(min(len(handles), columns), 0, -1):
        legend = figure.legend(handles=handles, ncols=fewer, **style)
        if legend.get_window_extent().width < 0.98 * figure.bbox.width or fewer == 1:
            return
        legend.remove()


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
