"""Boards as text: a row of cells after the other, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence


def split_rows(text: str, also: str = "") -> list[str]:
    """The rows of a board, parted by spaces, line breaks or slashes.

    Cells that are parted by spaces, as :func:`join_rows` writes them, stand in lines.

    Args:
        text: the board.
        also: further signs that part rows.
    """
    rows = [row for row in re.split(rf"[\s/{re.escape(also)}]+", text) if row]
    if all(len(row) == 1 for row in rows) and len(rows) > 1:
        lines = [re.sub(r"\s", "", line) for line in re.split(r"[\n/]", text)]
        rows = [line for line in lines if line]
    return rows


def join_rows(cells: Sequence[str], n: int) -> str:
    """Cells in rows of ``n``, a line each, with spaces between them."""
    return "\n".join(" ".join(cells[start : start + n]) for start in range(0, len(cells), n))
