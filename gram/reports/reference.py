"""Reading reference runs: the committed evaluations and metas below ``resources/reference_runs``, one folder per kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gram import files
from gram.config import split_fold
from gram.errors import GramError
from gram.tables.evaluations import SECTIONS, read_evaluations
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import HEADLINES
from gram.tables.rows import natural

REFERENCE = Path("resources/reference_runs")
DEFAULT_RUNS, TABLE1_RUNS, PROVING_RUNS = "cpu_default", "cpu_table1", "proving_ground"
ABLATION_RUNS, GAP_RUNS = "ablations", "gaps"
DEFAULT_TASK = "nqueens5"  # of these, the one that the README opens with
SHOWN = tuple(HEADLINES)
NOT_MEASURED = f"Not measured yet: `{REFERENCE}` holds no runs of this kind."


def reference_evaluations(
    folder: Path, name: str = "test.json", sections: Sequence[str] = SECTIONS
) -> list[dict[str, Any]]:
    """The evaluations of one folder of reference runs; empty where there is none.

    Args:
        folder: one kind of reference runs.
        name: of the files.
        sections: what each must hold beside the facts of its run.
    """
    return read_evaluations(
        sorted(folder.glob(f"eval/*/*/seed*/{name}"), key=lambda path: natural(path.as_posix())),
        sections,
    )


def metas_of(folder: Path, task: str, method: str, seed: int) -> list[dict[str, Any]]:
    """The metas of a run, or of its folds.

    Raises:
        GramError: there is none.
    """
    paths = sorted(folder.glob(f"runs/*/{method}/seed{seed}/meta.json"))
    metas = [
        files.read_json(path)
        for path in paths
        if task in (path.parts[-4], split_fold(path.parts[-4])[0])
    ]
    if not metas:
        raise GramError(
            f"{folder}: no runs/{task}/{method}/seed{seed}/meta.json beside its evaluation; copy it from results/"
        )
    return metas


def distinct(values: Iterator[Any]) -> str:
    """Different values, joined; None is left out."""
    return ", ".join(sorted({str(v) for v in values if v is not None})) or NOTHING


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, with one decimal from a minute on."""
    for limit, unit in ((3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.1f} {unit}"
    return f"{seconds:.0f} s"


def signed(mean: float, std: float) -> str:
    """ "+1.2 ± 0.3", with a minus sign rather than a hyphen."""
    return f"{'+' if mean >= 0 else '−'}{mean_and_std(abs(mean), std)}"
