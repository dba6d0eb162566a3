"""Data sets: the splits of a task as Parquet, their content MD5s, and loading them back with a
check (section B.2).
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gram.settings import DataSettings, SplitConfig
from gram.settings.config import split_fold
from gram.system import files, regular, shapes
from gram.system.errors import GramError, short
from gram.tasks import Examples, Tokens, checked_task

SPLITS = ("train", "valid", "test")
COLUMNS = ("input_id", "n_completions", "input", "target")  # of the table of a split
FACT = "fact_"  # begins the name of a column with a fact of the inputs, such as fact_rating
REBUILD = "delete the folder and build it again"
TABLES = (*SPLITS, "completions")


@dataclass(frozen=True)
class Split:
    """One split in memory: unique inputs with all their completions.

    Attributes:
        input_ids: [N] int64.
        inputs: [N, L] tokens.
        completions: [M, L_out] tokens; those of input i are rows ``offsets[i]:offsets[i + 1]``.
        offsets: [N + 1] int64.
        md5: content MD5 of the split's table.
        facts: by name, [N] int64 each: what is known of the inputs, such as their rating.
    """

    input_ids: NDArray[np.int64]
    inputs: Tokens
    completions: Tokens
    offsets: NDArray[np.int64]
    md5: str
    facts: dict[str, NDArray[np.int64]] = dataclasses.field(default_factory=dict)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Completions per input, [N]."""
        return np.diff(self.offsets)

    def of(self, index: int) -> Tokens:
        """The completions of input ``index``: [m, L_out]."""
        return self.completions[self.offsets[index] : self.offsets[index + 1]]

    def of_inputs(self, inputs: slice) -> Split:
        """The part with some of the inputs, which follow one another."""
        start, stop, _ = inputs.indices(len(self.inputs))
        offsets = self.offsets[start : stop + 1]
        return dataclasses.replace(
            self,
            input_ids=self.input_ids[inputs],
            inputs=self.inputs[inputs],
            completions=self.completions[offsets[0] : offsets[-1]],
            offsets=offsets - offsets[0],
            facts={name: values[inputs] for name, values in self.facts.items()},
        )


def content_hash(tokens: Tokens) -> list[str]:
    """A hash of each row's content, for orders that no library version can change."""
    return [hashlib.sha256(row.tobytes()).hexdigest() for row in np.ascontiguousarray(tokens)]


def assign_splits(examples: Examples, split: SplitConfig, fold: int | None) -> NDArray[np.str_]:
    """The split's name for every input, [N].

    Inputs are ordered by a hash of their content. Without folds the first ``test_fraction`` are the
    test split; with folds, fold f tests the f-th of ``folds`` equal parts; unless the examples say
    themselves what is tested. Of the rest, the first ``valid_fraction`` validate. Inputs of one
    group follow one another, and go where the first of them goes.
    """
    hashes = np.array(content_hash(examples.inputs))
    if examples.groups is None:
        return _assigned(hashes, examples.given, examples.tested, split, fold)
    # A group is assigned as if it were one input, by a hash of its first member's hash: the first
    # hash of many is small, and groups of many members would all be tested.
    ordered = np.argsort(hashes)
    _, first, group = np.unique(examples.groups[ordered], return_index=True, return_inverse=True)
    chosen = ordered[first]
    of_groups = [hashlib.sha256(one.encode()).hexdigest() for one in hashes[chosen]]
    tested = None if examples.tested is None else examples.tested[chosen]
    names = _assigned(np.array(of_groups), examples.given[chosen], tested, split, fold)
    found = np.empty(len(hashes), dtype=names.dtype)
    found[ordered] = names[group]
    return found


def assign_pairs(examples: Examples, split: SplitConfig, fold: int | None) -> NDArray[np.str_]:
    """The split's name for every (input, completion) pair, [M]: that of its input, or, where pairs
    are split, its own.
    """
    if examples.split_by == "inputs":
        return np.repeat(assign_splits(examples, split, fold), examples.counts)
    owner = np.repeat(np.arange(len(examples.inputs)), examples.counts)
    pairs = np.hstack([examples.inputs[owner], examples.completions])
    return _assigned(np.array(content_hash(pairs)), examples.given[owner], None, split, fold)


