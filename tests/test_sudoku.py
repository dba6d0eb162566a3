"""Sudoku: known counts, rules against a slow check, symmetries, puzzles with one solution, and
boards from nothing.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gram.data.splits import build, load_split
from gram.settings import DataSettings, SplitConfig
from gram.settings.config import data_settings, load_experiment
from gram.system.errors import GramError
from gram.tasks import Task, make_task
from gram.tasks.grids import BLANK, BOXES, FIRST_DIGIT, Grids, orders
from gram.tasks.sudoku import Sudoku

EXPERIMENTS = Path(__file__).parents[1] / "config/experiments"


def digits_of(n: int, grid: NDArray[np.uint8]) -> list[list[int]]:
    """Rows of digits, as a person reads them."""
    return (grid.reshape(n, n).astype(int) - BLANK).tolist()


def follows_the_rules(n: int, grid: list[list[int]]) -> bool:
    """Whether no digit stands twice in a row, column or box, and all are there: by loops over
    single cells.
    """
    high, wide = BOXES[n]
    every = set(range(1, n + 1))
    for i in range(n):
        if {grid[i][j] for j in range(n)} != every or {grid[j][i] for j in range(n)} != every:
            return False
    for top in range(0, n, high):
        for left in range(0, n, wide):
            cells = {grid[top + i][left + j] for i in range(high) for j in range(wide)}
            if cells != every:
                return False
    return True


def test_all_grids_of_4x4_are_found_once() -> None:
    grids = list(Grids("sudoku4", 4).solutions([BLANK] * 16))
    assert len(grids) == len(set(map(tuple, grids))) == 288
    assert all(follows_the_rules(4, digits_of(4, np.array(grid))) for grid in grids)


@pytest.mark.parametrize("n", BOXES)
def test_the_verifier_agrees_with_a_slow_check(n: int) -> None:
    grids, random = Grids(f"sudoku{n}", n), Random(n)
    rng = np.random.default_rng(n)
    boards = np.stack([grids.drawn(random) for _ in range(3)] * 8)
    for board in boards[3:]:  # change one cell, exchange two, or exchange two rows
        kind, (a, b) = rng.integers(3), rng.choice(n, size=2, replace=False)
        if kind == 0:
            board[rng.integers(n * n)] = rng.integers(0, n + 3)
        elif kind == 1:
            board[[a, b]] = board[[b, a]]
        else:
            square = board.reshape(n, n)
            square[[a, b]] = square[[b, a]]
    found = grids.is_full(boards)
    expected = [follows_the_rules(n, digits_of(n, board)) for board in boards]
    assert found.tolist() == expected
    assert found[:3].all() and not found.all()


def test_symmetries_are_as_many_as_they_should_be() -> None:
    assert [len(orders(n, band)) for n, band in ((4, 2), (6, 2), (6, 3), (9, 3))] == [
        8,
        48,
        72,
        1296,
    ]
    four, six = Grids("sudoku4", 4), Grids("sudoku6", 6)
    assert len(np.unique(four.places, axis=0)) == 2 * 8 * 8
    assert len(np.unique(six.places, axis=0)) == 48 * 72  # boxes of 2 x 3 cannot be transposed
    every = np.array(list(four.solutions([BLANK] * 16)), dtype=np.uint8)
    assert (
        len({four.canonical_form(grid) for grid in every}) == 2
    )  # known: two essentially different


@pytest.mark.parametrize("n", BOXES)
def test_a_symmetry_keeps_rules_and_solutions(n: int) -> None:
    grids, random = Grids(f"sudoku{n}", n), Random(n)
    solution = grids.drawn(random)
    puzzle = np.where(np.arange(n * n) % 3 == 0, BLANK, solution).astype(np.uint8)
    count = len(list(islice(grids.solutions(puzzle.tolist()), 50)))
    for _ in range(5):
        places, tokens = grids.draw(random)
        assert sorted(places) == list(range(n * n)) and len(set(tokens)) == n + 2
        assert grids.is_full(tokens[solution[places]][None]).all()
        changed = tokens[puzzle[places]]
        assert len(list(islice(grids.solutions(changed.tolist()), 50))) == count
        if n < 9:
            assert grids.canonical_form(changed) == grids.canonical_form(puzzle)


def made(name: str, **generator: Any) -> Task:
    """A task with some settings."""
    return make_task(name, generator)


def test_puzzles_have_one_solution_by_brute_force() -> None:
    examples = made("sudoku4", puzzles=200).examples()
    every = np.array(list(Grids("sudoku4", 4).solutions([BLANK] * 16)), dtype=np.uint8)
    for puzzle, solution in zip(examples.inputs, examples.completions, strict=True):
        given = puzzle != BLANK
        fitting = every[(every[:, given] == puzzle[given]).all(axis=1)]
        assert len(fitting) == 1 and (fitting[0] == solution).all()
    assert examples.given.min() >= 4 and len(np.unique(examples.given)) > 3
    assert len(np.unique(examples.inputs, axis=0)) == 200
    again = made("sudoku4", puzzles=200).examples()
    assert (again.inputs == examples.inputs).all() and (
        again.completions == examples.completions
    ).all()
    assert (made("sudoku4", puzzles=200, seed=1).examples().inputs != examples.inputs).any()


def test_no_form_of_a_test_puzzle_is_trained_on(tmp_path: Path) -> None:
    experiment = load_experiment(EXPERIMENTS / "sudoku4.yaml", {"generator": {"puzzles": 400}})
    build(data_settings(experiment, "sudoku4"), tmp_path)
    grids = Grids("sudoku4", 4)
    forms, rows = {}, {}
    for name in ("train", "valid", "test"):
        inputs = load_split(tmp_path, name).inputs
        rows[name] = len(inputs)
        forms[name] = {grids.canonical_form(row) for row in inputs}
    assert not forms["train"] & forms["test"] and not forms["train"] & forms["valid"]
    assert sum(rows.values()) == 400
    assert 0.08 < rows["test"] / 400 < 0.25  # of symmetry classes 15 %, whose sizes differ


def test_boards_from_nothing_are_split_by_boards(tmp_path: Path) -> None:
    settings = DataSettings(
        "emptysudoku4", {"boards": 288}, SplitConfig(test_fraction=0.5, valid_fraction=0.1)
    )
    card = build(settings, tmp_path)
    train, valid, test = (load_split(tmp_path, name) for name in ("train", "valid", "test"))
    assert [len(split.completions) for split in (train, valid, test)] == [130, 14, 144]
    for split in (train, valid, test):
        assert (split.inputs == BLANK).all() and split.inputs.shape == (1, 16)
    boards = np.concatenate([split.completions for split in (train, valid, test)])
    assert len(np.unique(boards, axis=0)) == 288 == card["tables"]["completions"]["rows"]


def test_forms_of_solved_boards_are_boards() -> None:
    examples = made("emptysudoku6", boards=40, forms=8).examples()
    assert Grids("sudoku6", 6).is_full(examples.completions).all()
    assert len(np.unique(examples.completions, axis=0)) == 40
    assert len({Grids("sudoku6", 6).canonical_form(board) for board in examples.completions}) <= 10


@pytest.mark.parametrize(
    ("name", "generator", "message"),
    [
        ("sudoku5", {}, "Sudoku has 4, 6, 9 rows, not 5"),
        ("sudoku9", {}, "sudoku9: puzzles are made of 4x4 and 6x6"),
        ("sudoku4", {"fewest_givens": 9}, "fewest_givens: 9 and most_givens: 8"),
        ("sudoku4", {"most_givens": 16}, "leave no cell blank of 16"),
        ("sudoku4", {"puzzles": 0}, "puzzles: 0 is less than 1"),
        ("emptysudoku7", {}, "Sudoku has 4, 6, 9 rows, not 7"),
        ("emptysudoku4", {"board": 3}, "unknown key 'board'; did you mean 'boards'?"),
    ],
)
def test_impossible_settings_are_refused(
    name: str, generator: dict[str, Any], message: str
) -> None:
    with pytest.raises(GramError) as error:
        make_task(name, generator)
    assert message in str(error.value) and name in str(error.value)


def test_more_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gram.tasks.grids.PATIENCE", 2000)
    with pytest.raises(GramError, match=r"emptysudoku4: generator: boards: 288 were found"):
        made("emptysudoku4", boards=289).examples()


def test_text_is_read_and_written() -> None:
    task = made("sudoku4")
    assert isinstance(task, Sudoku)
    puzzle = task.parse("1..4/..1./.1../4..1")
    assert task.parse("1 . . 4\n. . 1 .\n. 1 . .\n4 . . 1").tolist() == puzzle.tolist()
    assert puzzle[:4].tolist() == [FIRST_DIGIT, BLANK, BLANK, FIRST_DIGIT + 3]
    assert (
        task.describe(puzzle) == "4x4 Sudoku with 6 given cells"
        and task.contradiction(puzzle) == ""
    )
    for solution in task.completions(puzzle):
        assert task.is_valid(puzzle[None], solution[None]).all()
        assert task.parse(task.format(puzzle, solution)).tolist() == solution.tolist()
    wrong = task.parse("11../..../..../....")
    assert "the digit 1 stands in row 1, column 1 and in row 1, column 2" in task.contradiction(
        wrong
    )
    assert len(task.completions(wrong)) == 0
    assert len(task.completions(task.parse("..../..../..../...."))) == 288
    assert "gives 0 cells" in task.unfamiliar(task.parse("..../..../..../...."))
    for text, message in (
        ("1..5/..../..../....", "row 1: '5' is neither . (a blank cell) nor a digit up to 4"),
        ("1.../..../...", "3 rows; a Sudoku has 4x4, 6x6, 9x9 cells"),
        ("1.../...../..../....", "row 2 has 5 cells, but there are 4 rows"),
    ):
        with pytest.raises(GramError) as error:
            task.parse(text)
        assert message in str(error.value)
