"""``python -m gram.figures``: one figure as SVG and PNG."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from gram.figures.boards import Answers, load_task, read_samples, test_inputs
from gram.figures.declared import Drawing, Shown, declared
from gram.figures.style import add_note, save
from gram.runs.trained import META
from gram.system.errors import GramError, Parser, run
from gram.system.files import named
from gram.system.shapes import read_evaluation, read_meta
from gram.tables.evaluations import read_evaluations, unfinished_note
from gram.tables.reported import read_figure4

MOST_BOARDS = 100  # side by side: more than a page can show


def add_options(parser: argparse.ArgumentParser, shown: Shown) -> None:
    """The options that name what a figure is made of."""
    if shown.of == "histories":
        text = "history.jsonl files, each beside its meta.json"
        parser.add_argument("--histories", type=Path, nargs="+", required=True, help=text)
    elif shown.of == "samples":
        parser.add_argument(
            "--samples",
            nargs=2,
            required=True,
            metavar="METHOD=FILE",
            help="gram=FILE deterministic=FILE (Parquet)",
        )
        text = "folder of the data set; with folds all of them"
        parser.add_argument("--data", type=Path, nargs="+", required=True, help=text)
        parser.add_argument("--rows", type=int, default=4, help="inputs that are shown")
        text = "completions that are shown per input, at most"
        parser.add_argument("--columns", type=int, default=5, help=text)
    else:
        name = "test" if shown.of == "evaluations" else shown.of
        text = f"{name}.json of each run, its folds together or one by one"
        parser.add_argument("--evaluations", type=Path, nargs="+", required=True, help=text)
    if shown.paper:
        text = f"the paper's points beside: {shown.paper}"
        parser.add_argument("--reported", type=Path, help=text)


def draw(figure: Drawing, args: argparse.Namespace) -> None:
    """Read what a figure is made of, draw it, and write it.

    Raises:
        GramError: a missing or broken file, or files that do not belong together.
    """
    if figure.shown.of == "histories":
        read: list[Any] = [args.histories]
        runs = [read_meta(path.with_name(META)) for path in args.histories]
    elif figure.shown.of == "samples":
        read = [answers(args)]
        beside = [json_beside(argument.partition("=")[2]) for argument in args.samples]
        runs = [read_evaluation(path)["run"] for path in beside if path.is_file()]
    else:
        read = [read_evaluations(args.evaluations, figure.sections, figure.split)]
        runs = [evaluation["run"] for evaluation in read[0]]
    if figure.shown.paper and args.reported:
        read.append((figure.papers or read_figure4)(args.reported))
    drawn = figure.draw(*read)
    add_note(drawn, unfinished_note(runs))
    save(drawn, args.output)


def json_beside(samples: str) -> Path:
    """The evaluation that wrote a file of samples."""
    return Path(f"{samples.removesuffix('.samples.parquet')}.json")


def answers(args: argparse.Namespace) -> Answers:
    """The samples of GRAM and its twin, with what they answer.

    Raises:
        GramError: a malformed --samples, or files that do not belong together.
    """
    samples = dict(argument.partition("=")[::2] for argument in args.samples)
    if sorted(samples) != ["deterministic", "gram"] or not all(samples.values()):
        raise GramError(
            f"--samples {' '.join(args.samples)}: expected gram=FILE deterministic=FILE"
        )
    if not (1 <= args.rows <= MOST_BOARDS and 1 <= args.columns <= MOST_BOARDS):
        raise GramError(f"--rows and --columns must be from 1 to {MOST_BOARDS}")
    task = load_task(args.data)
    tables = {method: read_samples(Path(path)) for method, path in samples.items()}
    inputs = test_inputs(args.data)
    return Answers(task, inputs, tables["gram"], tables["deterministic"], args.rows, args.columns)


def main() -> None:
    """Draw one figure; OUTPUT is a path without extension, to which .svg and .png are added."""
    parser = Parser(prog="python -m gram.figures", description=main.__doc__)
    figures = parser.add_subparsers(dest="figure", required=True)
    known = declared()
    for name, found in known.items():
        one = figures.add_parser(name, help=found.shown.drawn.format(task="a task"))
        add_options(one, found.shown)
        one.add_argument("--output", type=named, required=True, help="path without extension")
    args = parser.parse_args()
    module = importlib.import_module(known[args.figure].module)
    draw(module.FIGURES[args.figure], args)


if __name__ == "__main__":
    run(main)
