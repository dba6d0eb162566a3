"""Reading resources/reported.csv: the paper's tables, and what others report who reproduced it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gram.errors import GramError
from gram.tables.names import PAPER_TABLES

COLUMNS = ("table", "task", "method", "params", "metric", "value", "std", "note")
OTHERS = "others"  # how the file calls the rows that are not the paper's
Reported = dict[tuple[str, str, str], tuple[float, float | None]]


class Other(NamedTuple):
    """A reproduction of GRAM by others, on one task."""

    task: str
    name: str
    values: dict[str, float]  # by metric, in percent
    notes: list[str]  # where it stands, and under which conditions it was measured


def reported_rows(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one table of the file; ``std`` may be NaN.

    Raises:
        GramError: missing file or column.
    """
    try:
        table = pd.read_csv(path, dtype={"params": str, "note": str}).fillna(
            {"params": "", "note": ""}
        )
    except FileNotFoundError as error:
        raise GramError(
            f"{path}: no such file; it is part of the repository: restore it with git"
        ) from error
    missing = sorted(set(COLUMNS) - set(table.columns))
    if missing:
        raise GramError(f"{path}: the column {missing[0]!r} is missing; restore the file with git")
    return [
        {str(key): value for key, value in row.items()}
        for row in table[table["table"] == name].to_dict("records")
    ]


def read_reported(path: Path, name: str = "table1") -> Reported:
    """One table of the paper: (task, our method, the paper's metric) -> mean and standard deviation (None where not given).

    Raises:
        GramError: as of :func:`reported_rows`, or a method that the mapping in ``names.py`` does not have.
    """
    ours = {method.paper: key for key, method in PAPER_TABLES[name].items() if method.paper}
    reported: Reported = {}
    for row in reported_rows(path, name):
        if row["method"] not in ours:
            raise GramError(
                f"{path}: method {row['method']!r} of {name} has no counterpart; add it to gram/tables/names.py"
            )
        std = None if pd.isna(row["std"]) else float(row["std"])
        reported[row["task"], ours[row["method"]], row["metric"]] = (float(row["value"]), std)
    return reported


def read_params(path: Path) -> dict[str, str]:
    """The paper's parameter counts in Table 1, as it writes them: our method -> "27M".

    Raises:
        GramError: as of :func:`reported_rows`.
    """
    papers = {row["method"]: row["params"] for row in reported_rows(path, "table1")}
    return {
        key: papers[method.paper]
        for key, method in PAPER_TABLES["table1"].items()
        if method.paper in papers
    }


def read_others(path: Path) -> list[Other]:
    """What others report, in the order of the file.

    Raises:
        GramError: as of :func:`reported_rows`.
    """
    others: dict[tuple[str, str], Other] = {}
    for row in reported_rows(path, OTHERS):
        one = others.setdefault(
            (row["task"], row["method"]), Other(row["task"], row["method"], {}, [])
        )
        one.values[row["metric"]] = float(row["value"])
        if row["note"]:
            one.notes.append(row["note"])
    return list(others.values())
