"""A table in short, for the front page of the report: what GRAM and its twin reach in sentences,
and in three columns.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gram.evaluate.judges import JUDGES
from gram.settings.tasks import judge_of
from gram.tables.headlines import Headline, Row, headlines
from gram.tables.layout import Table, footnotes, marks
from gram.tables.names import GRAM, TWIN, label
from gram.tables.paper import rows_of
from gram.tables.reference import Runs
from gram.tables.render import html_table
from gram.tables.rows import Run

SHORT_TABLE = ".. the short table"  # parts the two pieces of the page in reStructuredText


@dataclass(frozen=True)
class Summary:
    """A table in short.

    Attributes:
        runs: the runs that the table was asked for, failed ones too, as task/method/seed0.
        options: of the snakemake command that wrote it, as they would be typed; "" where there were
        none.
        headlines: the two rows of each task.
        footnotes: what the signs and marks in these rows mean.
    """

    runs: list[str]
    options: str
    headlines: list[Headline]
    footnotes: list[str]

    def as_json(self) -> dict[str, Any]:
        """What is kept beside the table: its runs and options, and by task its sentences and
        rows.
        """
        tasks = {}
        for one in self.headlines:
            tasks[one.task] = {
                "sentences": sentences(one),
                "columns": list(one.columns.values()),
                "rows": {row.label: row.cells for row in one.rows},
            }
        return {
            "runs": self.runs,
            "options": self.options,
            "tasks": tasks,
            "footnotes": self.footnotes,
        }


def summarized(
    table: pd.DataFrame,
    runs: Mapping[tuple[str, str], Runs],
    failed: Collection[Run] = (),
    options: str = "",
) -> Summary:
    """What was run of a table, in short.

    Args:
        table: long, from :func:`gram.tables.overridden.with_settings`.
        runs: those that it was made of, from :func:`gram.tables.reference.runs_of`.
        failed: the runs that ended with an error.
        options: of the snakemake command.
    """
    asked = set(failed)
    for (task, method), kind in runs.items():
        asked |= {(task, method, one["run"]["seed"]) for one in kind.evaluations}
    found = headlines(table)
    shown = {(one.task, row.method) for one in found for row in one.rows}
    part = table[[pair in shown for pair in zip(table["task"], table["method"], strict=True)]]
    signs = "Percent of test inputs or their solutions: mean ± sample standard deviation over seeds"
    return Summary(
        [f"{task}/{method}/seed{seed}" for task, method, seed in sorted(asked)],
        options,
        found,
        [f"{signs}.", *footnotes(marks(part))],
    )


def sentences(headline: Headline) -> list[str]:
    """What the two methods of a task reach, where its judge has a sentence for that; otherwise what
    they reach where there are several solutions.

    Args:
        headline: of the task.
    """
    both = sorted(headline.rows, key=lambda row: row.method != GRAM)
    if sentence := JUDGES[judge_of(headline.task)].SENTENCE:
        said = []
        for row in both:
            means = {name: mean(headline, row, name) for name in headline.columns}
            said.append(sentence.format(method=called(row), **means))
        return said
    if not headline.with_several:
        return [f"None of the {headline.inputs:,} test inputs has several solutions."]
    valid = [
        f"{mean(headline, row, 'accuracy_several')} of the answers of {called(row)}" for row in both
    ]
    found = [f"{called(row)} finds {mean(headline, row, 'coverage_macro_several')}" for row in both]
    return [
        (
            f"On the {headline.with_several:,} of {headline.inputs:,} test inputs that have several"
            f" solutions, {' and '.join(valid)} are valid."
        ),
        f"Of all solutions of these inputs, {' and '.join(found)}.",
    ]


def called(row: Row) -> str:
    """How a sentence calls a method."""
    if row.method == TWIN:
        return "the deterministic twin"
    return label(row.method) if row.method in rows_of() else f"“{row.method}”"


def mean(headline: Headline, row: Row, metric: str) -> str:
    """ "88.1 %": without the deviation, which stands in the table."""
    cell = row.cells[list(headline.columns).index(metric)]
    return f"{cell.partition(' ')[0]} %"


def restructured_text(summary: Summary) -> str:
    """The front page's part: sentences, the line ``SHORT_TABLE``, and the tables, so that a picture
    may stand between.

    Both pieces are raw HTML, because the names of methods would have to be escaped otherwise.
    """
    several = len(summary.headlines) > 1
    told = []
    for one in summary.headlines:
        name = f"<strong>{html.escape(one.task)}</strong>: " if several else ""
        told.append(f"<p>{name}{html.escape(' '.join(sentences(one)))}</p>")
    if not told:
        told = ["<p>No run ended without an error.</p>"]
    tables = []
    for one in summary.headlines:
        header = [("", name) for name in ("", *one.columns.values())]
        rows = [[row.label, *row.cells] for row in one.rows]
        tables += html_table(Table(one.task, header, rows))
    tables += [f'<p class="note">{html.escape(note)}</p>' for note in summary.footnotes]
    return f"{raw(told)}\n{SHORT_TABLE}\n\n{raw(tables)}"


def raw(lines: Sequence[str]) -> str:
    """Lines of HTML as they stand."""
    return ".. raw:: html\n\n" + textwrap.indent("\n".join(lines), "   ") + "\n"
