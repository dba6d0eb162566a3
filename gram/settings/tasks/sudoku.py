"""Sudoku puzzles with one solution: their section ``generator``."""

from __future__ import annotations

from dataclasses import dataclass

from gram.settings.field import setting
from gram.settings.limits import ROWS, SEED
from gram.settings.tasks.family import OF_COMPLETIONS, Family


@dataclass(frozen=True)
class SudokuGenerator:
    """Which puzzles are made, and how many."""

    puzzles: int = setting(2000, "how many different puzzles there are", least=1, most=ROWS)
    fewest_givens: int = setting(
        4, "cells that the hardest puzzles show, if they have one solution then", least=1, most=81
    )
    most_givens: int = setting(8, "cells that the easiest puzzles show", least=1, most=81)
    seed: int = setting(
        0, "of the puzzles; runs of every seed train on the same ones", least=0, most=SEED
    )


FAMILY = Family(SudokuGenerator, figures=OF_COMPLETIONS[:3])
