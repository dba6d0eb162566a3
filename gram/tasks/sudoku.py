"""Sudoku puzzles (section B.2): a grid with some cells given -> the one full grid that contains
them.

Those of 4x4 and 6x6 are made here: cells of a random full grid are blanked in a random order, as
long as the puzzle has one solution, until as few are given as were asked for. All forms of a puzzle
under the symmetries of Sudoku stand in the same split.

As text, a puzzle is one row of cells after the other, with ``.`` for a blank cell, in lines or
parted by slashes: ``1..4/..1./.1../4..1``.
"""

from __future__ import annotations

from itertools import islice, repeat
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from gram.settings.tasks.sudoku import SudokuGenerator
from gram.system.errors import GramError
from gram.system.seeds import child_seed
from gram.tasks.base import Examples, Tokens
from gram.tasks.board import Board, By, Cell, Words
from gram.tasks.grids import BLANK, BOXES, FIRST_DIGIT, Grids, distinct
from gram.tasks.text import join_rows, split_rows

MADE = (4, 6)  # sizes whose symmetries can be listed, so that equal puzzles are known
MOST_COMPLETIONS = 10_000  # that are listed of a puzzle of one's own


def read_rows(text: str) -> list[str]:
    """The rows of a grid in ``text``, parted by spaces, line breaks or slashes.

    Raises:
        GramError: another character than digits and ``.``, or no grid of a known size.
    """
    rows = split_rows(text, also="|")
    if len(rows) not in BOXES:
        sizes = ", ".join(f"{n}x{n}" for n in BOXES)
        raise GramError(
            f"{len(rows)} rows; a Sudoku has {sizes} cells, such as 1..4/..1./.1../4..1"
        )
    allowed = ".0123456789"[: len(rows) + 2]
    for number, row in enumerate(rows, start=1):
        if wrong := [cell for cell in row if cell not in allowed]:
            raise GramError(
                f"row {number}: {wrong[0]!r} is neither . (a blank cell) nor a digit up to"
                f" {len(rows)}"
            )
        if len(row) != len(rows):
            raise GramError(f"row {number} has {len(row)} cells, but there are {len(rows)} rows")
    return rows


