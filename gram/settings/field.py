"""How a setting is declared."""

from __future__ import annotations

import dataclasses
from typing import Any


def setting(
    default: Any, doc: str, gap: str = "", *, least: float | None = None, execution: bool = False
) -> Any:
    """A dataclass field with its meaning and, where the paper leaves the choice open, why this default (``gap``).

    ``least`` is the smallest value that makes sense. ``execution`` marks what says how a machine carries out a run, not which
    run it is: it moves only the last bits of a result, and an unfinished run may go on with another value.
    """
    return dataclasses.field(
        default=default, metadata={"doc": doc, "gap": gap, "least": least, "execution": execution}
    )
