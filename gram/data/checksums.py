"""``python -m gram.checksums``: compare data sets with the sums that the repository lists, or list
the sums of new ones.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gram.data.splits import TABLES, content_md5, read_table
from gram.settings import DataSettings
from gram.settings.config import split_fold
from gram.settings.parsing import parse
from gram.system import files, regular, shapes
from gram.system.errors import GramError, Parser, run

COLUMNS = ("dataset", "split", "rows", "md5")


class Sum(NamedTuple):
    """Rows and content MD5 of one table."""

    rows: int
    md5: str


Listed = dict[str, dict[str, Sum]]  # data set -> split -> sum


def read_listed(path: Path) -> Listed:
    """The sums in a tab-separated file.

    Raises:
        GramError: the file is missing, or a line is not ``dataset, split, rows, md5``.
    """
    try:
        lines = list(csv.reader(regular.read_text(path).splitlines(), delimiter="\t"))
    except FileNotFoundError as error:
        raise GramError(f"{path}: no such file; restore it with git") from error
    except (OSError, ValueError, csv.Error) as error:
        raise GramError(f"{path}: not readable as text ({error}); restore it with git") from error
    if not lines:
        raise GramError(f"{path}: is empty; restore it with git")
    listed: Listed = {}
    for number, line in enumerate(lines, start=1):
        if number == 1 and tuple(line) == COLUMNS:
            continue
        if number == 1 or len(line) != len(COLUMNS) or not re.fullmatch("[0-9]{1,18}", line[2]):
            raise GramError(
                f"{path}: line {number}: expected {', '.join(COLUMNS)} separated by tabs; restore"
                " it with git"
            )
        dataset, split, rows, md5 = line
        listed.setdefault(dataset, {})[split] = Sum(int(rows), md5)
    return listed


def write_listed(path: Path, listed: Listed) -> None:
    """Write sums in one order, whatever order they were recorded in: nqueens8 before nqueens10."""
    names = sorted(
        listed,
        key=lambda name: [
            int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)
        ],
    )
    rows = [(name, split, *listed[name][split]) for name in names for split in TABLES]
    files.write_tsv(path, COLUMNS, rows)


def measure(card_path: Path) -> tuple[str, dict[str, Sum]]:
    """Name and sums of the data set beside ``card_path``, computed from its Parquet files.

    Raises:
        GramError: a missing or broken file, or a table that is not the one that its own card
            describes.
    """
    card = shapes.read_card(card_path)
    sums = {}
    for name in TABLES:
        path = card_path.parent / f"{name}.parquet"
        table = read_table(path)
        found = Sum(len(table), content_md5(table, path))
        expected = Sum(card["tables"][name]["rows"], card["tables"][name]["md5"])
        if found != expected:
            raise GramError(
                f"{path}: found {describe(found)}, but {card_path} says {describe(expected)}; "
                f"delete {card_path.parent} and build it again"
            )
        sums[name] = found
    return card["task"], sums


def describe(one: Sum) -> str:
    """A sum in words."""
    return f"MD5 {one.md5} ({one.rows} rows)"


def record_fix(card_path: Path, listed_path: Path) -> str:
    """What to run to list the sums of a data set whose settings were changed; for a fold, of all
    folds at once.
    """
    card = shapes.read_card(card_path)
    settings = parse(DataSettings, card["settings"], f"{card_path}: settings")
    base, fold = split_fold(settings.task)
    cards, first = card_path, ""
    if fold is not None and card_path.parent.name == settings.task:
        # Braces, which the shell expands: other folds than these may be left from before.
        folder = f"{base}-fold{{0..{settings.split.folds - 1}}}"
        cards = card_path.parent.with_name(folder) / card_path.name
        first = f"build all folds with `snakemake {cards}` (and your --configfile), then "
    return f"{first}run `python -m gram.checksums record --cards {cards} --checksums {listed_path}`"


def verify(card_path: Path, listed: Listed, listed_path: Path) -> dict[str, Any]:
    """Compare a data set with its card and with the listed sums; the result says whether it is
    listed.

    Raises:
        GramError: any difference; the message names the file, both sums and what to do.
    """
    dataset, sums = measure(card_path)
    return {
        "task": dataset,
        "listed": compare(card_path, dataset, sums, listed, listed_path),
        "tables": {name: found._asdict() for name, found in sums.items()},
    }


def compare(
    card_path: Path, dataset: str, sums: dict[str, Sum], listed: Listed, listed_path: Path
) -> bool:
    """Whether a data set with these sums is listed; they are the listed ones then.

    Raises:
        GramError: any difference; the message names the file, both sums and what to do.
    """
    expected = listed.get(dataset, {})
    for name, found in sums.items():
        if expected and found != expected.get(name):
            other = describe(expected[name]) if name in expected else "nothing"
            raise GramError(
                f"{card_path.parent / name}.parquet: found {describe(found)}, but {listed_path}"
                f" says {other}; if the data settings were changed on purpose,"
                f" {record_fix(card_path, listed_path)}; else delete {card_path.parent} and build"
                " it again, and if it differs again, report it"
            )
    return bool(expected)


def check_cards(folders: Iterable[Path], listed_path: Path | None) -> None:
    """Compare what the cards of data sets say with the listed sums, where there is a list; without
    reading a table.

    That the tables are those of the card is checked by whoever reads them
    (:func:`gram.data.splits.load_split`).

    Args:
        folders: those of the data sets.
        listed_path: the list, or None to compare nothing.

    Raises:
        GramError: no list, no card, one without sums, or as of :func:`compare`.
    """
    if listed_path is None:
        return
    listed = read_listed(listed_path)
    for folder in folders:
        card_path = folder / "card.json"
        card = shapes.read_card(card_path)
        tables = card["tables"]
        sums = {name: Sum(tables[name]["rows"], tables[name]["md5"]) for name in TABLES}
        compare(card_path, card["task"], sums, listed, listed_path)


def add_checksums_argument(parser: argparse.ArgumentParser) -> None:
    """``--checksums`` of a command that reads a data set, for :func:`check_cards`."""
    parser.add_argument(
        "--checksums",
        type=Path,
        help="list of sums, with which the data set is compared first; default: none",
    )


def main() -> None:
    """Compare a data set with the listed content sums, or list its sums."""
    parser = Parser(prog="python -m gram.checksums", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser(
        "verify", help="fail if a data set differs from its listed sums; an unlisted one passes"
    )
    check.add_argument(
        "--card", type=Path, required=True, help="card.json beside the Parquet files"
    )
    check.add_argument("--output", type=Path, required=True, help="JSON file with the sums found")
    record = commands.add_parser(
        "record", help="list the sums of data sets, replacing what is listed for them"
    )
    record.add_argument(
        "--cards", type=Path, nargs="+", required=True, help="card.json of each data set"
    )
    for command in (check, record):
        command.add_argument(
            "--checksums", type=Path, default=Path("resources/checksums.tsv"), help="the list"
        )
    args = parser.parse_args()
    if args.command == "verify":
        result = verify(args.card, read_listed(args.checksums), args.checksums)
        if result["listed"]:
            print(f"{result['task']}: all tables agree with {args.checksums}")
        else:
            print(
                f"note: {result['task']} is not listed in {args.checksums}; compared with its own"
                " card only",
                file=sys.stderr,
            )
        files.write_json(args.output, result)
    else:
        listed = read_listed(args.checksums) if args.checksums.exists() else {}
        listed |= dict(measure(card) for card in args.cards)
        write_listed(args.checksums, listed)


if __name__ == "__main__":
    run(main)
