"""Damaged bytes, JSON and safetensors: seeded, each with a name that says what was done."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

DEEP = 20_000  # brackets within brackets: more than Python's recursion, few enough to read fast


class Damaged(NamedTuple):
    """Another content for a file."""

    name: str
    content: bytes


def truncated(content: bytes, rng: random.Random, count: int) -> Iterator[Damaged]:
    """The content cut at ``count`` places, the first at nothing and the last before its last
    byte.
    """
    places = {0, len(content) - 1}
    while len(places) < min(count, len(content)):
        places.add(rng.randrange(len(content)))
    for at in sorted(places)[:count]:
        yield Damaged(f"cut after byte {at}", content[:at])


def flipped(
    content: bytes, rng: random.Random, count: int, begin: int = 0, end: int | None = None
) -> Iterator[Damaged]:
    """One bit of the bytes from ``begin`` to ``end`` flipped, ``count`` times."""
    for _ in range(count):
        at, bit = rng.randrange(begin, end or len(content)), rng.randrange(8)
        changed = bytearray(content)
        changed[at] ^= 1 << bit
        yield Damaged(f"bit {bit} of byte {at} flipped", bytes(changed))


NO_TEXT = (
    Damaged("a NUL byte", b"\0"),
    Damaged("bytes that are no UTF-8", b"\xff\xfe\xfa" * 40),
    Damaged("a gigabyte's worth of blanks, cut short", b" " * 100_000),
)
NO_JSON = (
    *(
        Damaged(f"the JSON {text.decode()}", text)
        for text in (b"null", b"[]", b"{}", b'""', b"3", b"true", b"NaN", b"[[]]", b'{"a": 1}')
    ),
    *NO_TEXT,
    Damaged("deep lists", b"[" * DEEP),
    Damaged("deep mappings", b'{"a":' * DEEP),
    Damaged("deep lists that end", b"[" * DEEP + b"]" * DEEP),
)

SEAL = "sha256"  # the key of a JSON file's digest of all others
HUGE = 10**400
WRONG: tuple[Any, ...] = (
    None,
    "x",
    "",
    [],
    {},
    True,
    -1,
    2.5,
    1e308,
    math.nan,
    math.inf,
    HUGE,
    2**63,
    [1],
    {"a": 1},
    ["x", None],
    "../../x",
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside a JSON value, and to itself."""
    yield here
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, one in items:
        yield from paths(one, (*here, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at the end of a way."""
    for key in path:
        value = value[key]
    return value


def shown(value: Any) -> str:
    """A value for a name."""
    text = "10**400" if value == HUGE and isinstance(value, int) else json.dumps(value)
    return text if len(text) < 40 else f"{text[:36]} ..."


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of ``value`` with another value at the end of a way."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    at(changed, path[:-1])[path[-1]] = new
    return changed


def dropped(value: Any, path: tuple[Any, ...]) -> Any:
    """A copy of ``value`` without what stands at the end of a way."""
    changed = copy.deepcopy(value)
    del at(changed, path[:-1])[path[-1]]
    return changed


def rewritten(value: Any, rng: random.Random, count: int) -> Iterator[tuple[str, Any]]:
    """A JSON value with ``count`` single changes: something left out, or of another type or
    size.
    """
    ways = [path for path in paths(value) if path]
    # Those near the top are few and read by all; half of the changes go there.
    top = [path for path in ways if len(path) <= 2]
    for number in range(count):
        path = rng.choice(top if number % 2 else ways)
        name = "/".join(map(str, path))
        if rng.random() < 0.25:
            yield f"{name} left out", dropped(value, path)
        else:
            new = rng.choice(WRONG)
            yield f"{name} = {shown(new)}", put(value, path, new)


def dumped(value: Any) -> bytes:
    """JSON as this project writes it."""
    return (json.dumps(value, indent=2) + "\n").encode()


def json_damage(
    content: bytes, rng: random.Random, count: int, flips: float = 0.3
) -> Iterator[Damaged]:
    """``count`` kinds of damage to a JSON file: bytes, then values."""
    fixed = [*NO_JSON, *truncated(content, rng, max(3, count // 12))]
    fixed.append(Damaged("something behind the end", content + b"{}"))
    bits = int(flips * count)
    yield from fixed[: count - bits]
    yield from flipped(content, rng, bits)
    left = count - bits - len(fixed)
    if left > 0:
        for number, (name, value) in enumerate(rewritten(json.loads(content), rng, left)):
            # A digest tells every change, so that only without it a value is looked at itself.
            if number % 2 and isinstance(value, dict) and value.pop(SEAL, None):
                name = f"{name}, no digest"
            yield Damaged(name, dumped(value))


def plausible(before: Any, after: Any) -> bool:
    """Whether a changed JSON value could be right by itself, so that only a digest would tell.

    It has the same keys, and every number that differs has its type, sign and, for shares, range.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        keys = before.keys() - {SEAL}
        return keys == after.keys() - {SEAL} and all(
            plausible(before[key], after[key]) for key in keys
        )
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(plausible, before, after))
    if isinstance(before, bool) or isinstance(after, bool):
        return isinstance(before, bool) and isinstance(after, bool)
    if isinstance(before, int | float) and isinstance(after, int | float):
        if isinstance(before, int) != isinstance(after, int) or not abs(after) < 1e15:
            return False
        return after >= 0 and (after <= 1 or not (isinstance(before, float) and before <= 1))
    return bool(before == after)


# safetensors -------------------------------------------------------------------------------------


def header_end(content: bytes) -> int:
    """Where the header of a safetensors file ends and the numbers begin."""
    return 8 + int.from_bytes(content[:8], "little")
