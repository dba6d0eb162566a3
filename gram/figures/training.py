"""Training curves: what a full rollout from the prior solves, and the losses, over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gram.figures.axes import nats_axis, nats_limits, percent_axis, run_lines, step_axis
from gram.figures.declared import Drawing, Shown
from gram.figures.style import (
    STYLE,
    counted,
    heading,
    legend_below,
    new_figure,
    signs_of,
    the_task,
)
from gram.runs import trained
from gram.settings.config import split_fold
from gram.system.errors import GramError
from gram.tables.names import in_order, label

# The panels, row by row: what is drawn, of which inputs ("" for all), title and vertical axis.
PANELS = (
    ("train", "one", "Training, one completion", "valid samples"),
    ("valid", "one", "Validation, one completion", ""),
    ("cross_entropy", "", "Cross-entropy", "nats per token"),
    ("train", "several", "Training, several completions", "valid samples"),
    ("valid", "several", "Validation, several completions", ""),
    ("kl_nats", "", "KL of posterior and prior", "nats per supervision step"),
)
ROWS, COLUMNS = 2, 3
AVERAGED, RAW = "ema", "raw"  # the weights that are rolled out


def read_history(path: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The run, by its task (without fold), method and a name of its own, and its history's lines.

    Args:
        path: history.jsonl, beside the meta.json of the run.

    Raises:
        GramError: a missing or broken file, or one of another run.
    """
    if path.name != trained.HISTORY:
        raise GramError(f"{path}: not called {trained.HISTORY}; name the history of a run")
    meta, lines = trained.read_history(path.parent)
    task, _ = split_fold(meta["task"])
    return {
        "task": task,
        "method": meta["method"],
        "run": f"{meta['task']}/seed{meta['seed']}",
    }, lines


def training_data(histories: Sequence[Path]) -> pd.DataFrame:
    """What the figure draws, one row per value.

    Returns:
        Columns task (without fold), method, run, step, panel ("train", "valid", "cross_entropy",
        "kl_nats"), group ("one" or "several" completions, "" for losses), value (percent for
        rollouts, nats for losses), inputs (of a rollout in that group; NaN for losses) and weights
        ("ema" for averaged ones, and losses; "raw").
    """
    rows = []
    for path in histories:
        run, lines = read_history(path)
        for line in lines:
            if line["event"] == "rollout":
                rows += [run | row for row in solved(line)]
            else:
                for panel in ("cross_entropy", "kl_nats"):
                    if panel in line:
                        rows.append(
                            run
                            | {
                                "step": line["step"],
                                "panel": panel,
                                "group": "",
                                "weights": AVERAGED,
                                "value": line[panel],
                            }
                        )
    columns = ["task", "method", "run", "step", "panel", "group", "weights", "value", "inputs"]
    return pd.DataFrame(rows, columns=columns)


def solved(line: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one line on rollouts; see :func:`training_data`."""
    rows = []
    # Older histories do not watch the weights themselves.
    for weights, found in ((AVERAGED, line), (RAW, line.get(RAW, {}))):
        for panel in ("train", "valid"):
            rows += [
                {
                    "step": line["step"],
                    "panel": panel,
                    "group": group,
                    "weights": weights,
                    "value": 100 * count["valid"] / count["inputs"],
                    "inputs": count["inputs"],
                }
                for group, count in found.get(panel, {}).items()
                if count["inputs"]
            ]
    return rows


def draw_panel(
    axes: Axes, data: pd.DataFrame, panel: tuple[str, str, str, str], *, lowest: bool
) -> None:
    """One of PANELS; the optimizer steps are named in the ``lowest`` row only."""
    shown, group, title, unit = panel
    part = data[(data["panel"] == shown) & (data["group"] == group)]
    signs = signs_of(data["method"])
    run_lines(axes, part[part["weights"] == RAW], signs, behind=True)
    part = part[part["weights"] == AVERAGED]
    run_lines(axes, part, signs)
    watched = f" ({counted(part['inputs'].astype(int), 'input')})" if group and len(part) else ""
    axes.set_title(f"{title}{watched}")
    step_axis(axes, int(data["step"].max()), named=lowest)
    if group:
        percent_axis(axes, unit)
    else:
        nats_axis(axes, nats_limits(part["value"]), unit)
    if part.empty:
        text = "no such input" if group else "no method with a KL"
        axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")


def draw_training(data: pd.DataFrame) -> Figure:
    """Two rows of three panels; see :func:`training_data`."""
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 5.6)
        for number, (axes, panel) in enumerate(
            zip(figure.subplots(ROWS, COLUMNS).flat, PANELS, strict=True)
        ):
            lowest = number >= len(PANELS) - COLUMNS
            draw_panel(axes, data, panel, lowest=lowest)
        methods_legend(figure, data)
        title = (
            f"{the_task(data)}: what rollouts from the prior solve during training, and the losses"
        )
        note = "Dotted: the weights themselves; else their moving average, which is evaluated."
        raw = (data["weights"] == RAW).any()
        heading(figure, title, f"{runs_note(data)} {note}" if raw else runs_note(data))
    return figure


def runs_note(data: pd.DataFrame) -> str:
    """What the lines of :func:`gram.figures.axes.run_lines` mean; of columns method and run."""
    runs = data.groupby("method")["run"].nunique().tolist()
    if max(runs) == 1:
        return "Lines: one run each."
    return f"Thick lines: means over {counted(runs, 'run')}; thin lines: those runs."


def methods_legend(figure: Figure, data: pd.DataFrame) -> None:
    """The colours of the methods, under the panels."""
    signs = signs_of(data["method"])
    handles = [
        Line2D([], [], color=signs[method].color, linewidth=2, label=label(method))
        for method in in_order(data["method"])
    ]
    legend_below(figure, handles, columns=5)


FIGURES = {
    "training": Drawing(
        Shown(
            drawn="the training curves of {task}",
            label="training: inputs solved, losses",
            of="histories",
            caption=(
                "Training runs on {task}: {count}. Left and middle, the share of full "
                "rollouts from the prior that are valid, one rollout for each of the watched "
                "inputs, whose number stands in the panel's title: where it is small, single "
                "runs jump. Right, the losses of the training batches. The rollouts watch "
                "training and validation inputs; the test split is not looked at. A "
                "cross-entropy near zero with few valid rollouts would mean that the posterior "
                "passes the answer to the decoder and the prior has learnt nothing."
            ),
        ),
        draw=lambda paths: draw_training(training_data(paths)),
    ),
}