def _assigned(
    hashes: NDArray[np.str_],
    given: NDArray[np.int64],
    tested: NDArray[np.bool_] | None,
    split: SplitConfig,
    fold: int | None,
) -> NDArray[np.str_]:
    """:func:`assign_splits` of things that have these hashes [N], and give [N] so much."""
    names = np.full(len(hashes), "train", dtype="<U5")
    groups = given if split.stratify else np.zeros_like(given)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        members = members[np.argsort(hashes[members])]
        if tested is not None:
            test = members[tested[members]]
        elif fold is None:
            test = members[: round(split.test_fraction * len(members))]
        else:
            test = np.array_split(members, split.folds)[fold]
        rest = members[~np.isin(members, test)]
        names[test] = "test"
        names[rest[: round(split.valid_fraction * len(rest))]] = "valid"
    return names


def integers(column: pd.Series, where: object) -> NDArray[Any]:
    """A column of a data set as little-endian int64 [N], or, of equally long lists, as tokens:
    uint8 [N, L].

    Args:
        column: of any integers; [0] when it is empty, since it has then lost its type.
        where: the file, for the message.

    Raises:
        GramError: it holds something else, such as fractions, or integers out of the range of
            these.
    """
    if not len(column):
        return np.zeros(0, dtype="<i8")
    where = f"{where}: column {short(column.name)}"
    try:
        values = np.stack(column.to_list()) if column.dtype == object else column.to_numpy()
    except (ValueError, TypeError) as error:
        raise GramError(f"{where}: not lists of one length; {REBUILD}") from error
    if not np.issubdtype(values.dtype, np.integer) or values.ndim not in (1, 2):
        raise GramError(f"{where}: no integers, but {values.dtype} {list(values.shape)}; {REBUILD}")
    kept = np.dtype("<u1" if values.ndim == 2 else "<i8")
    range_ = np.iinfo(kept)
    if values.size and not (range_.min <= int(values.min()) and int(values.max()) <= range_.max):
        raise GramError(
            f"{where}: {values.min()} to {values.max()} is out of {range_.min} to {range_.max};"
            f" {REBUILD}"
        )
    return values.astype(kept)


