"""The tables of the paper as data: what stands in ``resources/paper.yaml``.

A table is shown beside our numbers because it has an entry there; no code names one. Neither numpy
nor pandas is imported, so that the workflow may ask which tables there are.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gram.settings.documents import mapping, read_yaml
from gram.settings.parsing import parse
from gram.system.code_version import PACKAGE
from gram.system.errors import GramError, short, suggestion
from gram.system.names import check_name

PAPER = PACKAGE.parent / "resources/paper.yaml"
MAIN = "table1"  # whose methods and labels stand where no table is meant
# What `python -m gram.tables` and the workflow call otherwise.
TAKEN = ("costs", "summary", "quick")
GROUPS = ("generative", "deterministic")  # into which a table's rows are parted


@dataclass(frozen=True)
class Method:
    """A row: one of our methods, or one that only the paper has.

    Attributes:
        label: how tables and figures call it; as the paper does where it is not given.
        paper: its name in the paper's table, or None where the paper does not have it.
        generative: whether it can give several answers to one input.
    """

    label: str | None = None
    paper: str | None = None
    generative: bool = False

    @property
    def name(self) -> str:
        """How tables and figures call it."""
        return self.label or self.paper or ""


@dataclass(frozen=True)
class Part:
    """A table under one heading; most tables are one.

    Attributes:
        rows: method -> its row, in the order of the table.
        heading: over its section of a task, whose name takes the place of ``{task}``.
        tasks: what the paper's table calls a task -> what it is called here; others are called
            alike.
        metrics: what the paper's table calls a metric -> the name in ``reported.csv`` of Table 1's
            metric that it is, such as ``{validity: accuracy}``.
        columns: the metrics that it shows, by our names; () for all that the judge of a task has.
    """

    rows: dict[str, Method]
    heading: str = "{task}"
    tasks: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """Every row of one side has a greater mean of a metric than every other one of the other.

    Attributes:
        text: the claim as a sentence.
        metric: by our name.
        more, less: the sides, each one of ``GROUPS`` or a method.
    """

    text: str
    metric: str
    more: str
    less: str


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        title: of its page.
        help: what it shows, for ``python -m gram.tables --help``.
        listed_under: the key of the configuration that lists its runs.
        parts: by the names that the column ``table`` of ``reported.csv`` gives them.
        alone: the title where nothing was run that the paper has; the same where it is not given.
        note: a paragraph above the table.
        terms: what words in its rows mean, for the legend.
        claims: what the paper says of its rows, which our rows are asked as well.
        others: whether what others report who reproduced the paper stands beside it.
        closed: whether it has its own rows on every task, run or not, and no other method.
    """

    title: str
    help: str
    listed_under: str
    parts: dict[str, Part]
    alone: str | None = None
    note: str | None = None
    terms: dict[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    others: bool = False
    closed: bool = False


@functools.cache
def paper_tables(path: Path = PAPER) -> dict[str, PaperTable]:
    """Every table of the paper by its name, in the order of the file.

    Raises:
        GramError: a missing or broken file, an unknown key, a row without a name, a claim about a
            method that has no row, a name that is taken, or a part that stands in two tables.
    """
    found: dict[str, PaperTable] = {}
    for name, entry in mapping(read_yaml(path), str(path)).items():
        where = f"{path}: {check_name(name, str(path))}"
        found[name] = parse(PaperTable, entry, where)
        _check(name, found[name], where)
    if MAIN not in found:
        raise GramError(f"{path}: no table {MAIN!r}, whose rows name the methods")
    parts = [part for table in found.values() for part in table.parts]
    if twice := sorted({part for part in parts if parts.count(part) > 1}):
        raise GramError(f"{path}: the part {twice[0]!r} stands in two tables; rename one")
    return found


def _check(name: str, table: PaperTable, where: str) -> None:
    """What a type does not say of a table.

    Raises:
        GramError: as of :func:`paper_tables`.
    """
    if name in TAKEN:
        raise GramError(f"{where}: another table or command is called so; rename it")
    if not table.parts:
        raise GramError(f"{where}: parts: needs an entry, with the rows of the table")
    for key, part in table.parts.items():
        here = f"{where}: parts: {check_name(key, f'{where}: parts')}: rows"
        if not part.rows:
            raise GramError(f"{here}: needs an entry for each method")
        for method, row in part.rows.items():
            check_name(method, here)
            if not row.name:
                raise GramError(
                    f"{here}: {method}: needs a `label`, or in `paper` the paper's name"
                )
    sides = [*GROUPS, *(method for part in table.parts.values() for method in part.rows)]
    for number, claim in enumerate(table.claims):
        for side in (claim.more, claim.less):
            if side not in sides:
                meant = suggestion(side, sides, "known ones")
                raise GramError(f"{where}: claims: {number}: no row {short(side)}; {meant}")


def paper_table(name: str, path: Path = PAPER) -> PaperTable:
    """The table of a name.

    Raises:
        GramError: as of :func:`paper_tables`, or there is none.
    """
    tables = paper_tables(path)
    if name not in tables:
        raise GramError(f"no table {short(name)}; {suggestion(name, tables, 'known ones')}")
    return tables[name]


def table_with(part: str) -> PaperTable:
    """The table of which a part is one."""
    return next(table for table in paper_tables().values() if part in table.parts)


def rows_of(part: str = MAIN) -> dict[str, Method]:
    """The rows of a part by method, in its order."""
    return table_with(part).parts[part].rows


def group(rows: Mapping[str, Method], name: str) -> set[str]:
    """The methods of one of ``GROUPS``, or the one method that is called so."""
    if name not in GROUPS:
        return {name}
    return {method for method, row in rows.items() if row.generative == (name == "generative")}
