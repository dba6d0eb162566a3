"""Boards from nothing (section D.5), trained on the solutions of Sudoku-Extreme's training puzzles,
and on other forms of these under the symmetries of Sudoku.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Self

from gram.settings.tasks.emptysudokuextreme import EmptySudokuExtremeGenerator
from gram.settings.tasks.sudokuextreme import TRAIN
from gram.system.errors import GramError
from gram.system.seeds import child_seed
from gram.tasks.base import Examples, Tokens
from gram.tasks.emptysudoku import EmptyBoards
from gram.tasks.sudokuextreme import FIX, check_size, check_sources, read_puzzles


class EmptySudokuExtreme(EmptyBoards[EmptySudokuExtremeGenerator]):
    """Boards from nothing, as the solutions of Sudoku-Extreme are; arguments as of
    :class:`gram.tasks.emptysudoku.EmptyBoards`.
    """

    @classmethod
    def from_settings(cls, name: str, size: int, settings: EmptySudokuExtremeGenerator) -> Self:
        """Build the task.

        Raises:
            GramError: another size than that of the puzzles.
        """
        check_size(name, size)
        return super().from_settings(name, size, settings)

    def drawn(self, solutions: Tokens, random: Random) -> Iterator[Tokens]:
        """Boards without end, [81]: the solutions, then another form of each, and so on."""
        yield from solutions
        while True:
            for solution in solutions:
                places, tokens = self.grids.draw(random)
                yield tokens[solution[places]]

    def examples(self, sources: Path | None = None) -> Examples:
        """The empty board with as many different boards as the settings ask for, in ascending
        order.

        Raises:
            GramError: no folder, an unreadable file, or an answer that is no full grid.
        """
        path = check_sources(self.name, sources) / TRAIN
        solutions = read_puzzles(path).answers
        if not (full := self.grids.is_full(solutions)).all():
            line = int(full.argmin()) + 2
            raise GramError(f"{path}: line {line}: the answer is no full grid; {FIX}")
        random = Random(child_seed(self.settings.seed, "forms"))
        return self.boards(self.drawn(solutions, random), self.settings.boards)


TASK = EmptySudokuExtreme
