"""How much memory the judging of many answers takes.

``python -m tests.test_memory 100000`` judges 20 answers to each of as many 9x9 boards, and prints
the peak of its memory in bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from gram.data.splits import Split, write_table
from gram.evaluate.evaluation import draw, samples_table
from gram.evaluate.judges import JUDGES
from gram.evaluate.scoring import score
from gram.models.network import Given, Read, State
from gram.settings import EvaluateConfig
from gram.system.provenance import peak_memory_bytes
from gram.tasks.grids import BLANK, FIRST_DIGIT, Grids
from gram.tasks.sudoku import SudokuRules

ROOT = Path(__file__).parents[1]


class Rules(SudokuRules):
    """A task of any number of puzzles."""

    complete = True


class Guesser:
    """Stands in for a network: it fills the one blank cell of a board by chance."""

    samples = True

    def __init__(self, digits: int) -> None:
        self.digits = digits

    def initial_state(self, rows: int, generator: torch.Generator) -> State:
        zeros = torch.zeros(rows, 1, 1)
        return State(zeros, zeros)

    def draw_noise(self, rows: int, generator: torch.Generator) -> None:
        return None

    def roll(self, state: State, given: Given, *, generator: torch.Generator, **_: Any) -> Read:
        shape = given.tokens.shape
        guess = torch.randint(FIRST_DIGIT, FIRST_DIGIT + self.digits, shape, generator=generator)
        tokens = torch.where(given.tokens == BLANK, guess, given.tokens)
        rows = len(tokens)
        return Read(state, tokens, torch.zeros(rows), torch.zeros(rows, dtype=torch.bool))


def puzzles(n: int, boards: int) -> Split:
    """Boards of n x n with one blank cell each: one board, its digits named otherwise."""
    rng = np.random.default_rng(0)
    board = Grids("boards", n).drawn(Random(0))
    digits = rng.random((boards, n)).argsort(axis=1)
    answers = (FIRST_DIGIT + digits[:, board - FIRST_DIGIT]).astype(np.uint8)
    inputs = answers.copy()
    inputs[np.arange(boards), rng.integers(n * n, size=boards)] = BLANK
    return Split(np.arange(boards), inputs, answers, np.arange(boards + 1), md5="")


def judged(n: int, boards: int, width: int) -> dict[str, Any]:
    """What is judged of answers to boards of n x n, with the table of all samples written."""
    task: Any = Rules(f"boards{n}", n)
    model: Any = Guesser(n)
    split = puzzles(n, boards)
    config = EvaluateConfig(depth=1, width=width)
    drawn = draw(model, split, config, torch.Generator().manual_seed(0))
    judge = JUDGES["exact"](split, {})
    scored = score(task, split, drawn, judge)
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "samples.parquet", samples_table(split, drawn, scored))
    found: dict[str, Any] = judge.sections(scored, independent=True)["metrics"]
    return found


def test_no_array_has_a_row_and_a_column_for_every_sample() -> None:
    """A few hundred bytes are kept of a sample, however many an input has: 400 x 400 x 100 numbers
    would be 16 million.
    """
    judged(4, 2, 5)  # what is imported and compiled on the way does not count
    tracemalloc.start()
    try:
        found = judged(4, 100, 400)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["accuracy"]["value"] == pytest.approx(1 / 4, abs=0.02)
    assert found["accuracy_best"]["value"] == 1
    assert peak < 400 * 100 * 400


@pytest.mark.slow
def test_a_hundred_thousand_boards_are_judged_in_less_than_2_gb() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.test_memory", "100000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 2e9


if __name__ == "__main__":
    judged(9, int(sys.argv[1]), 20)
    print(peak_memory_bytes(torch.device("cpu")))
