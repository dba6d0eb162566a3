"""Whether the paper's ordering among families of methods holds in the rows of a table: sentences
with their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from gram.tables.paper import Claim, group, rows_of, table_with


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
    """The claims of a table that the methods of one task can decide, each with its verdict.

    Args:
        part: the rows of one task in one part of a table, from
            :func:`gram.tables.rows.long_table`; not empty.
    """
    name = part["table"].iloc[0]
    known = rows_of(name)
    for claim in table_with(name).claims:
        rows = part[(part["metric"] == claim.metric) & part["ours_mean"].notna()]
        more = group(known, claim.more)
        less = group(known, claim.less) - more
        above, below = (
            rows[rows["method"].isin(side)].sort_values("ours_mean") for side in (more, less)
        )
        if len(above) and len(below):
            yield judged(claim, above.iloc[0], below.iloc[-1])
