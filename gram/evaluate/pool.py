"""``python -m gram.pool``: one evaluation from those of all folds, by adding numerators and
denominators.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gram.data.splits import read_table, write_table
from gram.evaluate.metrics import ratio
from gram.runs.facts import differ, pooled_by, same_among
from gram.runs.trained import UNFINISHED, told_apart
from gram.settings.config import split_fold
from gram.system import files
from gram.system.errors import GramError, Parser, run
from gram.system.shapes import SAMPLES_MD5, read_evaluation

KEYS = (
    "n_completions",
    "depth",
    "width",
    "group",
    "step",
    "sampler",
    "rollout_seed",
    "fact",
    "least",
    "bin",
    "times",
)  # rows of a table are matched by these


def pool_values(values: Sequence[Any]) -> Any:
    """Pool equal-shaped values: metrics by their sums, mappings key by key, counts by addition."""
    first = values[0]
    if isinstance(first, dict) and "numerator" in first:
        denominator = sum(v["denominator"] for v in values)
        more = {}
        if "ceiling" in first:
            best = sum(v["ceiling"] * v["denominator"] for v in values if v["denominator"])
            more["ceiling"] = best / denominator if denominator else None
        return ratio(sum(v["numerator"] for v in values), denominator, **more)
    if isinstance(first, dict):
        pooled = {}
        for key in first:
            pooled[key] = first[key] if key in KEYS else pool_values([v[key] for v in values])
        return pooled
    return sum(values)


def pool_rows(tables: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Pool the rows of several tables that agree in all of ``KEYS`` that they have; a row may be
    missing in some.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in (row for table in tables for row in table):
        groups.setdefault(tuple(row[key] for key in KEYS if key in row), []).append(row)
    return [pool_values(groups[value]) for value in sorted(groups)]


def pool(evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The evaluation of a task with folds, from one per fold: facts under "run", and sections of
    metrics or of rows.

    Raises:
        GramError: the evaluations are not all folds of one task, method, seed, split and test-time
            compute.
    """
    runs = [evaluation["run"] for evaluation in evaluations]
    names = [split_fold(run["task"]) for run in runs]
    base = {name for name, _ in names}
    folds = runs[0]["folds"]
    if len(base) != 1 or sorted(fold for _, fold in names if fold is not None) != list(
        range(folds)
    ):
        raise GramError(
            "pool: expected every fold of one task once, found"
            f" {', '.join(run['task'] for run in runs)}"
        )
    for key in same_among("folds"):
        if any(differ(runs[0], run, key) for run in runs):
            values = ", ".join(str(run.get(key)) for run in runs)
            raise GramError(f"pool: {key} differs among the folds: {values}")
    if len({str(run.get(UNFINISHED)) for run in runs}) > 1:
        raise GramError(f"pool: {told_apart(runs)}; pool runs that have come equally far")
    facts = dict(runs[0])
    for key in pooled_by("each"):
        facts[key] = {run["task"]: run[key] for run in runs}
    for key in pooled_by("sum"):
        facts[key] = sum(run[key] for run in runs)
    facts.pop(SAMPLES_MD5, None)  # of the first fold
    facts |= {"task": base.pop(), "folds": folds}
    # A pooled result was made by one code only if every fold was.
    for key in ("trained_by", "evaluated_by"):
        hashes = sorted({run[key]["code_hash"] for run in runs})
        facts[key] = runs[0][key] | {"code_hash": "+".join(hashes)}
    pooled: dict[str, Any] = {"run": facts}
    for key in evaluations[0]:
        if key != "run":
            parts = [evaluation[key] for evaluation in evaluations]
            pooled[key] = pool_rows(parts) if isinstance(parts[0], list) else pool_values(parts)
    return pooled


def check_samples(path: Path, run: dict[str, Any]) -> None:
    """Whether samples are those of an evaluation.

    Args:
        path: the Parquet file that was written with it.
        run: the facts of its run; older ones do not note the file's MD5.

    Raises:
        GramError: missing, damaged, or those of another evaluation.
    """
    if (found := files.md5(path)) != run.get(SAMPLES_MD5, found):
        raise GramError(
            f"{path}: MD5 {found}, but its evaluation says {run[SAMPLES_MD5]}; damaged, or of"
            " another evaluation: delete both and evaluate again"
        )


def pool_folds(evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """:func:`pool` of all folds; one evaluation alone stays as it is."""
    return evaluations[0] if len(evaluations) == 1 else pool(evaluations)


def main() -> None:
    """Pool the evaluations of all folds of one task, method and seed."""
    parser = Parser(prog="python -m gram.pool", description=main.__doc__)
    parser.add_argument(
        "--evaluations", type=Path, nargs="+", required=True, help="one JSON per fold"
    )
    parser.add_argument(
        "--fold-samples", type=Path, nargs="+", default=[], help="one Parquet per fold"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--samples", type=Path, help="Parquet file to write")
    args = parser.parse_args()
    evaluations = [read_evaluation(path) for path in args.evaluations]
    try:
        content = pool(evaluations)
    except (KeyError, TypeError, AttributeError) as error:
        names = ", ".join(map(str, args.evaluations))
        raise GramError(
            f"pool: these do not hold the same keys ({error}): {names}; build them again"
        ) from error
    if args.samples and len(args.fold_samples) != len(args.evaluations):
        raise GramError(
            f"--samples: needs one of --fold-samples per evaluation, found {len(args.fold_samples)}"
        )
    if args.samples:
        for path, evaluation in zip(args.fold_samples, evaluations, strict=True):
            check_samples(path, evaluation["run"])
        tables = [read_table(path) for path in args.fold_samples]
        write_table(args.samples, pd.concat(tables))
        content["run"][SAMPLES_MD5] = files.md5(args.samples)
    files.write_json(args.output, content)


if __name__ == "__main__":
    run(main)
