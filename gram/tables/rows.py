"""The paper's tables in their long form: one row per task, method and metric, the paper's value
beside the mean over seeds.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gram.settings.config import sized_task
from gram.settings.tasks import judge_of
from gram.system.errors import GramError, suggestion
from gram.tables.evaluations import Present, shown_progress, status
from gram.tables.names import METRICS, Metric, in_order, label
from gram.tables.paper import MAIN, PAPER, paper_table, rows_of, table_with
from gram.tables.reported import Reported, read_reported

COLUMNS = (
    *("task", "method", "metric", "paper_mean", "paper_std", "ours_mean", "ours_std", "n"),
    *(
        "gap",
        "ceiling",
        "unit",
        "n_inputs",
        "n_inputs_several",
        "depth",
        "width",
        "draws",
        "calls",
        "forward_passes",
        "noise_scale",
    ),
    *("n_inputs_in_training", "n_completions", "n_completions_in_training"),
    *(
        "parameters",
        "supervision_steps_seen",
        "training_examples",
        "weights",
        "code_hash",
        "status",
    ),
    *("table", "label", "settings"),
)
INTEGERS = (
    *("n", "n_inputs", "n_inputs_several", "depth", "width", "draws", "calls", "forward_passes"),
    *("n_inputs_in_training", "n_completions", "n_completions_in_training"),
    *("parameters", "supervision_steps_seen", "training_examples"),
)
FLOATS = ("paper_mean", "paper_std", "ours_mean", "ours_std", "gap", "ceiling", "noise_scale")
Run = tuple[str, str, int]  # task, method, seed


def natural(name: str) -> list[str | int]:
    """A key that sorts nqueens8 before nqueens10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def order_of_tasks(run: set[str], reported: set[str]) -> list[str]:
    """Tasks that were run first, then the paper's others, each in natural order; one that was run
    stands for its size.
    """
    return sorted(run, key=natural) + sorted(
        reported - run - {sized_task(task) for task in run}, key=natural
    )


def measured(evaluation: dict[str, Any], metric: Metric) -> dict[str, Any]:
    """The metric's ``{value, ceiling, ...}`` in an evaluation; empty where it was not measured, or
    where the judge of its task has no row for it.
    """
    if judge_of(evaluation["run"]["task"]) not in metric.judges:
        return {}
    found: Any = evaluation["metrics"]
    for key in metric.path:
        found = found.get(key, {})
    return found if found.get("value") is not None else {}


