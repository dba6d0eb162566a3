"""Content sums of data sets: what is listed is what the code builds, and every difference is found
and explained.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from gram.data.checksums import (
    COLUMNS,
    Sum,
    check_cards,
    main,
    measure,
    read_listed,
    write_listed,
)
from gram.data.splits import TABLES, build, content_md5
from gram.settings import RunSettings
from gram.settings.config import data_settings, load_experiment, split_fold
from gram.settings.tasks import family_of
from gram.system.errors import GramError

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "resources/checksums.tsv"
OTHER = Sum(7, "f" * 32)


@pytest.fixture
def card(data_folder: Path, tmp_path: Path) -> Path:
    """The card of a data set that may be changed."""
    return shutil.copytree(data_folder, tmp_path / "data") / "card.json"


@pytest.fixture
def listing(card: Path, tmp_path: Path) -> Path:
    """A list with the right sums of that data set, and those of another one."""
    path = tmp_path / "checksums.tsv"
    name, sums = measure(card)
    write_listed(path, {name: sums, "other10": dict.fromkeys(sums, OTHER)})
    return path


# Those that are made of files are built where the files are: tests/test_sudokuextreme.py.
MADE_HERE = [name for name in read_listed(LISTED) if not family_of(name).sources]


@pytest.mark.parametrize("dataset", MADE_HERE)
def test_the_code_builds_exactly_what_is_listed(dataset: str, tmp_path: Path) -> None:
    name, _ = split_fold(dataset)
    build(
        data_settings(load_experiment(ROOT / f"config/experiments/{name}.yaml"), dataset), tmp_path
    )
    assert measure(tmp_path / "card.json") == (dataset, read_listed(LISTED)[dataset])


def test_every_data_set_of_the_default_is_listed() -> None:
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    for entry in config["runs"]:
        experiment = load_experiment(ROOT / f"config/experiments/{entry['task']}.yaml")
        assert set(experiment.tasks(entry["task"])) <= set(read_listed(LISTED))


def test_sums_ignore_how_parquet_was_written_but_not_what(card: Path) -> None:
    path = card.parent / "test.parquet"
    table = pd.read_parquet(path)
    before, content = path.read_bytes(), content_md5(table)
    table.to_parquet(path, index=False, compression="gzip", row_group_size=3)
    assert path.read_bytes() != before
    assert content_md5(pd.read_parquet(path)) == content
    assert content_md5(table.iloc[::-1]) != content
    assert content_md5(table.rename(columns={"target": "answer"})) != content


def test_right_sums_pass(
    card: Path, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    outcome = command(
        main,
        "verify",
        "--card",
        card,
        "--checksums",
        listing,
        "--output",
        tmp_path / "checked.json",
    )
    assert (outcome.code, outcome.err) == (0, "")
    checked = json.loads((tmp_path / "checked.json").read_text(encoding="utf-8"))
    facts = json.loads(card.read_text(encoding="utf-8"))
    assert (checked["task"], checked["listed"]) == ("nqueens5", True)
    assert checked["tables"].keys() == facts["tables"].keys()
    for name, table in facts["tables"].items():
        assert checked["tables"][name] == {"rows": table["rows"], "md5": table["md5"]}


def test_an_unlisted_data_set_passes_with_a_note(
    card: Path, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    write_listed(listing, {})
    outcome = command(
        main,
        "verify",
        "--card",
        card,
        "--checksums",
        listing,
        "--output",
        tmp_path / "checked.json",
    )
    assert outcome.code == 0
    assert (
        outcome.err
        == f"note: nqueens5 is not listed in {listing}; compared with its own card only\n"
    )
    assert json.loads((tmp_path / "checked.json").read_text(encoding="utf-8"))["listed"] is False


@pytest.mark.parametrize("wrong", [Sum(0, "0" * 32), None], ids=["another sum", "no such split"])
def test_a_difference_names_the_file_both_sums_and_what_to_do(
    wrong: Sum | None, card: Path, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    name, sums = measure(card)
    lines = listing.read_text(encoding="utf-8").splitlines(keepends=True)
    mine = next(line for line in lines if line.startswith(f"{name}\tvalid\t"))
    lines[lines.index(mine)] = f"{name}\tvalid\t{wrong.rows}\t{wrong.md5}\n" if wrong else ""
    listing.write_text("".join(lines), encoding="utf-8")
    outcome = command(
        main,
        "verify",
        "--card",
        card,
        "--checksums",
        listing,
        "--output",
        tmp_path / "checked.json",
    )
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    expected = [
        str(card.parent / "valid.parquet"),
        sums["valid"].md5,
        f"({sums['valid'].rows} rows)",
        str(listing),
    ]
    expected += [
        wrong.md5 if wrong else "says nothing",
        f"record --cards {card} --checksums {listing}",
        "build it again",
    ]
    assert [text for text in expected if text not in outcome.err] == []
    assert not (tmp_path / "checked.json").exists()


def test_the_mend_of_a_changed_fold_lists_all_folds_at_once(
    settings: RunSettings, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    split = dataclasses.replace(settings.data.split, folds=3)
    folds = [f"nqueens5-fold{fold}" for fold in range(3)]
    for fold in folds:
        build(dataclasses.replace(settings.data, task=fold, split=split), tmp_path / fold)
    build(settings.data, tmp_path / "nqueens5-fold3")  # left from when there were four
    write_listed(listing, {fold: dict.fromkeys(TABLES, OTHER) for fold in folds})

    def verify(fold: str) -> Any:
        checked = ("--checksums", listing, "--output", tmp_path / "checked.json")
        return command(main, "verify", "--card", tmp_path / fold / "card.json", *checked)

    error = verify(folds[1]).err
    assert f"build all folds with `snakemake {tmp_path}/nqueens5-fold{{0..2}}/card.json`" in error
    fix = error.split("then run `")[1].split("`")[0]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["bash", "-c", fix], cwd=ROOT, check=True, env=os.environ | {"PATH": path})
    assert [verify(fold).code for fold in folds] == [0, 0, 0]


def test_rows_are_compared_too(
    card: Path, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    listed = read_listed(listing)
    listed["nqueens5"]["train"] = listed["nqueens5"]["train"]._replace(rows=1)
    write_listed(listing, listed)
    assert (
        command(
            main,
            "verify",
            "--card",
            card,
            "--checksums",
            listing,
            "--output",
            tmp_path / "checked.json",
        ).code
        == 2
    )


@pytest.mark.parametrize("subcommand", ["verify", "record"])
def test_a_table_that_is_not_its_cards_is_refused(
    subcommand: str, card: Path, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    path, before = card.parent / "train.parquet", listing.read_bytes()
    table = pd.read_parquet(path)
    table.iloc[:-1].to_parquet(path, index=False)
    given = (
        ["--card", card, "--output", tmp_path / "checked.json"]
        if subcommand == "verify"
        else ["--cards", card]
    )
    outcome = command(main, subcommand, *given, "--checksums", listing)
    assert outcome.code == 2
    assert content_md5(table) in outcome.err and content_md5(table.iloc[:-1]) in outcome.err
    assert f"delete {card.parent} and build it again" in outcome.err
    assert listing.read_bytes() == before


def test_a_truncated_table_is_one_line(
    card: Path, listing: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    path = card.parent / "completions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    outcome = command(
        main,
        "verify",
        "--card",
        card,
        "--checksums",
        listing,
        "--output",
        tmp_path / "checked.json",
    )
    assert outcome.code == 2
    assert (
        outcome.err.startswith(f"error: {path}: not a readable Parquet file")
        and outcome.err.count("\n") == 1
    )


def test_record_replaces_its_data_set_and_keeps_the_others_in_order(
    card: Path, listing: Path, command: Callable[..., Any]
) -> None:
    right = listing.read_bytes()
    listed = read_listed(listing)
    write_listed(
        listing,
        {"other10": listed["other10"], "nqueens5": dict.fromkeys(listed["nqueens5"], OTHER)},
    )
    assert command(main, "record", "--cards", card, "--checksums", listing).code == 0
    assert listing.read_bytes() == right
    listing.unlink()
    assert command(main, "record", "--cards", card, "--checksums", listing).code == 0
    assert read_listed(listing) == {"nqueens5": listed["nqueens5"]}


def test_data_sets_are_listed_by_size(tmp_path: Path) -> None:
    sums = dict.fromkeys(("train", "valid", "test", "completions"), OTHER)
    write_listed(
        tmp_path / "list.tsv",
        {"nqueens10": sums, "nqueens5-fold10": sums, "nqueens8": sums, "nqueens5-fold2": sums},
    )
    assert list(read_listed(tmp_path / "list.tsv")) == [
        "nqueens5-fold2",
        "nqueens5-fold10",
        "nqueens8",
        "nqueens10",
    ]


@pytest.mark.parametrize(
    ("content", "number"),
    [
        ("", None),
        ("dataset,split,rows,md5\n", 1),
        ("a\ttest\t3\n", 2),
        ("a\ttest\tthree\tabc\n", 2),
    ],
)
def test_a_broken_list_names_its_line(content: str, number: int | None, tmp_path: Path) -> None:
    path = tmp_path / "list.tsv"
    header = "" if number == 1 else "\t".join(COLUMNS) + "\n"
    path.write_text(header + content, encoding="utf-8")
    if number is None:
        assert read_listed(path) == {}
    else:
        with pytest.raises(GramError, match=f"line {number}: expected dataset, split, rows, md5"):
            read_listed(path)


def test_an_empty_list_of_sums_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "checksums.tsv"
    path.write_text("", encoding="utf-8")
    with pytest.raises(GramError, match="is empty; restore it with git"):
        read_listed(path)


def test_a_card_is_compared_with_the_list_without_reading_tables(card: Path, listing: Path) -> None:
    for table in TABLES:
        (card.parent / f"{table}.parquet").unlink()
    check_cards([card.parent], listing)
    listed = read_listed(listing)
    listed["nqueens5"]["valid"] = OTHER
    write_listed(listing, listed)
    with pytest.raises(GramError, match=r"valid\.parquet: found MD5 .*, but .*checksums\.tsv says"):
        check_cards([card.parent], listing)
    check_cards([card.parent], None)


@pytest.mark.parametrize("content", ["[]", "{}", '{"task": "nqueens5", "tables": {"train": 3}}'])
def test_a_card_without_sums_is_named(card: Path, listing: Path, content: str) -> None:
    card.write_text(content, encoding="utf-8")
    with pytest.raises(GramError, match=f"{card}: not the card of a data set .*; delete"):
        check_cards([card.parent], listing)
