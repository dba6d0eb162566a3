"""Boards from nothing (section D.5), trained on the solutions of Sudoku-Extreme: their section
``generator``.
"""

from __future__ import annotations

from dataclasses import dataclass

from gram.settings.field import setting
from gram.settings.limits import ROWS, SEED
from gram.settings.tasks import sudokuextreme
from gram.settings.tasks.emptysudoku import FAMILY as EMPTY
from gram.settings.tasks.family import Family


@dataclass(frozen=True)
class EmptySudokuExtremeGenerator:
    """Which boards there are to train on."""

    boards: int = setting(
        50_000,
        "how many different boards there are: the training, validation and test splits together",
        gap=(
            "The paper takes 50,000 solutions of the large data set's training puzzles. Here they"
            " are the solutions of the 1,000 of the small one, and other forms of these under the"
            " symmetries of Sudoku, equally many of each."
        ),
        least=2,
        most=ROWS,
    )
    seed: int = setting(
        0, "of the forms; runs of every seed train on the same ones", least=0, most=SEED
    )


FAMILY = Family(
    EmptySudokuExtremeGenerator,
    judge=EMPTY.judge,
    figures=EMPTY.figures,
    sources=tuple(
        source for source in sudokuextreme.FAMILY.sources if source.file == sudokuextreme.TRAIN
    ),
)
