"""Reading resources/reported.csv: the paper's tables, and what others report who reproduced it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from gram.system import regular
from gram.system.errors import GramError, short
from gram.tables.paper import MAIN, rows_of, table_with

OTHERS = "others"  # how the file calls the rows that are not the paper's
Reported = dict[tuple[str, str, str], tuple[float, float | None]]


class Other(NamedTuple):
    """A reproduction of GRAM by others, on one task."""

    task: str
    name: str
    values: dict[str, float]  # by metric, in percent
    notes: list[str]  # where it stands, and under which conditions it was measured


def read_columns(
    path: Path, names: Sequence[str], numbers: Sequence[str], optional: Sequence[str] = ()
) -> pd.DataFrame:
    """A CSV of the repository.

    Args:
        path: the file.
        names: columns of text, which it must have.
        numbers: columns of finite numbers, which it must have.
        optional: those that may be empty in a line, and are then "" or NaN.

    Raises:
        GramError: missing file or column, or a line without a name or number where one belongs.
    """
    try:
        table = pd.read_csv(io.StringIO(regular.read_text(path)), dtype=str)
    except FileNotFoundError as error:
        raise GramError(
            f"{path}: no such file; it is part of the repository: restore it with git"
        ) from error
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise GramError(f"{path}: not a CSV file ({error}); restore the file with git") from error
    if missing := sorted({*names, *numbers} - set(table.columns)):
        raise GramError(f"{path}: the column {missing[0]!r} is missing; restore the file with git")
    for name in (*names, *numbers):
        values = table[name] if name in names else pd.to_numeric(table[name], errors="coerce")
        wrong = values.isna() if name in names else ~np.isfinite(values.astype(float))
        if name in optional:
            wrong &= table[name].notna()
        if wrong.any():
            line = int(np.flatnonzero(wrong)[0])
            found, kind = table[name].iloc[line], "name" if name in names else "number"
            said = "nothing" if pd.isna(found) else short(found)
            raise GramError(
                f"{path}: row {line + 1}: {name}: {said} in the place of a {kind}; "
                "restore the file with git"
            )
        table[name] = values
    return table.fillna({name: "" for name in names if name in optional})


def reported_rows(path: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one table of the file; ``std`` may be NaN.

    Raises:
        GramError: as of :func:`read_columns`.
    """
    text = ("table", "task", "method", "params", "metric", "note")
    table = read_columns(path, text, ("value", "std"), optional=("params", "note", "std"))
    rows = table[table["table"] == name].rename(columns=str)
    records: list[Any] = rows.to_dict("records")
    return records


def our_methods(name: str) -> dict[str, str]:
    """What the paper calls the methods of one of its tables -> what they are called here."""
    return {row.paper: method for method, row in rows_of(name).items() if row.paper}


def read_reported(path: Path, name: str = MAIN) -> Reported:
    """One part of a table of the paper: (task, our method, the paper's metric) -> mean and standard
    deviation (None where not given). Tasks and metrics are called as ``resources/paper.yaml`` says.

    Raises:
        GramError: as of :func:`reported_rows`, or a method that has no row there.
    """
    ours, part = our_methods(name), table_with(name).parts[name]
    reported: Reported = {}
    for row in reported_rows(path, name):
        if row["method"] not in ours:
            raise GramError(
                f"{path}: method {row['method']!r} of {name} has no counterpart; add a row to"
                " resources/paper.yaml"
            )
        std = None if pd.isna(row["std"]) else float(row["std"])
        task = part.tasks.get(row["task"], row["task"])
        metric = part.metrics.get(row["metric"], row["metric"])
        reported[task, ours[row["method"]], metric] = (float(row["value"]), std)
    return reported


def read_params(path: Path) -> dict[str, str]:
    """The paper's parameter counts in Table 1, as it writes them: our method -> "27M".

    Raises:
        GramError: as of :func:`reported_rows`.
    """
    papers = {row["method"]: row["params"] for row in reported_rows(path, MAIN)}
    return {
        key: papers[method.paper] for key, method in rows_of().items() if method.paper in papers
    }


def read_figure4(path: Path) -> pd.DataFrame:
    """What the paper's Figure 4 (right) shows, read off its axes: accuracy by number of
    completions.

    Points whose number of completions is not told beside them are taken to stand at 1, 2, 3 and so
    on, in the order of the axis.

    Returns:
        Columns task, method (ours), x (completions) and value (percent).

    Raises:
        GramError: a missing file or column, or a method that has no row in
            ``resources/paper.yaml``.
    """
    ours = our_methods(MAIN)
    columns = {"task": "task", "method": "method", "completions": "x", "accuracy": "value"}
    table = read_columns(path, ("task", "method"), ("completions", "accuracy"))
    unknown = sorted(set(table["method"]) - set(ours))
    if unknown:
        raise GramError(f"{path}: method {unknown[0]!r}: no such method in resources/paper.yaml")
    return table.rename(columns=columns).assign(method=table["method"].map(ours))


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
