"""Reading the Markdown that the package writes."""

from __future__ import annotations


def cells(row: str) -> list[str]:
    """The cells of a row of a table, without the blanks around them."""
    return [cell.strip() for cell in row.split("|")[1:-1]]


def cells_after(text: str, first: str) -> list[str]:
    """The cells of the first row whose first cell begins with ``first``, without that one."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {first}"))
    return cells(row)[1:]


def table_rows(text: str) -> dict[str, list[str]]:
    """The cells of every row by its first cell; of rows that share one, the first row's."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *others = cells(line)
            found.setdefault(first, others)
    return found
