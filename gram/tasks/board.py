"""How the boards of a task are painted: what stands in each cell, and the words of the legend.

A task of which people can see a board offers :class:`OnBoards`; gram/figures paints it without
asking which task it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from gram.tasks.base import Tokens

# Who set what stands in a cell: the puzzle, or the answer; or it stands in the puzzle and the
# answer lacks it; or it is a token that means nothing there.
By = Literal["given", "added", "missing", "unknown"]
QUEEN = "queen"  # the one sign that is drawn as a shape


class Cell(NamedTuple):
    """What stands in a cell.

    Attributes:
        sign: ``QUEEN``, or a text of a letter or two; "" in an empty cell.
        by: who set it.
        wrong: whether it breaks a rule.
        dark: whether the cell is one of the dark ones of a chess board.
    """

    sign: str = ""
    by: By = "given"
    wrong: bool = False
    dark: bool = False


@dataclass(frozen=True)
class Board:
    """An answer to a puzzle, or the puzzle itself.

    Attributes:
        rows: of cells, from top to bottom.
        box: rows and columns of the boxes that a heavier line goes round; None without boxes.
    """

    rows: list[list[Cell]]
    box: tuple[int, int] | None = None

    def has(self, by: By) -> bool:
        """Whether a cell was set by one."""
        return any(cell.by == by for row in self.rows for cell in row)


class Words(NamedTuple):
    """What a figure of boards says of the task, each in a few words.

    Attributes:
        rule: what is given and what is asked for.
        given: what the puzzle gives.
        added: what a model adds.
        wrong: what is marked as breaking a rule.
        missing: what the puzzle gives and an answer lacks.
    """

    rule: str
    given: str
    added: str
    wrong: str
    missing: str


@runtime_checkable
class OnBoards(Protocol):
    """A task whose puzzles and answers are boards."""

    words: Words

    def board(self, inputs: Tokens, outputs: Tokens | None = None) -> Board:
        """The answer [L_out] to a puzzle [L]; without one, the puzzle."""
        ...

    def faults(self, inputs: Tokens, outputs: Tokens) -> list[str]:
        """Why an answer [L_out] to a puzzle [L] is invalid, each reason in a few words."""
        ...
