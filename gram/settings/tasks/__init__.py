"""What each family of tasks declares: its settings, who judges its answers, and what is drawn of
them.

A family is one module here, with a ``FAMILY``, and one of the same name in gram/tasks, with a
``TASK``. Both are found by their names: a new family edits no list. These declarations import
neither numpy nor torch, so that the workflow may read them.
"""

from __future__ import annotations

from gram.settings.config import sized_task
from gram.settings.tasks.family import Family
from gram.system.errors import GramError, suggestion
from gram.system.rooms import modules_of

__all__ = ["FAMILIES", "Family", "family_and_size", "family_of", "judge_of", "papers_coverage"]


# Every family by its name, in the order of the names.
FAMILIES: dict[str, Family] = {
    module.__name__.rpartition(".")[2]: module.FAMILY
    for module in modules_of(__name__)
    if hasattr(module, "FAMILY")
}


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


def family_of(name: str) -> Family:
    """The family of a task.

    Raises:
        GramError: as of :func:`family_and_size`.
    """
    return FAMILIES[family_and_size(name)[0]]


def _known_family(task: str) -> Family | None:
    """The family of a task; None of one that only the paper has."""
    return FAMILIES.get(sized_task(task).rstrip("0123456789"))


def papers_coverage(task: str) -> str:
    """The coverage that stands beside the paper's on a task, also one that only the paper has."""
    family = _known_family(task)
    return family.coverage if family else Family.coverage


def judge_of(task: str) -> str:
    """Who judges the answers of a task, also of one that only the paper has."""
    family = _known_family(task)
    return family.judge if family else Family.judge
