"""Data sets: who is in which split, content MD5s that see content only, and files that were broken
or changed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gram.data import splits as data
from gram.data.__main__ import main as data_main
from gram.data.splits import SPLITS, assign_splits, build, build_tables, content_md5, load_split
from gram.settings import DataSettings, RunSettings, SplitConfig
from gram.system.errors import GramError
from gram.tasks import Examples, checked_task, make_task
from gram.tasks.nqueens import NQueens

SPLIT = SplitConfig(test_fraction=0.2, valid_fraction=0.1, stratify=True)


def settings_of(
    task: str = "nqueens5", removed: tuple[int, ...] = (3, 4), **split: Any
) -> DataSettings:
    """Data settings with some values of the split changed."""
    return DataSettings(task, {"removed": list(removed)}, dataclasses.replace(SPLIT, **split))


def tables_of(settings: DataSettings) -> dict[str, pd.DataFrame]:
    """The four tables of the data set."""
    return build_tables(make_task(settings.task, settings.generator).examples(), settings)


def boards(table: pd.DataFrame, column: str = "input") -> list[bytes]:
    """A column of tokens as bytes; content, since an input id could lie."""
    return [np.asarray(tokens).tobytes() for tokens in table[column]]


@pytest.mark.parametrize("stratify", [True, False])
@pytest.mark.parametrize(("task", "removed"), [("nqueens5", (3, 4)), ("nqueens6", (2, 3, 4, 5))])
def test_splits_share_no_input_and_leave_none_out(
    task: str, removed: tuple[int, ...], stratify: bool
) -> None:
    settings = settings_of(task, removed, stratify=stratify)
    enumeration = make_task(task, settings.generator).examples()
    tables = tables_of(settings)
    inputs = {name: set(boards(tables[name])) for name in SPLITS}
    assert (
        sum(map(len, inputs.values()))
        == len(set.union(*inputs.values()))
        == len(enumeration.inputs)
    )
    assert set.union(*inputs.values()) == {board.tobytes() for board in enumeration.inputs}
    # Pairs too: each (input, target) stands in exactly one row.
    pairs = [
        pair
        for name in SPLITS
        for pair in zip(boards(tables[name]), boards(tables[name], "target"), strict=True)
    ]
    assert len(pairs) == len(set(pairs)) == len(enumeration.completions)
    for name in SPLITS:
        per_input = (
            tables[name].groupby("input_id")["n_completions"].agg(["size", "first", "nunique"])
        )
        assert (per_input["size"] == per_input["first"]).all() and (per_input["nunique"] == 1).all()


def test_completions_table_holds_every_pair_of_every_split() -> None:
    tables = tables_of(settings_of())
    rows = pd.concat([tables[name] for name in SPLITS])
    pairs = set(zip(rows["input_id"], boards(rows, "target"), strict=True))
    completions = tables["completions"]
    assert (
        set(zip(completions["input_id"], boards(completions, "completion"), strict=True)) == pairs
    )
    for _, group in completions.groupby("input_id"):
        assert group["completion_id"].tolist() == list(range(len(group)))


@pytest.mark.parametrize("stratify", [True, False])
def test_folds_test_every_input_exactly_once(stratify: bool) -> None:
    tested: list[bytes] = []
    for fold in range(4):
        tables = tables_of(settings_of(f"nqueens5-fold{fold}", folds=4, stratify=stratify))
        inputs = {name: set(boards(tables[name])) for name in SPLITS}
        assert (
            not inputs["test"] & (inputs["train"] | inputs["valid"])
            and not inputs["train"] & inputs["valid"]
        )
        assert sum(map(len, inputs.values())) == 125
        tested += sorted(inputs["test"])
    assert len(tested) == len(set(tested)) == 125


def test_fractions_are_of_the_unique_inputs(enumeration8: Examples) -> None:
    names = assign_splits(enumeration8, SplitConfig(), None)
    # 85:15 by unique input; 5 % of the remaining 4,376 validate.
    assert [int((names == name).sum()) for name in SPLITS] == [4157, 219, 772]


def test_stratified_splits_are_balanced_within_every_group() -> None:
    enumeration = make_task("nqueens6", {"removed": [2, 3, 4, 5]}).examples()
    for split, fold in ((SPLIT, None), (dataclasses.replace(SPLIT, folds=5), 1)):
        names = assign_splits(enumeration, split, fold)
        for given in np.unique(enumeration.given):
            group = names[enumeration.given == given]
            assert abs((group == "test").sum() - 0.2 * len(group)) < 1
    groups = [
        (assign_splits(enumeration, dataclasses.replace(SPLIT, stratify=False), None) == "test")[
            enumeration.given == given
        ]
        for given in np.unique(enumeration.given)
    ]
    assert any(
        abs(group.sum() - 0.2 * len(group)) >= 1 for group in groups
    )  # so stratifying does something


def test_split_depends_on_content_and_not_on_order() -> None:
    enumeration = make_task("nqueens5", {"removed": [3, 4]}).examples()
    order = np.random.default_rng(0).permutation(len(enumeration.inputs))
    shuffled = dataclasses.replace(
        enumeration, inputs=enumeration.inputs[order], given=enumeration.given[order]
    )
    for fold in (None, 1):
        split = dataclasses.replace(SPLIT, folds=1 if fold is None else 3)
        assert (
            assign_splits(shuffled, split, fold) == assign_splits(enumeration, split, fold)[order]
        ).all()


TABLE = pd.DataFrame(
    {
        "input_id": [3, 500],
        "n_completions": [1, 2],
        "input": [np.uint8([1, 2, 1])] * 2,
        "target": [np.uint8([2, 2, 1])] * 2,
    }
)


def test_content_md5_is_what_it_says() -> None:
    """Names with shapes, then little-endian values, column by column."""
    expected = hashlib.md5(usedforsecurity=False)
    expected.update(b"input_id(2,)" + struct.pack("<2q", 3, 500))
    expected.update(b"n_completions(2,)" + struct.pack("<2q", 1, 2))
    expected.update(b"input(2, 3)" + bytes([1, 2, 1, 1, 2, 1]))
    expected.update(b"target(2, 3)" + bytes([2, 2, 1, 2, 2, 1]))
    assert content_md5(TABLE) == expected.hexdigest()


def test_content_md5_depends_on_every_cell() -> None:
    changed = []
    for row in range(2):
        for column in ("input_id", "n_completions"):
            table = TABLE.copy()
            table.loc[row, column] += 1
            changed.append(table)
        for column in ("input", "target"):
            for cell in range(3):
                tokens = np.stack(TABLE[column].to_list())
                tokens[row, cell] = 0
                changed.append(TABLE.assign(**{column: list(tokens)}))
    changed += [TABLE.iloc[::-1], TABLE.iloc[:1], TABLE.iloc[:0]]
    changed += [TABLE.rename(columns={"input": "inputs"}), TABLE[TABLE.columns[::-1]]]
    sums = [content_md5(table) for table in (TABLE, *changed)]
    assert len(set(sums)) == len(sums) == 1 + 2 * (2 + 6) + 5


def test_content_md5_ignores_container_and_integer_width(data_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    before = load_split(data_folder, "train")
    path = tmp_path / "train.parquet"
    table = pq.read_table(path)
    narrow = table.schema.set(0, pa.field("input_id", pa.int16()))
    pq.write_table(
        table.cast(narrow),
        path,
        compression="gzip",
        row_group_size=7,
        version="1.0",
        use_dictionary=False,
    )
    assert path.read_bytes() != (data_folder / "train.parquet").read_bytes()
    after = load_split(tmp_path, "train")
    assert after.md5 == before.md5
    assert (after.inputs == before.inputs).all() and (after.completions == before.completions).all()


def test_built_twice_is_the_same_and_other_settings_are_not(
    settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    again = build(settings.data, tmp_path / "again")
    assert again == data.files.read_json(data_folder / "card.json")
    other = build(
        dataclasses.replace(settings.data, split=dataclasses.replace(SPLIT, test_fraction=0.3)),
        tmp_path / "other",
    )
    assert other["tables"]["train"]["md5"] != again["tables"]["train"]["md5"]
    assert other["tables"]["completions"] == again["tables"]["completions"]


@pytest.mark.parametrize("name", SPLITS)
def test_loaded_split_equals_the_enumeration(
    settings: RunSettings, data_folder: Path, name: str
) -> None:
    enumeration = make_task("nqueens5", settings.data.generator).examples()
    split = load_split(data_folder, name)
    assert len(split.inputs) > 0
    for i, index in enumerate(split.input_ids):
        assert (split.inputs[i] == enumeration.inputs[index]).all()
        expected = enumeration.completions[
            enumeration.offsets[index] : enumeration.offsets[index + 1]
        ]
        assert np.array_equal(split.of(i), expected)
    assert split.counts.sum() == len(split.completions)


def test_card_counts_the_inputs_with_several(data_folder: Path) -> None:
    tables = data.files.read_json(data_folder / "card.json")["tables"]
    assert sum(tables[name]["inputs"] for name in SPLITS) == tables["completions"]["inputs"] == 125
    assert sum(tables[name]["inputs_with_several_completions"] for name in SPLITS) == 25
    for name in SPLITS:
        split = load_split(data_folder, name)
        assert tables[name]["rows"] == split.counts.sum()
        assert tables[name]["inputs_with_several_completions"] == (split.counts > 1).sum()
        assert tables[name]["most_completions"] == split.counts.max()


def test_no_validation_split_is_possible(tmp_path: Path) -> None:
    build(settings_of(valid_fraction=0.0), tmp_path)
    valid, train = load_split(tmp_path, "valid"), load_split(tmp_path, "train")
    assert len(valid.inputs) == 0 and len(valid.counts) == 0
    assert len(train.inputs) == 100


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated_parquet_is_named(data_folder: Path, tmp_path: Path, kept: float) -> None:
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "train.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else int(kept)])
    with pytest.raises(GramError) as error:
        load_split(tmp_path, "train")
    assert str(path) in str(error.value) and "truncated" in str(error.value)


def tampered(table: pd.DataFrame, how: str) -> pd.DataFrame:
    """The table with one small change."""
    if how == "one token":
        targets = [tokens.copy() for tokens in table["target"]]
        targets[-1][0] = 0
        return table.assign(target=targets)
    if how == "one row less":
        return table.iloc[:-1]
    if how == "a column less":
        return table.drop(columns="target")
    assert how == "no rows"
    return table.iloc[:0]


@pytest.mark.parametrize("how", ["one token", "one row less", "a column less", "no rows"])
def test_changed_content_is_named_with_both_sums(
    data_folder: Path, tmp_path: Path, how: str
) -> None:
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "test.parquet"
    changed = tampered(pd.read_parquet(path), how)
    changed.to_parquet(path, index=False)
    expected = data.files.read_json(tmp_path / "card.json")["tables"]["test"]["md5"]
    with pytest.raises(GramError) as error:
        load_split(tmp_path, "test")
    assert all(
        text in str(error.value)
        for text in (str(path), expected, content_md5(changed), "build it again")
    )


def test_missing_table_and_broken_card_are_named(data_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "card.json").write_text('{"tables": {')
    with pytest.raises(GramError, match=r"card\.json: not a JSON file"):
        load_split(tmp_path, "train")
    (tmp_path / "train.parquet").unlink()
    with pytest.raises(GramError, match=r"train\.parquet: no such file"):
        load_split(tmp_path, "train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (settings_of(test_fraction=0.0), "split: the test split is empty"),
        (settings_of(test_fraction=1.0), "split: the train split is empty"),
        (settings_of("nqueens5-fold7", folds=5), "nqueens5-fold7: with split: folds: 5"),
    ],
)
def test_impossible_split_is_refused(settings: DataSettings, message: str, tmp_path: Path) -> None:
    with pytest.raises(GramError, match=message):
        build(settings, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_command_line(
    experiment_file: Path, data_folder: Path, tmp_path: Path, command: Any
) -> None:
    arguments = ("--experiment", experiment_file, "--output", tmp_path / "data")
    outcome = command(data_main, *arguments)
    assert outcome.code == 0
    assert load_split(tmp_path / "data", "test").md5 == load_split(data_folder, "test").md5
    assert load_split(data_folder, "test").md5 in outcome.out
    outcome = command(data_main, *arguments, "--overrides", "{generator: {removed: [5]}}")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1 and "removed: 5 is not between 1 and 4" in outcome.err


@pytest.mark.parametrize(("n", "removed", "rows"), [(8, (5, 6, 7), 8464), (10, (7, 8, 9), 126700)])
def test_paper_tasks_are_built_within_ten_seconds(
    n: int, removed: tuple[int, ...], rows: int, tmp_path: Path
) -> None:
    start = time.process_time()  # processor time, since other jobs may share the machine
    card = build(settings_of(f"nqueens{n}", removed), tmp_path)
    assert time.process_time() - start < 10
    assert card["tables"]["completions"]["rows"] == rows


@pytest.mark.parametrize(
    ("name", "generator"), [("nqueens5", {"removed": [3]}), ("coloring4", {"train": 9, "test": 3})]
)
def test_a_task_says_whether_it_draws_its_test_inputs(name: str, generator: dict[str, Any]) -> None:
    task = make_task(name, generator)
    assert task.draws_tests == (task.examples().tested is not None)


def test_more_folds_than_inputs_are_refused_without_a_large_enumeration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    split = SplitConfig(folds=126)
    with pytest.raises(GramError, match=r"nqueens5: split: folds: 126 is more than its 125 inputs"):
        checked_task(DataSettings("nqueens5", {"removed": [3, 4]}, split))
    checked_task(DataSettings("nqueens5", {"removed": [3, 4]}, SplitConfig(folds=125)))
    monkeypatch.setattr(NQueens, "examples", None)  # calling it would fail
    checked_task(DataSettings("nqueens10", {"removed": [7]}, split))


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("input", lambda values: [tokens.astype(int) + 256 for tokens in values]),
        ("input", lambda values: [tokens - 0.0 for tokens in values]),
        ("target", lambda values: [tokens + 0.5 for tokens in values]),
        ("target", lambda values: [tokens.astype(int) - 256 for tokens in values]),
        ("target", lambda values: [tokens[: 1 + place % 2] for place, tokens in enumerate(values)]),
        ("target", lambda values: ["x"] * len(values)),
        ("input_id", lambda values: values + 0.9),
        ("input_id", lambda values: values.astype(float)),
        ("input_id", lambda values: values.astype(str)),
        ("input_id", lambda values: values > 3),
        ("n_completions", lambda values: values.astype("Int64").where(values > 1)),
        ("n_completions", lambda values: np.full(len(values), 2**63, dtype=np.uint64)),
    ],
)
def test_the_sum_of_a_data_set_knows_types_and_ranges(
    column: str, change: Any, data_folder: Path, tmp_path: Path
) -> None:
    """Once cast, tokens + 256 or ids + 0.9 would have the sum of what they are not."""
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "test.parquet"
    table = pd.read_parquet(path)
    table.assign(**{column: change(table[column])}).to_parquet(path, index=False)
    with pytest.raises(GramError, match=rf"test\.parquet: column '{column}': .*build it again"):
        load_split(tmp_path, "test")


def test_integers_of_another_size_have_the_same_sum_and_are_the_same_data(
    data_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_folder, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "test.parquet"
    table = pd.read_parquet(path)
    wide = [tokens.astype(np.int64) for tokens in table["target"]]
    table.assign(target=wide, input_id=table["input_id"].astype(np.int32)).to_parquet(
        path, index=False
    )
    found, whole = load_split(tmp_path, "test"), load_split(data_folder, "test")
    assert found.md5 == whole.md5
    for one, other in ((found.completions, whole.completions), (found.input_ids, whole.input_ids)):
        assert one.dtype == other.dtype and np.array_equal(one, other)


def test_inputs_of_one_group_stand_in_one_split_whatever_their_order() -> None:
    examples = make_task("nqueens6", {"removed": [2, 3]}).examples()
    groups = np.arange(len(examples.inputs)) // 7
    grouped = dataclasses.replace(examples, groups=groups)
    names = assign_splits(grouped, SplitConfig(valid_fraction=0.2), None)
    for group in np.unique(groups):
        assert len(set(names[groups == group])) == 1
    of_groups = names[::7]
    assert (of_groups == "test").sum() == round(0.15 * len(of_groups))
    assert {"train", "valid", "test"} == set(names)
    alone = dataclasses.replace(examples, groups=np.arange(len(examples.inputs)))
    assert (assign_splits(alone, SplitConfig(), None) == "test").sum() == round(
        0.15 * len(alone.inputs)
    )


def test_groups_of_many_are_tested_no_more_often_than_groups_of_one() -> None:
    """Groups are ordered by the hash of a hash: by their members' least hash, large ones would all
    come first.
    """
    examples = make_task("nqueens7", {"removed": [4, 5]}).examples()
    N = len(examples.inputs)
    large = N // 2 // 20
    groups = np.where(np.arange(N) < 20 * large, np.arange(N) // 20, np.arange(N))
    names = assign_splits(
        dataclasses.replace(examples, groups=groups), SplitConfig(valid_fraction=0), None
    )
    of_large = (names[: 20 * large : 20] == "test").mean()
    assert of_large < 0.5


# Facts of the inputs ------------------------------------------------------------------------------


def test_facts_of_the_inputs_stand_in_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are part of its sums, and come back with the inputs that they are of."""
    settings = settings_of()
    plain = make_task(settings.task, settings.generator).examples()
    rating = np.arange(len(plain.inputs)) * 3
    build(settings, tmp_path / "plain")

    def rated(self: NQueens, sources: Path | None = None) -> Examples:
        return dataclasses.replace(plain, facts={"rating": rating})

    monkeypatch.setattr(NQueens, "examples", rated)
    build(settings, tmp_path / "rated")
    for name in SPLITS:
        without, having = (load_split(tmp_path / kind, name) for kind in ("plain", "rated"))
        assert without.facts == {} and without.md5 != having.md5
        assert np.array_equal(having.facts["rating"], having.input_ids * 3)
        assert np.array_equal(without.completions, having.completions)
    # Another fact is another data set.
    path = tmp_path / "rated/test.parquet"
    table = pd.read_parquet(path)
    table["fact_rating"] += 1
    table.to_parquet(path)
    with pytest.raises(GramError, match=r"test\.parquet: content MD5 .* build it again"):
        load_split(tmp_path / "rated", "test")
