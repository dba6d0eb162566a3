"""Tasks: generator, encoder, exact verifier and enumeration of completions; numpy only."""

from __future__ import annotations

from typing import Any

from gram.settings import DataSettings
from gram.settings.config import sized_task
from gram.system.errors import GramError, suggestion
from gram.tasks.base import PAD, Enumeration, Task, Tokens
from gram.tasks.coloring import Coloring
from gram.tasks.nqueens import NQueens

FAMILIES: dict[str, type[NQueens | Coloring]] = {"nqueens": NQueens, "coloring": Coloring}

# Tokens of the largest input whose task is enumerated only to count its inputs: 8x8 takes a tenth of
# a second, 10x10 two.
COUNTED = 64

__all__ = [
    "FAMILIES",
    "PAD",
    "Enumeration",
    "Task",
    "Tokens",
    "checked_task",
    "family_and_size",
    "make_task",
]


def family_and_size(name: str) -> tuple[str, int]:
    """``("nqueens", 8)`` of ``nqueens8-cpu``.

    Raises:
        GramError: an unknown family, or no size.
    """
    sized = sized_task(name)
    family = sized.rstrip("0123456789")
    size = sized[len(family) :]
    if family not in FAMILIES or not size:
        examples = [f"{known}{size or 8}" for known in FAMILIES]
        meant = suggestion(sized, examples, "known ones, with any size")
        raise GramError(
            f"task {name!r}: no such task: a name begins with a family and a size; {meant}"
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


def checked_task(settings: DataSettings) -> Task:
    """The task of a data set, once its settings are known to fit together, as far as that is told without a large enumeration.

    Raises:
        GramError: as of :func:`make_task`; or folds of a task that says itself what is tested, or more folds than inputs.
    """
    task, folds = make_task(settings.task, settings.generator), settings.split.folds
    if folds > 1 and task.draws_tests:
        raise GramError(
            f"{settings.task}: split: folds: {folds}, but this task draws its test inputs; use folds: 1"
        )
    if folds > 1 and task.length <= COUNTED and folds > (count := len(task.enumerate().inputs)):
        raise GramError(
            f"{settings.task}: split: folds: {folds} is more than its {count} inputs; use fewer"
        )
    return task
