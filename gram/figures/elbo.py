"""The full negative ELBO and the surrogate that training minimises (the paper's Figure 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from gram.figures.axes import nats_axis, nats_limits, run_lines, step_axis
from gram.figures.declared import Drawing, Shown
from gram.figures.style import STYLE, heading, new_figure, signs_of, the_task
from gram.figures.training import methods_legend, read_history, runs_note

BOUNDS = {"full": "Full bound", "surrogate": "Surrogate"}
TERMS = {"total": "sum", "cross_entropy": "cross-entropy", "kl": "KL"}
DECADES = 3  # that the vertical axis has at most
NOTHING = "nothing to draw: no run with a KL, or histories of an older version without the ELBO"


def elbo_data(histories: Sequence[Path]) -> pd.DataFrame:
    """What the figure draws, one row per value.

    Args:
        histories: history.jsonl files, each beside its meta.json; those of runs without a KL, and
            of older versions, which did not write the bounds, give no rows.

    Returns:
        Columns task (without fold), method, run, step, panel ("full" or "surrogate"), term
        ("total", "cross_entropy" or "kl"), and value in nats per input.
    """
    rows = []
    for path in histories:
        run, lines = read_history(path)
        for line in lines:
            for panel, terms in line.get("elbo", {}).items():
                values = terms | {"total": sum(terms.values())}
                rows += [
                    run
                    | {
                        "step": line["step"],
                        "panel": panel,
                        "term": term,
                        "value": values[term],
                    }
                    for term in TERMS
                ]
    return pd.DataFrame(rows, columns=["task", "method", "run", "step", "panel", "term", "value"])


def draw_elbo(data: pd.DataFrame) -> Figure:
    """A row for each of the two bounds, a column for each term; see :func:`elbo_data`.

    Without any rows, an empty panel that says why.
    """
    with matplotlib.rc_context(STYLE):
        if data.empty:
            figure = new_figure(11, 2)
            axes = figure.subplots()
            axes.set_axis_off()
            axes.text(0.5, 0.5, NOTHING, transform=axes.transAxes, ha="center", va="center")
            return figure
        figure = new_figure(11, 5.6)
        limits = nats_limits(data["value"], DECADES)
        signs = signs_of(data["method"])
        grid = figure.subplots(len(BOUNDS), len(TERMS))
        for row, (bound, name) in zip(grid, BOUNDS.items(), strict=True):
            for axes, (term, text) in zip(row, TERMS.items(), strict=True):
                part = data[(data["panel"] == bound) & (data["term"] == term)]
                run_lines(axes, part, signs)
                axes.set_title(f"{name}: {text}")
                step_axis(axes, int(data["step"].max()), named=row is grid[-1])
                nats_axis(axes, limits)
            row[0].set_ylabel("nats per input")
        methods_legend(figure, data)
        title = (
            f"{the_task(data)}: the bound (negative ELBO) and the surrogate that training minimises"
        )
        below = f"Below the axes: 0, and values under {limits[0]:.2g} nats."
        heading(figure, title, f"On validation pairs. {runs_note(data)} {below}")
    return figure


FIGURES = {
    "elbo": Drawing(
        Shown(
            drawn="the ELBO of {task}",
            label="training: likelihood bound (ELBO)",
            of="histories",
            caption=(
                "Training runs on {task}: {count}, of which those with a KL are drawn. All "
                "values are in nats per input, by the averaged weights on validation pairs, "
                "on one logarithmic axis.\n\n"
                "Above, the negative ELBO of the whole rollout, which bounds the negative "
                "log-likelihood of a target: the cross-entropy after the last supervision "
                "step plus the KL of all transitions of all steps. At step 0 posterior and "
                "prior are equal, so the KL is 0 (below the axis), and the cross-entropy pays "
                "for every cell. Training then moves the answer into the latent state: the "
                "cross-entropy falls and the KL pays instead, and in each transition anew. So "
                "this sum may end where it began while the model learns to solve the task.\n\n"
                "Below, what training minimises instead: cross-entropy and charged KL of one "
                "supervision step, here with weight 1 each. It leaves out the KL that "
                "training does not charge, and so bounds nothing."
            ),
        ),
        draw=lambda paths: draw_elbo(elbo_data(paths)),
    ),
}
