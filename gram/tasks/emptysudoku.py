"""Sudoku boards from nothing (section D.5): an empty board -> any full grid.

There is one input, and so many answers that it is the boards which are split: some are trained on,
and what is asked of a network is whether the boards that it draws are valid, and new. All 288
boards of 4x4 are known; those of 6x6 (28,200,960) and 9x9 are drawn by a solver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Generic, Self, TypeVar

import numpy as np

from gram.settings.tasks.emptysudoku import EmptySudokuGenerator
from gram.system.seeds import child_seed
from gram.tasks.base import Examples, Tokens
from gram.tasks.grids import BLANK, distinct
from gram.tasks.sudoku import SudokuRules

Settings = TypeVar("Settings", bound=Any)  # of the section generator


class EmptyBoards(SudokuRules, Generic[Settings]):
    """Sudoku boards of one size, from nothing; a subclass says which there are to train on.

    Args:
        name: the task's name.
        n: rows, columns and digits.
        settings: how many boards.
    """

    complete = False

    def __init__(self, name: str, n: int, settings: Settings) -> None:
        super().__init__(name, n)
        self.settings = settings
        self.nothing = np.full(self.length, BLANK, dtype=np.uint8)

    @classmethod
    def from_settings(cls, name: str, size: int, settings: Settings) -> Self:
        """Build the task.

        Raises:
            GramError: a size without boxes.
        """
        return cls(name, size, settings)

    def boards(self, drawn: Iterable[Tokens], count: int) -> Examples:
        """The empty board with the first ``count`` different ones of endless boards [n * n], in
        ascending order.

        Raises:
            GramError: there are not as many.
        """
        found = distinct(
            ((board, board) for board in drawn),
            count,
            f"{self.name}: generator: boards",
            "lower it",
        )
        boards = np.frombuffer(b"".join(sorted(found)), dtype=np.uint8).reshape(-1, self.length)
        return Examples(
            inputs=self.nothing[None],
            completions=boards,
            offsets=np.array([0, len(boards)]),
            given=np.zeros(1, dtype=np.int64),
            split_by="pairs",
        )

    def unfamiliar(self, inputs: Tokens) -> str:
        """How a puzzle [n * n] differs from an empty board, in words; "" if it does not."""
        givens = int((inputs != BLANK).sum())
        return (
            f"the puzzle gives {givens} cells, and training saw empty boards only" if givens else ""
        )


class EmptySudoku(EmptyBoards[EmptySudokuGenerator]):
    """Sudoku boards of one size, from nothing, trained on those that a solver draws; arguments as
    of :class:`EmptyBoards`.
    """

    def drawn(self, random: Random) -> Iterator[Tokens]:
        """Boards without end, [n * n]: each that is solved, then other forms of it."""
        while True:
            solved = self.grids.drawn(random)
            yield solved
            for _ in range(self.settings.forms - 1):
                places, tokens = self.grids.draw(random)
                yield tokens[solved[places]]

    def examples(self, sources: Path | None = None) -> Examples:
        """The empty board with as many different boards as the settings ask for, in ascending
        order.

        Raises:
            GramError: there are not as many.
        """
        random = Random(child_seed(self.settings.seed, "boards"))
        return self.boards(self.drawn(random), self.settings.boards)


TASK = EmptySudoku
