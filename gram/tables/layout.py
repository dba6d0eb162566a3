"""The tables for readers: a section per task with a few small tables, independent of the file
format.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pandas as pd

from gram.evaluate.judges import JUDGES
from gram.settings.config import sized_task
from gram.settings.tasks import judge_of, papers_coverage
from gram.system.names import EVALUATED_AS
from gram.tables.names import (
    FAILED,
    FOOTNOTES,
    HOLES,
    MARKS,
    METRICS,
    NOT_RUN,
    OVERRIDDEN,
)
from gram.tables.ordering import ordering
from gram.tables.paper import PaperTable, table_with
from gram.tables.reported import Other
from gram.tables.rows import order_of_tasks

NOTHING = "—"
AT_MOST = "at most"  # the row of ceilings
NAMED = (
    f"method{EVALUATED_AS}name",
    (
        "the same weights, evaluated a second time with the settings that its file in"
        " config/experiments lists as `evaluations: name`; its compute stands below the numbers"
    ),
)
AGREES = (
    "agrees",
    (
        "the mean over seeds here and that of the kept runs, of the same data and settings, are at"
        " most three standard errors apart, which count the spread of seeds and that of as many"
        " test inputs (gram/tables/comparison.py)"
    ),
)
COMPUTE = {
    "n": "seeds",
    "parameters": "parameters",
    "training_examples": "training examples",
    "supervision_steps_seen": "supervision steps seen",
    "weights": "weights",
    "depth": "depth",
    "draws": "draws per input",
    "calls": "calls per step",
    "forward_passes": "forward passes per input",
}
NARROWED = {
    "noise_scale": "noise × at test"
}  # where a method draws with other than the prior's width


@dataclass(frozen=True)
class Table:
    """A small table.

    Attributes:
        caption: one line.
        header: group and name of each column; neighbours of one group stand under one heading (""
        for none).
        rows: cells as plain text.
    """

    caption: str
    header: list[tuple[str, str]]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """A heading with sentences and tables.

    Attributes:
        title: the heading.
        text: paragraphs above the tables.
        tables: one below the other.
        notes: what to say below them, by captions.
    """

    title: str
    text: list[str]
    tables: list[Table]
    notes: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A page: title, introduction, sections, and a legend of (term, meaning)."""

    title: str
    text: list[str]
    sections: list[Section]
    legend: list[tuple[str, str]] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)


def mean_and_std(mean: float, std: float, digits: int = 1) -> str:
    """ "88.1 ± 1.0", with so many digits after the point.

    Without the second part where there is no spread; "—" where there is no mean.
    """
    if math.isnan(mean):
        return NOTHING
    found = f"{mean:.{digits}f}"
    return found if math.isnan(std) else f"{found} ± {std:.{digits}f}"


def value_cell(row: Any) -> str:
    """Mean ± std (n)."""
    if row.status in HOLES:
        return str(row.status)
    if pd.isna(row.ours_mean):
        return NOTHING
    return f"{mean_and_std(row.ours_mean, row.ours_std)} ({row.n})"


def ours_cell(row: Any) -> str:
    """Mean ± std (n), and for a coverage what independent samples could reach at best."""
    ceiling = "" if pd.isna(row.ceiling) else f" of {row.ceiling:.1f}"
    return f"{value_cell(row)}{ceiling}"


def method_cell(row: Any) -> str:
    """The method's name with its marks."""
    return f"{row.label}{MARKS.get(row.status, '')}{OVERRIDDEN if row.settings else ''}"


def ceilings(grid: dict[str, dict[str, Any]], metrics: Iterable[str]) -> dict[str, str]:
    """The ceiling of each metric that all methods share, as those of one width do."""
    found = {}
    for metric in metrics:
        values = {
            f"{row[metric].ceiling:.1f}"
            for row in grid.values()
            if row[metric].status not in HOLES and not pd.isna(row[metric].ceiling)
        }
        if len(values) == 1:
            found[metric] = values.pop()
    return found


