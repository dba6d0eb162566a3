"""What the end of a run prints: its result, whether kept runs agree, and where all of it lies."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from gram.tables.comparison import Comparison
from gram.tables.headlines import headlines
from gram.tables.layout import footnotes, marks

MOST_TASKS = 3  # so that all of it fits on a screen of 24 lines
HEAD_WIDTH = 18  # characters, beyond which the name of a column is broken


def aligned(rows: list[list[str]]) -> list[str]:
    """The lines of a table of text: the first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return lines


def heads(names: Iterable[str]) -> list[list[str]]:
    """The names of the columns, over as many rows as the longest takes."""
    broken = [["percent"], *(textwrap.wrap(name, HEAD_WIDTH) for name in names)]
    height = max(map(len, broken))
    columns = [[""] * (height - len(name)) + name for name in broken]
    return [list(row) for row in zip(*columns, strict=True)]


def last_lines(
    table: pd.DataFrame,
    compared: Mapping[str, Comparison],
    page: Path,
    figures: Path,
    report: str,
) -> str:
    """The text, about fifteen lines for three tasks.

    Args:
        table: long, from :func:`gram.tables.overridden.with_settings`.
        compared: by task, from :func:`gram.tables.comparison.compare_tasks`.
        page: the table as Markdown.
        figures: the folder of its figures; not named where it is not there.
        report: the command that makes the report.
    """
    found = headlines(table)
    rows: list[list[str]] = []
    columns: Mapping[str, str] = {}
    for one in found[:MOST_TASKS]:
        if one.columns != columns:  # tasks that are judged alike stand under one head
            columns = one.columns
            rows += heads(columns.values())
        rows += [[f"{one.task}: {row.label}", *row.cells] for row in one.rows]
    lines = ["RESULT", *aligned(rows)]
    if more := [one.task for one in found[MOST_TASKS:]]:
        lines.append(f"and {', '.join(more)}: see the table")
    for one in found[:MOST_TASKS]:
        if one.task in compared:
            lines.append(f"{one.task} {compared[one.task].verdict()}")
    shown = table[table["task"].isin([one.task for one in found])]
    lines += footnotes(marks(shown))
    lines.append(f"table:   {page}")
    if figures.is_dir():
        lines.append(f"figures: {figures}/")
    lines.append(f"report:  {report}")
    return "\n".join(lines)
