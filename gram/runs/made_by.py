"""Which modules a run has of its own, among those that are found by looking."""

from __future__ import annotations

from gram.models.building import build
from gram.models.network import Network
from gram.settings import RunSettings
from gram.settings.tasks import FAMILIES, family_and_size
from gram.tasks import task_class


def made_by(command: str, settings: RunSettings, model: Network, *more: object) -> list[str]:
    """The full names of the modules that make a result of a run: for
    :func:`gram.system.code_version.code_hash`, which adds what they import.

    Args:
        command: the module of the command.
        settings: of the run, whose task and architecture have modules of their own.
        model: its network.
        more: classes or functions that it uses and that no module names.
    """
    family, _ = family_and_size(settings.task)
    config = type(settings.model)
    own = (
        *(task_class(family), FAMILIES[family].generator),
        *(config, type(model), build.dispatch(config)),
        *more,
    )
    return sorted({command, *(one.__module__ for one in own)})
