"""``python -m gram``: the steps of this package, each a command of its own, and what each does.

Their names and descriptions are read from their source, since importing all of them would take
seconds.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

from gram import FORMER_COMMANDS
from gram.system.errors import GramError, run, suggestion

HELP = ("-h", "--help", "help")


def steps() -> dict[str, str]:
    """The name of every module that can be run, and the beginning of what it says about itself."""
    root = Path(__file__).parent
    found = {}
    for path in sorted(root.glob("*/*.py")):
        name = path.parent.name if path.stem == "__main__" else path.stem
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
        for function in functions:
            if function.name == "main":
                text = " ".join((ast.get_docstring(function) or "").split())
                found[name] = re.split(r"[:;(]", text)[0].strip(" .")
    return dict(sorted(found.items()))


def main() -> None:
    """List the steps, or run one: ``python -m gram train ...`` is ``python -m gram.train ...``.

    Raises:
        GramError: there is no step of this name.
    """
    known = steps()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in HELP:
        width = max(map(len, known))
        print("Each step is a command with a --help of its own:\n")
        for step, text in known.items():
            print(f"  python -m gram.{step:<{width}}  {text}")
        print("\nsnakemake runs them in the right order.")
        return
    if name not in known and name not in FORMER_COMMANDS:
        raise GramError(f"python -m gram: no step {name!r}; {suggestion(name, known, 'the steps')}")
    os.execv(sys.executable, [sys.executable, "-m", f"gram.{name}", *sys.argv[2:]])


if __name__ == "__main__":
    run(main)
