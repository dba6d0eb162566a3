"""Reading evaluation files, with the checks that make a mean over seeds meaningful."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gram.runs.facts import Among, differ, same_among
from gram.runs.trained import META, UNFINISHED, WEIGHTS, how_far, md5_of, told_apart
from gram.settings.config import split_fold
from gram.system.errors import GramError, short
from gram.system.names import split_evaluation
from gram.system.shapes import read_evaluation, read_meta
from gram.tables.names import FAILED, NOT_RUN

# How many of task and method evaluations share, and what has to be the same among them.
GROUPS: tuple[tuple[int, Among], ...] = ((1, "task"), (2, "seeds"))
SECTIONS = ("overlap_with_training", "metrics")


def read_evaluations(
    paths: Sequence[Path], sections: Sequence[str] = SECTIONS, split: str = "test"
) -> list[dict[str, Any]]:
    """The evaluations of one split in ``paths``, as ``gram.evaluate`` and ``gram.pool`` write them.

    Args:
        paths: JSON files.
        split: the test split but for a diagnosis of training, which is no result.
        sections: what each must hold beside the facts of its run; other commands than
            ``gram.evaluate`` write others.

    Raises:
        GramError: a missing or foreign file, another split, a run given twice, data that differs
            within a task, or seeds of one method that differ in test-time compute, size or
            training, or the evaluation of another run or of other weights than it lies beside.
    """
    seen: dict[tuple[str, str, int], Path] = {}
    first: dict[tuple[str, ...], tuple[Path, dict[str, Any]]] = {}
    evaluations = []
    for path in paths:
        evaluation = read_evaluation(path, tuple(sections))
        run = evaluation["run"]
        if run["split"] != split:
            raise GramError(
                f"{path}: evaluates the split {short(run['split'])}; this takes the {split} split"
                " only"
            )
        check_place(path, run)
        task, method = run["task"], run["method"]
        key_of_run = (task, method, run["seed"])
        if key_of_run in seen:
            raise GramError(
                f"{path}: {task} {method} seed {run['seed']} is also in {seen[key_of_run]}; leave"
                " one out"
            )
        seen[key_of_run] = path
        for group, among in GROUPS:
            earlier, other = first.setdefault((task, method)[:group], (path, run))
            if among == "seeds" and run.get(UNFINISHED) != other.get(UNFINISHED):
                raise GramError(
                    f"{path}: no mean over runs that have come unequally far"
                    f" ({told_apart([other, run])}); leave one out"
                )
            for key in same_among(among):
                if differ(run, other, key):
                    there, here = (short(one.get(key)) for one in (other, run))
                    raise GramError(
                        f"{path}: {key} {here} differs from {there} in"
                        f" {earlier}; a mean over them means nothing: build both with the same"
                        " settings"
                    )
        evaluations.append(evaluation)
    return evaluations


def progress_of(runs: Iterable[dict[str, Any]]) -> str:
    """What stands behind the name of runs that are unfinished: " (10,674 of 14,000 steps)"; nothing
    behind that of others.

    Args:
        runs: their facts, as an evaluation or meta.json has them.
    """
    found = sorted({how_far(run[UNFINISHED]) for run in runs if UNFINISHED in run})
    return f" ({', '.join(found)})" if found else ""


def shown_progress(evaluations: Iterable[dict[str, Any]]) -> str:
    """:func:`progress_of` the runs of some evaluations."""
    return progress_of(evaluation["run"] for evaluation in evaluations)


def unfinished_note(runs: Sequence[dict[str, Any]]) -> str:
    """A sentence on the unfinished ones among several runs; empty without any."""
    found = {
        f"{run['method']} on {split_fold(run['task'])[0]}{progress_of([run])}"
        for run in runs
        if UNFINISHED in run
    }
    return f"Unfinished: {', '.join(sorted(found))}." if found else ""


def check_place(path: Path, run: dict[str, Any]) -> None:
    """Whether an evaluation is that of the run in whose place it lies, and of the weights that lie
    there now.

    Args:
        path: ``{folder}/eval/{task}/{method}/seed{seed}/{name}.json``; of any other, nothing is
        known.
        run: the facts of the run in it.

    Raises:
        GramError: another task, method or seed, or other weights than those that the meta.json in
            ``{folder}/runs`` notes.
    """
    folder = folder_of(path)
    if folder is None:
        return
    names = (run["task"], run["method"], f"seed{run['seed']}")
    if names != path.parts[-4:-1]:
        raise GramError(
            f"{path}: the evaluation of {'/'.join(names)}, in the place of another run; "
            "delete it and build it again"
        )
    md5s, data = run.get("checkpoint_md5", {}), run["data_md5"]
    if not isinstance(md5s, dict):
        md5s, data = {run["task"]: md5s}, {run["task"]: data}
    for task, md5 in md5s.items():
        trained, _ = split_evaluation(names[1])
        meta_path = folder / "runs" / task / trained / names[2] / META
        if not meta_path.exists():  # a kept evaluation may stand alone
            continue
        meta = read_meta(meta_path)
        noted, trained_on = md5_of(meta, WEIGHTS), meta["data_md5"]["train"]
        if noted not in (None, md5):
            raise GramError(
                f"{path}: evaluates weights with MD5 {short(md5)}, but {meta_path} has {noted}: the"
                " run was trained again; evaluate it again"
            )
        seen = data.get(task)
        if isinstance(seen, dict) and seen.get("train") != trained_on:
            raise GramError(
                f"{path}: evaluated beside training data with MD5 {short(seen.get('train'))}, but"
                f" the run of {meta_path} was trained on {trained_on}; evaluate it again"
            )


def folder_of(evaluation: Path) -> Path | None:
    """The folder with ``eval/{task}/{method}/seed{seed}/test.json``; None for any other path."""
    parents = evaluation.parents
    return parents[4] if len(parents) > 4 and parents[3].name == "eval" else None


def code_hashes(run: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The code versions that trained and that evaluated a run; a pooled one may have several,
    joined by "+".
    """
    trained, evaluated = (
        set(run[key]["code_hash"].split("+")) for key in ("trained_by", "evaluated_by")
    )
    return trained, evaluated


Present = Callable[[Mapping[str, Any]], str]


def status(
    runs: Sequence[dict[str, Any]], present_code: Present | None, *, failed: bool = False
) -> str:
    """Whether the seeds of one row are there and belong together: "not run", "failed",
    "incomplete", "mixed", "stale" or "ok".

    Args:
        runs: facts of each seed.
        present_code: that of :mod:`gram.system.code_version`; None leaves out the comparison with
            the present code.
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
    fresh = present_code is None or all(
        by["code_hash"] == present_code(by)
        for run in runs
        for by in (run["trained_by"], run["evaluated_by"])
    )
    return "ok" if fresh else "stale"
