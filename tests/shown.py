"""``python -m tests.shown FOLDER``: every table and figure that the kept runs can give.

Made by two versions of the code, the folders are compared with ``diff -r``: what is to change
nothing must leave every byte of them. That takes a minute on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

import gram.figures.__main__ as figures
import gram.figures.solve as solve
import gram.tables.__main__ as tables
from gram.figures import boards, solutions
from gram.figures.style import save
from gram.settings.config import split_fold
from gram.settings.tasks import family_of
from gram.tasks import Task, make_task

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "resources/reference_runs"
REPORTED = ROOT / "resources/reported.csv"
FIGURE4 = ROOT / "resources/figure4.csv"
# What is made of other files than test.json, and of which.
OF_OTHERS = {
    "scaling": "scaling.json",
    "halting": "scaling.json",
    "samplers": "samplers.json",
    "carried": "carried.json",
}
BOARD = "Q....../......./......./......./......./......./......."


def call(main: Callable[[], None], *arguments: object) -> None:
    """A command, in this process."""
    sys.argv = ["shown", *map(str, arguments)]
    main()


def write_tables(kind: Path, out: Path) -> None:
    """The table of a folder of kept runs, in all formats, and its costs."""
    evaluations = sorted(kind.glob("eval/*/*/seed*/test.json"))
    name = "table3" if kind.name == "ablations" else "table1"
    if evaluations:
        common = ("--evaluations", *evaluations, "--reported", REPORTED)
        call(tables.main, name, *common, "--output", out / name)
    metas = sorted(kind.glob("runs/*/*/seed*/meta.json"))
    call(
        tables.main,
        "costs",
        "--metas",
        *metas,
        "--ledger",
        out / "none",
        "--output",
        out / "all.costs",
    )


def write_figures(kind: Path, out: Path) -> None:
    """The figures of every task in a folder of kept runs."""
    for folder in sorted(kind.glob("eval/*")):
        task, out_task = folder.name, out / folder.name
        for figure in family_of(task).figures:
            if figure in ("completions", "width"):
                paths = sorted(folder.glob("*/seed*/test.json"))
                more = ("--reported", FIGURE4) if figure == "completions" else ()
                if paths:
                    asked = ("--evaluations", *paths, *more, "--output", out_task / figure)
                    call(figures.main, figure, *asked)
        for figure, name in OF_OTHERS.items():
            if paths := sorted(folder.glob(f"*/seed*/{name}")):
                asked = ("--evaluations", *paths, "--output", out_task / figure)
                call(figures.main, figure, *asked)
        histories = [
            path
            for path in sorted(kind.glob(f"runs/{task}*/*/seed*/history.jsonl"))
            if task in (path.parts[-4], split_fold(path.parts[-4])[0])
        ]
        for figure in ("training", "elbo") if histories else ():
            call(figures.main, figure, "--histories", *histories, "--output", out_task / figure)


def made_up_samples(task: Task, valid: float, draws: int, seed: int) -> pd.DataFrame:
    """Samples as an evaluation writes them, of which a share is valid."""
    examples, random = task.examples(), np.random.default_rng(seed)
    rows = []
    for number in range(len(examples.inputs)):
        first, last = examples.offsets[number : number + 2]
        for sample in range(draws):
            chosen = int(random.integers(first, last))
            tokens = examples.completions[chosen].copy()
            right = random.random() < valid
            if not right:
                tokens = random.permutation(tokens)
                right = bool(task.is_valid(examples.inputs[number][None], tokens[None])[0])
            completion = chosen - first if right else -1
            rows.append((number, sample, tokens, completion))
    return pd.DataFrame(rows, columns=["input_id", "sample", "tokens", "completion_id"])


def write_boards(out: Path) -> None:
    """The figure of boards, of made-up samples, and the pictures of ``gram.solve`` and its
    notebook.
    """
    for size in (5, 6):
        task = make_task(f"nqueens{size}", {"removed": [size - 2, size - 1]})
        examples = task.examples()
        inputs = pd.DataFrame(
            {
                "input_id": range(len(examples.inputs)),
                "board": list(examples.inputs),
                "exist": examples.counts,
            }
        ).sort_values(["exist", "input_id"], ascending=[False, True], ignore_index=True)
        gram = made_up_samples(task, 0.7, 8, size)
        twin = made_up_samples(task, 0.2, 1, size + 1)
        rows = boards.board_rows(inputs, gram, twin, 4)
        save(boards.draw_boards(task, rows, 5), out / f"boards{size}")
    call(solve.main, BOARD, "--samples", 20, "--picture", out / "solve.svg")
    chosen, puzzle = solve.read_puzzle([BOARD])
    solved = solve.solve(chosen, puzzle, samples=4, depth=4)
    drawn = solutions.draw_trajectories(chosen.task, puzzle, solved.tokens, solved.found, (1, 2, 4))
    save(drawn, out / "trajectories")
    save(solutions.draw_shares(solved.found), out / "shares")


def main() -> None:
    """Write all of it."""
    out = Path(sys.argv[1])
    for kind in sorted(path for path in KEPT.iterdir() if path.is_dir()):
        write_tables(kind, out / kind.name)
        write_figures(kind, out / kind.name)
    write_boards(out / "boards")


if __name__ == "__main__":
    main()
