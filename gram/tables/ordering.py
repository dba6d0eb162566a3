"""Whether the paper's ordering among families of methods holds in the rows of a table: sentences
with their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from gram.tables.names import METHODS

GENERATIVE = {name for name, method in METHODS.items() if method.generative}
DETERMINISTIC = set(METHODS) - GENERATIVE


class Claim(NamedTuple):
    """Every method of one side has a greater mean of a metric than every one of the other."""

    text: str
    metric: str
    more: set[str]
    less: set[str]


CLAIMS = (
    Claim(
        "on inputs with several completions, every generative method is more accurate than every"
        " deterministic one",
        "hostile_accuracy",
        GENERATIVE,
        DETERMINISTIC,
    ),
    Claim(
        "of the completions of such inputs, every generative method finds more than every"
        " deterministic one",
        "hostile_coverage_macro",
        GENERATIVE,
        DETERMINISTIC,
    ),
    Claim(
        "GRAM is the most accurate of the generative methods",
        "accuracy",
        {"gram"},
        GENERATIVE - {"gram"},
    ),
)


def value(row: Any) -> str:
    """A row's method with its mean, deviation and number of seeds."""
    spread = "" if pd.isna(row.ours_std) else f" ± {row.ours_std:.1f}"
    return f"{row.label} {row.ours_mean:.1f}{spread} ({row.n})"


def judged(claim: Claim, above: Any, below: Any) -> str:
    """A claim with its verdict: ``above`` is the least row that should be above, ``below`` the
    greatest that should be below.
    """
    difference = above.ours_mean - below.ours_mean
    verdict = "holds" if difference > 0 else "does not hold here"
    spreads = [0.0 if pd.isna(row.ours_std) else row.ours_std for row in (above, below)]
    close = (
        "; closer than their deviations over seeds together"
        if abs(difference) < sum(spreads)
        else ""
    )
    return f"{verdict}: {claim.text} ({claim.metric}: {value(above)} against {value(below)}{close})"


def ordering(part: pd.DataFrame) -> Iterator[str]:
    """The claims that the methods of one task can decide, each with its verdict.

    Args:
        part: the rows of one task in table 1, from :func:`gram.tables.rows.long_table`.
    """
    for claim in CLAIMS:
        rows = part[(part["metric"] == claim.metric) & part["ours_mean"].notna()]
        more, less = (
            rows[rows["method"].isin(side)].sort_values("ours_mean")
            for side in (claim.more, claim.less)
        )
        if len(more) and len(less):
            yield judged(claim, more.iloc[0], less.iloc[-1])
