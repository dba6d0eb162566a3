"""Solutions of many Sudoku puzzles at once: how many each has, and one of them.

All puzzles, and all guesses at them, lie side by side in one array, so that a rule is a few
operations of numpy on thousands of grids. A cell is the set of the digits that it may still hold,
a bit for each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gram.tasks.base import Tokens
from gram.tasks.grids import BLANK, FIRST_DIGIT, Grids

Sets = NDArray[np.uint16]
AT_ONCE = 2048  # grids that are worked on together: few enough for a core's cache


class Solved(NamedTuple):
    """What is known of N puzzles.

    Attributes:
        counts: [N] int64, solutions of each: 0, 1, or 2, which stands for several.
        first: [N, n * n] tokens, one of them; all blank where there is none.
    """

    counts: NDArray[np.int64]
    first: Tokens


class Unit(NamedTuple):
    """What the n cells of each row, column or box say together.

    Attributes:
        held: digits that a cell holds for certain.
        alone: digits that only one cell may hold.
        possible: digits that any cell may hold.
    """

    held: Sets
    alone: Sets
    possible: Sets


def unit_of(cells: Sets, certain: Sets) -> Unit:
    """A kind of unit.

    Args:
        cells: [n, ...] sets of its cells.
        certain: the same, empty for cells that may hold several digits.
    """
    once, twice = np.zeros_like(cells[0]), np.zeros_like(cells[0])
    for cell in cells:
        twice |= once & cell
        once |= cell
    return Unit(np.bitwise_or.reduce(certain), once & ~twice, once)


def everywhere(chosen: NDArray[np.bool_]) -> Sets:
    """The set of all digits, and of more, where ``chosen``, and the empty one elsewhere."""
    return np.negative(chosen.astype(np.uint16))


def others(parts: Sets, axis: int) -> Sets:
    """For each place on ``axis`` the union of the sets at its other places."""
    found = np.zeros_like(parts)
    given, taking = np.moveaxis(parts, axis, 0), np.moveaxis(found, axis, 0)
    for place in range(len(given)):
        for other in range(len(given)):
            if other != place:
                taking[place] |= given[other]
    return found


class Search:
    """Rules and guesses for grids of one size.

    Args:
        grids: what its rules say.
    """

    def __init__(self, grids: Grids) -> None:
        high, wide = grids.box
        self.n = grids.n
        self.every = np.uint16((1 << grids.n) - 1)
        # Bands, rows of a band, stacks, columns of a stack.
        self.shape = (grids.n // high, high, grids.n // wide, wide)

    def candidates(self, puzzles: Tokens) -> Sets:
        """The sets of puzzles [N, n * n]: [n * n, N]."""
        digits = np.where(puzzles == BLANK, 0, puzzles.astype(np.uint16) - FIRST_DIGIT)
        sets = np.where(puzzles == BLANK, self.every, np.left_shift(1, digits, dtype=np.uint16))
        return np.ascontiguousarray(sets.T)

    def narrowed(self, sets: Sets) -> tuple[Sets, NDArray[np.bool_]]:
        """One round of the rules on sets [n * n, S].

        A digit that a cell holds leaves the other cells of its row, column and box. A digit that
        only one cell of a unit may hold stands there. A digit which a line, or a box, can only have
        where both cross leaves the rest of the other.

        Returns:
            the new sets, and which grids have no solution: bool [S].
        """
        many = sets.shape[1]
        unsure = everywhere((sets & (sets - 1)) != 0)
        certain = sets & ~unsure
        held, alone = np.zeros_like(sets), np.zeros_like(sets)
        broken = (sets == 0).any(axis=0)
        in_place = (*self.shape, many)
        # Of rows, columns and boxes: the cells of one of them first, and where what they say lies.
        for axes, where in (((2, 3, 0, 1), (0, 1)), ((0, 1, 2, 3), (2, 3)), ((1, 3, 0, 2), (0, 2))):
            first = [part.reshape(in_place).transpose(*axes, 4) for part in (sets, certain)]
            unit = unit_of(*(part.reshape(self.n, *part.shape[2:]) for part in first))
            broken |= (unit.possible != self.every).any(axis=(0, 1))
            spread = [self.shape[axis] if axis in where else 1 for axis in range(4)]
            for total, part in ((held, unit.held), (alone, unit.alone)):
                total.reshape(in_place)[...] |= part.reshape(*spread, many)
        left = sets & ~(held & unsure)
        forced = left & alone
        left &= forced | ~everywhere(forced != 0)
        cells = left.reshape(in_place)
        # Rows and columns: the axis within a crossing, that along the line, and that across it.
        for within, along, across in ((3, 2, 1), (1, 0, 3)):
            crossing = np.bitwise_or.reduce(cells, axis=within, keepdims=True)
            of_line = crossing & ~others(crossing, along)
            of_box = crossing & ~others(crossing, across)
            cells &= ~(others(of_line, across) | others(of_box, along))
        return left, broken

    def guesses(self, sets: Sets) -> Sets:
        """Both cases of a guess at grids [n * n, S] with no certain next digit: [n * n, 2 * S].

        Of the first cell with the fewest digits: its lowest digit, or one of the others.
        """
        counts = np.bitwise_count(sets)
        cell = np.where(counts > 1, counts, 255).argmin(axis=0)
        grid = np.arange(sets.shape[1])
        lowest = sets[cell, grid] & -sets[cell, grid]
        one, other = sets.copy(), sets.copy()
        one[cell, grid] = lowest
        other[cell, grid] ^= lowest
        return np.concatenate([one, other], axis=1)

    def solve(self, puzzles: Tokens) -> Solved:
        """Solve puzzles [N, n * n]."""
        counts = np.zeros(len(puzzles), dtype=np.int64)
        first = np.full(puzzles.shape, BLANK, dtype=np.uint8)
        candidates, rows = self.candidates(puzzles), np.arange(len(puzzles))
        half = AT_ONCE // 2
        waiting = [
            (candidates[:, start : start + half], rows[start : start + half])
            for start in range(0, len(puzzles), half)
        ]
        sets, owners = candidates[:, :0], rows[:0]
        while waiting or len(owners):
            if waiting and len(owners) <= half:
                more, of = waiting.pop()
                sets = np.concatenate([sets, more], axis=1)
                owners = np.concatenate([owners, of])
            left, broken = self.narrowed(sets)
            same = (left == sets).all(axis=0)
            open_ = ((left & (left - 1)) != 0).any(axis=0)
            solved = np.flatnonzero(same & ~broken & ~open_)
            np.add.at(counts, owners[solved], 1)
            digits = np.bitwise_count(left[:, solved] - 1).T
            first[owners[solved]] = digits + FIRST_DIGIT
            wanted = ~broken & (counts[owners] < 2)
            guessed, going_on = wanted & same & open_, wanted & ~same
            sets = np.concatenate([self.guesses(left[:, guessed]), left[:, going_on]], axis=1)
            owners = np.concatenate([owners[guessed], owners[guessed], owners[going_on]])
            if len(owners) > AT_ONCE:
                waiting.append((sets[:, AT_ONCE:], owners[AT_ONCE:]))
                sets, owners = sets[:, :AT_ONCE], owners[:AT_ONCE]
        return Solved(np.minimum(counts, 2), first)
