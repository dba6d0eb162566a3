"""Puzzles as text: what is typed is what a task gets, and what is wrong with it is said."""

from __future__ import annotations

import numpy as np
import pytest

from gram.system.errors import GramError
from gram.tasks import Task, make_task, task_class
from gram.tasks.nqueens import QUEEN

TASKS = {"nqueens5": {"removed": [3, 4]}, "coloring5": {"train": 30, "test": 10}}


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    return make_task(request.param, TASKS[request.param])


def test_completions_of_every_input_are_those_of_the_enumeration(task: Task) -> None:
    enumeration = task.examples()
    for i, puzzle in enumerate(enumeration.inputs):
        expected = enumeration.completions[enumeration.offsets[i] : enumeration.offsets[i + 1]]
        assert np.array_equal(task.completions(puzzle), expected)
        assert task.contradiction(puzzle) == task.unfamiliar(puzzle) == ""


@pytest.mark.parametrize(
    "text", ["Q..../...../...../...../.....", "Q....\n.....\n" + ".....\n" * 3]
)
def test_a_board_has_its_queens_where_they_were_typed(text: str) -> None:
    task = make_task("nqueens5", TASKS["nqueens5"])
    assert task_class("nqueens").size_of(text) == 5
    assert np.flatnonzero(task.parse(text) == QUEEN).tolist() == [0]


def test_a_board_as_it_is_written_can_be_read() -> None:
    task = make_task("nqueens5", TASKS["nqueens5"])
    enumeration = task.examples()
    puzzle, answer = enumeration.inputs[0], enumeration.completions[0]
    text = task.format(puzzle, answer)
    assert text.count("Q") == (puzzle == QUEEN).sum()
    assert np.array_equal(task.parse(text), answer)


def test_tokens_that_mean_nothing_are_written_as_question_marks(task: Task) -> None:
    puzzle = task.examples().inputs[0]
    padding = np.zeros(len(range(task.length)[task.answers]), dtype=np.uint8)
    assert task.format(puzzle, padding).count("?") == len(padding)


def test_a_graph_has_the_edges_that_were_typed() -> None:
    task = make_task("coloring5", TASKS["coloring5"])
    puzzle = task.parse("2-1, 1-3\n3-2 5")
    assert task_class("coloring").size_of("2-1, 1-3\n3-2 5") == 5
    assert task.describe(puzzle) == "graph of 5 vertices with 3 edges"
    # A triangle has one colouring up to names; each free vertex may have any of its three colours.
    assert len(task.completions(puzzle)) == 9
    assert task.format(puzzle, task.completions(puzzle)[0]).splitlines()[:2] == ["1 A", "2 B"]


@pytest.mark.parametrize(
    ("family", "text", "message"),
    [
        ("nqueens", "Q.../.x../..../....", "row 2: 'x' is neither . "),
        ("nqueens", "Q.../..../....", "row 1 has 4 cells, but there are 3 rows"),
        ("nqueens", "Q.../.../..../....", "row 2 has 3 cells, but there are 4 rows"),
        ("nqueens", " \n", "no board"),
        ("coloring", "1-2 2-x", "'2-x' is no edge"),
        ("coloring", "0-1", "'0-1' is no edge"),
        ("coloring", "1-2 2-2", "joins a vertex to itself"),
        ("coloring", "", "is no edge"),
    ],
)
def test_misprints_are_named(family: str, text: str, message: str) -> None:
    with pytest.raises(GramError, match=message):
        task_class(family).size_of(text)


@pytest.mark.parametrize(("name", "text"), [("nqueens5", "Q./.."), ("coloring5", "1-2")])
def test_another_size_is_refused(name: str, text: str) -> None:
    with pytest.raises(GramError, match=f"{name} has 5"):
        make_task(name, TASKS[name]).parse(text)


@pytest.mark.parametrize(
    ("board", "attack"),
    [
        ("Q...Q/...../...../...../.....", "row 1, column 1 and in row 1, column 5"),
        (".Q.../...../...../.Q.../.....", "row 1, column 2 and in row 4, column 2"),
        (".Q.../...../...Q./...../.....", "row 1, column 2 and in row 3, column 4"),
        ("...../....Q/...../..Q../.....", "row 2, column 5 and in row 4, column 3"),
        ("Q..../..Q../...../.Q.../.....", ""),
    ],
)
def test_queens_that_attack_each_other_are_named(board: str, attack: str) -> None:
    task = make_task("nqueens5", TASKS["nqueens5"])
    found = task.contradiction(task.parse(board))
    assert found == (f"the queens in {attack} attack each other" if attack else "")


@pytest.mark.parametrize(("queens", "lacks"), [("", 5), ("Q", None), ("Q.../..Q", None)])
def test_boards_that_lack_more_or_fewer_queens_than_those_of_the_training_are_told(
    queens: str, lacks: int | None
) -> None:
    task = make_task("nqueens5", TASKS["nqueens5"])
    rows = [*filter(None, queens.split("/"))]
    board = "/".join([*(row.ljust(5, ".") for row in rows), *["....."] * (5 - len(rows))])
    expected = f"the board lacks {lacks} of 5 queens, those of the training 3 or 4" if lacks else ""
    assert task.unfamiliar(task.parse(board)) == expected
