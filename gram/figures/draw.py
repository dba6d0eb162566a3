"""``python -m gram.draw``: Sudoku boards from nothing, drawn by a trained network.

    python -m gram.draw 6

Every board is one rollout of the prior from an empty grid. Nothing tells the network whether what
it drew is right; that is decided afterwards, by the rules.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gram.data.splits import load_split
from gram.figures.solutions import draw_solutions
from gram.figures.solve import (
    WIDTH,
    Run,
    choose,
    describe_run,
    draw_steps,
    drawing_arguments,
    load,
    network,
    side_by_side,
)
from gram.figures.style import write
from gram.runs.trained import read_trained
from gram.system.errors import GramError, Parser, run
from gram.system.provenance import choose_device
from gram.tasks import FromNothing, Tokens

FAMILY = "emptysudoku"
SAMPLES = 8


class Boards(NamedTuple):
    """What was drawn.

    Attributes:
        puzzle: [L], the empty board.
        tokens: [W, L_out], an answer for each sample.
        valid: [W].
        depth: supervision steps of each.
    """

    puzzle: Tokens
    tokens: Tokens
    valid: NDArray[np.bool_]
    depth: int


def draw(chosen: Run, samples: int, depth: int | None, seed: int, device: torch.device) -> Boards:
    """Draw boards; the same for the same arguments on the same machine.

    Args:
        chosen: the run that is asked.
        samples: how many.
        depth: supervision steps of each, by default as the run was evaluated.
        seed: of the noise.
        device: where the network runs.

    Raises:
        GramError: a run of a task whose inputs say something.
    """
    task = chosen.task
    if not isinstance(task, FromNothing):
        raise GramError(
            f"{chosen.folder}: {task.name} does not draw from nothing; python -m gram.solve asks it"
        )
    puzzle = task.nothing
    model = network(chosen, device)
    drawn = draw_steps(chosen, model, puzzle, samples=samples, depth=depth, seed=seed)
    tokens = drawn.tokens[-1]
    inputs = np.tile(puzzle, (len(tokens), 1))
    return Boards(puzzle, tokens, task.is_valid(inputs, tokens), len(drawn.tokens))


def seen_in(data: Path, chosen: Run, tokens: Tokens) -> int:
    """How many answers [W, L_out] are boards that a run was trained on.

    Args:
        data: folder of the run's data set.
        chosen: the run.
        tokens: the answers.

    Raises:
        GramError: another data set than that of the training.
    """
    train = load_split(data, "train")
    if train.md5 != read_trained(chosen.folder).meta["data_md5"]["train"]:
        raise GramError(f"{data}: not the data set that {chosen.folder} was trained on")
    known = {board.tobytes() for board in train.completions}
    return sum(board.tobytes() in known for board in tokens)


def report(chosen: Run, boards: Boards, data: Path | None) -> str:
    """What is printed: the valid boards, and how many were drawn for them."""
    valid = boards.tokens[boards.valid]
    where = f"results/data/{chosen.settings.task}"
    new = (
        f"in training: not looked up (--data {where}, once `snakemake {where}/card.json` made it)"
        if data is None
        else f"in training: {seen_in(data, chosen, valid)} of these"
    )
    lines = [
        *textwrap.wrap(describe_run(chosen), WIDTH, subsequent_indent="  ", break_on_hyphens=False),
        f"  from {os.path.relpath(chosen.folder)}",
        f"drawn: {len(boards.tokens)} boards of {boards.depth} supervision steps each; valid:"
        f" {len(valid)}; different ones: {len(np.unique(valid, axis=0))}",
        new,
        "",
    ]
    shown = [chosen.task.format(boards.puzzle, board).splitlines() for board in valid]
    return "\n".join(lines + side_by_side(shown)).strip()


def main() -> None:
    """Draw Sudoku boards from nothing with a trained network: those that are valid, and how many
    were drawn for them.
    """
    parser = Parser(prog="python -m gram.draw", description=main.__doc__)
    parser.add_argument(
        "size", type=int, nargs="?", default=6, help="rows of a board (default: %(default)s)"
    )
    parser.add_argument(
        "--run", type=Path, help="folder of a trained run (default: a kept one of that size)"
    )
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, help="how many are drawn (default: %(default)s)"
    )
    parser.add_argument("--data", type=Path, help="folder of its data set: which are in training?")
    args = drawing_arguments(parser)
    chosen = load(args.run) if args.run else choose(FAMILY, args.size)
    device = choose_device(args.device)
    boards = draw(chosen, args.samples, args.depth, args.seed, device)
    print(report(chosen, boards, args.data))
    if args.picture:
        titled = [(board, "") for board in boards.tokens[boards.valid]]
        write(draw_solutions(chosen.task, boards.puzzle, titled), args.picture)


if __name__ == "__main__":
    run(main)
