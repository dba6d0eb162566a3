"""A hash of the code that can change a number, stamped into every result so that stale ones can be
told.
"""

from __future__ import annotations

import functools
import hashlib
import io
import tokenize
from pathlib import Path

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
def code_hash(package: Path = PACKAGE) -> str:
    """Twelve hex digits over the sources of ``package``, without comments and without what changes
    no number.
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        if not name.startswith(NO_NUMBERS):
            digest.update(
                f"{name}\0{without_comments(path.read_text(encoding='utf-8'))}\0".encode()
            )
    return digest.hexdigest()[:12]
