"""Sudoku-Extreme (section B.2): 1,000 hard 9x9 puzzles to learn from, and 20,000 to be tested on,
read from the two files of their publication.

Nothing in the files is taken on trust: every puzzle has one solution, which is the answer beside
it, and no puzzle of the test is a form of one in training under the symmetries of Sudoku.

A line of a file is ``source,question,answer,rating``: where the puzzle comes from, its 81 cells row
by row with ``.`` for a blank one, the 81 digits of its solution, and how many guesses a certain
solver took.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gram.settings.tasks.sudokuextreme import TEST, TRAIN, SudokuExtremeGenerator
from gram.system import files, regular
from gram.system.errors import GramError, short
from gram.tasks.base import Examples, Tokens
from gram.tasks.canonical import CanonicalForms
from gram.tasks.grids import BLANK
from gram.tasks.search import Search
from gram.tasks.sudoku import SudokuRules

COLUMNS = ["source", "question", "answer", "rating"]
SIZE = 9
FIX = "delete it, and the next run brings it again"


class Puzzles(NamedTuple):
    """Puzzles of a file, N.

    Attributes:
        questions: [N, 81] tokens.
        answers: [N, 81] tokens.
        ratings: [N] int64.
    """

    questions: Tokens
    answers: Tokens
    ratings: NDArray[np.int64]


def read_puzzles(path: Path) -> Puzzles:
    """The puzzles of a file, in its order.

    Raises:
        GramError: it cannot be read, or a line is no puzzle.
    """
    try:
        lines = list(csv.reader(regular.read_text(path).splitlines(), strict=True))
    except OSError as error:
        raise files.unreadable(path, error) from error
    except (ValueError, csv.Error) as error:
        raise GramError(f"{path}: not readable as a table ({error}); {FIX}") from error
    if not lines or lines[0] != COLUMNS:
        raise GramError(f"{path}: line 1: expected {','.join(COLUMNS)}; {FIX}")
    for number, line in enumerate(lines[1:], start=2):
        if (
            len(line) != len(COLUMNS)
            or len(line[1]) != SIZE * SIZE
            or len(line[2]) != SIZE * SIZE
            or not set(line[1]) <= set(".123456789")
            or not set(line[2]) <= set("123456789")
            or not (line[3].isascii() and line[3].isdigit() and len(line[3]) < SIZE)
        ):
            raise GramError(
                f"{path}: line {number}: no puzzle, but {short(','.join(line))}; expected"
                f" {','.join(COLUMNS)}, the question and the answer of {SIZE * SIZE} cells; {FIX}"
            )
    return Puzzles(
        _tokens([line[1] for line in lines[1:]]),
        _tokens([line[2] for line in lines[1:]]),
        np.array([int(line[3]) for line in lines[1:]], dtype=np.int64),
    )


def _tokens(rows: list[str]) -> Tokens:
    """Digits and dots as tokens: [N, 81]."""
    cells = np.frombuffer("".join(rows).replace(".", "0").encode("ascii"), dtype=np.uint8)
    return (cells - ord("0") + BLANK).astype(np.uint8).reshape(-1, SIZE * SIZE)


def check_size(name: str, size: int) -> None:
    """Refuse another size than that of the puzzles.

    Raises:
        GramError: says so.
    """
    if size != SIZE:
        raise GramError(f"{name}: the puzzles of Sudoku-Extreme are {SIZE}x{SIZE}")


def check_sources(name: str, sources: Path | None) -> Path:
    """The folder with the files.

    Raises:
        GramError: none was given.
    """
    if sources is None:
        raise GramError(f"{name}: its boards are read from files; give their folder with --sources")
    return sources


class SudokuExtreme(SudokuRules):
    """The puzzles of the two files.

    Args:
        name: the task's name.
        settings: which of them are tested.
    """

    complete = True
    draws_tests = True

    def __init__(self, name: str, settings: SudokuExtremeGenerator) -> None:
        super().__init__(name, SIZE)
        self.settings = settings

    @classmethod
    def from_settings(cls, name: str, size: int, settings: SudokuExtremeGenerator) -> SudokuExtreme:
        """Build the task.

        Raises:
            GramError: another size than that of the puzzles.
        """
        check_size(name, size)
        return cls(name, settings)

    def examples(self, sources: Path | None = None) -> Examples:
        """The puzzles, each with its solution, and its symmetry class as its group.

        Raises:
            GramError: no folder, an unreadable file, or puzzles that are not what they should be.
        """
        sources = check_sources(self.name, sources)
        train, test = read_puzzles(sources / TRAIN), read_puzzles(sources / TEST)
        count = min(self.settings.test_puzzles, len(test.questions))
        chosen = np.arange(count) * len(test.questions) // count
        questions = np.concatenate([train.questions, test.questions[chosen]])
        answers = np.concatenate([train.answers, test.answers[chosen]])
        ratings = np.concatenate([train.ratings, test.ratings[chosen]])
        tested = np.arange(len(questions)) >= len(train.questions)
        lines = np.concatenate([np.arange(len(train.questions)), chosen]) + 2

        def refuse(wrong: NDArray[np.bool_], what: str) -> None:
            if wrong.any():
                first = int(wrong.argmax())
                path = sources / (TEST if tested[first] else TRAIN)
                raise GramError(f"{path}: line {lines[first]}: {what}; {FIX}")

        solved = Search(self.grids).solve(questions)
        refuse(solved.counts != 1, "the puzzle has not one solution")
        refuse((solved.first != answers).any(axis=1), "the answer is not the puzzle's solution")
        _, groups = np.unique(
            CanonicalForms().of_puzzles(questions, answers), axis=0, return_inverse=True
        )
        refuse(
            tested & np.isin(groups, groups[~tested]),
            "the puzzle is a form of one in training, under the symmetries of Sudoku",
        )
        givens = (questions != BLANK).sum(axis=1)
        order = np.lexsort(questions.T[::-1])  # ascending, row by row
        return Examples(
            inputs=questions[order],
            completions=answers[order],
            offsets=np.arange(len(order) + 1),
            given=givens[order],
            tested=tested[order],
            groups=groups[order],
            facts={"rating": ratings[order], "givens": givens[order]},
            counted={"symmetry_classes": len(np.unique(groups))},
        )

    def unfamiliar(self, inputs: Tokens) -> str:
        """How a puzzle [81] differs from those of the files, in words; "" if it does not."""
        return ""


TASK = SudokuExtreme
