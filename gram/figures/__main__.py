"""``python -m gram.figures``: one figure as SVG and PNG."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from gram.figures.boards import board_rows, draw_boards, load_task, read_samples, test_inputs
from gram.figures.carried import SECTIONS as CARRIED
from gram.figures.carried import carried_data, draw_carried
from gram.figures.curves import completions_data, draw_completions, draw_width, width_data
from gram.figures.elbo import draw_elbo, elbo_data
from gram.figures.samplers import SECTIONS as COMPARISON
from gram.figures.samplers import draw_samplers, samplers_data
from gram.figures.scaling import SECTIONS as SCALING
from gram.figures.scaling import draw_halting, draw_scaling, halting_data, scaling_data
from gram.figures.style import add_note, save
from gram.figures.training import draw_training, training_data
from gram.runs.trained import META
from gram.system.errors import GramError, Parser, run
from gram.system.files import named
from gram.system.shapes import read_evaluation, read_meta
from gram.tables.evaluations import read_evaluations, unfinished_note
from gram.tables.reported import read_figure4

MOST_BOARDS = 100  # side by side: more than a page can show


class OfEvaluations(NamedTuple):
    """A figure of evaluations.

    Attributes:
        text: what it shows.
        sections: of the JSON that it needs.
        data: from JSON contents to what is drawn.
        draw: from that to the figure.
        split: that the evaluations are of.
        reads_reported: whether its data can be shown with what the paper's Figure 4 shows.
    """

    text: str
    sections: Sequence[str]
    data: Callable[..., Any]
    draw: Callable[..., Any]
    split: str = "test"
    reads_reported: bool = False


OF_EVALUATIONS: dict[str, OfEvaluations] = {
    "completions": OfEvaluations(
        "accuracy and coverage against the number of completions",
        ("by_completions",),
        completions_data,
        draw_completions,
        reads_reported=True,
    ),
    "width": OfEvaluations(
        "coverage against the number of samples", ("by_width",), width_data, draw_width
    ),
    "scaling": OfEvaluations(
        "accuracy over depth and width, from gram.scaling", SCALING, scaling_data, draw_scaling
    ),
    "halting": OfEvaluations(
        "the step at which trajectories halt, from gram.scaling",
        SCALING,
        halting_data,
        draw_halting,
    ),
    "carried": OfEvaluations(
        "the KL of every supervision step, from gram.carried",
        CARRIED,
        carried_data,
        draw_carried,
        split="train",  # a diagnosis of training, whose trajectories see the targets
    ),
    "samplers": OfEvaluations(
        "coverage of every sampler, from gram.compare_samplers",
        COMPARISON,
        samplers_data,
        draw_samplers,
    ),
}


def boards(args: argparse.Namespace) -> None:
    """The board figure from its arguments.

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
    rows = board_rows(test_inputs(args.data), tables["gram"], tables["deterministic"], args.rows)
    figure = draw_boards(task, rows, args.columns)
    beside = [json_beside(Path(path)) for path in samples.values()]
    runs = [read_evaluation(path)["run"] for path in beside if path.is_file()]
    add_note(figure, unfinished_note(runs))
    save(figure, args.output)


def json_beside(samples: Path) -> Path:
    """The evaluation that wrote a file of samples."""
    return samples.with_name(f"{samples.name.removesuffix('.samples.parquet')}.json")


def noted(figure: Figure, histories: Sequence[Path]) -> Figure:
    """A figure of histories that says which of the runs are unfinished."""
    add_note(figure, unfinished_note([read_meta(path.with_name(META)) for path in histories]))
    return figure


def main() -> None:
    """Draw one figure; OUTPUT is a path without extension, to which .svg and .png are added."""
    parser = Parser(prog="python -m gram.figures", description=main.__doc__)
    figures = parser.add_subparsers(dest="figure", required=True)
    for name, text in (
        ("training", "prior rollouts and losses"),
        ("elbo", "the full ELBO and the surrogate"),
    ):
        runs = figures.add_parser(name, help=f"{text} against optimizer steps")
        runs.add_argument(
            "--histories",
            type=Path,
            nargs="+",
            required=True,
            help="history.jsonl files, each beside its meta.json",
        )
    for name, of_evaluations in OF_EVALUATIONS.items():
        curves = figures.add_parser(name, help=of_evaluations.text)
        curves.add_argument(
            "--evaluations",
            type=Path,
            nargs="+",
            required=True,
            help=f"JSON of the {of_evaluations.split} split, of all folds",
        )
        if of_evaluations.reads_reported:
            curves.add_argument(
                "--reported", type=Path, help="the paper's points beside: resources/figure4.csv"
            )
    board = figures.add_parser(
        "boards", help="inputs, GRAM's distinct completions, and the deterministic twin's answer"
    )
    board.add_argument(
        "--samples",
        nargs=2,
        required=True,
        metavar="METHOD=FILE",
        help="gram=FILE deterministic=FILE (Parquet)",
    )
    board.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        help="folder of the data set; with folds all of them",
    )
    board.add_argument("--rows", type=int, default=4, help="inputs that are shown")
    board.add_argument(
        "--columns", type=int, default=5, help="completions that are shown per input, at most"
    )
    for figure in figures.choices.values():
        figure.add_argument("--output", type=named, required=True, help="path without extension")
    args = parser.parse_args()
    if args.figure == "training":
        save(noted(draw_training(training_data(args.histories)), args.histories), args.output)
    elif args.figure == "elbo":
        save(noted(draw_elbo(elbo_data(args.histories)), args.histories), args.output)
    elif args.figure in OF_EVALUATIONS:
        chosen = OF_EVALUATIONS[args.figure]
        evaluations = read_evaluations(args.evaluations, chosen.sections, chosen.split)
        reported = args.reported if chosen.reads_reported else None
        papers = [read_figure4(reported)] if reported else []
        figure = chosen.draw(chosen.data(evaluations, *papers))
        add_note(figure, unfinished_note([one["run"] for one in evaluations]))
        save(figure, args.output)
    else:
        boards(args)


if __name__ == "__main__":
    run(main)
