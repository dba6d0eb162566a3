"""Who judges the answers of a task: what of them stands in an evaluation.

A judge is one module here with a ``JUDGE``, and is called as its module is: a new one edits no
list.
"""

from __future__ import annotations

from gram.evaluate.judges.base import Chunk, Judge, Metric
from gram.system.rooms import modules_of

__all__ = ["JUDGES", "Chunk", "Judge", "Metric"]


# Every judge by its name, in the order of the names.
JUDGES: dict[str, type[Judge]] = {
    module.__name__.rpartition(".")[2]: module.JUDGE
    for module in modules_of(__name__)
    if hasattr(module, "JUDGE")
}
