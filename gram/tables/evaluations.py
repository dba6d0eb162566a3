"""Reading evaluation files, with the checks that make a mean over seeds meaningful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gram import files
from gram.errors import GramError
from gram.tables.names import FAILED, NOT_RUN

SAME_FOR_TASK = ("inputs", "data_md5")
SAME_FOR_SEEDS = (
    "depth",
    "width",
    "draws",
    "act",
    "sampler",
    "weights",
    "parameters",
    "supervision_steps_seen",
)
SECTIONS = ("overlap_with_training", "metrics", "by_completions", "by_width")
NEEDED = (
    "task",
    "method",
    "seed",
    "split",
    "training_examples",
    *SAME_FOR_TASK,
    *SAME_FOR_SEEDS,
    "trained_by",
    "evaluated_by",
)


def read_evaluations(
    paths: Sequence[Path], sections: Sequence[str] = SECTIONS, split: str = "test"
) -> list[dict[str, Any]]:
    """The evaluations of one split in ``paths``, as ``gram.evaluate`` and ``gram.pool`` write them.

    Args:
        paths: JSON files.
        split: the test split but for a diagnosis of training, which is no result.
        sections: what each must hold beside the facts of its run; other commands than ``gram.evaluate`` write others.

    Raises:
        GramError: a missing or foreign file, another split, a run given twice, data that differs within a task, or
            seeds of one method that differ in test-time compute, size or training.
    """
    seen: dict[tuple[str, str, int], Path] = {}
    first: dict[tuple[str, ...], tuple[Path, dict[str, Any]]] = {}
    evaluations = []
    for path in paths:
        evaluation = files.read_json(path)
        run = _run(path, evaluation, sections)
        if run["split"] != split:
            raise GramError(
                f"{path}: evaluates the split {run['split']!r}; this takes the {split} split only"
            )
        task, method = run["task"], run["method"]
        key_of_run = (task, method, run["seed"])
        if key_of_run in seen:
            raise GramError(
                f"{path}: {task} {method} seed {run['seed']} is also in {seen[key_of_run]}; leave one out"
            )
        seen[key_of_run] = path
        for group, keys in (((task,), SAME_FOR_TASK), ((task, method), SAME_FOR_SEEDS)):
            earlier, other = first.setdefault(group, (path, run))
            for key in keys:
                if run[key] != other[key]:
                    raise GramError(
                        f"{path}: {key} {run[key]} differs from {other[key]} in {earlier}; "
                        f"a mean over them means nothing: build both with the same settings"
                    )
        evaluations.append(evaluation)
    return evaluations


def _run(path: Path, evaluation: Any, sections: Sequence[str]) -> dict[str, Any]:
    """The run's facts in an evaluation, after checking that everything needed is there."""
    top = evaluation if isinstance(evaluation, dict) else {}
    run = top.get("run", {})
    missing = [key for key in ("run", *sections) if key not in top]
    missing += [f"run.{key}" for key in NEEDED if key not in run]
    if missing:
        raise GramError(
            f"{path}: not the evaluation needed here ({missing[0]} is missing); delete it and build it again"
        )
    return run


def code_hashes(run: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The code versions that trained and that evaluated a run; a pooled one may have several, joined by "+"."""
    trained, evaluated = (
        set(run[key]["code_hash"].split("+")) for key in ("trained_by", "evaluated_by")
    )
    return trained, evaluated


def status(
    runs: Sequence[dict[str, Any]], present_code: str | None, *, failed: bool = False
) -> str:
    """Whether the seeds of one row are there and belong together: "not run", "failed", "incomplete", "mixed", "stale" or "ok".

    Args:
        runs: facts of each seed.
        present_code: hash of the present code; None leaves out the comparison with it.
        failed: whether the run of another seed failed.
    """
    if not runs:
        return FAILED if failed else NOT_RUN
    if failed:
        return "incomplete"
    trained, evaluated = (
        set().union(*hashes) for hashes in zip(*map(code_hashes, runs), strict=True)
    )
    if len(trained) > 1 or len(evaluated) > 1:
        return "mixed"
    return "ok" if present_code is None or trained | evaluated == {present_code} else "stale"
