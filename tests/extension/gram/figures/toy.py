"""How many letters each method exchanges wrongly: a bar for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from gram.figures.declared import Drawing, Shown
from gram.figures.style import STYLE, heading, new_figure, signs_of


def draw_letters(evaluations: Sequence[dict[str, Any]]) -> Figure:
    """The mean of each run; its method has a colour without being listed."""
    methods = [evaluation["run"]["method"] for evaluation in evaluations]
    signs = signs_of(methods)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(4, 3)
        axes = figure.subplots()
        for place, evaluation in enumerate(evaluations):
            value = evaluation["metrics"]["wrong_letters_mean"]["value"]
            axes.bar(place, value, color=signs[methods[place]].color)
        axes.set_xticks(range(len(methods)), methods)
        heading(figure, "Letters that are not exchanged")
    return figure


FIGURES = {
    "letters": Drawing(
        Shown(
            drawn="the wrong letters of {task}",
            label="letters: wrong ones",
            caption="Wrong letters of {task}, in {count} evaluations.",
            of="evaluations",
        ),
        draw=draw_letters,
        sections=("metrics",),
    ),
}
