"""N-Queens completion (section B.2): a board with some queens of a solution removed -> any full board that contains it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gram.errors import GramError, short, suggestion
from gram.tasks.base import Enumeration, Tokens

EMPTY, QUEEN = 1, 2


def solutions(n: int) -> NDArray[np.int64]:
    """All placements of n non-attacking queens: [S, n], the column of the queen in each row, in lexicographic order."""
    found: list[list[int]] = []
    columns: list[int] = []
    used: set[tuple[str, int]] = set()

    def place(row: int) -> None:
        if row == n:
            found.append(columns.copy())
            return
        for column in range(n):
            lines = {("column", column), ("diagonal", row - column), ("antidiagonal", row + column)}
            if used.isdisjoint(lines):
                used.update(lines)
                columns.append(column)
                place(row + 1)
                columns.pop()
                used.difference_update(lines)

    place(0)
    return np.array(found, dtype=np.int64).reshape(-1, n)


class NQueens:
    """N-Queens of one size.

    Args:
        name: the task's name.
        n: size of the board.
        removed: how many queens an input may lack.
    """

    vocabulary = 3  # padding, empty, queen
    draws_tests = False

    def __init__(self, name: str, n: int, removed: list[int]) -> None:
        self.name = name
        self.n = n
        self.removed = sorted(set(removed))
        self.length = n * n
        self.answers = slice(0, n * n)
        self.coordinates = np.indices((n, n)).reshape(2, -1).T  # row and column

    @classmethod
    def from_settings(cls, name: str, size: int, generator: dict[str, Any]) -> NQueens:
        """Check the generator section, whose one key is ``removed``, and build the task.

        Raises:
            GramError: unknown key, a board without solutions, or a removed count outside 1..n-1.
        """
        unknown = sorted(set(generator) - {"removed"})
        if unknown:
            meant = suggestion(unknown[0], ["removed"], "known keys")
            raise GramError(f"{name}: generator: unknown key {short(unknown[0])}; {meant}")
        removed = generator.get("removed", [])
        if size in (2, 3) or size < 1:
            raise GramError(
                f"{name}: {size} queens on a {size}x{size} board have no solution; use n = 1 or n >= 4"
            )
        if not isinstance(removed, list) or not removed or not all(type(k) is int for k in removed):
            raise GramError(
                f"{name}: generator: removed: expected a list of counts such as [5, 6, 7], found {short(removed)}"
            )
        wrong = [k for k in removed if not 1 <= k < size]
        if wrong:
            raise GramError(
                f"{name}: generator: removed: {short(wrong[0])} is not between 1 and {size - 1} (n - 1)"
            )
        return cls(name, size, removed)

    def encode(self, columns: NDArray[np.int64]) -> Tokens:
        """Boards as tokens: [B, n] columns per row (-1: no queen) -> [B, n * n], row by row."""
        board = columns[:, :, None] == np.arange(self.n)
        return np.where(board, QUEEN, EMPTY).astype(np.uint8).reshape(-1, self.length)

    def enumerate(self) -> Enumeration:
        """Every subset of a solution that lacks a number of queens in ``removed``, with all solutions that contain it."""
        full = solutions(self.n)
        partial, owner = [], []
        for removed in self.removed:
            for hidden in combinations(range(self.n), removed):
                boards = full.copy()
                boards[:, hidden] = -1
                partial.append(boards)
                owner.append(np.arange(len(full)))
        # Two solutions with the same subset give the same row: grouping the rows finds all completions of an input.
        unique, inverse = np.unique(np.concatenate(partial), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        solution = np.concatenate(owner)
        order = np.lexsort((solution, inverse))
        counts = np.bincount(inverse, minlength=len(unique))
        return Enumeration(
            inputs=self.encode(unique),
            completions=self.encode(full[solution[order]]),
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            given=(unique >= 0).sum(axis=1),
        )

    def conflicts(self, outputs: Tokens) -> NDArray[np.bool_]:
        """Queens that are attacked by another queen: [B, n * n] tokens -> [B, n, n]."""
        queens = outputs.reshape(-1, self.n, self.n) == QUEEN
        row, column = np.indices((self.n, self.n))
        attacked = np.zeros_like(queens)
        for line in (row, column, row - column + self.n, row + column):
            per_line = np.eye(line.max() + 1, dtype=np.int64)[line]  # [n, n, lines]
            crowded = np.einsum("bij,ijk->bk", queens.astype(np.int64), per_line) > 1
            attacked |= crowded[:, line]
        return attacked & queens

    def is_valid(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """n queens, none attacked, nothing but queens and empty cells, and every given queen still there: [B]."""
        queens = outputs == QUEEN
        legal = (queens | (outputs == EMPTY)).all(axis=1)
        kept = (queens | (inputs != QUEEN)).all(axis=1)
        peaceful = ~self.conflicts(outputs).any(axis=(1, 2))
        return legal & kept & peaceful & (queens.sum(axis=1) == self.n)

    def canonical(self, inputs: Tokens, outputs: Tokens) -> Tokens:
        """The outputs themselves: every board means something else."""
        return outputs

    def violations(self, inputs: Tokens, outputs: Tokens) -> dict[str, NDArray[np.int64]]:
        """None is reported: a board is right or wrong."""
        return {}
