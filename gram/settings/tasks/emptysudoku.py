"""Sudoku boards from nothing (section D.5): their section ``generator``."""

from __future__ import annotations

from dataclasses import dataclass

from gram.settings.field import setting
from gram.settings.limits import ROWS, SEED
from gram.settings.tasks.family import Family


@dataclass(frozen=True)
class EmptySudokuGenerator:
    """Which boards there are to train on."""

    boards: int = setting(
        50000,
        "how many different boards there are: the training, validation and test splits together; of"
        " 4x4 there are 288",
        gap=(
            "The paper takes 50,000 solutions of Sudoku-Extreme's training puzzles. Here a solver"
            " fills empty boards at random."
        ),
        least=2,
        most=ROWS,
    )
    forms: int = setting(
        1,
        "how many boards come of each one that is solved: it, and others of the same symmetry"
        " class, drawn at random",
        least=1,
        most=ROWS,
    )
    seed: int = setting(
        0, "of the boards; runs of every seed train on the same ones", least=0, most=SEED
    )


FAMILY = Family(EmptySudokuGenerator, judge="validity", figures=("training", "elbo", "drawn"))
