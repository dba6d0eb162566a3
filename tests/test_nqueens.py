"""N-Queens: counts known from elsewhere, the enumeration against two independent oracles, the
verifier against a slow one.
"""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

import numpy as np
import pulp
import pytest

from gram.system.errors import GramError
from gram.tasks import PAD, Examples, make_task
from gram.tasks.nqueens import EMPTY, QUEEN, NQueens, solutions


@pytest.mark.parametrize(
    ("n", "count"), [(1, 1), (2, 0), (3, 0), (4, 2), (5, 10), (6, 4), (7, 40), (8, 92), (10, 724)]
)
def test_number_of_solutions(n: int, count: int) -> None:
    assert len(solutions(n)) == count


@pytest.mark.parametrize(
    ("size", "facts"), [(8, (5148, 8464, 1776, 18)), (10, (43420, 126700, 27436, 93))]
)
def test_facts_of_the_paper(
    size: int, facts: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    enumeration: Examples = request.getfixturevalue(f"enumeration{size}")
    counts = enumeration.counts
    assert (
        len(enumeration.inputs),
        len(enumeration.completions),
        (counts > 1).sum(),
        counts.max(),
    ) == facts
    assert len(np.unique(enumeration.inputs, axis=0)) == facts[0]


def test_boards_of_the_cpu_default() -> None:
    """The counts that issue and README give for 5x5 and 7x7."""
    for n, removed, inputs, several in (
        (5, [3, 4], 125, 25),
        (5, [2, 3, 4], 225, 25),
        (7, [5, 6], 677, 237),
    ):
        counts = make_task(f"nqueens{n}", {"removed": removed}).examples().counts
        assert (len(counts), (counts > 1).sum()) == (inputs, several)


def as_dict(enumeration: Examples) -> dict[bytes, set[bytes]]:
    """Input -> completions, as bytes of tokens."""
    parts = np.split(enumeration.completions, enumeration.offsets[1:-1])
    boards = map(bytes, enumeration.inputs)
    return {board: set(map(bytes, part)) for board, part in zip(boards, parts, strict=True)}


def attacks(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether queens on cells ``a`` and ``b`` attack each other."""
    return a[0] == b[0] or a[1] == b[1] or abs(a[0] - b[0]) == abs(a[1] - b[1])


def attacked(queen: tuple[int, int], queens: list[tuple[int, int]]) -> bool:
    """Whether another one of the queens attacks the one on cell ``queen``."""
    return any(attacks(queen, other) for other in queens if other != queen)


def peaceful(queens: list[tuple[int, int]]) -> bool:
    """Whether no queen attacks another."""
    return not any(attacked(queen, queens) for queen in queens)


@pytest.mark.parametrize(("n", "removed"), [(4, [1, 2, 3]), (5, [1, 3]), (6, [2, 4, 5])])
def test_enumeration_equals_brute_force(n: int, removed: list[int]) -> None:
    """All permutations, all subsets, by sets of cells: shares nothing with the package but the
    encoding of a board.
    """
    full = [list(enumerate(p)) for p in permutations(range(n))]
    full = [board for board in full if peaceful(board)]

    def encode(cells: Any) -> bytes:
        tokens = [EMPTY] * n * n
        for row, column in cells:
            tokens[row * n + column] = QUEEN
        return bytes(tokens)

    expected: dict[bytes, set[bytes]] = {}
    for board in full:
        for k in removed:
            for kept in combinations(board, n - k):
                expected.setdefault(encode(kept), set()).add(encode(board))
    enumeration = make_task(f"nqueens{n}", {"removed": removed}).examples()
    assert as_dict(enumeration) == expected
    assert len(enumeration.completions) == sum(map(len, expected.values()))  # no completion twice
    assert (enumeration.given == (enumeration.inputs == QUEEN).sum(axis=1)).all()
    rows = [tuple(row) for row in enumeration.inputs]
    assert len(set(rows)) == len(rows)


def integer_program_completions(n: int, given: np.ndarray) -> set[bytes]:
    """All completions by an integer program: solve, forbid the board that was found, solve again
    until infeasible.
    """
    cells = list(np.ndindex(n, n))
    problem = pulp.LpProblem("queens", pulp.LpMinimize)
    queen = {cell: pulp.LpVariable(f"q_{cell[0]}_{cell[1]}", cat="Binary") for cell in cells}
    for i in range(n):
        problem += pulp.lpSum(queen[cell] for cell in cells if cell[0] == i) == 1
        problem += pulp.lpSum(queen[cell] for cell in cells if cell[1] == i) == 1
    for k in range(-n, 2 * n):
        problem += pulp.lpSum(queen[cell] for cell in cells if cell[0] - cell[1] == k) <= 1
        problem += pulp.lpSum(queen[cell] for cell in cells if cell[0] + cell[1] == k) <= 1
    for cell in cells:
        if given[cell[0] * n + cell[1]] == QUEEN:
            problem += queen[cell] == 1
    found: set[bytes] = set()
    while pulp.LpStatus[problem.solve(pulp.PULP_CBC_CMD(msg=False))] == "Optimal":
        board = [cell for cell in cells if queen[cell].value() > 0.5]
        found.add(bytes(QUEEN if cell in board else EMPTY for cell in cells))
        problem += (
            pulp.lpSum(queen[cell] for cell in board) <= n - 1
        )  # a no-good cut: not this board again
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PuLP renames its CBC in version 4
@pytest.mark.parametrize(("n", "removed"), [(6, [3, 4, 5]), (7, [4, 5, 6])])
def test_enumeration_equals_an_integer_program(n: int, removed: list[int]) -> None:
    enumeration = make_task(f"nqueens{n}", {"removed": removed}).examples()
    completions = as_dict(enumeration)
    # The input with the most completions, and a spread of the others.
    chosen = {
        int(enumeration.counts.argmax()),
        *range(0, len(enumeration.inputs), len(enumeration.inputs) // 4),
    }
    for index in chosen:
        board = enumeration.inputs[index]
        assert integer_program_completions(n, board) == completions[board.tobytes()]


def slow_check(n: int, given: list[int], answer: list[int]) -> bool:
    """The rules, cell by cell."""
    if any(token not in (EMPTY, QUEEN) for token in answer):
        return False
    queens = [divmod(i, n) for i, token in enumerate(answer) if token == QUEEN]
    if len(queens) != n or any(attacks(a, b) for a, b in combinations(queens, 2)):
        return False
    return all(answer[i] == QUEEN for i, token in enumerate(given) if token == QUEEN)


def mutants(
    task: NQueens, enumeration: Examples, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Named pairs of inputs and answers: right ones, and every way of being wrong."""
    owner = np.repeat(np.arange(len(enumeration.inputs)), enumeration.counts)
    rows = rng.choice(len(owner), size=60, replace=False)
    inputs, right = enumeration.inputs[owner[rows]], enumeration.completions[rows]
    every = np.arange(len(rows))
    queen = np.array([rng.choice(np.flatnonzero(answer == QUEEN)) for answer in right])
    empty = np.array([rng.choice(np.flatnonzero(answer == EMPTY)) for answer in right])
    given = np.array([rng.choice(np.flatnonzero(board == QUEEN)) for board in inputs])

    def put(*changes: tuple[np.ndarray, int]) -> np.ndarray:
        answers = right.copy()
        for cells, token in changes:
            answers[every, cells] = token
        return answers

    boards = task.encode(solutions(task.n))
    other = np.stack([boards[np.flatnonzero(boards[:, cell] == EMPTY)[0]] for cell in given])
    return {
        "right": (inputs, right),
        "moved queen": (inputs, put((queen, EMPTY), (empty, QUEEN))),
        "missing queen": (inputs, put((queen, EMPTY))),
        "extra queen": (inputs, put((empty, QUEEN))),
        "padding for an empty cell": (inputs, put((empty, PAD))),
        "padding for a queen": (inputs, put((queen, PAD))),
        "a solution without the given queen": (inputs, other),
        "the input itself": (inputs, inputs),
        "noise": (inputs, rng.integers(0, 3, right.shape).astype(np.uint8)),
        "a random permutation": (
            inputs,
            task.encode(np.array([rng.permutation(task.n) for _ in rows])),
        ),
    }


@pytest.mark.parametrize("n", [5, 6, 7])
def test_verifier_equals_the_slow_one(n: int) -> None:
    task = make_task(f"nqueens{n}", {"removed": [2, 3]})
    assert isinstance(task, NQueens)
    for name, (inputs, answers) in mutants(task, task.examples(), np.random.default_rng(n)).items():
        valid = task.is_valid(inputs, answers)
        assert valid.tolist() == [
            slow_check(n, *pair) for pair in zip(inputs.tolist(), answers.tolist(), strict=True)
        ], name
        if name != "a random permutation":  # which may happen to be right
            assert valid.all() if name == "right" else not valid.any(), name


def test_a_queen_lies_at_its_row_and_column() -> None:
    task = NQueens("nqueens4", 4, [1])
    columns = np.array([[1, 3, 0, 2]])
    queens = np.flatnonzero(task.encode(columns)[0] == QUEEN)
    assert task.coordinates[queens].tolist() == [
        [row, column] for row, column in enumerate(columns[0].tolist())
    ]


def test_conflicts_are_the_attacked_queens() -> None:
    task = make_task("nqueens6", {"removed": [2]})
    assert isinstance(task, NQueens)
    boards = (
        np.random.default_rng(0)
        .choice([PAD, EMPTY, QUEEN], p=[0.1, 0.75, 0.15], size=(80, 36))
        .astype(np.uint8)
    )
    for board, conflicts in zip(boards, task.conflicts(boards), strict=True):
        queens = [divmod(i, 6) for i in np.flatnonzero(board == QUEEN)]
        expected = {queen for queen in queens if attacked(queen, queens)}
        assert {tuple(cell) for cell in np.argwhere(conflicts).tolist()} == expected


@pytest.mark.parametrize(
    ("name", "generator", "message"),
    [
        ("nqueens3", {"removed": [1]}, "3 queens on a 3x3 board have no solution"),
        ("nqueens2", {"removed": [1]}, "2 queens on a 2x2 board have no solution"),
        ("nqueens5", {"removed": [5]}, "removed: 5 is not between 1 and 4"),
        ("nqueens5", {"removed": [2, 9]}, "removed: 9 is not between 1 and 4"),
        ("nqueens5", {"removed": [0]}, "removed: 0 is less than 1"),
        ("nqueens5", {"removed": [-1]}, "removed: -1 is less than 1"),
        ("nqueens5", {"removed": []}, "removed: [] is not a list with at least one value"),
        ("nqueens5", {"removed": 3}, "removed: 3 is not a list with at least one value"),
        ("nqueens5", {"removed": [2.0]}, "removed: 0: 2.0 is not of type int"),
        ("nqueens5", {"removed": [True]}, "removed: 0: True is not of type int"),
        ("nqueens5", {}, "removed: missing; give a list of counts"),
        ("nqueens5", {"removed": [2], "kept": [1]}, "unknown key 'kept'; known keys: removed"),
        ("nqeens5", {"removed": [2]}, "did you mean 'nqueens5'?"),
        ("nqueens", {"removed": [2]}, "did you mean 'nqueens8'?"),
    ],
)
def test_impossible_settings_are_refused_with_task_and_key(
    name: str, generator: dict[str, Any], message: str
) -> None:
    with pytest.raises(GramError) as error:
        make_task(name, generator)
    assert name in str(error.value) and message in str(error.value)
