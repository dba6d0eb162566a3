"""Kinds of input: the files that a project holds, damaged."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load, save

from tests.faults import damage, world
from tests.faults.cases import Case, Judge, Kind, harmless, no_file, of_file, refused, same
from tests.faults.damage import Damaged
from tests.faults.world import Command

# Data sets ---------------------------------------------------------------------------------------


def _table(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def _changed(table: pa.Table, name: str, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """The table with other values in a column, whatever type they have."""
    values = change(table[name].to_pylist())
    return _table(table.set_column(table.column_names.index(name), name, pa.array(values)))


def _each(change: Callable[[Any], Any]) -> Callable[[list[Any]], list[Any]]:
    return lambda values: [change(value) for value in values]


def _in_lists(change: Callable[[int], Any]) -> Callable[[list[Any]], list[Any]]:
    return _each(_each(change))


def parquet_rewrites(content: bytes) -> Iterator[Damaged]:
    """A Parquet table written again, with other columns, types or values."""
    table = pq.read_table(pa.BufferReader(content))
    names = table.column_names
    lists = [name for name in names if pa.types.is_list(table.schema.field(name).type)]
    numbers = [name for name in names if name not in lists]
    for name in names:
        yield Damaged(f"without {name}", _table(table.drop_columns([name])))
        renamed = [f"{one}s" if one == name else one for one in names]
        yield Damaged(f"{name} renamed", _table(table.rename_columns(renamed)))
        for what, change in (
            ("as text", _each(str)),
            ("null", _each(lambda _: None)),
            ("first null", lambda values: [None, *values[1:]]),
            ("reversed", lambda values: values[::-1]),
            ("a mapping", _each(lambda value: {"a": value})),
            ("true", _each(lambda _: True)),
        ):
            yield Damaged(f"{name} {what}", _changed(table, name, change))
    for name in numbers:
        for what, one in (
            ("+ 1", lambda value: value + 1),
            ("+ 0.9", lambda value: value + 0.9),
            ("as float", float),
            ("negative", lambda value: -value - 1),
            ("+ 2**40", lambda value: value + 2**40),
            ("NaN", lambda _: float("nan")),
        ):
            yield Damaged(f"{name} {what}", _changed(table, name, _each(one)))
    for name in lists:
        for what, one in (
            ("+ 1", lambda value: value + 1),
            ("+ 256", lambda value: value + 256),
            ("- 256", lambda value: value - 256),
            ("+ 0.5", lambda value: value + 0.5),
            ("as text", str),
            ("null", lambda _: None),
        ):
            yield Damaged(f"tokens of {name} {what}", _changed(table, name, _in_lists(one)))
        yield Damaged(f"{name} ragged", _changed(table, name, lambda rows: [[], *rows[1:]]))
        yield Damaged(f"{name} short", _changed(table, name, _each(lambda row: row[:-1])))
        yield Damaged(f"{name} empty", _changed(table, name, _each(lambda _: [])))
    yield Damaged("no rows", _table(table.slice(0, 0)))
    yield Damaged("a row less", _table(table.slice(1)))
    yield Damaged("a row twice", _table(pa.concat_tables([table, table.slice(0, 1)])))
    yield Damaged("no columns", _table(table.select([])))
    yield Damaged("another order of columns", _table(table.select(names[::-1])))
    yield Damaged("a column more", _table(table.append_column("more", table[names[0]])))
    yield Damaged("gzip", _table(table, compression="gzip"))
    for what, metadata in (
        ("no", None),
        ("broken", {b"pandas": b"{"}),
        ("binary", {b"pandas": b"\xff"}),
        ("listed", {b"pandas": b"[]"}),
        ("empty", {b"pandas": b"{}"}),
        ("another index in the", {b"pandas": b'{"index_columns": ["input_id"], "columns": []}'}),
    ):
        yield Damaged(f"{what} metadata", _table(table.replace_schema_metadata(metadata)))


def _values(path: Path) -> list[dict[str, Any]]:
    return pq.ParquetFile(path).read().to_pylist()


def same_table(path: str) -> Judge:
    """Silently wrong is a table of other values that passes a check."""

    def judge(folder: Path, undamaged: Path) -> str:
        return "" if _values(folder / path) == _values(undamaged / path) else "other values pass"

    return judge


def parquet(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """The tables of a data set, and the samples of an evaluation."""
    folder = world.data_folder()
    verify, evaluate, pool = world.verify(), world.evaluate(), world.pool()
    readers: list[tuple[str, Command, Judge]] = [
        (f"{folder}/{name}.parquet", verify, same_table(f"{folder}/{name}.parquet"))
        for name in ("train", "valid", "test", "completions")
    ]
    readers += [
        (f"{folder}/{name}.parquet", evaluate, same(evaluate)) for name in ("test", "train")
    ]
    samples = world.evaluation("test.samples.parquet")
    readers.append((samples, pool, same(pool)))
    contents = {path: (undamaged / path).read_bytes() for path, _, _ in readers}
    share = {"cut": 0.15, "flipped": 0.5}
    for number in range(int(share["cut"] * count)):
        path, command, judge = readers[number % len(readers)]
        (one,) = islice(damage.truncated(contents[path], rng, 3), number % 3, number % 3 + 1)
        yield Case(
            f"{path}: {one.name}",
            lambda folder, path=path, one=one: world.replace(folder / path, one.content),
            (command,),
            judge,
        )
    for number in range(int(share["flipped"] * count)):
        path, command, judge = readers[number % len(readers)]
        yield from of_file(path, damage.flipped(contents[path], rng, 1), command, judge)
    whole = [
        Case(f"{path}: {name}", change, (command,), judge)
        for path, command, judge in readers
        for name, change in no_file(path)
    ]
    for path, command, judge in readers:
        others = [Damaged("that of the other fold", _other_fold(undamaged, path))]
        more = [*damage.NO_TEXT, *others, *parquet_rewrites(contents[path])]
        whole += of_file(path, iter(more), command, judge)
    yield from rng.sample(whole, min(len(whole), count - int(0.15 * count) - int(0.5 * count)))


def _other_fold(undamaged: Path, path: str) -> bytes:
    return (undamaged / path.replace("fold0", "fold1")).read_bytes()


# JSON that belongs to a run or a data set --------------------------------------------------------


def of_json(
    undamaged: Path,
    path: str,
    commands: list[tuple[Command, Judge]],
    rng: random.Random,
    count: int,
) -> Iterator[Case]:
    """Damage to a JSON file, each kind read by one of several commands in turn."""
    content = (undamaged / path).read_bytes()
    made = list(damage.json_damage(content, rng, max(count - 5, 1)))
    other = undamaged / path.replace("fold0", "fold1")
    if other.exists() and other.name != "test.json":
        made.append(Damaged("that of the other fold", other.read_bytes()))
    for number, damaged in enumerate(made[:count]):
        command, judge = commands[number % len(commands)]
        yield from of_file(path, iter([damaged]), command, judge)
    for number, (name, change) in enumerate(no_file(path)):
        command, judge = commands[number % len(commands)]
        yield Case(name, change, (command,), judge)


NOT_JUDGED = world.VOLATILE | world.OF_META


def card(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """card.json, by what reads it."""
    commands = [
        (command, same(command, NOT_JUDGED))
        for command in (world.evaluate(), world.verify(), world.restore())
    ]
    yield from of_json(undamaged, f"{world.data_folder()}/card.json", commands, rng, count)


def config(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """config.json of a run, by what reads it after training."""
    commands = [
        (command, same(command, NOT_JUDGED))
        for command in (world.evaluate(), world.restore(), world.keep(), world.evaluate())
    ]
    yield from of_json(undamaged, f"{world.run_folder()}/config.json", commands, rng, count)


def meta(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """meta.json and history.jsonl, by what reads them."""
    evaluate = (world.evaluate(), same(world.evaluate(), NOT_JUDGED))
    costs, table = world.costs(), world.table()
    path = f"{world.run_folder()}/meta.json"

    def told(command: Command) -> Judge:
        """Another table is wrong where the changed meta could not be right by itself."""

        def judge(folder: Path, undamaged: Path) -> str:
            if not world.differing(command.outputs, folder, undamaged):
                return ""
            before, after = (json.loads((one / path).read_bytes()) for one in (undamaged, folder))
            return "" if damage.plausible(before, after) else same(command)(folder, undamaged)

        return judge

    readers = [evaluate, (costs, told(costs)), (table, told(table))]
    yield from of_json(undamaged, path, readers, rng, count * 6 // 10)
    history = f"{world.run_folder()}/history.jsonl"
    content = (undamaged / history).read_bytes()
    lines = [json.loads(line) for line in content.splitlines()]
    figures = [world.figure("training"), world.figure("elbo")]
    left = count - count * 6 // 10
    made = [
        *damage.flipped(content, rng, left // 3),
        *damage.truncated(content, rng, left // 5),
        *damage.NO_JSON,
    ]
    for name, value in damage.rewritten(lines, rng, max(0, left - len(made))):
        text = "".join(json.dumps(line) + "\n" for line in value)
        made.append(Damaged(name, text.encode()))
    for number, damaged in enumerate(made[:left]):
        command = figures[number % 2]
        yield from of_file(history, iter([damaged]), command, same(command))


# Weights and resume states -----------------------------------------------------------------------


def tensor_rewrites(content: bytes, other: bytes | None) -> Iterator[Damaged]:
    """A safetensors file written again, with other tensors."""
    tensors, metadata = load(content), _metadata(content)

    def saved(changed: dict[str, Any], header: dict[str, str] | None = metadata) -> bytes:
        return save({name: value.contiguous() for name, value in changed.items()}, header)

    if other is not None:
        yield Damaged("that of the other fold", other)
    yield Damaged("no tensors", saved({}))
    yield Damaged("no header", saved(tensors, None))
    for name, tensor in tensors.items():
        rest = {key: value for key, value in tensors.items() if key != name}
        yield Damaged(f"without {name}", saved(rest))
        yield Damaged(f"{name} renamed", saved(rest | {f"{name}2": tensor}))
        yield Damaged(f"{name} flat", saved(tensors | {name: tensor.flatten()[:1]}))
        yield Damaged(f"{name} with one axis more", saved(tensors | {name: tensor[None]}))
        yield Damaged(f"{name} zero", saved(tensors | {name: torch.zeros_like(tensor)}))
        for dtype in (torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64):
            if tensor.dtype != dtype:
                other_type = tensors | {name: tensor.to(dtype)}
                yield Damaged(f"{name} as {dtype}", saved(other_type))
        if tensor.is_floating_point():
            for number in (float("nan"), float("inf"), 1e30):
                changed = tensor.clone()
                changed.view(-1)[0] = number
                yield Damaged(f"{name} with {number}", saved(tensors | {name: changed}))


def _metadata(content: bytes) -> dict[str, str] | None:
    header = json.loads(content[8 : damage.header_end(content)])
    found: dict[str, str] | None = header.get("__metadata__")
    return found


def of_tensors(
    undamaged: Path,
    path: str,
    command: Command,
    judge: Judge,
    rng: random.Random,
    count: int,
    other: bytes | None,
    more: list[Damaged],
) -> Iterator[Case]:
    """Damage to a safetensors file: cut, bits of header and numbers flipped, written again."""
    content = (undamaged / path).read_bytes()
    end = damage.header_end(content)
    made = [
        *damage.truncated(content, rng, count // 6),
        *damage.flipped(content, rng, count // 6, 0, end),
        *damage.flipped(content, rng, count // 6, end),
    ]
    rewrites = [*more, *damage.NO_TEXT, *tensor_rewrites(content, other)]
    whole = [Case(name, change, (command,), judge) for name, change in no_file(path)]
    whole += of_file(path, iter(rewrites), command, judge)
    yield from of_file(path, iter(made), command, judge)
    yield from rng.sample(whole, min(len(whole), count - len(made)))


def weights(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """weights.safetensors; whatever differs must not be evaluated."""
    path, command = f"{world.run_folder()}/weights.safetensors", world.evaluate()
    other = (undamaged / path.replace("fold0", "fold1")).read_bytes()
    yield from of_tensors(undamaged, path, command, refused, rng, count, other, [])


def resume(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """resume.safetensors; the training that goes on must come to the same weights."""
    command = world.train()
    content = (undamaged.with_name("unfinished") / world.UNFINISHED).read_bytes()
    tensors, metadata = load(content), _metadata(content) or {}
    more = []
    for key, text in metadata.items():
        for damaged in damage.json_damage(text.encode(), rng, count // 3, flips=0.2):
            changed = metadata | {key: damaged.content.decode(errors="replace")}
            more.append(Damaged(f"facts: {damaged.name}", save(tensors, changed)))
    judge = same(Command(command.argv, command.outputs[:2]))
    for case in of_tensors(
        undamaged.with_name("unfinished"), world.UNFINISHED, command, judge, rng, count, None, more
    ):
        yield case._replace(damage=_unfinished(undamaged, case))


def _unfinished(undamaged: Path, case: Case) -> Callable[[Path], None]:
    """The damage of a case, to a copy in which the training has not ended."""

    def apply(folder: Path) -> None:
        content = (undamaged.with_name("unfinished") / world.UNFINISHED).read_bytes()
        (folder / world.UNFINISHED).write_bytes(content)
        case.damage(folder)

    return apply


# What tables and figures read --------------------------------------------------------------------


def evaluations(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """The JSON of evaluations, by tables, figures and the pooling of folds."""
    pooled, fold = world.POOLED[0], world.evaluation("test.json")

    def told(command: Command, path: str) -> Judge:
        def judge(folder: Path, undamaged: Path) -> str:
            found = world.differing(command.outputs, folder, undamaged)
            if not found:
                return ""
            before, after = (json.loads((one / path).read_bytes()) for one in (undamaged, folder))
            return "" if damage.plausible(before, after) else ", ".join(found)

        return judge

    readers = [(pooled, world.table()), (fold, world.pool()), (pooled, world.table("table3"))]
    readers += [(pooled, world.figure("completions")), (fold, world.pool())]
    readers += [
        (world.evaluation(f"{name}.json", "nqueens5"), world.figure(figure))
        for name, figure in (
            ("scaling", "halting"),
            ("carried", "carried"),
            ("samplers", "samplers"),
            ("scaling", "scaling"),
        )
    ]
    readers.append((pooled, world.figure("width")))
    for path, command in readers:
        # The tables are fast and read most.
        part = count // 4 if command.argv[1] == "table1" else count * 3 // 4 // (len(readers) - 1)
        commands = [(command, told(command, path))]
        yield from islice(of_json(undamaged, path, commands, rng, max(part - 4, 1)), part)


def lists(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """checksums.tsv, reported.csv and ledger.jsonl."""
    verify, table, costs = world.verify(), world.table(), world.costs()
    for path, command in (
        (world.CHECKSUMS, verify),
        (world.REPORTED, table),
        (world.LEDGER, costs),
    ):
        content = (undamaged / path).read_bytes()
        part = count // 3
        made = [
            *damage.NO_JSON,
            *damage.truncated(content, rng, part // 6),
            *damage.flipped(content, rng, part // 4),
            *_fields(content, rng, part // 3),
        ]
        # A cut or a digit may leave a right file: what it says then counts.
        judge = same(command) if path == world.CHECKSUMS else _no_strange_words(command)
        yield from of_file(path, iter(made[: part - 4]), command, judge)
        for name, change in no_file(path):
            yield Case(name, change, (command,), judge if path != world.LEDGER else harmless)


def _fields(content: bytes, rng: random.Random, count: int) -> Iterator[Damaged]:
    """A text whose fields, between tabs, commas or colons, are changed one by one."""
    strange = [
        "",
        "x",
        "-1",
        "1e999",
        "nan",
        "²",
        '"',
        "\0",
        "9" * 400,
        "1,2",
        "a\tb",
        "x" * 200_000,
    ]
    spans = [match.span() for match in re.finditer(rb"[^\t,:\n]+", content)]
    for _ in range(count):
        begin, end = rng.choice(spans)
        new = rng.choice(strange)
        text = content[:begin] + new.encode() + content[end:]
        yield Damaged(f"{content[begin:end]!r:.40} = {new!r:.40}", text)


def _no_strange_words(command: Command) -> Judge:
    """Silently wrong are "nan" and "inf" in results where there were none."""

    def judge(folder: Path, undamaged: Path) -> str:
        for name in command.outputs:
            texts = (
                path.read_text("utf-8", "replace") for path in (folder / name, undamaged / name)
            )
            after, before = (set(re.findall(r"\b(?:nan|inf)\b", text)) for text in texts)
            if after - before:
                return f"{name}: {', '.join(sorted(after - before))}"
        return ""

    return judge


def kept(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """A kept run, by gram.restore; what it copies must be what was kept."""
    command = world.restore()
    outputs = {
        name: f"{world.RESTORED}/{name}" for name in ("weights.safetensors", "history.jsonl")
    }
    facts = ("task", "method", "seed", "settings", "data_md5", "kept_weights", "parameters")

    def judge(folder: Path, undamaged: Path) -> str:
        whole = Command(command.argv, tuple(outputs.values()))
        if found := same(whole)(folder, undamaged):
            return found
        metas = (
            json.loads((one / world.RESTORED / "meta.json").read_bytes())
            for one in (folder, undamaged)
        )
        after, before = metas
        return ", ".join(key for key in facts if after.get(key) != before.get(key))

    half = count // 2
    commands = [(command, judge)]
    yield from of_json(undamaged, f"{world.KEPT}/meta.json", commands, rng, half - 4)
    for name in ("weights.safetensors", "history.jsonl", "config.json"):
        path, part = f"{world.KEPT}/{name}", (count - half) // 3
        content = (undamaged / path).read_bytes()
        made = [
            *damage.flipped(content, rng, part // 2),
            *damage.truncated(content, rng, part // 4),
            *damage.NO_TEXT,
        ]
        yield from of_file(path, iter(made), command, judge)
        yield from (Case(*one, (command,), judge) for one in no_file(path))


KINDS: dict[str, Kind] = {
    "Parquet": parquet,
    "card.json": card,
    "config.json of a run": config,
    "weights.safetensors": weights,
    "resume.safetensors": resume,
    "meta.json, history.jsonl": meta,
    "evaluation JSON (table, figure, pool)": evaluations,
    "checksums.tsv, reported.csv, ledger.jsonl": lists,
    "kept run (gram.restore)": kept,
}