class SudokuRules:
    """What all Sudoku tasks of one size share: their rules, and how boards are read and written.

    Args:
        name: the task's name.
        n: rows, columns and digits.
    """

    draws_tests = False
    words = Words(
        rule="some digits are given, a model adds the rest; each stands once in a row, column, box",
        given="given digit",
        added="added by the model",
        wrong="twice in a row, column or box, or a given one changed",
        missing="given, but missing",
    )

    def __init__(self, name: str, n: int) -> None:
        self.name = name
        self.n = n
        self.grids = Grids(name, n)
        self.length = n * n
        self.vocabulary = self.grids.vocabulary
        self.answers = slice(0, self.length)
        self.coordinates = self.grids.coordinates

    def is_valid(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """Every digit once in every row, column and box, and every given cell as it was: [B]."""
        kept = ((inputs == BLANK) | (inputs == outputs)).all(axis=1)
        return np.asarray(kept & self.grids.is_full(outputs))

    def symmetries(self) -> Grids:
        """Rows, columns and digits changed."""
        return self.grids

    def canonical(self, inputs: Tokens, outputs: Tokens) -> Tokens:
        """The outputs themselves: every grid means something else."""
        return outputs

    def violations(self, inputs: Tokens, outputs: Tokens) -> dict[str, NDArray[np.int64]]:
        """None is reported: a grid is right or wrong."""
        return {}

    def board(self, inputs: Tokens, outputs: Tokens | None = None) -> Board:
        """The answer [n * n] to a puzzle [n * n], with the digits marked that stand twice in a row,
        column or box, and given ones that are others; without one, the puzzle.
        """
        answer = inputs if outputs is None else outputs
        wrong = self.conflicts(answer) | self.changed(inputs, answer)
        rows: list[list[Cell]] = [[] for _ in range(self.n)]
        for place, (given, token) in enumerate(zip(inputs, answer, strict=True)):
            known = FIRST_DIGIT <= token < self.vocabulary
            by: By = "given" if given == token else "added" if known else "unknown"
            sign = str(token - BLANK) if known else "" if token == BLANK else "?"
            rows[place // self.n].append(Cell(sign, by, wrong=bool(wrong[place])))
        return Board(rows, box=self.grids.box)

    def conflicts(self, cells: Tokens) -> NDArray[np.bool_]:
        """The cells [n * n] whose digit stands twice in a row, column or box: [n * n]."""
        found = np.zeros(self.length, dtype=bool)
        for unit in self.grids.units:
            digits, counts = np.unique(cells[unit], return_counts=True)
            twice = digits[(counts > 1) & (digits >= FIRST_DIGIT)]
            found[unit] |= np.isin(cells[unit], twice)
        return found

    def changed(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """The given cells of a puzzle [n * n] that are others in an answer: [n * n]."""
        return np.asarray((inputs != BLANK) & (inputs != outputs))

    def faults(self, inputs: Tokens, outputs: Tokens) -> list[str]:
        """Why an answer [n * n] to a puzzle [n * n] is invalid."""
        crossed = int(self.conflicts(outputs).sum())
        changed = int(self.changed(inputs, outputs).sum())
        reasons = [f"{crossed} cells in conflict"] if crossed else []  # never one alone
        reasons += [f"{changed} given digit{'s' * (changed > 1)} changed"] if changed else []
        return reasons or ["cells without a digit"]

    @classmethod
    def size_of(cls, text: str) -> int:
        """Rows of the grid in ``text``; a GramError as of :func:`read_rows`."""
        return len(read_rows(text))

    def parse(self, text: str) -> Tokens:
        """The grid in ``text``: [n * n] tokens.

        Raises:
            GramError: what :func:`read_rows` refuses, or another size.
        """
        rows = read_rows(text)
        if len(rows) != self.n:
            raise GramError(
                f"a grid of {len(rows)}x{len(rows)} cells, but {self.name} has {self.n}x{self.n}"
            )
        cells = "".join(rows).replace(".", "0")
        return np.array([BLANK + int(cell) for cell in cells], dtype=np.uint8)

    def format(self, inputs: Tokens, outputs: Tokens) -> str:
        """The grid [n * n] as text, a line per row; ``.`` for a blank cell, ``?`` for what is no
        digit.
        """
        signs = {BLANK: "."} | {FIRST_DIGIT + d: str(d + 1) for d in range(self.n)}
        cells = [signs.get(token, "?") for token in outputs.tolist()]
        return join_rows(cells, self.n)

    def describe(self, inputs: Tokens) -> str:
        """Size and givens of a puzzle [n * n], in words."""
        givens = int((inputs != BLANK).sum())
        return f"{self.n}x{self.n} Sudoku with {givens} given cell{'s' * (givens != 1)}"

    def contradiction(self, inputs: Tokens) -> str:
        """Two equal digits of a puzzle [n * n] in one unit, in words; "" if there are none."""
        for unit in self.grids.units:
            for digit in range(FIRST_DIGIT, self.vocabulary):
                cells = unit[inputs[unit] == digit]
                if len(cells) > 1:
                    one, other = (divmod(int(cell), self.n) for cell in cells[:2])
                    return (
                        f"the digit {digit - BLANK} stands in row {one[0] + 1}, column {one[1] + 1}"
                        f" and in row {other[0] + 1}, column {other[1] + 1}"
                    )
        return ""

    def completions(self, inputs: Tokens) -> Tokens:
        """All full grids that contain the givens of a puzzle [n * n]: [m, n * n], in ascending
        order.

        Raises:
            GramError: more than can be listed.
        """
        if self.contradiction(inputs):
            return np.zeros((0, self.length), dtype=np.uint8)
        found = list(islice(self.grids.solutions(inputs.tolist()), MOST_COMPLETIONS + 1))
        if len(found) > MOST_COMPLETIONS:
            raise GramError(
                f"the puzzle has more than {MOST_COMPLETIONS:,} solutions; give more cells"
            )
        return np.array(sorted(found), dtype=np.uint8).reshape(-1, self.length)


class Sudoku(SudokuRules):
    """Sudoku puzzles of one size.

    Args:
        name: the task's name.
        n: rows, columns and digits.
        settings: which puzzles, and how many.
    """

    complete = True

    def __init__(self, name: str, n: int, settings: SudokuGenerator) -> None:
        super().__init__(name, n)
        self.settings = settings

    @classmethod
    def from_settings(cls, name: str, size: int, settings: SudokuGenerator) -> Sudoku:
        """Check the settings against the size and build the task.

        Raises:
            GramError: a size without boxes or whose puzzles are not made here, or givens that make
                no puzzle.
        """
        task = cls(name, size, settings)
        if size not in MADE:
            sizes = " and ".join(f"{n}x{n}" for n in MADE)
            raise GramError(f"{name}: puzzles are made of {sizes}")
        if not settings.fewest_givens <= settings.most_givens < size * size:
            raise GramError(
                f"{name}: generator: fewest_givens: {settings.fewest_givens} and most_givens: "
                f"{settings.most_givens} are not in order, or leave no cell blank of {size * size}"
            )
        return task

    def puzzle(self, random: Random) -> tuple[Tokens, Tokens]:
        """A random puzzle and its solution: [n * n] each."""
        solution = self.grids.drawn(random)
        span = self.settings.most_givens - self.settings.fewest_givens + 1
        wanted = self.settings.fewest_givens + int(random.random() * span)
        cells = solution.copy()
        for cell in sorted(range(self.length), key=lambda _: random.random()):
            if (cells != BLANK).sum() == wanted:
                break
            cells[cell] = BLANK
            if not self.grids.has_one_solution(cells.tolist()):
                cells[cell] = solution[cell]
        return cells, solution

    def examples(self, sources: Path | None = None) -> Examples:
        """The first different puzzles of the seed, with the symmetry class of each as its group.

        Raises:
            GramError: there are not as many puzzles as the settings ask for.
        """
        random = Random(child_seed(self.settings.seed, "puzzles"))
        found = distinct(
            (self.puzzle(random) for _ in repeat(None)),
            self.settings.puzzles,
            f"{self.name}: generator: puzzles",
            "lower it, or widen fewest_givens and most_givens",
        )
        inputs = sorted(found)  # in the order of their tokens
        cells = np.frombuffer(b"".join(inputs), dtype=np.uint8).reshape(-1, self.length)
        forms = [self.grids.canonical_form(row) for row in cells]
        numbers = {form: number for number, form in enumerate(sorted(set(forms)))}
        return Examples(
            inputs=cells,
            completions=np.stack([found[row] for row in inputs]),
            offsets=np.arange(len(inputs) + 1),
            given=(cells != BLANK).sum(axis=1),
            groups=np.array([numbers[form] for form in forms]),
            counted={"symmetry_classes": len(numbers)},
        )

    def unfamiliar(self, inputs: Tokens) -> str:
        """How a puzzle [n * n] differs from those of the generator, in words; "" if it does not."""
        givens, settings = int((inputs != BLANK).sum()), self.settings
        if settings.fewest_givens <= givens <= settings.most_givens:
            return ""
        return (
            f"the puzzle gives {givens} cells, those of the training mostly"
            f" {settings.fewest_givens} to {settings.most_givens}"
        )


TASK = Sudoku
