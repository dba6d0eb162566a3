"""``python -m gram.draw``: boards from nothing, and how many were drawn for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gram.data.splits import build, load_split
from gram.figures import draw, solve

Command = Callable[..., Any]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def chosen() -> solve.Run:
    """The kept run of 4x4."""
    return solve.choose(draw.FAMILY, 4)


@pytest.fixture(scope="module")
def data(chosen: solve.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its data set."""
    folder = tmp_path_factory.mktemp("data")
    build(chosen.settings.data, folder)
    return folder


def test_boards_are_drawn_as_an_evaluation_draws_them(chosen: solve.Run) -> None:
    """Valid ones mostly, as the kept run's evaluation says, and the same twice."""
    boards = draw.draw(chosen, 50, None, 0, CPU)
    assert boards.tokens.shape == (50, 16) and boards.depth == chosen.config.depth
    assert boards.valid.sum() > 45 and len(np.unique(boards.tokens, axis=0)) > 40
    assert (boards.tokens == draw.draw(chosen, 50, None, 0, CPU).tokens).all()
    assert (boards.tokens != draw.draw(chosen, 50, None, 1, CPU).tokens).any()


def test_what_is_printed(command: Command, chosen: solve.Run, data: Path) -> None:
    done = command(draw.main, 4, "--samples", 6, "--data", data)
    boards = draw.draw(chosen, 6, None, 0, CPU)
    valid = boards.tokens[boards.valid]
    known = {board.tobytes() for board in load_split(data, "train").completions}
    seen = sum(board.tobytes() in known for board in valid)
    assert done.code == 0 and "network: emptysudoku4 gram seed 0" in done.out
    assert "valid answers 100.0 %" in done.out
    assert f"drawn: 6 boards of 16 supervision steps each; valid: {len(valid)}" in done.out
    assert f"in training: {seen} of these" in done.out
    lines = [line for b in valid for line in chosen.task.format(boards.puzzle, b).splitlines()]
    assert len(lines) == 4 * len(valid) and all(line in done.out for line in lines)
    short = command(draw.main, 4, "--samples", 2, "--depth", 1)
    assert "in training: not looked up (--data results/data/emptysudoku4" in short.out
    assert "drawn: 2 boards of 1 supervision steps each" in short.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([5], "no weights are kept for emptysudoku5 (kept: "),
        ([4, "--samples", 0], "--samples: 0 is less than 1"),
        ([4, "--depth", -1], "--depth: -1 is less than 1"),
        ([4, "--run", "no/such/folder"], "no/such/folder: holds no config.json"),
    ],
)
def test_slips_are_one_line(command: Command, arguments: list[Any], message: str) -> None:
    done = command(draw.main, *arguments)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1


def test_a_run_that_completes_puzzles_and_another_data_set_are_refused(
    command: Command, gram_run: Path, data_folder: Path
) -> None:
    done = command(draw.main, "--run", gram_run)
    assert "nqueens5 does not draw from nothing; python -m gram.solve asks it" in done.err
    done = command(draw.main, 4, "--samples", 1, "--data", data_folder)
    assert "not the data set that" in done.err and done.code == 2
