"""A table in short: what GRAM and its twin reach in two sentences, and three columns; the front page of the report shows it."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gram.tables.layout import NOTHING, Table, footnotes, method_cell, ours_cell
from gram.tables.names import HOLES, METHODS, NOT_RUN, TITLES, label
from gram.tables.render import html_table
from gram.tables.rows import Run

# The columns: what they are called where nobody has read a legend yet.
SHOWN = {
    "accuracy": "valid answers",
    "hostile_accuracy": "valid where several exist",
    "hostile_coverage_macro": "found of several",
}
SHORT_TABLE = ".. the short table"  # parts the two pieces of the page in reStructuredText


@dataclass(frozen=True)
class Block:
    """One task in one table.

    Attributes:
        title: the task, and for an ablation what it takes apart.
        sentences: what GRAM and its deterministic twin reach on inputs with several completions; of other methods where
            these were not run.
        rows: the method, and a cell for each column of ``SHOWN``.
    """

    title: str
    sentences: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Summary:
    """A table in short.

    Attributes:
        runs: the runs that the table was asked for, failed ones too, as task/method/seed0.
        options: of the snakemake command that wrote it, as they would be typed; "" where there were none.
        blocks: a task each.
        footnotes: what the marks and signs in the rows mean.
    """

    runs: list[str]
    options: str
    blocks: list[Block]
    footnotes: list[str]


def summary(
    table: pd.DataFrame,
    evaluations: Sequence[dict[str, Any]],
    failed: Collection[Run] = (),
    options: str = "",
) -> Summary:
    """What was run of a table, in short.

    Args:
        table: from :func:`gram.tables.rows.whole_table`.
        evaluations: those that it was made of.
        failed: the runs that ended with an error.
        options: of the snakemake command.
    """
    made = [tuple(one["run"][key] for key in ("task", "method", "seed")) for one in evaluations]
    runs = sorted({f"{task}/{method}/seed{seed}" for task, method, seed in [*made, *failed]})
    shown = table[table["metric"].isin(SHOWN) & (table["status"] != NOT_RUN)]
    blocks = [
        block(str(task), str(which), part)
        for (which, task), part in shown.groupby(["table", "task"], sort=False)
    ]
    signs = "Percent; mean ± sample standard deviation over (n) seeds."
    if shown["ceiling"].notna().any():
        signs += " After “of”: the most that as many independent answers find on average."
    return Summary(runs, options, blocks, [signs, *footnotes(set(shown["status"]))])


def block(task: str, which: str, part: pd.DataFrame) -> Block:
    """The block of one task.

    Args:
        task: its name.
        which: a key of ``TITLES``.
        part: its rows of the metrics in ``SHOWN``.
    """
    grid: dict[str, dict[str, Any]] = {}
    for row in part.itertuples(index=False):
        grid.setdefault(str(row.method), {})[str(row.metric)] = row
    rows = [
        [method_cell(cells["accuracy"]), *(ours_cell(cells[metric]) for metric in SHOWN)]
        for cells in grid.values()
    ]
    return Block(TITLES[which].format(task=task), sentences(grid), rows)


def sentences(grid: dict[str, dict[str, Any]]) -> list[str]:
    """What GRAM and its twin, or the best of their kinds, reach on the inputs with several completions.

    Args:
        grid: the rows of one task: method -> metric -> row.
    """
    run = {
        method: cells for method, cells in grid.items() if cells["accuracy"].status not in HOLES
    }
    if not run:
        return ["No run ended without an error."]
    first = next(iter(run.values()))["accuracy"]
    if not first.n_hostile_inputs:
        return [f"None of the {first.n_inputs:,} test inputs has several completions."]
    several = chosen("gram", {name: one for name, one in run.items() if draws(one) > 1})
    single = chosen("deterministic", {name: one for name, one in run.items() if draws(one) == 1})
    valid, found = [], []
    for name in filter(None, (several, single)):
        accuracy, coverage = (
            run[name][metric] for metric in ("hostile_accuracy", "hostile_coverage_macro")
        )
        given = "one answer" if accuracy.draws == 1 else f"{accuracy.draws} answers"
        who = called(name, several)
        valid.append(f"{percent(accuracy)} of the answers of {who}")
        found.append(f"{who} finds {percent(coverage)} with {given} to each input")
    return [
        f"On the {first.n_hostile_inputs:,} of {first.n_inputs:,} test inputs that have several "
        f"valid completions, {' and '.join(valid)} are valid.",
        f"Of these completions, {' and '.join(found)}.",
    ]


def draws(cells: dict[str, Any]) -> int:
    """Answers that a method gives to one test input."""
    return int(cells["accuracy"].draws)


def chosen(preferred: str, run: dict[str, dict[str, Any]]) -> str | None:
    """The preferred method, else the most accurate one where there are several completions; None of no methods."""
    if preferred in run or not run:
        return preferred if run else None
    return max(run, key=lambda name: run[name]["hostile_accuracy"].ours_mean)


def called(method: str, several: str | None) -> str:
    """How a sentence calls a method beside the one that gives several answers."""
    if method == "deterministic":
        return "its deterministic twin" if several == "gram" else "the deterministic twin"
    return label(method) if method in METHODS else f"“{method}”"


def percent(row: Any) -> str:
    """ "88.1 %": the mean alone, for the deviation stands in the table; "—" where nothing was measured."""
    return NOTHING if pd.isna(row.ours_mean) else f"{row.ours_mean:.1f} %"


def restructured_text(summary: Summary) -> str:
    """The summary for the front page: sentences, the line ``SHORT_TABLE``, and the tables, so that a picture may stand between.

    Both pieces are raw HTML, because the names of methods would have to be escaped otherwise.
    """
    told: dict[str, str] = {}  # the halves of an ablation say the same, which is told once
    for one in summary.blocks:
        name = f"<strong>{html.escape(one.title)}</strong>: " if len(summary.blocks) > 1 else ""
        told.setdefault(" ".join(one.sentences), name)
    header = [("", "method"), *(("", name) for name in SHOWN.values())]
    tables = [
        line
        for one in summary.blocks
        for line in html_table(Table(one.title, header, one.rows))
    ]
    tables += [f'<p class="note">{html.escape(note)}</p>' for note in summary.footnotes]
    paragraphs = [f"<p>{name}{html.escape(text)}</p>" for text, name in told.items()]
    return f"{raw(paragraphs)}\n{SHORT_TABLE}\n\n{raw(tables)}"


def raw(lines: Sequence[str]) -> str:
    """Lines of HTML as they stand."""
    return ".. raw:: html\n\n" + textwrap.indent("\n".join(lines), "   ") + "\n"
