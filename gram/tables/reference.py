"""Reading reference runs: what is kept below ``resources/reference_runs``, one folder per kind.

A folder is laid out as ``results`` is: ``eval/{task}/{method}/seed{seed}/test.json``, and the metas
of its run, or of its folds, in ``runs/{task}/{method}/seed{seed}/meta.json``. So what is said here
of a folder holds for ``results`` as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gram.settings.config import split_fold
from gram.system.errors import GramError
from gram.system.names import split_evaluation
from gram.system.shapes import read_meta
from gram.tables.evaluations import SECTIONS, folder_of, read_evaluations
from gram.tables.rows import natural

REFERENCE = Path("resources/reference_runs")
DEFAULT_RUNS, TABLE1_RUNS, PROVING_RUNS = "cpu_default", "cpu_table1", "proving_ground"
PAPER_SIZE_RUNS = "paper_size"
ABLATION_RUNS, GAP_RUNS = "ablations", "gaps"
DEFAULT_TASK = "nqueens5"  # of the default, the one that the README opens with
# The same runs made on another type of processor lie beside a folder under its name and this.
OTHER_PROCESSOR = "_other_processor"


@dataclass(frozen=True)
class Runs:
    """The evaluated seeds of one method on one task.

    Attributes:
        folder: where they lie: ``results``, or one kind of reference runs.
        evaluations: one per seed.
        metas: of all their runs and folds; empty where none lies beside the evaluations.
    """

    folder: Path
    evaluations: list[dict[str, Any]]
    metas: list[dict[str, Any]]


def runs_of(
    paths: Iterable[Path], evaluations: Iterable[dict[str, Any]]
) -> dict[tuple[str, str], Runs]:
    """Evaluations by task and method, with their metas.

    Args:
        paths: of the files, in the order of the evaluations.
        evaluations: from :func:`gram.tables.evaluations.read_evaluations`.

    Raises:
        GramError: a meta that cannot be read.
    """
    found: dict[tuple[str, str], Runs] = {}
    for path, evaluation in zip(paths, evaluations, strict=True):
        run, folder = evaluation["run"], folder_of(path)
        key = (run["task"], run["method"])
        runs = found.setdefault(key, Runs(folder or path.parent, [], []))
        runs.evaluations.append(evaluation)
        runs.metas.extend(metas_beside(folder, *key, run["seed"]) if folder else [])
    return found


def kept_runs(folder: Path, task: str, method: str) -> Runs | None:
    """The seeds of one method in one folder of reference runs; None where it holds none.

    Raises:
        GramError: as of :func:`read_evaluations`.
    """
    paths = sorted(folder.glob(f"eval/{task}/{method}/seed*/test.json"))
    return runs_of(paths, read_evaluations(paths)).get((task, method))


def reference_evaluations(
    folder: Path,
    name: str = "test.json",
    sections: Sequence[str] = SECTIONS,
    split: str = "test",
) -> list[dict[str, Any]]:
    """The evaluations of one folder of reference runs; empty where there is none.

    Args:
        folder: one kind of reference runs.
        name: of the files.
        sections: what each must hold beside the facts of its run.
        split: as of :func:`read_evaluations`.
    """
    paths = sorted(folder.glob(f"eval/*/*/seed*/{name}"), key=lambda path: natural(path.as_posix()))
    return read_evaluations(paths, sections, split)


def metas_beside(folder: Path, task: str, method: str, seed: int) -> list[dict[str, Any]]:
    """The metas of a run, or of its folds; empty where there is none. An evaluation that has a name
    has those of its training.
    """
    trained, _ = split_evaluation(method)
    paths = sorted(folder.glob(f"runs/{task}*/{trained}/seed{seed}/meta.json"))
    return [
        read_meta(path) for path in paths if task in (path.parts[-4], split_fold(path.parts[-4])[0])
    ]


def metas_of(folder: Path, task: str, method: str, seed: int) -> list[dict[str, Any]]:
    """As :func:`metas_beside`.

    Raises:
        GramError: there is none.
    """
    metas = metas_beside(folder, task, method, seed)
    if not metas:
        raise GramError(
            f"{folder}: no runs/{task}/{method}/seed{seed}/meta.json beside its evaluation; copy it"
            " from results/"
        )
    return metas
