"""GRAM: Generative Recursive Reasoning (arXiv:2605.19376), reproduced.

The package consists of rooms. A module imports only from its own room and from those before it
(tests/test_architecture.py).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

__version__ = "0.1.0"

# The one copy of their order.
ROOMS = (
    "system",
    "settings",
    "tasks",
    "data",
    "models",
    "runs",
    "train",
    "evaluate",
    "bench",
    "tables",
    "figures",
    "reports",
)

# The commands beside those that are called as their room: ``python -m gram.keep`` runs
# gram/runs/keep.py.
COMMANDS = {
    "carried": "evaluate",
    "checksums": "data",
    "compare_samplers": "evaluate",
    "config": "settings",
    "fetch": "data",
    "keep": "runs",
    "kit": "evaluate",
    "launch": "system",
    "pool": "evaluate",
    "restore": "runs",
    "scaling": "evaluate",
    "solve": "figures",
    "torchrun": "system",
    "trajectories": "evaluate",
}


class _Commands(MetaPathFinder):
    """Finds ``gram.keep`` for ``python -m gram.keep``: a command keeps its name in whatever room it
    stands.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package != __name__ or name not in COMMANDS:
            return None
        return spec_from_file_location(
            fullname, Path(__file__).parent / COMMANDS[name] / f"{name}.py"
        )


sys.meta_path.append(_Commands())
