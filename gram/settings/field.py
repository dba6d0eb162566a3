"""How a setting is declared."""

from __future__ import annotations

import dataclasses
from typing import Any


def setting(
    default: Any,
    doc: str,
    gap: str = "",
    *,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    execution: bool = False,
) -> Any:
    """A dataclass field with its meaning and, where the paper leaves the choice open, why this
    default (``gap``).

    Every number has two ends, which :func:`gram.settings.parsing.parse` checks: ``least``, the
    smallest value that makes sense, and ``most``, the largest, or ``below``, which it does not
    reach (a decay of 1 would forget nothing). ``most`` of a size is far beyond what was ever
    trained: it tells a slip from a plan. ``choices`` are the values that a text may have, where
    they are found and not written down; others have the type Literal. ``only`` names the
    architectures on which a setting of another section acts, where it does nothing for the others.
    ``execution`` marks what says how a machine carries out a run, not which run it is: it moves
    only the last bits of a result, and an unfinished run may go on with another value.
    """
    metadata = {
        "doc": doc,
        "gap": gap,
        "least": least,
        "most": most,
        "below": below,
        "choices": choices,
        "only": only,
        "execution": execution,
    }
    return dataclasses.field(default=default, metadata=metadata)
