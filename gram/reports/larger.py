"""The larger boards beside the paper's: the table of the README that follows that of the CPU
default.
"""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from gram.figures.solve import CHOSEN_BY
from gram.reports.reference import NOT_MEASURED, distinct, duration
from gram.reports.results import REPORTED, WIDTH
from gram.settings.config import sized_task
from gram.settings.tasks import papers_coverage
from gram.tables.evaluations import progress_of
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import GRAM, HOLES, label
from gram.tables.reference import (
    PAPER_SIZE_RUNS,
    PROVING_RUNS,
    REFERENCE,
    metas_of,
    reference_evaluations,
)
from gram.tables.render import pipe_table
from gram.tables.reported import read_params, read_reported
from gram.tables.rows import natural, table1

HEADER = ("%", "accuracy", "with several solutions", "solutions found", "parameters", "training")


def larger_boards(root: Path) -> str:
    """A line for the kept method of each larger board, and one for the paper on that board.

    Of several methods the one is shown whose kept seeds find most on their validation inputs; the
    test split chooses nothing.
    """
    reported = read_reported(root / REPORTED)
    size = read_params(root / REPORTED)[GRAM]
    rows, papers = [], {}
    for folder in (root / REFERENCE / name for name in (PROVING_RUNS, PAPER_SIZE_RUNS)):
        evaluations = reference_evaluations(folder)
        tested = table1(evaluations, reported, None)
        validated = table1(reference_evaluations(folder, "valid.json", split="valid"), {}, None)
        for task in sorted(set(ran(tested)["task"]), key=natural):
            part = tested[tested["task"] == task]
            method = chosen(ran(part), validated)
            facts = [one["run"] for one in evaluations]
            seeds = [one["seed"] for one in facts if (one["task"], one["method"]) == (task, method)]
            metas = [meta for seed in seeds for meta in metas_of(folder, task, method, seed)]
            rows.append(our_line(part, method, metas))
            papers[sized_task(task)] = papers_line(part, size)
    if not rows:
        return NOT_MEASURED
    rows += [papers[board] for board in sorted(papers, key=natural) if papers[board]]
    text = (
        "Of each board's methods the one whose kept seeds find most on validation inputs, with the"
        " number of its trainings. Solutions found: by 20 answers to each input, in the average"
        " that fits the paper's numbers."
    )
    return "\n".join([*pipe_table(HEADER, rows), "", *textwrap.wrap(text, WIDTH)])


def ran(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a long table that were measured here."""
    return table[~table["status"].isin(HOLES)]


def chosen(part: pd.DataFrame, validated: pd.DataFrame) -> str:
    """The method whose mean of :data:`CHOSEN_BY` on the validation split is highest.

    Args:
        part: rows of one task, of methods that were tested.
        validated: the long table of that split.
    """
    task = part["task"].iloc[0]
    known = validated[(validated["task"] == task) & (validated["metric"] == CHOSEN_BY)]
    found = known.set_index("method")["ours_mean"]
    return max(set(part["method"]), key=lambda method: (found.get(method, -1.0), method))


def our_line(part: pd.DataFrame, method: str, metas: list[dict[str, Any]]) -> list[str]:
    """One method's row: means over its seeds, size, and time and place of one training.

    With its name stands what its rollouts scaled their noise with, where they did.
    """
    task = part["task"].iloc[0]
    by_metric = part[part["method"] == method].set_index("metric")
    first = by_metric.iloc[0]
    cells = [
        mean_and_std(*by_metric.loc[metric, ["ours_mean", "ours_std"]])
        for metric in ("accuracy", "accuracy_several", papers_coverage(task))
    ]
    seconds = statistics.mean(meta["seconds"] for meta in metas)
    place = distinct(meta["device"] for meta in metas)
    name = f"{task}, {label(method)}{progress_of(metas)} ({first['n']})"
    if first["noise_scale"] != 1:
        name += f", noise × {first['noise_scale']:g}"
    return [name, *cells, f"{first['parameters'] / 1e6:.2g}M", f"{duration(seconds)} of {place}"]


def papers_line(part: pd.DataFrame, size: str) -> list[str]:
    """The paper's row for GRAM on the board of a task; empty where it has not tried that board."""
    by_metric = part[part["method"] == GRAM].set_index("metric")
    task = part["task"].iloc[0]
    shown = by_metric.reindex(["accuracy", papers_coverage(task)])[["paper_mean", "paper_std"]]
    if shown["paper_mean"].isna().any():
        return []
    accuracy, coverage = (mean_and_std(*row) for row in shown.to_numpy(dtype=float))
    return [f"{sized_task(task)}, the paper", accuracy, NOTHING, coverage, size, NOTHING]
