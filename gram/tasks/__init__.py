"""Tasks: generator, encoder, exact verifier and enumeration of completions; numpy only.

The task of a family stands in the module of the family's name, as its ``TASK``.
"""

from __future__ import annotations

import importlib
from typing import Any

from gram.settings import DataSettings
from gram.settings.parsing import parse
from gram.settings.tasks import FAMILIES, family_and_size, family_of
from gram.system.errors import GramError
from gram.tasks.base import PAD, Examples, FromNothing, Symmetries, Task, Tokens

# Tokens of the largest input whose task is enumerated only to count its inputs: 8x8 takes a tenth
# of a second, 10x10 two.
COUNTED = 64

__all__ = [
    "PAD",
    "Examples",
    "FromNothing",
    "Symmetries",
    "Task",
    "Tokens",
    "checked_task",
    "make_task",
    "task_class",
]


def task_class(family: str) -> type[Task]:
    """The class of a family's tasks."""
    found: type[Task] = importlib.import_module(f"{__name__}.{family}").TASK
    return found


def make_task(name: str, generator: dict[str, Any]) -> Task:
    """The task called ``name``, for example ``nqueens8`` or ``nqueens5-fold0``.

    Args:
        name: a family and a size; then, with or without, the name of one of several experiments on
            it, and a fold, as in ``nqueens5-gaps-fold1``.
        generator: the section ``generator`` of the experiment file.

    Raises:
        GramError: unknown family, impossible size, or a generator key that is unknown or makes no
            sense.
    """
    family, size = family_and_size(name)
    settings: Any = parse(FAMILIES[family].generator, generator, f"{name}: generator")
    return task_class(family).from_settings(name, size, settings)


def checked_task(settings: DataSettings) -> Task:
    """The task of a data set, once its settings are known to fit together, as far as that is told
    without a large enumeration.

    Raises:
        GramError: as of :func:`make_task`; or folds of a task that says itself what is tested, or
            more folds than inputs.
    """
    task, folds = make_task(settings.task, settings.generator), settings.split.folds
    if folds > 1 and task.draws_tests:
        raise GramError(
            f"{settings.task}: split: folds: {folds}, but this task draws its test inputs; use"
            " folds: 1"
        )
    if folds > 1 and task.length <= COUNTED and not family_of(settings.task).sources:
        count = len(task.examples().inputs)
        if folds > count:
            raise GramError(
                f"{settings.task}: split: folds: {folds} is more than its {count} inputs; use fewer"
            )
    return task
