"""Training curves: what a full rollout from the prior solves, and the two losses, against optimizer steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gram import files
from gram.config import split_fold
from gram.errors import GramError
from gram.figures.style import STYLE, colour, legend_below, new_figure, percent_axis
from gram.tables.names import in_order, label
from gram.tables.rows import natural

GROUPS: dict[str, Any] = {"one": "-", "several": "--"}
PANELS = {
    "train": "Prior rollouts, training inputs",
    "valid": "Prior rollouts, validation inputs",
    "cross_entropy": "Cross-entropy",
    "kl_nats": "KL(posterior || prior)",
}


def read_history(path: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Which run it is, by its task (without fold), method and a name of its own, and the lines of its history.jsonl.

    Raises:
        GramError: a missing or broken file.
    """
    meta = files.read_json(path.parent / "meta.json")
    task, _ = split_fold(meta["task"])
    run = {"task": task, "method": meta["method"], "run": f"{meta['task']}/seed{meta['seed']}"}
    try:
        return run, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise GramError(f"{path}: no such file; build it with `snakemake {path}`") from error
    except ValueError as error:
        raise GramError(
            f"{path}: not a JSON-lines file ({error}); delete it and build it again"
        ) from error


def training_data(histories: Sequence[Path]) -> pd.DataFrame:
    """What the figure draws, one row per value.

    Returns:
        Columns task (without fold), method, run, step, panel ("train", "valid", "cross_entropy", "kl_nats"), group ("one" or
        "several" completions, "" for losses), value (percent for rollouts, nats for losses).
    """
    rows = []
    for path in histories:
        run, lines = read_history(path)
        for line in lines:
            if line["event"] == "rollout":
                for panel in ("train", "valid"):
                    for group, count in line[panel].items():
                        if count["inputs"]:
                            value = 100 * count["valid"] / count["inputs"]
                            rows.append(
                                run
                                | {
                                    "step": line["step"],
                                    "panel": panel,
                                    "group": group,
                                    "value": value,
                                }
                            )
            else:
                for panel in ("cross_entropy", "kl_nats"):
                    if panel in line:
                        rows.append(
                            run
                            | {
                                "step": line["step"],
                                "panel": panel,
                                "group": "",
                                "value": line[panel],
                            }
                        )
    return pd.DataFrame(rows, columns=["task", "method", "run", "step", "panel", "group", "value"])


def curve(axes: Axes, data: pd.DataFrame, method: str, line: str) -> None:
    """Mean over runs as a line, least to greatest run as a band."""
    spread = data.groupby("step")["value"].agg(["mean", "min", "max"])
    steps = spread.index.to_numpy()
    axes.plot(steps, spread["mean"].to_numpy(), line, color=colour(method))
    axes.fill_between(
        steps,
        spread["min"].to_numpy(),
        spread["max"].to_numpy(),
        color=colour(method),
        alpha=0.18,
        linewidth=0,
    )


def draw_panel(axes: Axes, data: pd.DataFrame, panel: str) -> None:
    """One panel of one task: a line per method, or per method and group of inputs."""
    for method in in_order(data["method"]):
        part = data[(data["method"] == method) & (data["panel"] == panel)]
        for group in part["group"].unique():
            curve(axes, part[part["group"] == group], method, GROUPS.get(str(group), "-"))
    axes.set_title(PANELS[panel])
    axes.set_xlabel("optimizer steps")
    axes.margins(x=0.02)
    if panel in ("train", "valid"):
        percent_axis(axes, "valid samples")
        return
    axes.set_yscale("log")
    axes.set_ylabel(
        "nats per token" if panel == "cross_entropy" else "nats per input and supervision step"
    )
    if data[data["panel"] == panel].empty:
        axes.text(
            0.5, 0.5, "no method with a KL", transform=axes.transAxes, ha="center", va="center"
        )


def draw_training(data: pd.DataFrame) -> Figure:
    """A row of four panels per task; see :func:`training_data`."""
    tasks = sorted(data["task"].unique(), key=natural)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(11, 2.9 * len(tasks) + 0.9)
        grid = figure.subplots(len(tasks), len(PANELS), squeeze=False)
        for task, row in zip(tasks, grid, strict=True):
            part = data[data["task"] == task]
            for panel, axes in zip(PANELS, row, strict=True):
                draw_panel(axes, part, panel)
            row[0].set_ylabel(f"{task}\nvalid samples (%)")
        _legend(figure, data)
        figure.suptitle(
            "What a rollout from the prior solves during training (line: mean over runs; band: least to greatest run)",
            fontsize=10,
            x=0.01,
            ha="left",
        )
    return figure


def _legend(figure: Figure, data: pd.DataFrame) -> None:
    handles = [
        matplotlib.lines.Line2D([], [], color=colour(method), label=label(method))
        for method in in_order(data["method"])
    ]
    for group, text in (
        ("one", "inputs with one completion"),
        ("several", "inputs with several completions"),
    ):
        handles.append(
            matplotlib.lines.Line2D([], [], color="#444444", linestyle=GROUPS[group], label=text)
        )
    legend_below(figure, handles, columns=5)
