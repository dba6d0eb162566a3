"""Sections of settings: a mapping becomes a dataclass, key by key, and whatever makes no sense is
refused with its key.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeVar

from gram.settings.architectures import TAG
from gram.settings.documents import mapping
from gram.system.errors import GramError, short, suggestion

Section = TypeVar("Section")


def parse(cls: type[Section], values: Any, where: str) -> Section:
    """An instance of the dataclass ``cls`` from a mapping.

    Args:
        cls: a section, DataSettings or RunSettings; or a union of dataclasses that are told apart
        by :data:`TAG`.
        values: the mapping; missing keys take their defaults.
        where: file and key, for messages.

    Raises:
        GramError: an unknown key, a value of the wrong type, or a number outside of what its field
            allows (see :func:`gram.settings.field.setting`); the message says what was probably
            meant.
    """
    values = mapping(values, where)
    cls = _member(cls, values, where)
    hints = _type_hints(typing.cast(type, cls))
    known(values, where, hints, described=f"{cls.__module__.replace('.', '/')}.py")
    missing = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise GramError(f"{where}: the key {missing[0]!r} is missing")
    converted = {
        key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()
    }
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = converted.get(f.name)
        choices = f.metadata.get("choices")
        if choices and f.name in converted:
            _check_choice(value, choices, f"{where}: {f.name}")
        for number in value if isinstance(value, tuple) else [value]:
            if number is not None:
                _check_bounds(number, f.metadata, f"{where}: {f.name}")
    return cls(**converted)


def _check_choice(value: Any, choices: Collection[Any], where: str) -> None:
    """Refuse a value that is none of ``choices``.

    Raises:
        GramError: with all of them.
    """
    if value not in choices:
        raise GramError(f"{where}: {short(value)} is none of {', '.join(map(repr, choices))}")


def _check_bounds(number: Any, bounds: Mapping[str, Any], where: str) -> None:
    """Refuse a number below ``least``, above ``most``, or not ``below``, of a field's metadata.

    Raises:
        GramError: with the end that it is beyond.
    """
    least, most, below = (bounds.get(name) for name in ("least", "most", "below"))
    if least is not None and number < least:
        raise GramError(f"{where}: {short(number)} is less than {least:,}")
    if most is not None and number > most:
        raise GramError(f"{where}: {short(number)} is more than {most:,}")
    if below is not None and number >= below:
        raise GramError(f"{where}: {short(number)} is not less than {below:,}")


@functools.cache
def _type_hints(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields; kept, because the workflow parses hundreds of sections at
    its start.
    """
    return typing.get_type_hints(cls)


def tags(cls: Any) -> dict[str, Any]:
    """The dataclasses of a union by their tag, in order; the first is the default."""
    members = typing.get_args(cls)
    return {
        getattr(member, TAG): member for member in members
    }  # a default is an attribute of its class


def _member(cls: Any, values: dict[str, Any], where: str) -> Any:
    """The dataclass of a union that ``values`` name by their tag; ``cls`` itself if it is no
    union.
    """
    if not isinstance(cls, types.UnionType):
        return cls
    members = tags(cls)
    tag = values.get(TAG, next(iter(members)))
    if not isinstance(tag, str) or tag not in members:
        raise GramError(f"{where}: {TAG}: {short(tag)} is none of {', '.join(map(repr, members))}")
    return members[tag]


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, of = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _convert_tuple(of[0], value, where)
    if origin is dict and of[1] is not Any:
        return {
            key: _convert(of[1], one, f"{where}: {key}")
            for key, one in mapping(value, where).items()
        }
    if dataclasses.is_dataclass(hint) or any(map(dataclasses.is_dataclass, of)):
        return parse(typing.cast(type, hint), value, where)
    if origin is Literal:
        _check_choice(value, of, where)
        return value
    if origin is types.UnionType:
        return None if value is None else _convert(of[0], value, where)
    if hint is float:
        value = _to_float(value)
    if origin is dict:
        hint = dict
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise GramError(f"{where}: {short(value)} is not of type {hint.__name__}")
    if hint is float and not math.isfinite(value):
        raise GramError(f"{where}: {value} is not a finite number")
    return value


def _to_float(value: Any) -> Any:
    """A number as a float, infinite if it is larger than any; text that reads as one, too, as
    YAML's 1e-4 does.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _convert_tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    """A list with at least one value, each of the type ``hint``.

    Raises:
        GramError: anything else; names the place of a wrong value, counted from 0.
    """
    if not isinstance(value, list | tuple) or not value:
        raise GramError(f"{where}: {short(value)} is not a list with at least one value")
    return tuple(_convert(hint, one, f"{where}: {place}") for place, one in enumerate(value))


def known(value: Any, where: str, keys: Collection[str], described: str = "") -> dict[str, Any]:
    """``value`` if it is a mapping with no other keys than ``keys``, which stand in ``described``;
    {} for nothing.

    Raises:
        GramError: anything else.
    """
    values = mapping(value, where)
    unknown = sorted(set(values) - set(keys), key=short)
    if unknown:
        meant = suggestion(unknown[0], keys, "known keys", described)
        raise GramError(f"{where}: unknown key {short(unknown[0])}; {meant}")
    return values


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid upon it, nested mappings merged key by key; neither is
    changed.
    """
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