def _grid(part: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The rows of one task and table: method -> metric -> row."""
    grid: dict[str, dict[str, Any]] = {}
    for row in part.itertuples(index=False):
        grid.setdefault(str(row.method), {})[str(row.metric)] = row
    return grid


def paper_table(grid: dict[str, dict[str, Any]], metrics: Iterable[str]) -> Table:
    """All methods of a task: the metrics that the paper has, its value, ours and the gap."""
    header = [("", "method")]
    shown: set[str | None] = set()
    rows = [[method_cell(next(iter(row.values())))] for row in grid.values()]
    chosen = list(metrics)
    most = ceilings(grid, chosen)
    last = [AT_MOST]
    for metric in chosen:
        paper = METRICS[metric].paper
        columns = [] if paper in shown else ["paper"]
        shown.add(paper)
        header += [(metric, name) for name in (*columns, "ours", "gap")]
        for cells, method in zip(rows, grid.values(), strict=True):
            row = method[metric]
            cells += [mean_and_std(row.paper_mean, row.paper_std)] if columns else []
            cells += [
                value_cell(row) if metric in most else ours_cell(row),
                NOTHING if pd.isna(row.gap) else f"{row.gap:+.1f}".replace("-", "−"),
            ]
        last += [""] * len(columns) + [most.get(metric, ""), ""]
    return Table("Beside the paper", header, [*rows, last] if most else rows)


def own_table(grid: dict[str, dict[str, Any]], metrics: Iterable[str], caption: str) -> Table:
    """Methods with metrics that the paper does not have."""
    chosen = list(metrics)
    header = [("", "method"), *(("", metric) for metric in chosen)]
    most = ceilings(grid, chosen)
    rows = []
    for row in grid.values():
        cells = [
            value_cell(row[metric]) if metric in most else ours_cell(row[metric])
            for metric in chosen
        ]
        rows.append([method_cell(row[chosen[0]]), *cells])
    last = [AT_MOST, *(most.get(metric, "") for metric in chosen)]
    return Table(caption, header, [*rows, last] if most else rows)


def compute_table(grid: dict[str, dict[str, Any]]) -> Table:
    """The methods that were run: what training and one test input cost."""
    firsts = [next(iter(row.values())) for row in grid.values()]
    shown = COMPUTE | (NARROWED if any(row.noise_scale != 1 for row in firsts) else {})
    rows = []
    for row in firsts:
        rows.append([method_cell(row), *(written(getattr(row, key)) for key in shown)])
    return Table("Compute", [("", "method"), *(("", name) for name in shown.values())], rows)


def written(fact: str | float) -> str:
    """A fact of a row as a cell: a number with its thousands set off, a word as it is."""
    return fact if isinstance(fact, str) else f"{fact:,}"


def overlap(row: Any) -> str:
    """What training has met of the test split, as a sentence."""
    return (
        f"{row.n_inputs_in_training:,} of these inputs occur in training;"
        f" {row.n_completions_in_training:,} of their {row.n_completions:,} completions do, as"
        " targets of other inputs."
    )


def others_table(task: str, others: Iterable[Other], grid: dict[str, dict[str, Any]]) -> Table:
    """GRAM in the paper, as others report it, and here."""
    gram = grid["gram"]
    known = {
        "accuracy": "accuracy",
        "coverage": papers_coverage(task),
        "accuracy_several": "accuracy_several",
    }
    columns = {name: ours for name, ours in known.items() if ours in gram}
    paper = [mean_and_std(gram[name].paper_mean, gram[name].paper_std) for name in columns.values()]
    rows = [["the paper", *paper]]
    for other in others:
        rows.append(
            [
                other.name,
                *(mean_and_std(other.values.get(name, math.nan), math.nan) for name in columns),
            ]
        )
    rows.append(["here", *(value_cell(gram[name]) for name in columns.values())])
    return Table(
        "GRAM, the paper's and others'", [("", "by"), *(("", name) for name in columns)], rows
    )


def section(
    task: str,
    part: pd.DataFrame,
    others: Iterable[Other] = (),
    compared: Sequence[str] = (),
) -> Section:
    """The section of one task in one table of the paper.

    Args:
        task: its name.
        part: its rows.
        others: reproductions of it that others report.
        compared: what to say of kept runs: :meth:`gram.tables.comparison.Comparison.said`.
    """
    which = part["table"].iloc[0]
    title = table_with(which).parts[which].heading.replace("{task}", task)
    grid = _grid(part)
    statuses = {method: next(iter(row.values())).status for method, row in grid.items()}
    run = {method: row for method, row in grid.items() if statuses[method] not in HOLES}
    in_paper = set(part.loc[part["paper_mean"].notna(), "metric"])
    metrics = [metric for metric in METRICS if metric in set(part["metric"])]
    tables, notes = [], {}
    if in_paper:
        tables.append(paper_table(grid, [metric for metric in metrics if metric in in_paper]))
    if named := list(others):
        tables.append(others_table(task, named, grid))
        notes["Where others report that"] = [
            f"{other.name}: {note}" for other in named for note in other.notes
        ]
    if not run:
        return Section(
            title,
            ["No run ended without an error." if FAILED in statuses.values() else "Not run."],
            tables,
            notes,
        )
    one = next(iter(next(iter(run.values())).values()))
    text = [f"{one.n_inputs:,} test inputs."]
    if not pd.isna(one.n_inputs_several):
        several = f"{one.n_inputs_several:,} of them with two or more completions"
        text = [f"{one.n_inputs:,} test inputs, {several}.", overlap(one)]
    if not in_paper:
        text.append("This task is not in the paper.")
        if missing := [
            next(iter(grid[name].values())).label for name in grid if statuses[name] == NOT_RUN
        ]:
            text.append(f"Not run: {', '.join(missing)}.")
        grid = {method: cells for method, cells in grid.items() if statuses[method] != NOT_RUN}
    elif (sized := sized_task(task)) != task:
        text.append(
            f"This is another experiment on the paper's {sized}, beside whose numbers it stands:"
            f" its network and training are those of config/experiments/{task}.yaml, not the"
            " paper's."
        )
    first = JUDGES[judge_of(task)].CAPTION
    for what in (first, "coverages"):  # side by side they would be wider than a page
        chosen = [
            m for m in metrics if m not in in_paper and ("coverage" in m) == (what == "coverages")
        ]
        if chosen:
            # Holes are shown once: beside the paper, or here where the paper has nothing.
            tables.append(
                own_table(
                    run if in_paper else grid,
                    chosen,
                    f"Other {what}" if in_paper else what.capitalize(),
                )
            )
    by_settings: dict[str, list[str]] = {}
    for row in (next(iter(cells.values())) for cells in run.values()):
        if row.settings:
            by_settings.setdefault(row.settings, []).append(row.label)
    if found := list(ordering(part)):
        judged = f", with overridden settings ({OVERRIDDEN})" if by_settings else ""
        notes[f"The ordering among families that the paper finds{judged}"] = found
    if by_settings:
        file = f"config/experiments/{task}.yaml"
        notes[f"Overridden settings ({OVERRIDDEN}), in brackets what {file} has"] = [
            f"{', '.join(names)}: {settings}" for settings, names in by_settings.items()
        ]
    if compared:
        notes["Beside kept reference runs"] = list(compared)
    return Section(title, [" ".join(text)], [*tables, compute_table(run)], notes)


def legend(used: Collection[str]) -> list[tuple[str, str]]:
    """What every name and sign means, once; only the metrics in ``used``."""
    return [
        *((name, metric.meaning) for name, metric in METRICS.items() if name in used),
        ("mean ± std (n)", "mean and sample standard deviation over n seeds; no ± with one seed"),
        (
            AT_MOST,
            (
                "below a coverage (or after it as `of`, where methods draw different numbers): what"
                " as many independent draws from all completions would find on average, which no"
                " independent sampler exceeds; a deterministic method finds one completion per"
                " input at most"
            ),
        ),
        (
            "gap",
            (
                "ours minus the paper's mean, in points; accuracy and accuracy_paper both against"
                " the paper's one accuracy"
            ),
        ),
        (
            "draws per input",
            (
                "independent trajectories or samples per test input; a deterministic method is"
                " drawn once"
            ),
        ),
        ("depth", "supervision steps of one trajectory at test time"),
        (
            "calls per step",
            (
                "passes through the network in one step: AR makes one per output token, MDLM one"
                " per sampling step"
            ),
        ),
        (
            "forward passes per input",
            "depth × draws × calls: passes through the network that one test input costs",
        ),
        (
            "supervision steps seen",
            "optimizer steps times rows of a batch (one optimizer step is one supervision step)",
        ),
        (
            "training examples",
            (
                "supervision steps seen, divided by the N_sup that an example gets; with folds, of"
                " all folds together"
            ),
        ),
        (
            "weights",
            (
                "which were evaluated, ema being their moving average, and in what precision they"
                " are stored"
            ),
        ),
        (f"{NOTHING} / {NOT_RUN}", "no such number in the paper / the method was not run here"),
    ]


def document(
    table: pd.DataFrame,
    title: str,
    tasks: Iterable[str] | None = None,
    others: Collection[Other] = (),
    compared: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Document:
    """The long table as a page.

    Args:
        table: from :func:`gram.tables.rows.table1` or ``table3``.
        title: the page's title.
        tasks: the sections to show; by default those of which a run was asked for, and one line
            names the others.
        others: reproductions that others report.
        compared: by task, as of :func:`section`.
    """
    run = set(table.loc[table["status"] != NOT_RUN, "task"])
    chosen = list(tasks) if tasks is not None else order_of_tasks(run, run)
    shown = of_columns(table[table["task"].isin(chosen)])
    absent = order_of_tasks(set(), set(table["task"]) - run) if tasks is None else []
    units = {"conflict_edges": "conflict_edges, which are counted", "entropy": "entropy, in nats"}
    others_units = [text for name, text in units.items() if name in set(shown["metric"])]
    text = "All values are percentages, as the paper prints them" + (
        f", but for {' and '.join(others_units)}. " if others_units else ". "
    )
    names = shown["table"].unique()
    parts = [
        (task, shown[(shown["task"] == task) & (shown["table"] == name)])
        for task in chosen
        for name in names
    ]
    parts = [(task, part) for task, part in parts if len(part)]
    last = dict(parts)  # of the halves of table 3, the second says what holds for both
    tables: list[PaperTable] = []
    for name in names:
        if (table_of := table_with(name)) not in tables:
            tables.append(table_of)
    sections = []
    for task, part in parts:
        of_task = [one for one in others if one.task == sized_task(task)]
        claims = compared.get(task, ()) if part is last[task] else ()
        sections.append(section(task, part, of_task, claims))
    return Document(
        title,
        [
            text + "Test split only.",
            *(one.note for one in tables if one.note),
            *([f"Also in the paper, and not run: {', '.join(absent)}."] if absent else []),
        ],
        sections,
        [
            *(item for one in tables for item in one.terms.items()),
            *([NAMED] if shown["method"].str.contains(EVALUATED_AS).any() else []),
            *legend(set(shown["metric"])),
            *([AGREES] if compared else []),
        ],
        footnotes(marks(shown)),
    )


def of_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the metrics that each part of a table shows."""
    columns = {name: table_with(name).parts[name].columns for name in table["table"].unique()}
    rows = zip(table["table"], table["metric"], strict=True)
    return table[[not columns[name] or metric in columns[name] for name, metric in rows]]


def marks(rows: pd.DataFrame) -> set[str]:
    """What :func:`footnotes` has to explain of a long table: statuses, and overridden settings."""
    return {*rows["status"], *([OVERRIDDEN] if rows["settings"].any() else [])}


def footnotes(present: Collection[str]) -> list[str]:
    """What the marks mean that stand in a table; see :func:`marks`."""
    return [note for name, note in FOOTNOTES.items() if name in present]
