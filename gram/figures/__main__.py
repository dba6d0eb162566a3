"""``python -m gram.figures``: one figure as SVG and PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

from gram.data import read_table
from gram.errors import GramError, run
from gram.figures.boards import board_rows, draw_boards, load_task, test_inputs
from gram.figures.curves import completions_data, draw_completions, draw_width, width_data
from gram.figures.style import save
from gram.figures.training import draw_training, training_data
from gram.tables.evaluations import read_evaluations


def boards(args: argparse.Namespace) -> None:
    """The board figure from its arguments.

    Raises:
        GramError: a malformed --samples, or files that do not belong together.
    """
    samples = dict(argument.partition("=")[::2] for argument in args.samples)
    if sorted(samples) != ["deterministic", "gram"] or not all(samples.values()):
        raise GramError(f"--samples {' '.join(args.samples)}: expected gram=FILE deterministic=FILE")
    if args.rows < 1 or args.columns < 1:
        raise GramError("--rows and --columns must be at least 1")
    task = load_task(args.data)
    tables = {method: read_table(Path(path)) for method, path in samples.items()}
    rows = board_rows(test_inputs(args.data), tables["gram"], tables["deterministic"], args.rows)
    save(draw_boards(task, rows, args.columns), args.output)


def main() -> None:
    """Draw one figure; OUTPUT is a path without extension, to which .svg and .png are added."""
    parser = argparse.ArgumentParser(prog="python -m gram.figures", description=main.__doc__)
    figures = parser.add_subparsers(dest="figure", required=True)
    training = figures.add_parser("training", help="prior rollouts and losses against optimizer steps")
    training.add_argument("--histories", type=Path, nargs="+", required=True, help="history.jsonl files, each beside its meta.json")
    for name, text in (("completions", "against the number of completions"), ("width", "against the number of samples")):
        curves = figures.add_parser(name, help=f"accuracy and coverage {text}")
        curves.add_argument(
            "--evaluations", type=Path, nargs="+", required=True, help="test evaluations; with folds the pooled ones"
        )
    board = figures.add_parser("boards", help="inputs, GRAM's distinct completions, and the deterministic twin's answer")
    board.add_argument("--samples", nargs=2, required=True, metavar="METHOD=FILE", help="gram=FILE deterministic=FILE (Parquet)")
    board.add_argument("--data", type=Path, nargs="+", required=True, help="folder of the data set; with folds all of them")
    board.add_argument("--rows", type=int, default=4, help="inputs that are shown")
    board.add_argument("--columns", type=int, default=5, help="completions that are shown per input, at most")
    for figure in figures.choices.values():
        figure.add_argument("--output", type=Path, required=True, help="path without extension")
    args = parser.parse_args()
    if args.figure == "training":
        save(draw_training(training_data(args.histories)), args.output)
    elif args.figure == "completions":
        save(draw_completions(completions_data(read_evaluations(args.evaluations))), args.output)
    elif args.figure == "width":
        save(draw_width(width_data(read_evaluations(args.evaluations))), args.output)
    else:
        boards(args)


if __name__ == "__main__":
    run(main)
