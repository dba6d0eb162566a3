"""Boards: an input, the distinct completions that GRAM draws, its deterministic twin's answer."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon, Rectangle

from gram.data.splits import integers, load_split, read_table
from gram.evaluate.pool import check_samples
from gram.figures.declared import Drawing, Shown
from gram.figures.style import STYLE, heading, legend_below, letters_in, new_figure
from gram.settings import DataSettings
from gram.settings.parsing import parse
from gram.system import shapes
from gram.system.errors import GramError
from gram.system.shapes import read_evaluation
from gram.tables.evaluations import check_place
from gram.tables.names import label
from gram.tasks import Task, Tokens, make_task
from gram.tasks.board import QUEEN, Board, By, Cell, OnBoards, Words

# A sign's colour says who set it; the colour of its cell whether it breaks a rule.
GIVEN, ADDED, WRONG, WRONG_CELL = "#222222", "#0072B2", "#D55E00", "#FBDCC6"
BY: dict[By, str] = {"given": GIVEN, "added": ADDED, "missing": GIVEN, "unknown": WRONG}
LARGEST = 14  # points of a text in a cell
LIGHT, DARK = "#ffffff", "#e4e4e4"
RULE = "test inputs with several completions, sorted by their number and id, evenly spaced"
SMALL, LINE = 8, 0.145  # points of the text around a board; inches from one line of it to the next
SIDE, GAP, EDGE, TOP, BOTTOM = 1.4, 0.25, 0.12, 0.7, 0.75  # inches: a board, beside it, around all
BELOW: dict[str, Any] = {"fontsize": SMALL, "va": "top", "ha": "left", "color": "#333333"}
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
        drawn: distinct completions among GRAM's samples with how often each was drawn, the most
            frequent first.
        failed: the tokens [L] of the first of them that is no completion, or None.
        samples: GRAM's samples.
        invalid: how many of them are no completion.
        answer: the deterministic model's tokens [L].
        answer_valid: whether those are a completion.
    """

    input_id: int
    board: Tokens
    exist: int
    drawn: list[tuple[Tokens, int]]
    failed: Tokens | None
    samples: int
    invalid: int
    answer: Tokens
    answer_valid: bool


def load_task(folders: Sequence[Path]) -> OnBoards:
    """The task of the data sets.

    Raises:
        GramError: not a card, folders of different tasks, or a task without boards.
    """
    tasks = []
    for folder in folders:
        settings = parse(
            DataSettings,
            shapes.read_card(folder / "card.json")["settings"],
            f"{folder / 'card.json'}: settings",
        )
        tasks.append(make_task(settings.task, settings.generator))
    if len({task.length for task in tasks}) != 1:
        raise GramError(
            f"--data: {', '.join(task.name for task in tasks)} have boards of different sizes; "
            "give folds of one task"
        )
    return on_boards(tasks[0])


def on_boards(task: Task) -> OnBoards:
    """The task, if its puzzles are boards.

    Raises:
        GramError: they are not.
    """
    if not isinstance(task, OnBoards):
        raise GramError(f"{task.name}: its puzzles are no boards that can be drawn")
    return task


def test_inputs(folders: Sequence[Path]) -> pd.DataFrame:
    """The test inputs of all folders, most completions first.

    Returns:
        Columns input_id, board (tokens [L]) and exist (how many completions).
    """
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


def read_samples(path: Path) -> pd.DataFrame:
    """The samples of an evaluation, which are checked against its JSON where that lies beside them.

    Args:
        path: ``test.samples.parquet``, beside ``test.json``.

    Returns:
        Columns input_id and completion_id (int64) and tokens ([L] uint8 each), and others.

    Raises:
        GramError: a missing or damaged file, or the samples of another evaluation.
    """
    evaluation = path.with_name(f"{path.name.partition('.')[0]}.json")
    if evaluation.exists():
        run = read_evaluation(evaluation)["run"]
        check_place(evaluation, run)
        check_samples(path, run)
    table = read_table(path)
    for name, dimensions in (("input_id", 1), ("completion_id", 1), ("tokens", 2)):
        if name not in table or not table.columns.is_unique:
            raise GramError(f"{path}: no samples: it has not one column {name!r}; evaluate again")
        values = integers(table[name], path)
        if len(values) and values.ndim != dimensions:
            raise GramError(
                f"{path}: column {name!r}: not as an evaluation writes it; evaluate again"
            )
        table[name] = values if dimensions == 1 else list(values)
    return table


