"""Kinds of input: experiment files and arguments that are broken or make no sense."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from gram.settings import SECTIONS
from gram.settings.config import tags
from tests.faults import damage, world
from tests.faults.cases import Case, Judge, Kind, harmless, no_file, of_file, refused
from tests.faults.damage import Damaged
from tests.faults.world import Command

CONFIGURE, DATA, TRAIN = world.configure(), world.data(), world.train()
COLORING = "config/experiments/coloring5.yaml"
COLOURS = "results/data/coloring5"
COLORED = Command(
    ("gram.data", "--experiment", COLORING, "--output", COLOURS), (f"{COLOURS}/card.json",)
)

# Numbers that no field can have. A seed is the one exception for a large one.
SENSELESS: tuple[Any, ...] = (math.nan, math.inf, -math.inf, damage.HUGE, 1e300, 2**80, -(2**80))
WRONG_TYPE: tuple[Any, ...] = ("x", [], {}, [[1]], {"a": 1}, True, "1; touch pwned", [None])
# Numbers that a field may have: what is then trained must be trained, or refused in one line.
SMALL: tuple[Any, ...] = (0, 1, 2, 3, 7, 0.5, -1, -0.5, 1.5, 64, 1e-30, 10**9)
SHARES = {  # of something, so never more than 1
    "ema_decay",
    "beta1",
    "beta2",
    "halt_exploration",
    "valid_fraction",
    "test_fraction",
    "edge_probability",
}


def fields() -> Iterator[tuple[str, str, Any]]:
    """Section, name and default of every setting of an experiment."""
    for section, cls in SECTIONS.items():
        known = next(iter(tags(cls).values()), cls) if not dataclasses.is_dataclass(cls) else cls
        for field in dataclasses.fields(known):
            yield section, field.name, field.default


NUMBERS = [
    (section, name)
    for section, name, default in fields()
    if isinstance(default, int | float) and not isinstance(default, bool)
]


def laid(section: str, values: Any) -> bytes:
    """The experiment with values laid over one of its sections."""
    content = yaml.safe_load(world.TEXTS[world.EXPERIMENT])
    if isinstance(values, dict) and isinstance(content.get(section), dict):
        values = content[section] | values
    content[section] = values
    return yaml.safe_dump(content, sort_keys=False, width=10**6).encode()


def experiment(damaged: Damaged, commands: tuple[Command, ...], judge: Judge) -> Case:
    """A case of the experiment file."""
    return Case(
        f"{world.EXPERIMENT}: {damaged.name}",
        lambda folder: world.replace(folder / world.EXPERIMENT, damaged.content),
        commands,
        judge,
    )


def senseless() -> Iterator[Case]:
    """Numbers and types that no field can have, in every field."""
    for section, name in NUMBERS:
        numbers = SENSELESS if name != "seed" else SENSELESS[:3]
        for value in (*numbers, *((1.5, -0.5, 2) if name in SHARES else ())):
            if value == 1 or (section, value) == ("evaluate", 2):
                continue
            made = Damaged(f"{section}: {name}: {value!r:.30}", laid(section, {name: value}))
            yield experiment(made, (CONFIGURE,), refused)
    for section, name, default in fields():
        for value in WRONG_TYPE:
            if isinstance(value, bool) and isinstance(default, bool):
                continue
            if isinstance(value, str) and default is None:
                continue  # a path
            made = Damaged(f"{section}: {name}: {value!r:.30}", laid(section, {name: value}))
            yield experiment(made, (CONFIGURE,), refused)


def small() -> Iterator[Case]:
    """Numbers that may make sense, trained with for a few steps."""
    whole = {(section, name): default for section, name, default in fields()}
    few = {"steps": 2, "warmup_steps": 1, "eval_every": 2, "log_every": 1, "save_every": 1}
    for section, name in NUMBERS:
        if section not in ("model", "train", "split"):
            continue
        for value in SMALL:
            if isinstance(value, float) and isinstance(whole[section, name], int):
                continue  # refused for its type, which `senseless` tries
            if name in few and value > 100:
                continue  # a training that is as long as was asked for
            changed = yaml.safe_load(laid(section, {name: value}))
            changed["train"] = few | (changed.get("train") or {})
            content = yaml.safe_dump(changed, sort_keys=False).encode()
            made = Damaged(f"{section}: {name}: {value!r}, trained", content)
            commands = (DATA, CONFIGURE, TRAIN) if section == "split" else (CONFIGURE, TRAIN)
            yield experiment(made, commands, harmless)


def misspelt() -> Iterator[Case]:
    """Keys twice, keys that nobody knows, and what YAML has that settings do not need."""
    text = world.TEXTS[world.EXPERIMENT]
    for section, name, default in fields():
        typed = Damaged(f"{section}: {name}s", laid(section, {f"{name}s": default}))
        yield experiment(typed, (CONFIGURE,), refused)
    lines = text.splitlines(keepends=True)
    for line in [*lines[:2], *lines[3:6], *lines[7:9]]:
        twice = text.replace(line, line + line, 1)
        yield experiment(Damaged(f"twice: {line.strip()}", twice.encode()), (CONFIGURE,), refused)
    again = ("train:\n  steps: 7\n" * 2, "split:\n  folds: 2\n", "methods:\n  gram: {}\n")
    for more in again:
        made = Damaged(f"once more: {more.splitlines()[0]}", (text + more).encode())
        yield experiment(made, (CONFIGURE,), refused)
    for more in (
        "other: 1",
        "shared: small",
        "? [1, 2]\n: 3",
        "1: 2",
        "null: 3",
        "<<: 3",
        "model: [&a [*a]]",
        "model: &a {b: *a}",
        "model: !!python/object/apply:os.system ['touch pwned']",
        "model: !!python/name:os.system",
        "model: !!binary aGFsbG8=",
        "train: {steps: !!python/tuple [1]}",
        "model: !unknown {D: 16}",
        "---\nmodel: {}",
        "model: {D: 0x10, D: 16}",
        "train: {initial_weights: [1]}",
        "train: {steps: 2020-01-01}",
        "train: {steps: 1:30:00}",
        "\tmodel: {}",
        "model: *unknown",
        "model: {D: 1e70}",
        "train: {steps: 1_000_000_000_000_000_000_000}",
    ):
        made = Damaged(f"with {more!r}", f"{text}{more}\n".encode())
        yield experiment(made, (CONFIGURE,), refused)


def bombs() -> Iterator[Case]:
    """A few hundred bytes of YAML that mean gigabytes, and deep ones."""
    text = world.TEXTS[world.EXPERIMENT]
    for kind in ("[{}]", "{{k: {}, l: {}}}"):
        for depth in (9, 25):
            lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
            for number in range(1, depth):
                before = ", ".join(["*a" + str(number - 1)] * 9)
                inside = kind.format(before) if kind == "[{}]" else f"[{before}]"
                lines.append(f"a{number}: &a{number} {inside}")
            for place in ("model: {D: *%s}", "evaluate: *%s", "train: {steps: *%s}", "*%s : 1"):
                inside = "".join(f"  {line}\n" for line in lines)
                last = place % f"a{depth - 1}"
                whole = text.replace("split:\n", f"{inside}split:\n") + last + "\n"
                made = Damaged(f"aliases, {depth} deep, {place}", whole.encode())
                yield experiment(made, (CONFIGURE,), refused)
    merges = ["b0: &b0 {k: 1}"]
    merges += [f"b{n}: &b{n} {{<<: [{', '.join(['*b' + str(n - 1)] * 9)}]}}" for n in range(1, 9)]
    inside = "".join(f"  {line}\n" for line in merges)
    whole = text.replace("split:\n", f"{inside}split:\n")
    made = Damaged("merged mappings, 8 deep", whole.encode())
    yield experiment(made, (CONFIGURE,), refused)
    for opened, closed in (("[", "]"), ("{a: ", "}"), ("- ", "")):
        for depth in (200, 2000):
            line = f"model: {opened * depth}{closed * depth}\n"
            if opened == "- ":
                line = f"model:\n  {opened * depth}x\n"
            made = Damaged(f"{depth} times {opened}", (text + line).encode())
            yield experiment(made, (CONFIGURE,), refused)
    long = Damaged("a value of a megabyte", laid("model", {"D": "9" * 1_000_000}))
    yield experiment(long, (CONFIGURE,), refused)
    long = Damaged("a key of a megabyte", laid("model", {"x" * 1_000_000: 1}))
    yield experiment(long, (CONFIGURE,), refused)


NAMES: tuple[Any, ...] = (
    *("", " ", "a b", "x;y", "x`touch pwned`", "$(touch pwned)", "../../esc", "/esc", "..", "."),
    *(
        "x\ny",
        "x\0y",
        "-x",
        "'",
        '"',
        "a|b",
        "*",
        "[",
        "{seed}",
        "x" * 300,
        "é\u202e",
        1,
        None,
        2.5,
    ),
    *(True, "x/y", "seed0", "#", "&", "%s", "\\"),
)


def names() -> Iterator[Case]:
    """Names of methods and of the shared file."""
    for name in NAMES:
        content = yaml.safe_load(world.TEXTS[world.EXPERIMENT])
        content["methods"][name] = {}
        made = Damaged(f"a method {name!r:.30}", yaml.safe_dump(content).encode())
        # Letters and digits may stand in any name.
        judge = harmless if name in ("seed0",) else refused
        yield experiment(made, (CONFIGURE,), judge)
        content = yaml.safe_load(world.TEXTS[world.EXPERIMENT]) | {"shared": name}
        made = Damaged(f"shared: {name!r:.30}", yaml.safe_dump(content).encode())
        yield experiment(made, (CONFIGURE,), refused)
    for section in ("model", "train", "split", "evaluate", "generator", "methods", "shared"):
        for value in (3, "x", [], [1], True):
            made = Damaged(f"{section}: {value!r}", laid(section, value))
            yield experiment(made, (CONFIGURE,), refused)
    for value in (3, "x", [1], {"modell": {}}, {"model": 3}, {"train": {"steps": {}}}):
        made = Damaged(f"methods: gram: {value!r}", laid("methods", {"gram": value}))
        yield experiment(made, (CONFIGURE,), refused)


def generators() -> Iterator[Case]:
    """What data sets are made from."""
    for value in (
        [],
        [0],
        [99],
        [-1],
        [5],
        "a",
        3.5,
        None,
        {},
        [[3]],
        [3, 3],
        [True],
        [damage.HUGE],
    ):
        made = Damaged(f"removed: {value!r:.30}", laid("generator", {"removed": value}))
        yield experiment(made, (DATA,), harmless if value in ([3, 3], [5]) else refused)
    for key, value in (("zzz", 1), ("seed", "x"), ("train", 5)):
        made = Damaged(f"generator: {key}", laid("generator", {key: value}))
        yield experiment(made, (DATA,), refused)
    for key, value in (
        ("folds", 100_000_000),
        ("folds", 126),
        ("valid_fraction", 1.0),
        ("valid_fraction", 0.99999),
    ):
        made = Damaged(f"split: {key}: {value}", laid("split", {key: value}))
        yield experiment(made, (DATA,), harmless if value == 0.99999 else refused)
    for key, values in {
        "train": (0, -1, 10**6, 10**12, 1.5, "x", math.nan),
        "test": (0, -1, 10**6, math.inf),
        "edge_probability": (0, 1, 1.5, -0.5, math.nan),
        "colours": (0, 1, 5, 300, -1, 10**9),
        "counted": ("x", 3),
        "seed": (-1, 2**70, "x"),
        "zzz": (1,),
    }.items():
        for value in values:
            content = yaml.safe_load(world.TEXTS[COLORING])
            content["generator"][key] = value
            text = yaml.safe_dump(content).encode()
            fine = (key, value) in (("colours", 5), ("seed", -1), ("seed", 2**70))
            yield Case(
                f"{COLORING}: generator: {key}: {value!r:.30}",
                lambda folder, text=text: world.replace(folder / COLORING, text),
                (COLORED,),
                harmless if fine else refused,
            )


def experiments(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """Experiment files, the shared one, and settings that make no sense."""
    text = world.TEXTS
    for path in (world.EXPERIMENT, world.SHARED):
        content, part = text[path].encode(), count // 12
        made = [*damage.flipped(content, rng, part), *damage.truncated(content, rng, part // 3)]
        # A digit may become another digit, and a cut may leave a right file.
        yield from of_file(path, iter(made), CONFIGURE, harmless)
        judge = harmless if path == world.SHARED else refused
        whole = of_file(path, iter(damage.NO_JSON), CONFIGURE, judge)
        yield from islice(whole, max(2, count // 40))
        yield from (Case(*one, (CONFIGURE,), refused) for one in no_file(path))
    parts = [senseless(), small(), misspelt(), bombs(), names(), generators()]
    shares = (0.32, 0.2, 0.15, 0.06, 0.15, 0.1)
    for part, share in zip(parts, shares, strict=True):
        found = list(part)
        yield from rng.sample(found, min(len(found), round(share * count)))


# Arguments ---------------------------------------------------------------------------------------


def option(command: Command, name: str, *values: str) -> Command:
    """A command with other values of an option."""
    argv = list(command.argv)
    if name in argv:
        begin = argv.index(name)
        end = begin + 1
        while end < len(argv) and not argv[end].startswith("--"):
            end += 1
        argv[begin:end] = []
    return Command((*argv, name, *values), ())


def arguments(undamaged: Path, rng: random.Random, count: int) -> Iterator[Case]:
    """Options of commands."""
    evaluate, table = world.evaluate(), world.table()
    bad = ("{", "[", "[1]", "3", "x", "{a: 1}", "- a", "*x", "&a [*a]", "{depth: .nan}", "{1: 2}")
    bad += ("\0", "{depth: 1, depth: 2}", "!!python/name:os.system", "{width: 0}", "[" * 3000)
    found: list[tuple[Command, Judge]] = []
    for text in bad:
        if "\0" in text:
            continue  # which no shell can hand over
        found.append((option(CONFIGURE, "--overrides", text), refused))
        found.append((option(DATA, "--overrides", text), refused))
        found.append((option(evaluate, "--settings", text), refused))
    for device in ("xpu", "mps", "meta", "cuda:99", "cuda:-1", "x", "", "cpu:7", "vulkan", "hpu"):
        judge = harmless if device in ("cpu:7",) else refused
        found.append((option(evaluate, "--device", device), judge))
        found.append((option(TRAIN, "--device", device), judge))
    for width in ("0", "-1", "x", "1e3", str(2**70), "9" * 5000):
        found.append((option(evaluate, "--width", width), refused))
        found.append((option(evaluate, "--depth", width), refused))
    for path in ("/", ".", "", "nosuch/../../../../../proc/x", "x" * 300, "/dev/null/x"):
        for command in (evaluate, CONFIGURE, table, DATA):
            # A data set is a folder, which the present one may be.
            judge = harmless if command is DATA and path in ("", ".") else refused
            found.append((option(command, "--output", path), judge))
        found.append((option(evaluate, "--run", path), refused))
        found.append((option(evaluate, "--data", path), refused))
        found.append((option(table, "--reported", path), refused))
    for method in ("", "x", "gram ", "../gram", "\udcff"):
        found.append((option(CONFIGURE, "--method", method), refused))
    for task in ("", "x", "nqueens5", "nqueens5-fold9", "nqueens5-fold-1", "nqueens30", "../x"):
        found.append((option(CONFIGURE, "--task", task), refused))
        found.append((option(DATA, "--task", task), refused))
    for seed in ("x", "1.5", "", "-1", str(2**100)):
        judge = refused if seed in ("x", "1.5", "") else harmless
        found.append((option(CONFIGURE, "--seed", seed), judge))
    for run in ("x", "a/b/c", "a/b/seed", "a/b/seedx", "/", "a/b/seed" + "9" * 5000):
        found.append((option(table, "--failed", run), refused))
    found.append((option(table, "--evaluations"), harmless))
    for number in ("0", "-1", "x", "99999999999"):
        for name in ("--rows", "--columns"):
            found.append((option(world.figure("boards"), name, number), harmless))
        found.append((option(world.SCALING, "--depths", number), refused))
        found.append((option(world.SAMPLERS, "--seeds", number), refused))
    for command, judge in rng.sample(found, min(count, len(found))):
        shown = " ".join(command.argv)
        name = f"{command.argv[0]} ... {shown[-60:]!r}" if len(shown) > 80 else shown
        yield Case(name, _nothing, (command,), judge)


def _nothing(_folder: Path) -> None:
    pass


KINDS: dict[str, Kind] = {
    "experiment files, shared, settings out of range": experiments,
    "arguments (--overrides, --settings, paths)": arguments,
}
