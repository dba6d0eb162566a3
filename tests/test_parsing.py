"""Every setting of every section: what makes no sense is refused when it is read, in one line that
names it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from gram.settings import SECTIONS, DataSettings, RunSettings
from gram.settings.architectures import TAG
from gram.settings.parsing import parse, tags
from gram.settings.tasks.coloring import ColoringGenerator
from gram.system.errors import GramError

CLASSES: dict[str, Any] = {
    **{f"model of {tag}": cls for tag, cls in tags(SECTIONS["model"]).items()},
    **{name: cls for name, cls in SECTIONS.items() if name != "model"},
    "generator": ColoringGenerator,
}
FIELDS = [
    pytest.param(cls, field, id=f"{name}: {field.name}")
    for name, cls in CLASSES.items()
    for field in dataclasses.fields(cls)
    if field.name != TAG
]
HUGE = 10**400


def kind(cls: type, name: str) -> tuple[type, bool, bool]:
    """What a field holds: a type, whether it may be None, whether it is a list of that type."""
    hint, optional, several = typing.get_type_hints(cls)[name], False, False
    if isinstance(hint, types.UnionType):
        hint, optional = typing.get_args(hint)[0], True
    if typing.get_origin(hint) is tuple:
        hint, several = typing.get_args(hint)[0], True
    return (str if typing.get_origin(hint) is typing.Literal else hint), optional, several


def senseless(cls: type, field: dataclasses.Field[Any]) -> Iterator[Any]:
    """Values that no field of its kind may have, and those just beyond and far beyond its ends."""
    hint, optional, several = kind(cls, field.name)
    wrong: list[Any] = [[], {}, {"a": 1}, [[1]], b"1", object(), "nan" * 1000]
    if hint is not str:
        wrong += ["many", "inf", "nan", "-inf", "9" * 5000, math.nan, math.inf, -math.inf]
    if hint is not bool:
        wrong += [True, False]
    if hint in (int, float):
        least, most, below = (field.metadata[name] for name in ("least", "most", "below"))
        wrong += [HUGE, -HUGE, 10**5000, 1e308, -1e308]
        wrong.append(least - 1 if hint is int else math.nextafter(least, -math.inf))
        if most is None:
            wrong.append(below)
        else:
            wrong.append(most + 1 if hint is int else math.nextafter(most, math.inf))
    if hint is not float:
        wrong.append(0.5)
    if hint in (str, bool):
        wrong += [0, 1]
    if hint is str and field.name == "initial_weights":  # the one text that is no choice
        wrong.remove("nan" * 1000)
    yield from wrong if optional else [*wrong, None]
    if several:
        yield from ([1.0, value] for value in wrong)


@pytest.mark.parametrize(("cls", "field"), FIELDS)
def test_what_makes_no_sense_is_refused_in_one_line(
    cls: type, field: dataclasses.Field[Any]
) -> None:
    for value in senseless(cls, field):
        with pytest.raises(GramError) as error:
            parse(cls, {field.name: value}, "file: section")
        message = str(error.value)
        assert message.startswith(f"file: section: {field.name}: "), message
        assert "\n" not in message and len(message) < 300, message


@pytest.mark.parametrize(("cls", "field"), FIELDS)
def test_every_number_has_two_ends_and_may_be_at_them(
    cls: type, field: dataclasses.Field[Any]
) -> None:
    hint, _, several = kind(cls, field.name)
    least, most, below = (field.metadata[name] for name in ("least", "most", "below"))
    if hint not in (int, float):
        assert (least, most, below) == (None, None, None)
        return
    assert least is not None and (most is None) != (below is None)
    for number in (least, most if below is None else math.nextafter(below, 0)):
        value = [number, number] if several else number
        found = getattr(parse(cls, {field.name: value}, "file"), field.name)
        assert found == (tuple(value) if several else number)
        assert all(type(one) is hint for one in (found if several else [found]))


def test_the_default_of_every_setting_is_one_that_is_accepted() -> None:
    for cls in CLASSES.values():
        assert parse(cls, dataclasses.asdict(cls()), "file") == cls()


@pytest.mark.parametrize("tag", [["gram"], {}, None, 1, "Gram", HUGE, "x" * 1000], ids=type)
def test_an_architecture_that_is_none(tag: Any) -> None:
    with pytest.raises(GramError, match=r"^file: architecture: .* is none of 'gram', "):
        parse(SECTIONS["model"], {TAG: tag}, "file")


@pytest.mark.parametrize("key", [1, None, HUGE, 10**5000, "x" * 100_000, 2.5, ("a",)], ids=type)
def test_keys_of_any_kind_are_told_shortly(key: Any) -> None:
    with pytest.raises(GramError, match=r"^file: unknown key ") as error:
        parse(SECTIONS["train"], {key: 1}, "file")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("seed", [-1, 2**63, HUGE, 0.5, "0", None], ids=type)
def test_the_seed_of_a_run(seed: Any) -> None:
    data = {"task": "nqueens5", "generator": {}, "split": {}}
    values = {"task": "nqueens5", "method": "gram", "data": data, "model": {}, "train": {}}
    assert parse(RunSettings, {**values, "seed": 3}, "run").data == parse(DataSettings, data, "")
    with pytest.raises(GramError, match=r"^run: seed: "):
        parse(RunSettings, {**values, "seed": seed}, "run")
