"""Boards that were drawn from nothing, in the README: the largest of which weights are kept."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from gram.figures.nothing import read_papers
from gram.reports.reference import NOT_MEASURED, duration
from gram.reports.results import REPORTED, WIDTH
from gram.settings.tasks import family_and_size
from gram.tables.reference import REFERENCE, metas_of, reference_evaluations

FAMILY = "emptysudoku"


def from_nothing(root: Path) -> str:
    """How many boards of the kept run on the largest are valid, and how many training has seen,
    beside the paper's methods.
    """
    found = []
    for folder in sorted(path for path in (root / REFERENCE).glob("*") if path.is_dir()):
        for one in reference_evaluations(folder, sections=("metrics",)):
            family, size = family_and_size(one["run"]["task"])
            if family == FAMILY:
                found.append((size, one["metrics"]["accuracy"]["value"], folder, one))
    if not found:
        return NOT_MEASURED
    size, _, folder, best = max(found, key=lambda row: row[:2])
    run = best["run"]
    (meta,) = metas_of(folder, run["task"], run["method"], run["seed"])
    papers = "; ".join(papers_words(read_papers(root / REPORTED)))
    text = (
        f"Of {run['width']:,} boards of {size}x{size} {share(best, 'accuracy')} are valid after"
        f" {run['depth']} supervision steps, and {share(best, 'seen')} of these stand in training"
        f" ({run['parameters'] / 1e6:.2g}M parameters, {duration(meta['seconds'])} on one core of"
        f" {meta['device']}). In the paper: {papers}."
    )
    return "\n".join(textwrap.wrap(text, WIDTH))


def share(evaluation: dict[str, Any], metric: str) -> str:
    """A share of an evaluation in percent."""
    return f"{100 * evaluation['metrics'][metric]['value']:.1f} %"


def papers_words(papers: pd.DataFrame) -> list[str]:
    """Each of the paper's networks with its validity, the least and the most of several sizes.

    Args:
        papers: from :func:`gram.figures.nothing.read_papers`.
    """
    kinds = papers.assign(kind=papers["method"].str.replace("[-,].*", "", regex=True))
    found = []
    for (calls, kind), rows in kinds.groupby(["x", "kind"]):
        least, most = rows["value"].min(), rows["value"].max()
        values = f"{most:g}" if least == most else f"{least:g} to {most:g}"
        found.append(f"{kind} {values} % after {calls:,} steps")
    return found
