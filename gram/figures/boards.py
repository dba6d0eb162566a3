"""Boards: an input, the distinct completions that GRAM draws, and the deterministic twin's single answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from gram import files
from gram.config import parse
from gram.data import load_split
from gram.errors import GramError
from gram.figures.style import STYLE, new_figure
from gram.settings import DataSettings
from gram.tables.names import label
from gram.tasks import Tokens, make_task
from gram.tasks.nqueens import EMPTY, QUEEN, NQueens

GIVEN, ADDED, ATTACKED = "#222222", "#0072B2", "#D55E00"
LIGHT, DARK = "#ffffff", "#e4e4e4"
RULE = "the test inputs with the most completions, ties by input id"
BELOW: dict[str, Any] = {"fontsize": 8, "va": "top", "ha": "left", "color": "#333333"}
# A crown in a square of side 1, so that no font decides what a queen looks like.
CROWN = np.array(
    [(0.2, 0.22), (0.14, 0.74), (0.34, 0.5), (0.5, 0.84), (0.66, 0.5), (0.86, 0.74), (0.8, 0.22)]
)


@dataclass(frozen=True)
class Row:
    """One input of the figure.

    Attributes:
        input_id: its id in the data set.
        board: its tokens [L].
        exist: completions that it has.
        drawn: distinct completions among GRAM's samples with how often each was drawn, the most frequent first.
        samples: GRAM's samples.
        invalid: how many of them are no completion.
        answer: the deterministic model's tokens [L].
        answer_valid: whether those are a completion.
    """

    input_id: int
    board: Tokens
    exist: int
    drawn: list[tuple[Tokens, int]]
    samples: int
    invalid: int
    answer: Tokens
    answer_valid: bool


def load_task(folders: Sequence[Path]) -> NQueens:
    """The task of the data sets.

    Raises:
        GramError: not a card, folders of different tasks, or a task that this figure cannot draw.
    """
    tasks = []
    for folder in folders:
        settings = parse(
            DataSettings,
            files.read_json(folder / "card.json").get("settings"),
            f"{folder / 'card.json'}: settings",
        )
        task = make_task(settings.task, settings.generator)
        if not isinstance(task, NQueens):
            raise GramError(
                f"{folder}: {settings.task} has no board figure yet; it draws N-Queens only: leave this figure out"
            )
        tasks.append(task)
    if len({task.n for task in tasks}) != 1:
        raise GramError(
            f"--data: {', '.join(task.name for task in tasks)} have boards of different sizes; give folds of one task"
        )
    return tasks[0]


def test_inputs(folders: Sequence[Path]) -> pd.DataFrame:
    """The test inputs of all folders: input_id, board (tokens [L]), exist (completions), most completions first."""
    parts = []
    for folder in folders:
        split = load_split(folder, "test")
        parts.append(
            pd.DataFrame(
                {"input_id": split.input_ids, "board": list(split.inputs), "exist": split.counts}
            )
        )
    return pd.concat(parts).sort_values(
        ["exist", "input_id"], ascending=[False, True], ignore_index=True
    )


def board_rows(
    inputs: pd.DataFrame, gram: pd.DataFrame, deterministic: pd.DataFrame, limit: int
) -> list[Row]:
    """The rows of the figure: the first ``limit`` inputs of :func:`test_inputs`.

    Args:
        inputs: from :func:`test_inputs`.
        gram: samples as ``gram.evaluate`` writes them: input_id, sample, tokens, completion_id (-1: invalid), ...
        deterministic: the same of a deterministic model.
        limit: rows at most.

    Raises:
        GramError: samples of another data set.
    """
    rows = []
    wanted: Any
    for wanted in inputs.head(limit).itertuples(index=False):
        found = [
            samples[samples["input_id"] == wanted.input_id] for samples in (gram, deterministic)
        ]
        if any(part.empty for part in found):
            raise GramError(
                f"--samples: nothing for input {wanted.input_id} of --data; give samples and data of the same task"
            )
        drawn, answers = found
        counts = drawn.loc[drawn["completion_id"] >= 0, "completion_id"].value_counts()
        order = sorted(counts.index, key=lambda completion: (-counts[completion], completion))
        tokens = drawn.drop_duplicates("completion_id").set_index("completion_id")["tokens"]
        rows.append(
            Row(
                input_id=int(wanted.input_id),
                board=wanted.board,
                exist=int(wanted.exist),
                drawn=[(tokens[completion], int(counts[completion])) for completion in order],
                samples=len(drawn),
                invalid=int((drawn["completion_id"] < 0).sum()),
                answer=answers["tokens"].iloc[0],
                answer_valid=bool(answers["completion_id"].iloc[0] >= 0),
            )
        )
    return rows


def draw_board(axes: Axes, tokens: Tokens, given: Tokens, attacked: Any) -> None:
    """A board: given queens black, added ones blue, attacked ones red on a red-edged cell; a lost given queen as a dashed crown.

    Args:
        axes: where to draw.
        tokens: [n * n].
        given: the input's tokens [n * n].
        attacked: bool [n, n], queens to mark.
    """
    n = len(attacked)
    for cell, (token, kept) in enumerate(zip(tokens, given, strict=True)):
        row, column = divmod(cell, n)
        corner = np.array([column, n - 1 - row])
        axes.add_patch(
            Rectangle(
                tuple(corner), 1, 1, facecolor=DARK if (row + column) % 2 else LIGHT, linewidth=0
            )
        )
        if token == QUEEN:
            colour = ATTACKED if attacked[row, column] else GIVEN if kept == QUEEN else ADDED
            axes.add_patch(
                Polygon(
                    corner + CROWN,
                    facecolor=colour,
                    edgecolor=colour,
                    linewidth=0.5,
                    joinstyle="round",
                )
            )
            if attacked[row, column]:  # a second sign beside the colour
                edge = Rectangle(
                    tuple(corner + 0.05), 0.9, 0.9, fill=False, edgecolor=ATTACKED, linewidth=1.2
                )
                axes.add_patch(edge)
        elif kept == QUEEN:
            axes.add_patch(
                Polygon(corner + CROWN, fill=False, edgecolor=GIVEN, linewidth=0.8, linestyle=":")
            )
        elif token != EMPTY:
            axes.text(
                corner[0] + 0.5, corner[1] + 0.5, "?", ha="center", va="center", color=ATTACKED
            )
    axes.add_patch(Rectangle((0, 0), n, n, fill=False, edgecolor="#555555", linewidth=0.8))
    axes.set_xlim(-0.05, n + 0.05)
    axes.set_ylim(-0.05, n + 0.05)
    axes.set_aspect("equal")
    axes.set_axis_off()


def verdict(row: Row, queens: int, attacked: int, lost: int) -> str:
    """The title over the deterministic answer."""
    if row.answer_valid:
        return "valid"
    reasons = [f"{attacked} attacked"] if attacked else []
    reasons += [f"{lost} given lost"] if lost else []
    return "invalid: " + (", ".join(reasons) or f"{queens} queens")


def draw_boards(task: NQueens, rows: Sequence[Row], columns: int) -> Figure:
    """A line of boards per row: the input, up to ``columns`` distinct completions of GRAM's, the deterministic answer."""
    shown = max(
        2, min(columns, max(len(row.drawn) for row in rows))
    )  # two, so that their heading has room
    with matplotlib.rc_context(STYLE):
        height = 1.95 * len(rows) + 1.0
        figure = new_figure(
            1.55 * (shown + 2) + 0.9, height, h_pad=0.14, rect=(0, 0, 1, 1 - 0.25 / height)
        )
        grid = figure.subplots(len(rows), shown + 2, squeeze=False)
        for row, places in zip(rows, grid, strict=True):
            for axes in places:
                axes.set_axis_off()
            nothing = np.zeros((task.n, task.n), dtype=bool)
            draw_board(places[0], row.board, row.board, nothing)
            places[0].set_title(
                f"input {row.input_id}: {row.exist} completion{'s' if row.exist > 1 else ''}",
                fontsize=8,
            )
            for axes, (tokens, times) in zip(places[1:-1], row.drawn, strict=False):
                draw_board(axes, tokens, row.board, nothing)
                axes.set_title(f"drawn {times} of {row.samples}", fontsize=8)
            hidden = len(row.drawn) - shown
            summary = f"{label('gram')}: {len(row.drawn)} of {row.exist} found"
            summary += f" ({hidden} not shown)" if hidden > 0 else ""
            summary += f", {row.invalid} of {row.samples} samples invalid"
            below = places[1].text(0, -0.04, summary, transform=places[1].transAxes, **BELOW)
            below.set_in_layout(False)  # it may run under the next board, and must not push it away
            attacked = task.conflicts(row.answer[None])[0]
            draw_board(places[-1], row.answer, row.board, attacked)
            queens, lost = (
                int((row.answer == QUEEN).sum()),
                int(((row.board == QUEEN) & (row.answer != QUEEN)).sum()),
            )
            places[-1].set_title(verdict(row, queens, int(attacked.sum()), lost), fontsize=8)
        for axes, text in (
            (grid[0][0], "Input"),
            (grid[0][1], "GRAM, distinct completions"),
            (grid[0][-1], "Deterministic twin"),
        ):
            heading = axes.text(
                0, 1.2, text, transform=axes.transAxes, fontsize=9, fontweight="bold"
            )
            heading.set_in_layout(False)
        _caption(figure)
    return figure


def _caption(figure: Figure) -> None:
    names = (
        (GIVEN, "given queen"),
        (ADDED, "queen added by the model"),
        (ATTACKED, "queen attacked by another"),
    )
    handles = [Rectangle((0, 0), 1, 1, facecolor=colour, label=text) for colour, text in names]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=len(handles),
        title=f"Shown: {RULE}.",
        alignment="left",
    )