def content_md5(table: pd.DataFrame, where: object = "table") -> str:
    """MD5 of a table's canonical rows: names, then each column as little-endian int64 or uint8
    bytes.

    The Parquet container is not hashed, because it holds the version of the library that wrote it.

    Raises:
        GramError: as of :func:`integers`, or two columns of one name.
    """
    digest = hashlib.md5(usedforsecurity=False)
    if not table.columns.is_unique:
        raise GramError(f"{where}: two columns have the same name; {REBUILD}")
    for name in table.columns:
        values = integers(table[name], where)
        digest.update(f"{name}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def build_tables(examples: Examples, settings: DataSettings) -> dict[str, pd.DataFrame]:
    """The four tables of a data set.

    ``train``, ``valid`` and ``test`` hold one row per (input, target) pair: input_id,
    n_completions, input, target, and a column per fact of the input. ``completions`` holds every
    completion of every input: input_id, completion_id, completion.
    """
    _, fold = split_fold(settings.task)
    names = assign_pairs(examples, settings.split, fold)
    owner = np.repeat(np.arange(len(examples.inputs)), examples.counts)
    tables = {}
    for name in SPLITS:
        rows = np.flatnonzero(names == name)
        tables[name] = pd.DataFrame(
            {
                "input_id": owner[rows],
                "n_completions": examples.counts[owner[rows]],
                "input": list(examples.inputs[owner[rows]]),
                "target": list(examples.completions[rows]),
            }
            | {FACT + name: values[owner[rows]] for name, values in examples.facts.items()}
        )
    tables["completions"] = pd.DataFrame(
        {
            "input_id": owner,
            "completion_id": np.arange(len(owner)) - examples.offsets[owner],
            "completion": list(examples.completions),
        }
    )
    return tables


def summarise(table: pd.DataFrame) -> dict[str, Any]:
    """Rows, inputs, how many inputs have how many completions, and MD5 of one table, for the
    card.
    """
    per_input = table.groupby("input_id").size()
    numbers, inputs = np.unique(per_input, return_counts=True)
    return {
        "rows": len(table),
        "inputs": len(per_input),
        "inputs_with_several_completions": int((per_input > 1).sum()),
        "most_completions": int(per_input.max()) if len(per_input) else 0,
        "mean_completions": len(table) / len(per_input) if len(per_input) else 0.0,
        "inputs_by_completions": dict(zip(map(str, numbers), inputs.tolist(), strict=True)),
        "md5": content_md5(table),
    }


def build(settings: DataSettings, folder: Path, sources: Path | None = None) -> dict[str, Any]:
    """Write the data set of ``settings`` into ``folder`` and return its card.

    Args:
        settings: of the data set.
        folder: where it is written.
        sources: the folder with the files that its family's examples are made from, if there are
            some.

    Raises:
        GramError: an impossible task, an empty split, or a folder that cannot be written.
    """
    task = checked_task(settings)
    base, fold = split_fold(settings.task)
    folds = settings.split.folds
    if (fold is None) != (folds == 1) or (fold or 0) >= folds:
        tasks = base if folds == 1 else f"{base}-fold0 to {base}-fold{folds - 1}"
        raise GramError(
            f"{settings.task}: with split: folds: {folds} the data sets are called {tasks}"
        )
    examples = task.examples(sources)
    tables = build_tables(examples, settings)
    for name in ("train", "test"):
        if tables[name].empty:
            raise GramError(
                f"{settings.task}: split: the {name} split is empty; change test_fraction or folds"
            )
    card = {
        "task": settings.task,
        "settings": dataclasses.asdict(settings),
        "length": task.length,
        "vocabulary": task.vocabulary,
        "facts": dict(examples.counted),
        "tables": {name: summarise(table) for name, table in tables.items()},
    }
    for name, table in tables.items():
        write_table(folder / f"{name}.parquet", table)
    files.write_json(folder / "card.json", card)
    return card


def write_table(path: Path, table: pd.DataFrame | pa.Table) -> None:
    """Write a Parquet table, of pandas without its index, atomically."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    # Not by its name, which pyarrow wants in UTF-8.
    with files.atomic_write(path) as temporary, temporary.open("wb") as handle:
        pq.write_table(table, handle)


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet table.

    Raises:
        GramError: the file is missing, truncated or not Parquet.
    """
    try:
        content = regular.read_bytes(path)
    except OSError as error:
        raise files.unreadable(path, error) from error
    try:
        return pd.read_parquet(io.BytesIO(content))
    except Exception as error:  # damaged metadata make pyarrow and pandas raise many kinds
        raise GramError(
            f"{path}: not a readable Parquet file (truncated?); delete it and build it again"
        ) from error


def _tokens(column: pd.Series, path: Path) -> Tokens:
    """A column of equally long lists as one array; [0, 0] when it is empty.

    Raises:
        GramError: as of :func:`integers`, or single numbers.
    """
    values = integers(column, path)
    if not len(values):
        return np.zeros((0, 0), dtype=np.uint8)
    if values.ndim != 2:
        raise GramError(f"{path}: column {short(column.name)}: no lists of tokens; {REBUILD}")
    return values


def spread_rows(rows: int, limit: int) -> NDArray[np.int64]:
    """At most ``limit`` of the numbers 0..rows - 1, evenly spread: rows are sorted by content, so
    the first ones are alike.
    """
    count = min(limit, rows)
    return np.arange(count) * rows // max(count, 1)


def load_split(folder: Path, name: str) -> Split:
    """Load one split and check its content against the MD5 in ``card.json``.

    Raises:
        GramError: missing or broken file, or content that does not match the card.
    """
    path = folder / f"{name}.parquet"
    table = read_table(path)
    expected = shapes.read_card(folder / "card.json")["tables"][name]["md5"]
    found = content_md5(table, path)
    if found != expected:
        raise GramError(f"{path}: content MD5 {found}, but card.json says {expected}; {REBUILD}")
    if missing := [column for column in COLUMNS if column not in table.columns]:
        raise GramError(f"{path}: the column {missing[0]!r} is missing; {REBUILD}")
    first = ~table["input_id"].duplicated()
    return Split(
        input_ids=integers(table["input_id"][first], path),
        inputs=_tokens(table["input"][first], path),
        completions=_tokens(table["target"], path),
        offsets=np.append(np.flatnonzero(first), len(table)).astype(np.int64),
        md5=found,
        facts={
            name.removeprefix(FACT): integers(table[name][first], path)
            for name in table.columns
            if name.startswith(FACT)
        },
    )
