"""Sudoku grids of one size: units, a solver, and symmetries; what both families of Sudoku tasks
stand on.

A grid of n x n cells has n rows, n columns and n boxes, each of which holds every digit once.
Tokens are 1 for a blank cell and 2 to n + 1 for the digits 1 to n, row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice, permutations, product
from random import Random

import numpy as np
from numpy.typing import NDArray

from gram.system.errors import GramError
from gram.tasks.base import Tokens

BLANK, FIRST_DIGIT = 1, 2
PATIENCE = 10_000  # successive draws that are known already, after which there are no more
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # n -> rows and columns of a box


def orders(n: int, band: int) -> NDArray[np.int64]:
    """All orders of n lines that keep the lines of a band together: [S, n].

    Of 4 lines in bands of 2 there are 8: the bands in either order, and the lines of each.
    """
    bands = np.arange(n).reshape(-1, band)
    within = list(permutations(range(band)))
    found = []
    for order in permutations(range(n // band)):
        for inner in product(within, repeat=n // band):
            lines = [bands[one][list(how)] for one, how in zip(order, inner, strict=True)]
            found.append(np.concatenate(lines))
    return np.array(found)


def distinct(
    draws: Iterable[tuple[Tokens, Tokens]], count: int, where: str, fix: str
) -> dict[bytes, Tokens]:
    """The first ``count`` different boards of endless draws, as bytes, each with what came with it.

    Args:
        draws: a board and something that belongs to it.
        count: how many.
        where: the setting that asks for as many, for the message.
        fix: what to do where there are not as many.

    Raises:
        GramError: :data:`PATIENCE` successive draws gave no other one.
    """
    found: dict[bytes, Tokens] = {}
    idle = 0
    for board, belonging in draws:
        idle = idle + 1 if board.tobytes() in found else 0
        found.setdefault(board.tobytes(), belonging)
        if len(found) == count:
            break
        if idle == PATIENCE:
            raise GramError(
                f"{where}: {len(found)} were found, and {PATIENCE:,} more draws gave no other one;"
                f" {fix}"
            )
    return found


class Grids:
    """All that the rules of one size say.

    Args:
        name: of the task, for messages.
        n: rows, columns and digits.

    Raises:
        GramError: a size without boxes.
    """

    def __init__(self, name: str, n: int) -> None:
        if n not in BOXES:
            raise GramError(f"{name}: Sudoku has {', '.join(map(str, BOXES))} rows, not {n}")
        self.n = n
        self.box = BOXES[n]
        self.vocabulary = FIRST_DIGIT + n  # padding, blank, digits
        row, column = np.indices((n, n)).reshape(2, -1)
        high, wide = self.box
        box = row // high * (n // wide) + column // wide
        place = row % high * wide + column % wide
        # Row, column, box, and place in the box.
        self.coordinates = np.stack([row, column, box, place], axis=1)
        self.units = np.concatenate([self._cells_of(line) for line in (row, column, box)])

    def _cells_of(self, line: NDArray[np.int64]) -> NDArray[np.int64]:
        """The cells of each of the n rows, columns or boxes, from the number of each cell's own:
        [n, n].
        """
        return np.argsort(line, kind="stable").reshape(self.n, self.n)

    def is_full(self, outputs: Tokens) -> NDArray[np.bool_]:
        """Whether every unit of a grid holds every digit: [B, n * n] -> [B]."""
        digits = np.arange(FIRST_DIGIT, self.vocabulary, dtype=outputs.dtype)
        return np.asarray((np.sort(outputs[:, self.units], axis=2) == digits).all(axis=(1, 2)))

    def solutions(self, cells: Sequence[int], random: Random | None = None) -> Iterator[list[int]]:
        """All ways to fill the blank cells, one after the other.

        The cell with the fewest candidates is filled first. With ``random`` its candidates are
        tried in a random order, drawn with ``random()`` alone, whose stream no version of Python
        changes.

        Args:
            cells: n * n tokens; those that are given may not contradict each other.
        """
        grid = list(cells)
        open_ = {cell for cell, token in enumerate(grid) if token == BLANK}
        used = [0] * len(self.units)  # of each unit, a bit for each digit that it holds
        for cell, token in enumerate(grid):
            if token != BLANK:
                for unit in self._units_of[cell]:
                    used[unit] |= 1 << token
        return self._fill(grid, open_, used, random)

    @cached_property
    def _units_of(self) -> list[list[int]]:
        """The three units of each cell."""
        found: list[list[int]] = [[] for _ in range(self.n * self.n)]
        for unit, members in enumerate(self.units.tolist()):
            for cell in members:
                found[cell].append(unit)
        return found

    def _fill(
        self, grid: list[int], open_: set[int], used: list[int], random: Random | None
    ) -> Iterator[list[int]]:
        if not open_:
            yield list(grid)
            return
        every = (1 << self.vocabulary) - (1 << FIRST_DIGIT)
        best, candidates = -1, 0
        for cell in sorted(open_):
            one, other, third = self._units_of[cell]
            left = every & ~(used[one] | used[other] | used[third])
            if best < 0 or left.bit_count() < candidates.bit_count():
                best, candidates = cell, left
                if left.bit_count() < 2:
                    break
        tokens = [token for token in range(FIRST_DIGIT, self.vocabulary) if candidates >> token & 1]
        if random is not None:
            tokens.sort(key=lambda _: random.random())
        open_.remove(best)
        for token in tokens:
            grid[best] = token
            for unit in self._units_of[best]:
                used[unit] |= 1 << token
            yield from self._fill(grid, open_, used, random)
            for unit in self._units_of[best]:
                used[unit] &= ~(1 << token)
        grid[best] = BLANK
        open_.add(best)

    def drawn(self, random: Random) -> Tokens:
        """A full grid that a random search finds: [n * n]. Not uniform among all grids."""
        blank = [BLANK] * (self.n * self.n)
        return np.array(next(self.solutions(blank, random)), dtype=np.uint8)

    def has_one_solution(self, cells: Sequence[int]) -> bool:
        """Whether a puzzle has exactly one solution."""
        return len(list(islice(self.solutions(cells), 2))) == 1

    @cached_property
    def lines(self) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
        """The orders of rows and of columns that keep the boxes, and whether a grid may be
        transposed.
        """
        high, wide = self.box
        return orders(self.n, high), orders(self.n, wide), high == wide

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Every symmetry of the cells, as the cell that comes to each place: [S, n * n]; too many
        for 9x9.
        """
        rows, columns, transposes = self.lines
        cells = np.arange(self.n * self.n).reshape(self.n, self.n)
        found = cells[rows[:, None, :, None], columns[None, :, None, :]].reshape(-1, self.n, self.n)
        if transposes:
            found = np.concatenate([found, found.transpose(0, 2, 1)])
        return found.reshape(len(found), -1)

    def draw(self, random: Random) -> tuple[NDArray[np.int64], Tokens]:
        """A random symmetry: lines, transposition and digits changed; see
        :class:`gram.tasks.base.Symmetries`.
        """
        rows, columns, transposes = self.lines
        square = np.arange(self.n * self.n).reshape(self.n, self.n)
        square = square[rows[int(random.random() * len(rows))]]
        square = square[:, columns[int(random.random() * len(columns))]]
        if transposes and random.random() < 0.5:
            square = square.T
        digits = sorted(range(self.n), key=lambda _: random.random())
        tokens = np.array([0, BLANK, *(FIRST_DIGIT + digit for digit in digits)], dtype=np.uint8)
        return square.reshape(-1), tokens

    def canonical_form(self, cells: Tokens) -> bytes:
        """What all puzzles of one symmetry class have in common: the first of their forms, digits
        named in order.

        Args:
            cells: [n * n], of a size whose symmetries can be listed.
        """
        forms = cells[self.places]  # [S, n * n]
        digits = np.arange(FIRST_DIGIT, self.vocabulary)
        having = forms[:, :, None] == digits  # [S, n * n, n]
        first = np.where(having.any(axis=1), having.argmax(axis=1), forms.shape[1])
        rank = first.argsort(axis=1, kind="stable").argsort(axis=1)
        named = np.where(forms == BLANK, BLANK, 0) + np.einsum(
            "scd,sd->sc", having, rank + FIRST_DIGIT
        )
        return min(map(bytes, named.astype(np.uint8)))
