"""Whether the kept runs carry a choice from one supervision step to the next."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from gram.figures.carried import SECTIONS, carried_data
from gram.reports.reference import NOT_MEASURED, pictures
from gram.tables.layout import mean_and_std
from gram.tables.names import in_order, label
from gram.tables.reference import REFERENCE, reference_evaluations
from gram.tables.render import pipe_table
from gram.tables.rows import natural

STEPS = (1, 2, 4, 8, 16)  # supervision steps that are shown


def carried(root: Path) -> str:
    """The KL of some supervision steps, for every kept run that was measured, and the figure of
    each task.
    """
    lines: list[str] = []
    for folder in sorted(path for path in (root / REFERENCE).glob("*") if path.is_dir()):
        measured = reference_evaluations(folder, "carried.json", SECTIONS, "train")
        if not measured:
            continue
        data = carried_data(measured)
        for task in sorted(data["task"].unique(), key=natural):
            lines += [*carried_table(data[data["task"] == task]), ""]
            lines += pictures(root, folder, task, ["carried"])
    return "\n".join(lines).rstrip() or NOT_MEASURED


def carried_table(data: pd.DataFrame) -> list[str]:
    """The table of one task: a row per group of inputs and method; see :func:`carried_data`."""
    steps = [step for step in STEPS if step <= data["x"].max()]
    rows = []
    for group in dict.fromkeys(data["group"]):
        of_group = data[data["group"] == group]
        worth = mean_and_std(of_group["log_m"].mean(), float("nan"), 2)
        for method in in_order(of_group["method"]):
            part = of_group[of_group["method"] == method]
            row = [group, worth, label(method), str(part["seed"].nunique())]
            for step in steps:
                values = part.loc[part["x"] == step, "value"]
                row.append(mean_and_std(values.mean(), values.std(), 2))
            rows.append(row)
    header = ["completions", "log m", "method", "n", *(f"step {step}" for step in steps)]
    return [
        (
            f"`{data['task'].iloc[0]}`, KL(q || p) of a supervision step in nats per board, mean ±"
            " sample standard deviation over n seeds, along trajectories that the posterior steers"
            " to training targets:"
        ),
        "",
        *pipe_table(header, rows),
    ]
