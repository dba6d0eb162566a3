"""N-Queens: its section ``generator``."""

from __future__ import annotations

from dataclasses import dataclass

from gram.settings.field import setting
from gram.settings.tasks.family import OF_COMPLETIONS, Family


@dataclass(frozen=True)
class NQueensGenerator:
    """Which boards are inputs."""

    removed: tuple[int, ...] = setting(
        (), "how many queens an input lacks: a list of counts", least=1, most=1000
    )


FAMILY = Family(NQueensGenerator, coverage="coverage_paper", figures=(*OF_COMPLETIONS, "boards"))
