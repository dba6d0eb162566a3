"""What every method's settings resolve to, as digests in ``resources/settings.tsv``: one line per
experiment and method.

The same text has to mean the same on every machine, with every version of the libraries that read
it. So each line has two digests: of what is written (the experiment's file, the shared one that it
names, the defaults of ``gram/settings``), and of the settings that come of it. Where the first is
the one in the list and the second is not, a library reads otherwise than the one with which the
list was made. After an edit of a file the first differs too, and nothing is said: that is what the
files are for.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import typing
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from gram.settings import SECTIONS
from gram.system import files, regular
from gram.system.errors import GramError

PATH = Path("resources/settings.tsv")
COMMAND = "python -m gram.config --list"


class Row(NamedTuple):
    """One method of an experiment: digests of what is written, and of what it resolves to."""

    experiment: str
    method: str
    written: str
    settings: str


def digest(value: Any) -> str:
    """16 hex digits of the SHA-256 of a value as JSON, with sorted keys."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def declared() -> list[str]:
    """Every setting with its type and default, as text."""
    return [
        f"{cls.__name__}.{field.name}: {field.type} = {field.default!r}"
        for section in SECTIONS.values()
        for cls in typing.get_args(section) or (section,)
        for field in dataclasses.fields(cls)
    ]


def written(paths: Iterable[str]) -> str:
    """The digest of what settings are made of: the files at ``paths``, and the defaults."""
    sums = [hashlib.sha256(regular.read_bytes(Path(path))).hexdigest() for path in paths]
    return digest([*sums, *declared()])


def read_list(path: Path) -> list[Row]:
    """The lines of a list; none if there is no such file.

    Raises:
        GramError: a line is not of the four columns.
    """
    if not path.is_file():
        return []
    try:
        lines = list(csv.reader(regular.read_text(path).splitlines(), delimiter="\t"))
    except (OSError, ValueError, csv.Error) as error:
        raise GramError(f"{path}: cannot be read ({error}); restore it with git") from error
    for number, line in enumerate(lines or [[]], start=1):
        if len(line) != len(Row._fields) or (number == 1 and tuple(line) != Row._fields):
            raise GramError(
                f"{path}: line {number}: expected {', '.join(Row._fields)} separated by tabs; "
                f"make it again with `{COMMAND}`"
            )
    return [Row(*line) for line in lines[1:]]


def write_list(path: Path, rows: Iterable[Row]) -> None:
    """Write a list, sorted by experiment and method."""
    files.write_tsv(path, Row._fields, sorted(rows))


def check(found: Iterable[Row], path: Path, experiment: str) -> None:
    """Refuse settings that come of the same text as those in a list, and are others.

    Args:
        found: the lines of an experiment as they are here.
        path: the list.
        experiment: the experiment's file, for the message.

    Raises:
        GramError: names the method and what to do.
    """
    listed = {(row.experiment, row.method): row for row in read_list(path)}
    for row in found:
        known = listed.get((row.experiment, row.method))
        if known and known.written == row.written and known.settings != row.settings:
            raise GramError(
                f"{experiment}: methods: {row.method}: its text is that of {path}, but its settings"
                f" are others: PyYAML {version('pyyaml')} or Python reads it otherwise; install"
                f" what envs/requirements.lock names, or, if gram/ was changed, run `{COMMAND}`"
            )
