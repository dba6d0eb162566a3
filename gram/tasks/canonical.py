"""What all forms of a 9x9 Sudoku grid have in common: its canonical form, of many grids at once.

A full grid has 3,359,232 forms under the symmetries of its cells (bands, rows, stacks, columns,
transposition), each with its digits in any order. The canonical one is the first of them in the
order of their digits, read row by row; its first row is 123456789. Two puzzles with one solution
each are forms of one another if their solutions are, by a symmetry that also brings the given cells
of the one to those of the other.

Few symmetries can give the first form. Its second row, with digits named by the first, only
depends on where the digits of one row stand in another of its band; for each of the 36 ordered
pairs of rows (or columns) of a band that is one of 12,096 ways, which are looked up.
"""

from __future__ import annotations

from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from gram.tasks.base import Tokens
from gram.tasks.grids import BLANK, FIRST_DIGIT, orders

N, BAND = 9, 3
AT_ONCE = 4096  # grids, or ways, that are worked on together


def _first_of(rows: Tokens, owners: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of rows [M, L] are the first ones, in the order of their numbers, of their owner
    [M].
    """
    order = np.lexsort((*rows.T[::-1], owners))
    ordered, of = rows[order], owners[order]
    new = np.append(True, of[1:] != of[:-1])
    start = np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
    found = np.zeros(len(rows), dtype=bool)
    found[order] = (ordered == ordered[start]).all(axis=1)
    return found


class CanonicalForms:
    """Canonical forms of 9x9 grids, and of puzzles with their solutions."""

    def __init__(self) -> None:
        self.columns = orders(N, BAND)  # [1296, 9], the old column at each new place
        self.new_places = self.columns.argsort(axis=1)  # the new place of each old column
        # The rows of each pair, of a grid and then of the transposed one, with the third row of the
        # band and those of the two other bands.
        bands = np.arange(N).reshape(-1, BAND)
        self.rows = np.array(
            [
                [*bands[band][list(rows)], *np.delete(bands, band, axis=0).flat]
                for band in range(N // BAND)
                for rows in permutations(range(BAND))
            ]
        )
        self._ways: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def _look_up(self, ways: NDArray[np.int64]) -> None:
        """Learn of ways [M, 9], for each column that where the second row has its digit, the first
        second row and the orders of columns that give it.
        """
        for start in range(0, len(ways), AT_ONCE // 16):
            part = ways[start : start + AT_ONCE // 16]
            moved = part[:, self.columns]  # [M, 1296, 9]
            digits = np.take_along_axis(self.new_places[None], moved, axis=2)
            keys = digits @ self._powers
            least = keys.min(axis=1)
            for way, key, found in zip(part, least, keys == least[:, None], strict=True):
                self._ways[int(way @ self._powers)] = int(key), np.flatnonzero(found)

    @cached_property
    def _powers(self) -> NDArray[np.int64]:
        """What turns nine digits into one number, in the same order."""
        return N ** np.arange(N - 1, -1, -1, dtype=np.int64)

    def of_grids(self, grids: Tokens) -> Tokens:
        """The canonical forms of full grids [M, 81]: [M, 81] tokens."""
        return self.of_puzzles(grids, grids)[:, : N * N]

    def of_puzzles(self, puzzles: Tokens, solutions: Tokens) -> Tokens:
        """The canonical forms of puzzles [M, 81] with one solution each: [M, 162] tokens.

        The canonical form of the solution, and the puzzle under that symmetry which gives it; of
        several, under which it comes first.
        """
        parts = range(0, len(puzzles), AT_ONCE)
        found = [self._forms(puzzles[i : i + AT_ONCE], solutions[i : i + AT_ONCE]) for i in parts]
        return np.concatenate([*found, np.zeros((0, 2 * N * N), dtype=np.uint8)])

    def _forms(self, puzzles: Tokens, solutions: Tokens) -> Tokens:
        both = np.stack([solutions - FIRST_DIGIT, puzzles == BLANK], axis=1).astype(np.uint8)
        square = both.reshape(-1, 2, N, N)
        square = np.stack([square, square.swapaxes(2, 3)], axis=1)  # [M, 2, 2, 9, 9]
        square = square[:, :, :, self.rows]  # [M, 2, 2, 18, 9, 9]
        square = np.moveaxis(square, 2, 3).reshape(len(puzzles), -1, 2, N, N)  # [M, 36, 2, 9, 9]
        one, other = square[:, :, 0, 0], square[:, :, 0, 1]
        ways = np.take_along_axis(one.argsort(axis=2), other.astype(np.int64), axis=2)
        numbers = ways @ self._powers  # [M, 36]
        unknown, where = np.unique(numbers, return_index=True)
        new = np.array([number not in self._ways for number in unknown.tolist()], dtype=bool)
        self._look_up(ways.reshape(-1, N)[where[new]])
        every = numbers.flatten().tolist()
        keys = np.array([self._ways[number][0] for number in every]).reshape(numbers.shape)
        grid, pair = np.nonzero(keys == keys.min(axis=1, keepdims=True))
        chosen = [self._ways[number][1] for number in numbers[grid, pair].tolist()]
        times = [len(one) for one in chosen]
        grid, pair = np.repeat(grid, times), np.repeat(pair, times)
        forms = self._arranged(square[grid, pair], self.columns[np.concatenate(chosen)])
        first = _first_of(forms, grid)
        _, index = np.unique(grid[first], return_index=True)
        return forms[first][index]

    def _arranged(self, square: Tokens, columns: NDArray[np.int64]) -> Tokens:
        """Grids [M, 2, 9, 9] of digits and blanks, of which the rows of the first band stand, with
        columns in the orders [M, 9] and all else as early as it can: [M, 162] tokens.
        """
        square = np.take_along_axis(square, columns[:, None, None, :], axis=3)
        names = square[:, 0, 0].argsort(axis=1).astype(np.uint8)  # of each digit, its new name
        count = np.arange(len(square))[:, None, None]
        digits = names[count, square[:, 0]]
        # The other bands: their rows by their first digits, then the bands by theirs.
        bands = digits[:, :, 0].reshape(-1, N // BAND, BAND).astype(np.int64)
        bands[:, 0] = np.arange(BAND) - N
        within = bands.argsort(axis=2)
        order = bands.min(axis=2).argsort(axis=1)
        rows = np.take_along_axis(
            within + BAND * np.arange(N // BAND)[:, None], order[:, :, None], 1
        )
        rows = rows.reshape(-1, N)
        digits = np.take_along_axis(digits, rows[:, :, None], axis=1).reshape(-1, N * N)
        blank = np.take_along_axis(square[:, 1], rows[:, :, None], axis=1).reshape(-1, N * N)
        digits = digits + np.uint8(FIRST_DIGIT)
        return np.hstack([digits, np.where(blank, np.uint8(BLANK), digits)])
