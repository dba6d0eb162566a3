"""What the reports share about reference runs: where they lie, and how their facts are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import HEADLINES
from gram.tables.reference import REFERENCE

SHOWN = tuple(HEADLINES["completions"])  # on the pages that compare N-Queens runs
NOT_MEASURED = f"Not measured yet: `{REFERENCE}` holds no runs of this kind."


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


def pictures(root: Path, folder: Path, task: str, figures: Iterable[str]) -> list[str]:
    """The kept figures of a task in one folder of reference runs, as lines of a page in
    ``reports/``.
    """
    lines = []
    for figure in figures:
        for path in sorted(folder.glob(f"figures/*/{task}/{figure}.png")):
            lines += [f"![{figure} of {task}](../{path.relative_to(root).as_posix()})", ""]
    return lines
