"""Tables 1 and 3 in their long form: one row per task, method and metric, the paper's value beside the mean over seeds."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gram.errors import GramError
from gram.tables.evaluations import status
from gram.tables.names import METRICS, PAPER_TABLES, Metric, in_order, label

COLUMNS = (
    *("task", "method", "metric", "paper_mean", "paper_std", "ours_mean", "ours_std", "n"),
    *("gap", "ceiling", "unit", "n_inputs", "n_hostile_inputs", "depth", "width", "draws", "forward_passes"),
    *("n_inputs_in_training", "n_completions", "n_completions_in_training"),
    *("parameters", "supervision_steps_seen", "training_examples", "code_hash", "status"),
    *("table", "label"),
)
INTEGERS = (
    *("n", "n_inputs", "n_hostile_inputs", "depth", "width", "draws", "forward_passes"),
    *("n_inputs_in_training", "n_completions", "n_completions_in_training"),
    *("parameters", "supervision_steps_seen", "training_examples"),
)
FLOATS = ("paper_mean", "paper_std", "ours_mean", "ours_std", "gap", "ceiling")
TABLE_3 = ("table3a", "table3b")
Reported = dict[tuple[str, str, str], tuple[float, float | None]]


def read_reported(path: Path, name: str = "table1") -> Reported:
    """One table of the paper: (task, our method, the paper's metric) -> mean and standard deviation (None where not given).

    Raises:
        GramError: missing file, missing column, or a method that the mapping in ``names.py`` does not have.
    """
    try:
        table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise GramError(f"{path}: no such file; it is part of the repository: restore it with git") from error
    missing = sorted({"table", "task", "method", "metric", "value", "std"} - set(table.columns))
    if missing:
        raise GramError(f"{path}: the column {missing[0]!r} is missing; restore the file with git")
    ours = {method.paper: key for key, method in PAPER_TABLES[name].items() if method.paper}
    reported: Reported = {}
    for row in table[table["table"] == name].to_dict("records"):
        if row["method"] not in ours:
            raise GramError(f"{path}: method {row['method']!r} of {name} has no counterpart; add it to gram/tables/names.py")
        std = None if pd.isna(row["std"]) else float(row["std"])
        reported[row["task"], ours[row["method"]], row["metric"]] = (float(row["value"]), std)
    return reported


def natural(name: str) -> list[str | int]:
    """A key that sorts nqueens8 before nqueens10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def order_of_tasks(run: set[str], reported: set[str]) -> list[str]:
    """Tasks that were run first, then the paper's others, each in natural order."""
    return sorted(run, key=natural) + sorted(reported - run, key=natural)


def measured(evaluation: dict[str, Any], metric: Metric) -> dict[str, Any]:
    """The metric's ``{value, ceiling, ...}`` in an evaluation; empty where it was not measured."""
    found: Any = evaluation["metrics"]
    for key in metric.path:
        found = found.get(key, {})
    return found if found.get("value") is not None else {}


def facts(evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the seeds of one row share: inputs, test-time compute, size and training."""
    if not evaluations:
        return {}
    run = evaluations[0]["run"]
    hashes = {run["run"][key]["code_hash"] for run in evaluations for key in ("trained_by", "evaluated_by")}
    seen = evaluations[0]["overlap_with_training"]
    kept = ("depth", "width", "draws", "parameters", "supervision_steps_seen")
    return {key: run[key] for key in kept} | {
        # A mean: with halting, how many examples a training finishes depends on its seed.
        "training_examples": round(statistics.mean(one["run"]["training_examples"] for one in evaluations)),
        "n_inputs": run["inputs"],
        "n_hostile_inputs": evaluations[0]["metrics"].get("slices", {}).get("hostile", {}).get("inputs"),
        "n_inputs_in_training": int(seen["inputs"]["numerator"]),
        "n_completions": int(seen["completions"]["denominator"]),
        "n_completions_in_training": int(seen["completions"]["numerator"]),
        # One call of the network is one supervision step of one trajectory; with ACT this is the most there can be.
        "forward_passes": run["depth"] * run["draws"],
        "code_hash": "+".join(sorted(set("+".join(hashes).split("+")))),
    }


def row_of(metric: Metric, evaluations: Sequence[dict[str, Any]], paper: tuple[float, float | None] | None) -> dict[str, Any]:
    """Paper and measurement of one metric, in the metric's unit (percent unless it is a count)."""
    scale = 100.0 if metric.unit == "percent" else 1.0
    found = [measured(evaluation, metric) for evaluation in evaluations]
    values = pd.Series([scale * m["value"] for m in found if m], dtype=float)
    ceilings = [scale * m["ceiling"] for m in found if m.get("ceiling") is not None]
    row: dict[str, Any] = {"unit": metric.unit, "n": len(values)}
    if paper:
        row |= {"paper_mean": paper[0], "paper_std": paper[1]}
    if len(values):
        row["ours_mean"] = values.mean()
    if len(values) > 1:
        row["ours_std"] = values.std(ddof=1)
    if paper and len(values):
        row["gap"] = values.mean() - paper[0]
    if ceilings:
        row["ceiling"] = ceilings[0]  # the same for all seeds: it depends on the test split and the width alone
    return row


def table1(evaluations: Sequence[dict[str, Any]], reported: Reported, present_code: str | None) -> pd.DataFrame:
    """Table 1, with every method that was evaluated; see :func:`long_table`."""
    return long_table("table1", evaluations, reported, present_code)


def table3(evaluations: Sequence[dict[str, Any]], reported: Mapping[str, Reported], present_code: str | None) -> pd.DataFrame:
    """Tables 3a and 3b below one another, each with its own methods; see :func:`long_table`.

    Args:
        evaluations: of the methods of either; GRAM and its twin stand in both.
        reported: by table.
        present_code: as of :func:`long_table`.
    """
    halves = {name: [e for e in evaluations if e["run"]["method"] in PAPER_TABLES[name]] for name in TABLE_3}
    return pd.concat([long_table(name, half, reported[name], present_code) for name, half in halves.items()], ignore_index=True)


def whole_table(name: str, evaluations: Sequence[dict[str, Any]], reported: Path, present_code: str | None) -> pd.DataFrame:
    """``table1`` or ``table3`` by its name, beside the numbers in the file ``reported``.

    Raises:
        GramError: as of :func:`read_reported`.
    """
    if name == "table1":
        return table1(evaluations, read_reported(reported), present_code)
    return table3(evaluations, {half: read_reported(reported, half) for half in TABLE_3}, present_code)


def long_table(
    paper_table: str, evaluations: Sequence[dict[str, Any]], reported: Reported, present_code: str | None
) -> pd.DataFrame:
    """A long table with the columns ``COLUMNS``; percentages, as the paper prints them.

    What was not run stands in it too: of the ablations on every task, otherwise where the paper has a number.

    Args:
        paper_table: a key of ``PAPER_TABLES``, which names and orders the methods.
        evaluations: from :func:`gram.tables.evaluations.read_evaluations`.
        reported: from :func:`read_reported`.
        present_code: hash of the present code, which marks stale rows; None marks none.
    """
    names = PAPER_TABLES[paper_table]
    by_row: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        by_row.setdefault((evaluation["run"]["task"], evaluation["run"]["method"]), []).append(evaluation)
    in_paper = {(task, method) for task, method, _ in reported}
    rows = []
    for task in order_of_tasks({task for task, _ in by_row}, {task for task, _ in in_paper}):
        papers_metrics = {metric for t, _, metric in reported if t == task}
        methods = {m for t, m in {*by_row, *in_paper} if t == task} | (set() if paper_table == "table1" else set(names))
        for method in in_order(methods, names):
            seeds = by_row.get((task, method), [])
            shared = {"table": paper_table, "label": label(method, names)} | facts(seeds)
            shared |= {"status": status([seed["run"] for seed in seeds], present_code)}
            for name, metric in METRICS.items():
                if name == "conflict_edges" and "conflict_edges" not in papers_metrics:
                    continue
                paper = reported.get((task, method, metric.paper)) if metric.paper else None
                rows.append({"task": task, "method": method, "metric": name} | shared | row_of(metric, seeds, paper))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(INTEGERS, "Int64") | dict.fromkeys(FLOATS, "float64"))
