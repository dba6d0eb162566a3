"""N-Queens completion (section B.2): a board with some queens of a solution removed -> any full
board that contains it.

As text, a board is one row of cells after the other, with ``.`` for an empty cell and ``Q`` for a
queen, in lines or parted by slashes: ``.Q../...Q/Q.../....``.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gram.settings.tasks.nqueens import NQueensGenerator
from gram.system.errors import GramError, short
from gram.tasks.base import Examples, Tokens
from gram.tasks.board import QUEEN as SIGN
from gram.tasks.board import Board, Cell, Words
from gram.tasks.text import join_rows, split_rows

EMPTY, QUEEN = 1, 2
LARGEST = (
    12  # rows of a board; it has 14,200 solutions, and each row more has about six times as many
)
CELLS = {".": EMPTY, "Q": QUEEN, "q": QUEEN}  # q: as answers are written, so that one can be read


def solutions(n: int) -> NDArray[np.int64]:
    """All placements of n non-attacking queens: [S, n], the column of the queen in each row, in
    lexicographic order.
    """
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


def read_cells(text: str) -> list[str]:
    """The rows of a board in ``text``, parted by spaces, line breaks or slashes.

    Raises:
        GramError: another character than those of :data:`CELLS`, or no square.
    """
    rows = split_rows(text)
    for number, row in enumerate(rows, start=1):
        if wrong := [cell for cell in row if cell not in CELLS]:
            raise GramError(
                f"row {number}: {wrong[0]!r} is neither . (an empty cell) nor Q (a queen)"
            )
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows):
            raise GramError(
                f"row {number} has {len(row)} cell{'s' * (len(row) != 1)}, but there are "
                f"{len(rows)} row{'s' * (len(rows) != 1)}; a board is square: .Q../...Q/Q.../..Q."
            )
    if not rows:
        raise GramError("no board; write its rows with . for an empty cell and Q for a queen")
    return rows


class NQueens:
    """N-Queens of one size.

    Args:
        name: the task's name.
        n: size of the board.
        removed: how many queens an input may lack.
    """

    vocabulary = 3  # padding, empty, queen
    draws_tests = False
    complete = True
    words = Words(
        rule="some queens are given, a model adds the rest; none may attack another",
        given="given queen",
        added="added by the model",
        wrong="attacked by another",
        missing="given, but missing",
    )

    def __init__(self, name: str, n: int, removed: list[int]) -> None:
        self.name = name
        self.n = n
        self.removed = sorted(set(removed))
        self.length = n * n
        self.answers = slice(0, n * n)
        self.coordinates = np.indices((n, n)).reshape(2, -1).T  # row and column

    @classmethod
    def from_settings(cls, name: str, size: int, settings: NQueensGenerator) -> NQueens:
        """Check the settings against the size and build the task.

        Raises:
            GramError: a board without solutions or with too many, or a removed count outside 1..n-1
                or twice.
        """
        removed = list(settings.removed)
        if size in (2, 3) or size < 1:
            raise GramError(
                f"{name}: {size} queens on a {size}x{size} board have no solution; use n = 1 or n"
                " >= 4"
            )
        if size > LARGEST:
            raise GramError(f"{name}: all boards are enumerated, which is done up to n = {LARGEST}")
        if not removed:
            raise GramError(
                f"{name}: generator: removed: missing; give a list of counts such as [5, 6, 7]"
            )
        wrong = [k for k in removed if not 1 <= k < size]
        if wrong:
            raise GramError(
                f"{name}: generator: removed: {short(wrong[0])} is not between 1 and {size - 1} (n"
                " - 1)"
            )
        if len(set(removed)) < len(removed):
            raise GramError(f"{name}: generator: removed: {short(removed)}: name each count once")
        return cls(name, size, removed)

    def encode(self, columns: NDArray[np.int64]) -> Tokens:
        """Boards as tokens: [B, n] columns per row (-1: no queen) -> [B, n * n], row by row."""
        board = columns[:, :, None] == np.arange(self.n)
        return np.where(board, QUEEN, EMPTY).astype(np.uint8).reshape(-1, self.length)

    def examples(self, sources: Path | None = None) -> Examples:
        """Every subset of a solution that lacks a number of queens in ``removed``, with all
        solutions that contain it.
        """
        full = solutions(self.n)
        partial, owner = [], []
        for removed in self.removed:
            for hidden in combinations(range(self.n), removed):
                boards = full.copy()
                boards[:, hidden] = -1
                partial.append(boards)
                owner.append(np.arange(len(full)))
        # Two solutions with the same subset give the same row: grouping the rows finds all
        # completions of an input.
        unique, inverse = np.unique(np.concatenate(partial), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        solution = np.concatenate(owner)
        order = np.lexsort((solution, inverse))
        counts = np.bincount(inverse, minlength=len(unique))
        return Examples(
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
        """n queens, none attacked, nothing but queens and empty cells, and every given queen still
        there: [B].
        """
        queens = outputs == QUEEN
        legal = (queens | (outputs == EMPTY)).all(axis=1)
        kept = (queens | (inputs != QUEEN)).all(axis=1)
        peaceful = ~self.conflicts(outputs).any(axis=(1, 2))
        return legal & kept & peaceful & (queens.sum(axis=1) == self.n)

    def symmetries(self) -> None:
        """None is used: the forms of a puzzle stand in all splits."""
        return None

    def canonical(self, inputs: Tokens, outputs: Tokens) -> Tokens:
        """The outputs themselves: every board means something else."""
        return outputs

    def violations(self, inputs: Tokens, outputs: Tokens) -> dict[str, NDArray[np.int64]]:
        """None is reported: a board is right or wrong."""
        return {}

    def board(self, inputs: Tokens, outputs: Tokens | None = None) -> Board:
        """The answer [n * n] to a board [n * n], with its attacked queens marked; without one, the
        board.
        """
        answer = inputs if outputs is None else outputs
        attacked = self.conflicts(answer[None])[0]
        rows: list[list[Cell]] = []
        for row in range(self.n):
            rows.append([])
            for column in range(self.n):
                token = answer[row * self.n + column]
                given = inputs[row * self.n + column] == QUEEN
                cell = Cell(dark=bool((row + column) % 2), wrong=bool(attacked[row, column]))
                if token == QUEEN:
                    cell = cell._replace(sign=SIGN, by="given" if given else "added")
                elif given:
                    cell = cell._replace(sign=SIGN, by="missing")
                elif token != EMPTY:
                    cell = cell._replace(sign="?", by="unknown")
                rows[-1].append(cell)
        return Board(rows)

    def faults(self, inputs: Tokens, outputs: Tokens) -> list[str]:
        """Why an answer [n * n] to a board [n * n] is invalid."""
        attacked = int(self.conflicts(outputs[None]).sum())
        lost = int(((inputs == QUEEN) & (outputs != QUEEN)).sum())
        reasons = [f"{attacked} queens attacked"] if attacked else []  # never one alone
        reasons += [f"{lost} given queen{'s' if lost > 1 else ''} missing"] if lost else []
        queens = int((outputs == QUEEN).sum())
        if not reasons:
            reasons = [f"{queens} of {self.n} queens" if queens < self.n else "unknown tokens"]
        return reasons

    @classmethod
    def size_of(cls, text: str) -> int:
        """Rows of the board in ``text``.

        Raises:
            GramError: another character than ``.`` and ``Q``, or no square.
        """
        return len(read_cells(text))

    def parse(self, text: str) -> Tokens:
        """The board in ``text``: [n * n] tokens.

        Raises:
            GramError: what :meth:`size_of` refuses, or another size.
        """
        cells = read_cells(text)
        if len(cells) != self.n:
            raise GramError(
                f"a board of {len(cells)}x{len(cells)} cells, but {self.name} has {self.n}x{self.n}"
            )
        return np.array([CELLS[cell] for row in cells for cell in row], dtype=np.uint8)

    def format(self, inputs: Tokens, outputs: Tokens) -> str:
        """The board [n * n] as text, a line per row: ``Q`` a given queen, ``q`` an added one, ``?``
        neither queen nor empty.
        """
        signs = {EMPTY: ".", QUEEN: "q"}
        cells = [
            "Q" if given == token == QUEEN else signs.get(token, "?")
            for given, token in zip(inputs.tolist(), outputs.tolist(), strict=True)
        ]
        return join_rows(cells, self.n)

    def describe(self, inputs: Tokens) -> str:
        """Size and queens of a board [n * n], in words."""
        queens = int((inputs == QUEEN).sum())
        return f"{self.n}x{self.n} board with {queens} queen{'s' * (queens != 1)}"

    def contradiction(self, inputs: Tokens) -> str:
        """Two queens of a board [n * n] that attack each other, in words; "" if there are none."""
        queens = [divmod(cell, self.n) for cell in np.flatnonzero(inputs == QUEEN).tolist()]
        for (row, column), (other, further) in combinations(queens, 2):
            if row == other or column == further or other - row == abs(further - column):
                return (
                    f"the queens in row {row + 1}, column {column + 1} and in row {other + 1}, "
                    f"column {further + 1} attack each other"
                )
        return ""

    def unfamiliar(self, inputs: Tokens) -> str:
        """How a board [n * n] differs from those of the generator, in words; "" if it does not."""
        lacks = self.n - int((inputs == QUEEN).sum())
        if lacks in self.removed:
            return ""
        return (
            f"the board lacks {lacks} of {self.n} queens, those of the training "
            f"{' or '.join(map(str, self.removed))}"
        )

    def completions(self, inputs: Tokens) -> Tokens:
        """All solutions that contain the queens of a board [n * n]: [m, n * n], in ascending order
        as of :meth:`examples`.
        """
        full = self.encode(solutions(self.n))
        return full[(full[:, inputs == QUEEN] == QUEEN).all(axis=1)]


TASK = NQueens
