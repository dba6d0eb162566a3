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

# The commands beside those that are called as their room: ``python -m gram.export`` runs
# gram/runs/export.py.
COMMANDS = {
    "carried": "evaluate",
    "checksums": "data",
    "compare_samplers": "evaluate",
    "config": "settings",
    "draw": "figures",
    "export": "runs",
    "fetch": "data",
    "kit": "evaluate",
    "launch": "system",
    "pool": "evaluate",
    "restore": "runs",
    "scaling": "evaluate",
    "solve": "figures",
    "torchrun": "system",
    "trajectories": "evaluate",
}

# What a command was called in the version before, which is understood for one version.
FORMER_COMMANDS = {"keep": "export"}


class _Commands(MetaPathFinder):
    """Finds gram/runs/export.py for ``python -m gram.export``: a command keeps its name in whatever
    room it stands; and for ``python -m gram.keep``, with a line that says its new name.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package == __name__ and name in FORMER_COMMANDS:
            former, name = name, FORMER_COMMANDS[name]
            print(
                f"python -m gram.{former} is now python -m gram.{name}; write that, as the next"
                " version knows no other name",
                file=sys.stderr,
            )
        if package != __name__ or name not in COMMANDS:
            return None
        return spec_from_file_location(
            fullname, Path(__file__).parent / COMMANDS[name] / f"{name}.py"
        )


sys.meta_path.append(_Commands())
