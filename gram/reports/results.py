"""What was measured: the table of the README, the page of all reference runs, and the data sets."""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from gram.data.checksums import read_listed
from gram.data.splits import TABLES
from gram.reports.processors import other_processor
from gram.reports.reference import NOT_MEASURED, distinct, duration
from gram.system.processor import described
from gram.tables.headlines import headlines
from gram.tables.layout import (
    NOTHING,
    Document,
    document,
    footnotes,
    legend,
    method_cell,
    ours_cell,
    overlap,
)
from gram.tables.names import GRAM, METRICS, TWIN, headlines_of, in_order
from gram.tables.ordering import ordering
from gram.tables.paper import paper_table
from gram.tables.reference import (
    ABLATION_RUNS,
    DEFAULT_RUNS,
    DEFAULT_TASK,
    GAP_RUNS,
    PROVING_RUNS,
    REFERENCE,
    metas_of,
    reference_evaluations,
)
from gram.tables.render import markdown, pipe_table, prose_table
from gram.tables.reported import read_others
from gram.tables.rows import measured, natural, table1, whole_table

REPORTED = Path("resources/reported.csv")
WIDTH = 100  # of the text of a page, in columns
MD5_DIGITS = 8  # enough to compare by eye; the file has all


def results(root: Path) -> str:
    """The table that the README opens with: GRAM and its twin on the first task of the default."""
    evaluations = [
        evaluation
        for evaluation in reference_evaluations(root / REFERENCE / DEFAULT_RUNS)
        if evaluation["run"]["task"] == DEFAULT_TASK and evaluation["run"]["method"] in (TWIN, GRAM)
    ]
    if not evaluations:
        return NOT_MEASURED
    table = table1(evaluations, {}, None)
    (headline,) = headlines(table)
    seeds = len({evaluation["run"]["seed"] for evaluation in evaluations})
    width = evaluations[0]["run"]["width"]
    lines = [
        *pipe_table(
            ["%", *headline.columns.values()], [[row.label, *row.cells] for row in headline.rows]
        ),
        "",
        *in_words(table, width),
        (
            f"{headline.inputs} boards, {headline.with_several} of them with several solutions;"
            f" mean ± standard deviation over {seeds} trainings."
        ),
    ]
    for sentence in other_processor(root, DEFAULT_RUNS, DEFAULT_TASK):
        lines += textwrap.wrap(sentence, WIDTH)
    return "\n".join([*lines, *footnotes(set(table["status"]))])


def in_words(table: pd.DataFrame, width: int) -> list[str]:
    """What the README's table shows, in a line for each method; none for one that was not run.

    Args:
        table: long, of one task.
        width: answers per input.
    """
    values = {(row.method, row.metric): row.ours_mean for row in table.itertuples(index=False)}
    lines = {
        GRAM: (
            "On boards with several solutions {:.1f} % of GRAM's answers are right, and "
            f"{width} answers\ncontain {{:.1f}} % of the solutions."
        ),
        TWIN: "For its deterministic twin these are {:.1f} % and {:.1f} %.",
    }
    found = []
    for method, line in lines.items():
        if (method, "accuracy_several") in values:
            accuracy = values[method, "accuracy_several"]
            found.append(line.format(accuracy, values[method, "coverage_macro_several"]))
    return found


def short_tables(root: Path) -> str:
    """The short tables of the CPU default and of the larger boards."""
    lines = [
        line
        for name in (DEFAULT_RUNS, PROVING_RUNS)
        for line in results_of(root / REFERENCE / name)
    ]
    return "\n".join(lines).rstrip() or NOT_MEASURED


def results_of(folder: Path) -> list[str]:
    """A small table for each task of one folder, with what was tested, how long training took and
    where; nothing without one.
    """
    evaluations = reference_evaluations(folder)
    if not evaluations:
        return []
    table = table1(evaluations, {}, None)
    lines = []
    for task in sorted(table["task"].unique(), key=natural):
        part = table[table["task"] == task]
        runs = [
            evaluation["run"] for evaluation in evaluations if evaluation["run"]["task"] == task
        ]
        rows, columns = [], headlines_of(task)
        for method in in_order(part["method"]):
            found = {
                row.metric: row for row in part[part["method"] == method].itertuples(index=False)
            }
            rows.append(
                [method_cell(found["accuracy"]), *(ours_cell(found[metric]) for metric in columns)]
            )
        metas = [
            meta for one in runs for meta in metas_of(folder, task, one["method"], one["seed"])
        ]
        first = part.iloc[0]
        findings = [f"- {finding}" for finding in ordering(part)]
        folds = runs[0].get("folds", 1)
        tested = (
            f", over {folds} folds, so that each input is tested once by models that never saw it"
            if folds > 1
            else ""
        )
        count = f"{len(metas)} {'run' if len(metas) == 1 else 'runs'}"
        lines += [
            (
                f"`{task}`, {first['n_inputs']} test inputs, {first['n_inputs_several']} of them"
                f" with several solutions{tested}:"
            ),
            "",
            *pipe_table(["%", *columns.values()], rows),
            "",
            (
                "Mean ± sample standard deviation over (n) seeds, in percent; "
                f"{runs[0]['width']} samples per input."
            ),
            "After `of`: what as many samples of a perfect method would find on average.",
            overlap(first),
            (
                f"Training: {count}, {duration(seconds_in_all(metas))} in all, each with "
                f"{distinct(meta['threads'] for meta in metas)} thread on "
                f"{distinct(meta['device'] for meta in metas)}."
            ),
            *(line for note in footnotes(set(part["status"])) for line in ("", note)),
            "",
        ]
        if findings:
            lines += ["The ordering among families that the paper finds:", "", *findings, ""]
    return lines


