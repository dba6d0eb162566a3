"""The result in two rows per task: what the end of a run prints and what a report opens on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from gram.tables.layout import mean_and_std, method_cell
from gram.tables.names import GRAM, HOLES, TWIN, headlines_of
from gram.tables.rows import natural


class Row(NamedTuple):
    """A method with its cells in the order of its task's columns, such as "89.8 ± 0.2"
    (percent).
    """

    method: str
    label: str
    cells: list[str]


class Headline(NamedTuple):
    """The few rows of one task, its test inputs, and how many of them have several solutions.

    ``columns`` are its metrics, with their words, as of :func:`gram.tables.names.headlines_of`.
    """

    task: str
    columns: Mapping[str, str]
    inputs: int
    with_several: int
    rows: list[Row]


def headlines(table: pd.DataFrame) -> list[Headline]:
    """The headline of every task of which a run ended, in natural order.

    Args:
        table: long, from :func:`gram.tables.rows.whole_table`.
    """
    ran = table[~table["status"].isin(HOLES)]
    # Table 3 has GRAM and its twin in both halves.
    ran = ran.drop_duplicates(["task", "method", "metric"])
    found = []
    for task in sorted(ran["task"].unique(), key=natural):
        part = ran[ran["task"] == task]
        first = part.iloc[0]
        several = 0 if pd.isna(first["n_inputs_several"]) else int(first["n_inputs_several"])
        columns = headlines_of(task)
        rows = [_row(part[part["method"] == method], columns) for method in representatives(part)]
        found.append(Headline(task, columns, int(first["n_inputs"]), several, rows))
    return found


def representatives(part: pd.DataFrame) -> list[str]:
    """The two methods that stand for a task: GRAM and its twin where both ran.

    Where one of them did not, the most accurate of the other methods takes its place.

    Args:
        part: the rows of one task, of methods that ran.
    """
    accuracy = part[part["metric"] == "accuracy"].sort_values("ours_mean", ascending=False)
    others = [method for method in accuracy["method"] if method not in (TWIN, GRAM)]
    chosen = [method for method in (TWIN, GRAM) if method in set(part["method"])]
    return [*others[: 2 - len(chosen)], *chosen]


def _row(rows: pd.DataFrame, columns: Iterable[str]) -> Row:
    """The row of one method, from its rows of one task."""
    by_metric: dict[str, Any] = {str(row.metric): row for row in rows.itertuples(index=False)}
    first = next(iter(by_metric.values()))
    cells = [mean_and_std(by_metric[name].ours_mean, by_metric[name].ours_std) for name in columns]
    return Row(str(first.method), method_cell(first), cells)
