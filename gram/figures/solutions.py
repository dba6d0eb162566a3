"""One puzzle: its completions that were drawn, and how the trajectories that found them went."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gram.figures.boards import draw_board, on_boards
from gram.figures.style import STYLE, new_figure
from gram.tasks import Task, Tokens

COLUMNS = 5
# Of completions, by their numbers: the ten strong colours, then the ten pale ones; with more
# completions they recur.
TAB20 = matplotlib.colormaps["tab20"].colors  # type: ignore[attr-defined]
PALETTE = (*TAB20[::2], *TAB20[1::2])


def draw_solutions(task: Task, puzzle: Tokens, answers: Sequence[tuple[Tokens, str]]) -> Figure:
    """The puzzle, and the answers to it with a title each, five in a line.

    Args:
        task: of the puzzle.
        puzzle: [L].
        answers: tokens [L_out] and title.

    Raises:
        GramError: a task without pictures.
    """
    boards = on_boards(task)
    shown = [(boards.board(puzzle), "the board")]
    shown += [(boards.board(puzzle, tokens), title) for tokens, title in answers]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(1.7 * columns, 1.9 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, (board, title) in zip(grid.flat, shown, strict=False):
            draw_board(axes, board)
            axes.set_title(title, fontsize=8)
    return figure


def draw_trajectories(
    task: Task, puzzle: Tokens, tokens: Tokens, found: NDArray[np.int64], shown: Sequence[int]
) -> Figure:
    """What trajectories would answer after some of their supervision steps: a line of boards for
    each trajectory.

    Args:
        task: of the puzzle.
        puzzle: [L].
        tokens: [steps, W, L_out], after every step.
        found: [steps, W], which completion that is; -1 for none.
        shown: the steps, counted from 1.

    Raises:
        GramError: a task without pictures.
    """
    boards = on_boards(task)
    with matplotlib.rc_context(STYLE):
        figure = new_figure(1.5 * len(shown) + 0.2, 1.55 * tokens.shape[1] + 0.3)
        grid = figure.subplots(tokens.shape[1], len(shown), squeeze=False)
        for sample, line in enumerate(grid):
            for axes, step in zip(line, shown, strict=True):
                answer, number = tokens[step - 1, sample], int(found[step - 1, sample])
                draw_board(axes, boards.board(puzzle, answer))
                where = f"after step {step}" if sample == 0 else ""
                axes.set_title(where, fontsize=8)
                mark = f"completion {number + 1}" if number >= 0 else "no completion"
                axes.text(
                    0.5,
                    -0.02,
                    mark,
                    transform=axes.transAxes,
                    fontsize=7,
                    ha="center",
                    va="top",
                    color="#333333",
                )
    return figure


def draw_shares(found: NDArray[np.int64]) -> Figure:
    """The share of the samples that each completion has after every supervision step, one on the
    other.

    Args:
        found: [steps, W], as of :func:`draw_trajectories`.
    """
    steps = np.arange(1, len(found) + 1)
    numbers = sorted(set(found[found >= 0].tolist()))
    shares = [100 * (found == number).mean(axis=1) for number in numbers]
    with matplotlib.rc_context(STYLE):
        figure = new_figure(5.5, 2.8)
        axes = figure.subplots()
        bottom = np.zeros(len(steps))
        for number, share in zip(numbers, shares, strict=True):
            axes.bar(
                steps,
                share,
                bottom=bottom,
                color=PALETTE[number % len(PALETTE)],
                label=f"completion {number + 1}",
            )
            bottom += share
        axes.set_axisbelow(True)
        axes.set_ylim(0, 100)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("supervision step")
        axes.set_ylabel("samples that are valid (%)")
        if numbers:
            figure.legend(loc="outside right upper")
    return figure
