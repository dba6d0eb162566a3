"""A hash of the code that made a result, stamped into it so that a stale one can be told.

A training of GRAM on N-Queens is made by the command's module and by those that hold its task,
architecture and objective, and by all that these import: adding a task, or editing a table, leaves
it fresh. What is imported is read from the sources, nothing is run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
# Modules that only present or time what others compute.
NO_NUMBERS = ("tables/", "figures/", "reports/", "bench/")


def without_comments(source: str) -> str:
    """Python source without comments, blank lines and trailing blanks, which change nothing.

    Not the syntax tree: its text differs between versions of Python, and results of several
        machines stand in one table.
    """
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    return "\n".join(line.rstrip() for line in lines if line.strip())


@functools.cache
def code_hash(made_by: tuple[str, ...] = (), package: Path = PACKAGE) -> str:
    """Twelve hex digits over sources of ``package``, without comments.

    Args:
        made_by: the full names of the modules that made a result beside what they import; () for
            results that do not say it, as older ones: the whole package, without what changes no
            number.
        package: its folder.
    """
    digest = hashlib.sha256()
    paths = closure(made_by, package) if made_by else sorted(package.rglob("*.py"))
    for path in paths:
        name = path.relative_to(package).as_posix()
        if made_by or not name.startswith(NO_NUMBERS):
            # A module that is no longer there has no source.
            source = _source(path) if path.is_file() else None
            digest.update(f"{name}\0{source}\0".encode())
    return digest.hexdigest()[:12]


def present_code(by: Mapping[str, Any]) -> str:
    """What the hash of a result's code would be if the present code made it.

    Args:
        by: who trained or evaluated. One that does not say which modules that were, as before these
            were noted, was hashed with the whole package, and is compared with the whole.
    """
    return code_hash(tuple(by.get("code_of", ())))


@functools.cache
def _source(path: Path) -> str:
    """The source in a file without comments."""
    return without_comments(path.read_text(encoding="utf-8"))


def closure(modules: tuple[str, ...], package: Path = PACKAGE) -> list[Path]:
    """The files of modules and of all of the package that they import, directly or through others,
    in the order of their names; those of the packages in which they stand included.

    Not the package's own ``__init__.py``, which lists its commands, nor what is found by looking
    (:mod:`gram.system.rooms`): of tasks and architectures a run has its own.

    Args:
        modules: full names, such as gram.train.__main__, and of no packages; where there is none of
            a name, its file is one that is not there.
        package: its folder.
    """
    found: set[Path] = set()
    waiting = [package.parent.joinpath(*name.split(".")).with_suffix(".py") for name in modules]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for name in _imported(path, package) if path.is_file() else ():
            if (other := _file_of(name, package)) is not None:
                waiting.append(other)
        for folder in path.relative_to(package).parents[:-1]:
            waiting.append(package / folder / "__init__.py")
    return sorted(path for path in found if path.is_file() or path.name != "__init__.py")


def _file_of(name: str, package: Path) -> Path | None:
    """The file of a module, or of the module that a name stands in; None for another package's, and
    for the package itself.
    """
    parts = name.split(".")
    if parts[0] != package.name or len(parts) == 1:
        return None
    folder = package.joinpath(*parts[1:])
    for path in (folder.with_suffix(".py"), folder / "__init__.py"):
        if path.is_file():
            return path
    return _file_of(".".join(parts[:-1]), package)


@functools.cache
def _imported(path: Path, package: Path) -> tuple[str, ...]:
    """The full names that a file imports; not those for a type checker alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(name for name in _imports(tree) if name.split(".")[0] == package.name)


def _imports(node: ast.AST) -> Iterator[str]:
    """The names that are imported in a syntax tree: of ``from a import b`` a.b."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        for other in node.orelse:
            yield from _imports(other)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imports(child)
