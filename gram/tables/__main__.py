"""``python -m gram.tables``: ``table1`` or ``table3`` of the paper beside the measured values; ``costs``: what the runs took."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gram import files
from gram.code_version import code_hash
from gram.errors import GramError, run
from gram.tables.costs import costs, costs_document, read_ledger, read_metas
from gram.tables.evaluations import read_evaluations
from gram.tables.layout import document
from gram.tables.render import latex, markdown, standalone_html
from gram.tables.reported import read_others
from gram.tables.rows import Run, whole_table
from gram.tables.summary import restructured_text, summary


class Known(NamedTuple):
    """A table that can be asked for."""

    title: str
    help: str


KNOWN = {
    "table1": Known(
        "Table 1: the paper beside this reproduction",
        "N-Queens and Graph Coloring: accuracy and coverage",
    ),
    "table3": Known(
        "Table 3: the paper's ablations beside this reproduction",
        "which parts of GRAM, and which noise, are needed",
    ),
}


def run_of(text: str) -> Run:
    """A run from its name.

    Raises:
        GramError: not of the form task/method/seed0.
    """
    match = re.fullmatch(r"([^/]+)/([^/]+)/seed(\d+)", text)
    if not match:
        raise GramError(f"--failed {text}: expected {{task}}/{{method}}/seed{{seed}}")
    return match[1], match[2], int(match[3])


def write_table(
    name: str,
    evaluations: list[Path],
    reported: Path,
    stem: Path,
    failed: Sequence[Run] = (),
    options: str = "",
) -> None:
    """Write ``stem`` with .csv, .md, .tex and .html, and in short with .summary.json and .summary.rst.

    Args:
        name: a key of ``KNOWN``.
        evaluations: JSON files by gram.evaluate or gram.pool.
        reported: the paper's numbers.
        stem: path without extension.
        failed: the runs that ended with an error.
        options: of the snakemake command, which the summary notes.

    Raises:
        GramError: evaluations that cannot stand in one table, or a file that cannot be read or written.
    """
    read = read_evaluations(evaluations)
    table = whole_table(name, read, reported, code_hash(), failed)
    short = summary(table, read, failed, options)
    page = document(
        table, KNOWN[name].title, others=read_others(reported) if name == "table1" else ()
    )
    text = table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    for suffix, content in (
        (".csv", text),
        (".md", markdown(page)),
        (".tex", latex(page)),
        (".html", standalone_html(page)),
        (".summary.rst", restructured_text(short)),
    ):
        files.write_text(stem.parent / f"{stem.name}{suffix}", content)
    files.write_json(stem.parent / f"{stem.name}.summary.json", dataclasses.asdict(short))


def write_costs(metas: list[Path], ledger: Path, stem: Path) -> None:
    """Write ``stem`` with .csv, .md and .html: what the runs of a table took, and what was paid for them.

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
    """Write a table as csv (long form, percentages), md, tex (needs booktabs and graphicx; not of costs) and html."""
    parser = argparse.ArgumentParser(prog="python -m gram.tables", description=main.__doc__)
    tables = parser.add_subparsers(dest="table", required=True)
    for name, known in KNOWN.items():
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
            type=Path,
            required=True,
            help="path without extension: .csv, .md, .tex and .html are added, .summary.json and .rst",
        )
        one.add_argument(
            "--options",
            default="",
            help="options of the snakemake command that asks for the table; noted in its summary",
        )
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
        type=Path,
        required=True,
        help="path without extension: .csv, .md and .html are added",
    )
    args = parser.parse_args()
    if args.table == "costs":
        write_costs(args.metas, args.ledger, args.output)
        return
    write_table(
        args.table, args.evaluations, args.reported, args.output, args.failed, args.options
    )


if __name__ == "__main__":
    run(main)