def chosen_inputs(inputs: pd.DataFrame, limit: int) -> pd.DataFrame:
    """At most ``limit`` inputs by RULE: 4 of 25 are those at places 0, 8, 16 and 24.

    If fewer than ``limit`` inputs have several completions, those with one are chosen from too.
    """
    several = inputs[inputs["exist"] > 1]
    among = several if len(several) >= limit else inputs
    count = min(limit, len(among))
    return among.iloc[[place * (len(among) - 1) // max(count - 1, 1) for place in range(count)]]


def board_rows(
    inputs: pd.DataFrame, gram: pd.DataFrame, deterministic: pd.DataFrame, limit: int
) -> list[Row]:
    """The rows of the figure, of :func:`chosen_inputs`.

    Args:
        inputs: from :func:`test_inputs`.
        gram: samples as ``gram.evaluate`` writes them: input_id, sample, tokens, completion_id
            (-1: invalid), ...
        deterministic: the same of a deterministic model.
        limit: rows at most.

    Raises:
        GramError: samples of another data set.
    """
    rows = []
    wanted: Any
    for wanted in chosen_inputs(inputs, limit).itertuples(index=False):
        found = [
            samples[samples["input_id"] == wanted.input_id] for samples in (gram, deterministic)
        ]
        if any(part.empty for part in found):
            raise GramError(
                f"--samples: nothing for input {wanted.input_id} of --data; "
                "give samples and data of the same task"
            )
        drawn, answers = found
        failed = drawn.loc[drawn["completion_id"] < 0, "tokens"]
        counts = drawn.loc[drawn["completion_id"] >= 0, "completion_id"].value_counts()
        order = sorted(counts.index, key=lambda completion: (-counts[completion], completion))
        tokens = drawn.drop_duplicates("completion_id").set_index("completion_id")["tokens"]
        rows.append(
            Row(
                input_id=int(wanted.input_id),
                board=wanted.board,
                exist=int(wanted.exist),
                drawn=[(tokens[completion], int(counts[completion])) for completion in order],
                failed=failed.iloc[0] if len(failed) else None,
                samples=len(drawn),
                invalid=len(failed),
                answer=answers["tokens"].iloc[0],
                answer_valid=bool(answers["completion_id"].iloc[0] >= 0),
            )
        )
    return rows


def draw_board(axes: Axes, board: Board) -> None:
    """A board: what was given black, what was added blue, an orange cell under what breaks a rule.

    What was given and is missing is a dotted outline.
    """
    count, wide = len(board.rows), len(board.rows[0])
    for row, cells in enumerate(board.rows):
        for column, cell in enumerate(cells):
            draw_cell(axes, cell, np.array([column, count - 1 - row]), wide)
    frame: dict[str, Any] = {"fill": False, "edgecolor": "#555555", "linewidth": 0.8}
    if board.box:
        high, broad = board.box
        for row in range(0, count, high):
            for column in range(0, wide, broad):
                axes.add_patch(Rectangle((column, row), broad, high, **frame))
    axes.add_patch(Rectangle((0, 0), wide, count, **frame))
    axes.set_xlim(-0.05, wide + 0.05)
    axes.set_ylim(-0.05, count + 0.05)
    axes.set_aspect("equal")
    axes.set_axis_off()


def draw_cell(axes: Axes, cell: Cell, corner: Any, wide: int) -> None:
    """One cell of a board.

    Args:
        axes: where to draw.
        cell: what stands there.
        corner: its lower left one, [x, y].
        wide: columns of the board, by which a text is as large as its cell.
    """
    shade = DARK if cell.dark else LIGHT
    axes.add_patch(Rectangle(tuple(corner), 1, 1, facecolor=shade, linewidth=0))
    if cell.wrong:  # a frame as well, a second sign beside the colour
        marked: dict[str, Any] = {"facecolor": WRONG_CELL, "edgecolor": WRONG}
        axes.add_patch(Rectangle(tuple(corner + 0.05), 0.9, 0.9, linewidth=1.2, **marked))
    missing, colour = cell.by == "missing", BY[cell.by]
    if cell.sign == QUEEN:
        painted: dict[str, Any] = {"facecolor": colour, "edgecolor": colour, "linewidth": 0.5}
        outline: dict[str, Any] = {"fill": False, "edgecolor": colour, "linewidth": 0.8}
        outline["linestyle"] = ":"
        style = outline if missing else {"joinstyle": "round"} | painted
        axes.add_patch(Polygon(corner + CROWN, **style))
    elif cell.sign:
        size = min(72 * SIDE / wide * 0.6, LARGEST)
        centre = corner + 0.5
        place: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size}
        axes.text(
            centre[0], centre[1], cell.sign, color=colour, alpha=0.4 if missing else 1, **place
        )


def faults(row: Row, task: OnBoards) -> str:
    """Why the deterministic answer is invalid, a line per reason; nothing if it is valid."""
    return "" if row.answer_valid else "\n".join(task.faults(row.board, row.answer))


def findings(row: Row, shown: int) -> str:
    """What GRAM found for an input, wrapped to the width of ``shown`` boards."""
    hidden = len(row.drawn) - shown
    text = f"{label('gram')}: {len(row.drawn)} of {row.exist} found"
    text += f" ({hidden} not shown)" if hidden > 0 else ""
    text += f", {row.invalid} of {row.samples} samples invalid"
    return textwrap.fill(text, 22 * shown)


def draw_row(places: Sequence[Axes], row: Row, task: OnBoards) -> None:
    """An input, GRAM's completions (without any, an invalid sample), the deterministic answer."""
    for axes in places:
        axes.set_axis_off()
    first, *others, last = places
    draw_board(first, task.board(row.board))
    first.set_title(
        f"{row.exist} completion{'s exist' if row.exist > 1 else ' exists'}", fontsize=SMALL
    )
    for axes, (tokens, times) in zip(others, row.drawn, strict=False):
        draw_board(axes, task.board(row.board, tokens))
        axes.set_title(f"drawn {times} of {row.samples}", fontsize=SMALL)
    if not row.drawn and row.failed is not None:
        draw_board(others[0], task.board(row.board, row.failed))
        others[0].set_title("one of the invalid", fontsize=SMALL)
    draw_board(last, task.board(row.board, row.answer))
    last.set_title("valid" if row.answer_valid else "invalid", fontsize=SMALL)
    below = (f"input {row.input_id}", findings(row, len(others)), faults(row, task))
    for axes, text in zip((first, others[0], last), below, strict=True):
        axes.text(0, -0.04, text, transform=axes.transAxes, **BELOW)


def draw_boards(task: OnBoards, rows: Sequence[Row], columns: int) -> Figure:
    """A line of boards per row: input, up to ``columns`` completions by GRAM, its twin's answer."""
    # Two at least, so that their heading has room.
    shown = max(2, min(columns, max(len(row.drawn) for row in rows)))
    texts = [text for row in rows for text in (findings(row, shown), faults(row, task))]
    below = LINE * (1.6 + max(text.count("\n") for text in texts))
    pitch = 0.2 + SIDE + below  # of rows, in inches; a board's title stands over it
    width = EDGE + (shown + 2) * (SIDE + GAP)
    height = TOP + pitch * len(rows) + BOTTOM
    with matplotlib.rc_context(STYLE):
        figure = new_figure(width, height)
        figure.set_layout_engine("none")  # every board has its place
        for line, row in enumerate(rows):
            bottom = height - TOP - pitch * (line + 1) + below
            lefts = [EDGE + place * (SIDE + GAP) for place in range(shown + 2)]
            boxes = [(x / width, bottom / height, SIDE / width, SIDE / height) for x in lefts]
            draw_row([figure.add_axes(box) for box in boxes], row, task)
        first = task.board(rows[0].board).rows
        heading(figure, f"{len(first)}x{len(first[0])} board: {task.words.rule}")
        names = (("Input", 0), ("GRAM, distinct completions", 1), ("Deterministic twin", shown + 1))
        for text, place in names:
            left, over = EDGE + place * (SIDE + GAP), height - TOP + 0.1
            figure.text(left / width, over / height, text, fontsize=9, fontweight="bold")
        _legend(figure, task.words, lost=any_missing(rows, task))
    return figure


def any_missing(rows: Sequence[Row], task: OnBoards) -> bool:
    """Whether something that was given is missing on a board of the figure."""
    answers = [(row, row.answer) for row in rows]
    answers += [(row, row.failed) for row in rows if not row.drawn and row.failed is not None]
    return any(task.board(row.board, answer).has("missing") for row, answer in answers)


def _legend(figure: Figure, words: Words, *, lost: bool) -> None:
    handles = [
        Patch(facecolor=GIVEN, label=words.given),
        Patch(facecolor=ADDED, label=words.added),
        Patch(facecolor=WRONG_CELL, edgecolor=WRONG, label=words.wrong),
    ]
    if lost:
        outline: dict[str, Any] = {"edgecolor": GIVEN, "linestyle": ":"}
        handles.append(Patch(fill=False, label=words.missing, **outline))
    title = textwrap.fill(f"Shown: {RULE}.", letters_in(figure, SMALL))
    style: dict[str, Any] = {"title": title, "alignment": "left", "columnspacing": 1.2}
    style |= {"fontsize": SMALL, "title_fontsize": SMALL, "handlelength": 1.2, "handleheight": 1.2}
    legend_below(figure, handles, columns=4, loc="lower left", **style)


class Answers(NamedTuple):
    """What a figure of samples is made of.

    Attributes:
        task: of the boards.
        inputs: from :func:`test_inputs`.
        gram, deterministic: from :func:`read_samples`.
        rows: inputs that are shown.
        columns: completions that are shown of each, at most.
    """

    task: OnBoards
    inputs: pd.DataFrame
    gram: pd.DataFrame
    deterministic: pd.DataFrame
    rows: int
    columns: int


def draw_answers(found: Answers) -> Figure:
    """The figure of boards."""
    rows = board_rows(found.inputs, found.gram, found.deterministic, found.rows)
    return draw_boards(found.task, rows, found.columns)


FIGURES = {
    "boards": Drawing(
        Shown(
            drawn="boards of {task}",
            label="boards and answers",
            of="samples",
            caption=(
                "Test inputs of {task}: the input, the distinct valid completions among the "
                "samples of GRAM (or an invalid sample, where it found none), and the one "
                "answer of its deterministic twin, the same network without noise. What is "
                "given is black, what a model added is blue; what breaks a rule stands on an "
                "orange cell. Both are the runs with seed {seed}. Inputs "
                "are chosen by the rule under the figure, not by their results."
            ),
        ),
        draw=draw_answers,
    ),
}