def seconds_in_all(metas: list[dict[str, Any]]) -> float:
    """What the runs took together: a run whose averaged weights others start from counts once, also
    where it is none of them.
    """
    counted = {(meta["task"], meta["method"], f"seed{meta['seed']}") for meta in metas}
    total = 0.0
    for meta in metas:
        total += meta["seconds"]
        if start := meta.get("initial_weights"):
            task, method, seed = Path(start["path"]).parts[-4:-1]  # of a run's weights
            run = (task, method, seed)
            total -= start["seconds"] if run in counted else 0
            counted.add(run)
    return total


def reproduction(root: Path) -> str:
    """Table 1 of each folder of reference runs, every seed's values, and where they were
    measured.
    """
    lines: list[str] = []
    used: set[str] = set()
    kinds = sorted(path for path in (root / REFERENCE).glob("*") if path.is_dir())
    for folder in (
        path for path in kinds if path.name != GAP_RUNS
    ):  # those stand on the page of the open choices
        evaluations = reference_evaluations(folder)
        if not evaluations:
            continue
        # The present code is not compared: a reference run states the code that made it, below.
        which = "table3" if folder.name == ABLATION_RUNS else "table1"
        table = whole_table(which, evaluations, root / REPORTED, None)
        tasks = sorted({evaluation["run"]["task"] for evaluation in evaluations}, key=natural)
        others = read_others(root / REPORTED) if paper_table(which).others else []
        page = document(table, f"Reference runs `{folder.name}`", tasks, others)
        lines += [markdown(dataclasses.replace(page, legend=[]), level=2)]
        lines += [
            "### Every seed",
            "",
            "In the units of the table above.",
            "",
            *seeds_table(evaluations),
            "",
        ]
        lines += ["### Where they were measured", "", *provenance_table(folder, evaluations), ""]
        used |= set(table.loc[table["task"].isin(tasks), "metric"])
    if not lines:
        return NOT_MEASURED
    return "\n".join(
        [*lines, markdown(Document("What the names mean", [], [], legend(used)), level=2)]
    ).rstrip()


def seeds_table(evaluations: list[dict[str, Any]]) -> list[str]:
    """A line per seed with every metric that any of them has."""
    metrics = [name for name in METRICS if measured_in_any(evaluations, name)]
    rows = []
    for evaluation in evaluations:
        one = evaluation["run"]
        cells = [f"{one['task']} {one['method']} seed {one['seed']}"]
        for name in metrics:
            found = measured(evaluation, METRICS[name])
            scale = 100 if METRICS[name].unit == "percent" else 1
            cells.append(f"{scale * found['value']:.2f}" if found else NOTHING)
        rows.append(cells)
    return pipe_table(["run", *metrics], rows)


def measured_in_any(evaluations: list[dict[str, Any]], name: str) -> bool:
    """Whether any of the evaluations has a metric."""
    return any(measured(evaluation, METRICS[name]) for evaluation in evaluations)


def provenance_table(folder: Path, evaluations: list[dict[str, Any]]) -> list[str]:
    """A line per seed: steps, time, code, versions and device; with folds over all of them."""
    rows = []
    for evaluation in evaluations:
        one = evaluation["run"]
        metas = metas_of(folder, one["task"], one["method"], one["seed"])
        row = {
            "run": f"{one['task']} {one['method']} seed {one['seed']}",
            "folds": str(one.get("folds", 1)),
            "steps each": distinct(steps_of(m) for m in metas),
            "training": duration(sum(m["seconds"] for m in metas)),
            "commit": distinct(map(commit_of, metas)),
            "code trained by": distinct(m["code_hash"] for m in metas),
            "code evaluated by": one["evaluated_by"]["code_hash"],
            "torch": distinct(m["torch"] for m in metas),
            "python": distinct(m["python"] for m in metas),
            "device": distinct(described(m) for m in metas),
        }
        rows.append(row)
    return prose_table(list(rows[0]), [list(row.values()) for row in rows])


def commit_of(meta: dict[str, Any]) -> str | None:
    """The commit that trained a run, in short; None outside of git."""
    if not meta["commit"]:
        return None
    return f"{meta['commit'][:12]}{' (with local changes)' if meta['dirty'] else ''}"


def steps_of(meta: dict[str, Any]) -> str:
    """The optimizer steps of a run, after those that its initial weights had."""
    before = (meta.get("initial_weights") or {}).get("steps", 0)
    return f"{before} + {meta['steps'] - before}" if before else str(meta["steps"])


def datasets(root: Path) -> str:
    """Rows and content MD5 of every listed table."""
    path = Path("resources/checksums.tsv")
    listed = read_listed(root / path)
    rows = []
    for name, sums in listed.items():
        cells = [name]
        for split in TABLES:
            one = sums.get(split)
            cells.append(f"{one.rows:,} `{one.md5[:MD5_DIGITS]}`" if one else NOTHING)
        rows.append(cells)
    if not rows:
        return f"`{path}` lists no data set yet."
    note = (
        f"Rows and the first {MD5_DIGITS} digits of the content MD5; train, valid and test hold one"
        " row per (input, target) pair."
    )
    return "\n".join(
        [f"{note} All digits: `{path}`.", "", *prose_table(["data set", *TABLES], rows)]
    )
