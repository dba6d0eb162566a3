"""The larger boards beside the paper's: the table of the README that follows that of the CPU default."""

from __future__ import annotations

import statistics
import textwrap
from pathlib import Path
from typing import Any

from gram.config import sized_task
from gram.reports.reference import NOT_MEASURED, distinct, duration
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import GRAM, METRICS, label, papers_coverage
from gram.tables.reference import (
    PAPER_SIZE_RUNS,
    PROVING_RUNS,
    REFERENCE,
    metas_of,
    reference_evaluations,
)
from gram.tables.render import pipe_table
from gram.tables.reported import Reported, read_params, read_reported
from gram.tables.rows import measured, natural

REPORTED = Path("resources/reported.csv")
CHOSEN_BY = "coverage_macro"  # of the validation split, as gram.solve chooses
WIDTH = 100  # of the text of a page, in columns
HEADER = ("%", "accuracy", "with several solutions", "solutions found", "parameters", "training")


def larger_boards(root: Path) -> str:
    """A line for the kept method of each larger board, and one for the paper on that board.

    Of several methods the one is shown whose kept seeds find most on their validation inputs; the
    test split chooses nothing.
    """
    rows = []
    boards = set()
    for folder in (root / REFERENCE / name for name in (PROVING_RUNS, PAPER_SIZE_RUNS)):
        tested = by_run(reference_evaluations(folder))
        validated = by_run(reference_evaluations(folder, "valid.json", split="valid"))
        for task in sorted({task for task, _ in tested}, key=natural):
            methods = [method for one, method in tested if one == task]
            found = {m: percent(validated.get((task, m), []), CHOSEN_BY)[0] for m in methods}
            method = max(methods, key=lambda m: (found[m], m))
            rows.append(our_line(folder, task, method, tested[task, method]))
            boards.add(sized_task(task))
    if not rows:
        return NOT_MEASURED
    reported = read_reported(root / REPORTED)
    size = read_params(root / REPORTED)[GRAM]
    for board in sorted(boards, key=natural):
        rows += papers_line(board, reported, size)
    text = (
        "Of each board's methods the one whose kept seeds find most on validation inputs, with the "
        "number of its trainings. Solutions found: by 20 answers to each input, in the average that "
        "fits the paper's numbers."
    )
    return "\n".join([*pipe_table(HEADER, rows), "", *textwrap.wrap(text, WIDTH)])


def by_run(evaluations: list[dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The seeds of every task and method."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in evaluations:
        found.setdefault((one["run"]["task"], one["run"]["method"]), []).append(one)
    return found


def percent(evaluations: list[dict[str, Any]], metric: str) -> tuple[float, float]:
    """Mean over the seeds and their sample standard deviation; -1 without any, NaN for one seed."""
    values = [100 * measured(one, METRICS[metric])["value"] for one in evaluations]
    if not values:
        return -1.0, float("nan")
    return statistics.mean(values), (statistics.stdev(values) if values[1:] else float("nan"))


def our_line(folder: Path, task: str, method: str, seeds: list[dict[str, Any]]) -> list[str]:
    """One method's row: means over its seeds, size, and time and place of one training."""
    metas = [m for one in seeds for m in metas_of(folder, task, method, one["run"]["seed"])]
    seconds = statistics.mean(meta["seconds"] for meta in metas)
    metrics = ("accuracy", "hostile_accuracy", papers_coverage(task))
    cells = [mean_and_std(*percent(seeds, metric)) for metric in metrics]
    place = distinct(meta["device"] for meta in metas)
    parameters = f"{seeds[0]['run']['parameters'] / 1e6:.2g}M"
    name = f"{task}, {label(method)} ({len(seeds)})"
    return [name, *cells, parameters, f"{duration(seconds)} of {place}"]


def papers_line(board: str, reported: Reported, size: str) -> list[list[str]]:
    """The paper's row for GRAM on a board; none where it has not tried that board."""
    found = [reported.get((board, GRAM, metric)) for metric in ("accuracy", "coverage")]
    if None in found:
        return []
    accuracy, coverage = (
        mean_and_std(value, float("nan") if std is None else std)
        for value, std in filter(None, found)
    )
    return [[f"{board}, the paper", accuracy, NOTHING, coverage, size, NOTHING]]