def facts(evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the seeds of one row share: inputs, test-time compute, size and training."""
    if not evaluations:
        return {}
    run = evaluations[0]["run"]
    hashes = {
        run["run"][key]["code_hash"]
        for run in evaluations
        for key in ("trained_by", "evaluated_by")
    }
    seen = evaluations[0]["overlap_with_training"]
    kept = ("depth", "width", "draws", "noise_scale", "parameters", "supervision_steps_seen")
    weights = {
        (one["run"]["weights"], one["run"].get("weights_dtype", "float32")) for one in evaluations
    }
    calls = run.get(
        "calls", 1
    )  # older evaluations do not say it, nor the dtype: networks were called once per step
    return {key: run[key] for key in kept} | {
        # A mean: with halting, how many examples a training finishes depends on its seed.
        "training_examples": round(
            statistics.mean(one["run"]["training_examples"] for one in evaluations)
        ),
        "n_inputs": run["inputs"],
        "n_inputs_several": (
            evaluations[0]["metrics"].get("slices", {}).get("several", {}).get("inputs")
        ),
        "n_inputs_in_training": int(seen["inputs"]["numerator"]),
        "n_completions": int(seen["completions"]["denominator"]),
        "n_completions_in_training": int(seen["completions"]["numerator"]),
        "weights": ", ".join(sorted(f"{which} {dtype}" for which, dtype in weights)),
        "calls": calls,
        "forward_passes": (
            run["depth"] * run["draws"] * calls
        ),  # with ACT this is the most there can be
        "code_hash": "+".join(sorted(set("+".join(hashes).split("+")))),
    }


def row_of(
    metric: Metric, evaluations: Sequence[dict[str, Any]], paper: tuple[float, float | None] | None
) -> dict[str, Any]:
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
        row["ceiling"] = ceilings[
            0
        ]  # the same for all seeds: it depends on the test split and the width alone
    return row


def table1(
    evaluations: Sequence[dict[str, Any]],
    reported: Reported,
    present_code: Present | None,
    failed: Collection[Run] = (),
) -> pd.DataFrame:
    """Table 1, with every method that was evaluated; see :func:`long_table`."""
    return long_table(MAIN, evaluations, reported, present_code, failed)


def whole_table(
    name: str,
    evaluations: Sequence[dict[str, Any]],
    reported: Path,
    present_code: Present | None,
    failed: Collection[Run] = (),
) -> pd.DataFrame:
    """A table of ``resources/paper.yaml``, its parts below one another.

    Args:
        name: of the table.
        evaluations: of the methods of any part; in a closed table each stands in the parts that
            have its row, and in any other one in all of them.
        reported: the file with the paper's numbers.
        present_code, failed: as of :func:`long_table`.

    Raises:
        GramError: as of :func:`gram.tables.reported.read_reported`, no such table, or a metric in
            it that there is not.
    """
    table = paper_table(name)
    asked = [claim.metric for claim in table.claims]
    asked += [metric for part in table.parts.values() for metric in part.columns]
    if unknown := sorted(set(asked) - set(METRICS)):
        meant = suggestion(unknown[0], METRICS, "known ones")
        raise GramError(f"{PAPER}: {name}: no metric {unknown[0]!r}; {meant}")
    parts = [
        long_table(part, evaluations, read_reported(reported, part), present_code, failed)
        for part in table.parts
    ]
    return pd.concat(parts, ignore_index=True)


def long_table(
    part: str,
    evaluations: Sequence[dict[str, Any]],
    reported: Reported,
    present_code: Present | None,
    failed: Collection[Run] = (),
) -> pd.DataFrame:
    """A long table with the columns ``COLUMNS``; percentages, as the paper prints them.

    What was not run stands in it too: of a closed table on every task, otherwise where the paper
    has a number. An experiment on a task of the paper's, such as nqueens8-cpu, stands beside the
    paper's numbers of that task.

    Args:
        part: of a table in ``resources/paper.yaml``, whose rows name and order the methods.
        evaluations: from :func:`gram.tables.evaluations.read_evaluations`.
        reported: from :func:`read_reported`.
        present_code: of :mod:`gram.system.code_version`, which marks stale rows; None marks none.
        failed: the runs that were asked for and ended with an error.
    """
    closed, names = table_with(part).closed, rows_of(part)
    if closed:
        evaluations = [one for one in evaluations if one["run"]["method"] in names]
        failed = [run for run in failed if run[1] in names]
    by_row: dict[tuple[str, str], list[dict[str, Any]]] = {
        (task, method): [] for task, method, _ in failed
    }
    for evaluation in evaluations:
        by_row.setdefault((evaluation["run"]["task"], evaluation["run"]["method"]), []).append(
            evaluation
        )
    lost = {(task, method) for task, method, _ in failed}
    in_paper = {(task, method) for task, method, _ in reported}
    rows = []
    for task in order_of_tasks({task for task, _ in by_row}, {task for task, _ in in_paper}):
        sized = sized_task(task)
        methods = {m for t, m in by_row if t == task} | {m for t, m in in_paper if t == sized}
        methods |= set(names) if closed else set()
        measured_here = {
            name
            for (t, _), seeds in by_row.items()
            if t == task
            for seed in seeds
            for name in seed["metrics"]
        }
        counted = measured_here | {metric for t, _, metric in reported if t == sized}
        for method in in_order(methods, names):
            seeds = by_row.get((task, method), [])
            named = label(method, names) + shown_progress(seeds)
            shared = {"table": part, "label": named} | facts(seeds)
            shared |= {"settings": ""}  # for gram.tables.overridden to fill
            shared |= {
                "status": status(
                    [seed["run"] for seed in seeds], present_code, failed=(task, method) in lost
                )
            }
            for name, metric in METRICS.items():
                if judge_of(task) not in metric.judges:
                    continue
                if not metric.always and name not in counted:
                    continue
                papers = metric.papers(task)
                paper = reported.get((sized, method, papers)) if papers else None
                rows.append(
                    {"task": task, "method": method, "metric": name}
                    | shared
                    | row_of(metric, seeds, paper)
                )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype(dict.fromkeys(INTEGERS, "Int64") | dict.fromkeys(FLOATS, "float64"))
