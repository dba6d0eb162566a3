"""``python -m gram.tables``: a table of the paper beside the measured values.

Also ``costs``, what the runs took, and ``summary``, the result in a few lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from gram.system import files
from gram.system.code_version import present_code
from gram.system.errors import GramError, Parser, run
from gram.tables.comparison import compare_tasks
from gram.tables.costs import costs, costs_document, read_ledger, read_metas
from gram.tables.ending import last_lines
from gram.tables.evaluations import read_evaluations
from gram.tables.layout import document
from gram.tables.overridden import EXPERIMENTS, with_settings
from gram.tables.paper import paper_table, paper_tables
from gram.tables.reference import Runs, runs_of
from gram.tables.render import latex, markdown, standalone_html
from gram.tables.reported import read_others
from gram.tables.rows import Run, whole_table
from gram.tables.summary import restructured_text, summarized


def run_of(text: str) -> Run:
    """A run from its name.

    Raises:
        GramError: not of the form task/method/seed0.
    """
    match = re.fullmatch(r"([^/]+)/([^/]+)/seed(\d+)", text)
    if not match:
        raise GramError(f"--failed {text}: expected {{task}}/{{method}}/seed{{seed}}")
    return match[1], match[2], int(match[3])


def measured_table(
    name: str,
    evaluations: list[Path],
    reported: Path,
    failed: Sequence[Run] = (),
    experiments: Path = EXPERIMENTS,
) -> tuple[pd.DataFrame, dict[tuple[str, str], Runs]]:
    """The long table, and the runs in it with their metas; see :func:`write_table`."""
    read = read_evaluations(evaluations)
    runs = runs_of(evaluations, read)
    table = whole_table(name, read, reported, present_code, failed)
    return with_settings(table, runs, experiments), runs


def write_table(
    name: str,
    evaluations: list[Path],
    reported: Path,
    stem: Path,
    failed: Sequence[Run] = (),
    options: str = "",
    experiments: Path = EXPERIMENTS,
) -> None:
    """Write ``stem`` with .csv, .md, .tex and .html, and in short with .summary.json and
    .summary.rst.

    Args:
        name: of a table in ``resources/paper.yaml``.
        evaluations: JSON files by gram.evaluate or gram.pool.
        reported: the paper's numbers.
        stem: path without extension.
        failed: the runs that ended with an error.
        options: of the snakemake command, which the summary notes.
        experiments: the folder whose settings are not marked as overridden.

    Raises:
        GramError: evaluations that cannot stand in one table, or a file that cannot be read or
            written.
    """
    table, runs = measured_table(name, evaluations, reported, failed, experiments)
    in_paper = set(table.loc[table["paper_mean"].notna(), "task"])
    asked = {*(task for task, _ in runs), *(task for task, _, _ in failed)}
    known = paper_table(name)
    page = document(
        table,
        known.title if in_paper & asked or known.alone is None else known.alone,
        others=read_others(reported) if known.others else (),
        compared={task: one.said() for task, one in compare_tasks(runs).items()},
    )
    short = summarized(table, runs, failed, options)
    text = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    for suffix, content in (
        (".csv", text),
        (".md", markdown(page)),
        (".tex", latex(page)),
        (".html", standalone_html(page)),
        (".summary.rst", restructured_text(short)),
    ):
        files.write_text(stem.parent / f"{stem.name}{suffix}", content)
    files.write_json(stem.parent / f"{stem.name}.summary.json", short.as_json())


def write_costs(metas: list[Path], ledger: Path, stem: Path) -> None:
    """Write ``stem`` with .csv, .md and .html: what the runs of a table took, and what was paid for
    them.

    Args:
        metas: meta.json of each run.
        ledger: of the RunPod executor; it need not exist.
        stem: path without extension; up to its last dot it names the table.

    Raises:
        GramError: a file that cannot be read or written.
    """
    table = costs(read_metas(metas), read_ledger(ledger))
    page = costs_document(table, stem.stem, ledger)
    text = table.to_csv(index=False, float_format="%.6f", lineterminator="\n")
    for suffix, content in (
        (".csv", text),
        (".md", markdown(page)),
        (".html", standalone_html(page)),
    ):
        files.write_text(stem.parent / f"{stem.name}{suffix}", content)


def main() -> None:
    """Write a table as csv (long form, percentages), md, tex (needs booktabs and graphicx; not of
    costs) and html.
    """
    parser = Parser(prog="python -m gram.tables", description=main.__doc__)
    tables = parser.add_subparsers(dest="table", required=True)
    for name, known in paper_tables().items():
        one = tables.add_parser(name, help=known.help)
        one.add_argument(
            "--evaluations",
            type=Path,
            nargs="*",
            required=True,
            help="test evaluations; with folds the pooled ones",
        )
        one.add_argument(
            "--failed",
            type=run_of,
            nargs="*",
            default=[],
            help="runs to mark as failed, as task/method/seed0",
        )
        one.add_argument(
            "--reported",
            type=Path,
            required=True,
            help="the paper's numbers: resources/reported.csv",
        )
        one.add_argument(
            "--output",
            type=files.named,
            required=True,
            help=(
                "path without extension: .csv, .md, .tex and .html are added, .summary.json and"
                " .rst"
            ),
        )
        one.add_argument(
            "--options",
            default="",
            help="options of the snakemake command that asks for the table; noted in its summary",
        )
    summary = tables.add_parser(
        "summary", help="print a table's result in a few lines, and where it lies"
    )
    summary.add_argument(
        "--layout", choices=paper_tables(), required=True, help="how it is laid out"
    )
    summary.add_argument("--evaluations", type=Path, nargs="+", required=True)
    summary.add_argument("--reported", type=Path, required=True)
    summary.add_argument("--page", type=Path, required=True, help="the table as Markdown")
    summary.add_argument("--figures", type=Path, required=True, help="the folder of its figures")
    summary.add_argument("--report", required=True, help="the command that makes the report")
    cost = tables.add_parser(
        "costs", help="hours, devices and memory of trainings, and dollars of rented pods"
    )
    cost.add_argument(
        "--metas",
        type=Path,
        nargs="+",
        required=True,
        help="meta.json of every run, folds one by one",
    )
    cost.add_argument(
        "--ledger",
        type=Path,
        required=True,
        help="ledger.jsonl of the RunPod executor; nothing was rented without it",
    )
    cost.add_argument(
        "--output",
        type=files.named,
        required=True,
        help="path without extension: .csv, .md and .html are added",
    )
    args = parser.parse_args()
    if args.table == "costs":
        write_costs(args.metas, args.ledger, args.output)
        return
    if args.table == "summary":
        table, runs = measured_table(args.layout, args.evaluations, args.reported)
        print(last_lines(table, compare_tasks(runs), args.page, args.figures, args.report))
        return
    write_table(args.table, args.evaluations, args.reported, args.output, args.failed, args.options)


if __name__ == "__main__":
    run(main)
