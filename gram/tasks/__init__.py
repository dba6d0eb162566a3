"""Tasks: generator, encoder, exact verifier and enumeration of completions; numpy only."""

from __future__ import annotations

from typing import Any

from gram.config import sized_task
from gram.errors import GramError
from gram.tasks.base import PAD, Enumeration, Task, Tokens
from gram.tasks.coloring import Coloring
from gram.tasks.nqueens import NQueens

FAMILIES: dict[str, type[NQueens | Coloring]] = {"nqueens": NQueens, "coloring": Coloring}

__all__ = ["FAMILIES", "PAD", "Enumeration", "Task", "Tokens", "family_and_size", "make_task"]


def family_and_size(name: str) -> tuple[str, int]:
    """``("nqueens", 8)`` of ``nqueens8-cpu``.

    Raises:
        GramError: an unknown family, or no size.
    """
    sized = sized_task(name)
    family = sized.rstrip("0123456789")
    size = sized[len(family) :]
    if family not in FAMILIES or not size:
        raise GramError(
            f"task {name!r}: no such task; known: {', '.join(f + '{n}' for f in FAMILIES)}"
        )
    return family, int(size)


def make_task(name: str, generator: dict[str, Any]) -> Task:
    """The task called ``name``, for example ``nqueens8`` or ``nqueens5-fold0``.

    Args:
        name: a family and a size; then, with or without, the name of one of several experiments on it, and a fold, as in
            ``nqueens5-gaps-fold1``.
        generator: the section ``generator`` of the experiment file.

    Raises:
        GramError: unknown family, impossible size, or unknown generator key.
    """
    family, size = family_and_size(name)
    return FAMILIES[family].from_settings(name, size, generator)
