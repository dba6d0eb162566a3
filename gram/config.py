"""Reading settings: experiment files are checked key by key and resolved into the settings of one run."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import re
import types
import typing
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from gram import files
from gram.errors import GramError, run, short, suggestion
from gram.settings import SECTIONS, DataSettings, EvaluateConfig, RunSettings, SplitConfig

Section = TypeVar("Section")
SHARED = (
    "shared"  # the key of an experiment that names a file of config/shared, over which it is laid
)
TAG = "architecture"  # the key that tells apart the dataclasses of the section model


def parse(cls: type[Section], values: Any, where: str) -> Section:
    """An instance of the dataclass ``cls`` from a mapping.

    Args:
        cls: a section, DataSettings or RunSettings; or a union of dataclasses that are told apart by :data:`TAG`.
        values: the mapping; missing keys take their defaults.
        where: file and key, for messages.

    Raises:
        GramError: an unknown key, or a value of the wrong type; the message says what was probably meant.
    """
    values = _mapping(values, where)
    cls = _member(cls, values, where)
    hints = _type_hints(cls)  # type: ignore[arg-type]
    _known(values, where, hints, described=f"{cls.__module__.replace('.', '/')}.py")
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
        least, value = f.metadata.get("least"), converted.get(f.name)
        if least is not None and value is not None and not value >= least:  # so that NaN fails too
            raise GramError(f"{where}: {f.name}: {short(value)} is less than {least}")
    return cls(**converted)


@functools.cache
def _type_hints(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields; kept, because the workflow parses hundreds of sections at its start."""
    return typing.get_type_hints(cls)


def tags(cls: Any) -> dict[str, Any]:
    """The dataclasses of a union by their tag, in order; the first is the default."""
    members = typing.get_args(cls)
    return {
        getattr(member, TAG): member for member in members
    }  # a default is an attribute of its class


def _member(cls: Any, values: dict[str, Any], where: str) -> Any:
    """The dataclass of a union that ``values`` name by their tag; ``cls`` itself if it is no union."""
    if not isinstance(cls, types.UnionType):
        return cls
    known = tags(cls)
    tag = values.get(TAG, next(iter(known)))
    if tag not in known:
        raise GramError(f"{where}: {TAG}: {short(tag)} is none of {', '.join(map(repr, known))}")
    return known[tag]


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) or any(map(dataclasses.is_dataclass, typing.get_args(hint))):
        return parse(typing.cast(type, hint), value, where)
    origin = typing.get_origin(hint)
    if origin is Literal:
        if value not in typing.get_args(hint):
            raise GramError(
                f"{where}: {short(value)} is none of {', '.join(map(repr, typing.get_args(hint)))}"
            )
        return value
    if origin is types.UnionType:
        return None if value is None else _convert(typing.get_args(hint)[0], value, where)
    if origin is dict:
        hint = dict
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, str):  # YAML reads 1e-4 as a string
        with contextlib.suppress(ValueError):
            value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise GramError(f"{where}: {short(value)} is not of type {hint.__name__}")
    return value


FOLD = re.compile(r"(?P<base>.+)-fold(?P<fold>\d+)")


def split_fold(task: str) -> tuple[str, int | None]:
    """The experiment's name and the fold of a task's name: ``nqueens5-fold2`` is fold 2 of ``nqueens5``."""
    match = FOLD.fullmatch(task)
    return (match["base"], int(match["fold"])) if match else (task, None)


def sized_task(task: str) -> str:
    """Family and size, which several experiments may share: ``nqueens8`` of ``nqueens8-cpu`` and of ``nqueens8-fold2``."""
    return split_fold(task)[0].partition("-")[0]


@dataclass(frozen=True)
class Experiment:
    """One file of ``config/experiments``: the settings shared by all methods, and each method's own."""

    path: str
    generator: dict[str, Any]
    split: SplitConfig
    sections: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, dict[str, Any]]]

    def tasks(self, name: str) -> list[str]:
        """The trainable tasks of the experiment ``name``: itself, or its folds."""
        return (
            [name]
            if self.split.folds == 1
            else [f"{name}-fold{fold}" for fold in range(self.split.folds)]
        )


def load_experiment(path: Path, overrides: dict[str, Any] | None = None) -> Experiment:
    """Read and check an experiment file, laid over the one of config/shared that it names, if it does.

    Args:
        path: the YAML file.
        overrides: sections that are merged over the file's, key by key.

    Raises:
        GramError: missing file, broken YAML, unknown key, or a value of the wrong type in any method.
    """
    known_keys = ["generator", "methods", *SECTIONS]
    values = _read(path, [SHARED, *known_keys])
    if SHARED in values:
        values = merge(
            _read(path.parents[1] / SHARED / f"{values[SHARED]}.yaml", known_keys), values
        )
    values = merge(values, _known(overrides, f"overrides of {path.stem}", known_keys))
    given = {key: _mapping(values.get(key), f"{path}: {key}") for key in known_keys}
    methods = {
        name: _mapping(own, f"{path}: methods: {name}") for name, own in given["methods"].items()
    }
    experiment = Experiment(
        path=str(path),
        generator=given["generator"],
        split=parse(SplitConfig, given["split"], f"{path}: split"),
        sections={name: given[name] for name in ("model", "train", "evaluate")},
        methods={
            name: {
                key: _mapping(section, f"{path}: methods: {name}: {key}")
                for key, section in own.items()
            }
            for name, own in methods.items()
        },
    )
    for key in ("test_fraction", "valid_fraction"):
        if getattr(experiment.split, key) >= 1:
            raise GramError(
                f"{path}: split: {key}: {getattr(experiment.split, key)} is not in [0, 1)"
            )
    for method in methods:
        resolve(experiment, path.stem, method, 0)
        evaluate_settings(experiment, method)
    return experiment


def _read(path: Path, keys: list[str]) -> dict[str, Any]:
    """The content of a YAML file that may have ``keys``.

    Raises:
        GramError: missing file, broken YAML, or an unknown key.
    """
    try:
        return _known(yaml.safe_load(path.read_text(encoding="utf-8")), str(path), keys)
    except FileNotFoundError as error:
        others = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise GramError(
            f"{path}: no such file; {suggestion(path.stem, others, 'known ones')}"
        ) from error
    except yaml.YAMLError as error:
        raise GramError(f"{path}: not a YAML file: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise GramError(f"{path}: cannot be read: {error}") from error


def _known(value: Any, where: str, keys: Collection[str], described: str = "") -> dict[str, Any]:
    """``value`` if it is a mapping with no other keys than ``keys``, which stand in ``described``; {} for nothing.

    Raises:
        GramError: anything else.
    """
    values = _mapping(value, where)
    unknown = sorted(set(values) - set(keys), key=str)
    if unknown:
        meant = suggestion(unknown[0], keys, "known keys", described)
        raise GramError(f"{where}: unknown key {short(unknown[0])}; {meant}")
    return values


def _mapping(value: Any, where: str) -> dict[str, Any]:
    """``value`` if it is a mapping; {} for a key without a value.

    Raises:
        GramError: anything else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise GramError(f"{where}: expected keys and values, found {short(value)}")
    return value


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid upon it, nested mappings merged key by key; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def data_settings(experiment: Experiment, task: str) -> DataSettings:
    """The data settings of ``task`` (the experiment's name, or one of its folds)."""
    return DataSettings(task, experiment.generator, experiment.split)


def method_section(experiment: Experiment, method: str, section: str) -> Any:
    """One section for one method: defaults, then the experiment's values, then the method's.

    A method of another architecture than the experiment's shares nothing of its section ``model``.

    Raises:
        GramError: an unknown method, key or value.
    """
    if method not in experiment.methods:
        meant = suggestion(method, experiment.methods, "known ones")
        raise GramError(f"{experiment.path}: methods: no {short(method)}; {meant}")
    own = _known(
        experiment.methods[method], f"{experiment.path}: methods: {method}", experiment.sections
    )
    shared, values = experiment.sections[section], own.get(section, {})
    if values.get(TAG) in (None, shared.get(TAG, next(iter(tags(SECTIONS[section])), None))):
        values = merge(shared, values)
    return parse(SECTIONS[section], values, f"{experiment.path}: {method}: {section}")


def resolve(experiment: Experiment, task: str, method: str, seed: int) -> RunSettings:
    """The settings of one training run, with ``{task}`` and ``{seed}`` in the path of its initial weights filled in.

    Raises:
        GramError: an unknown method, key or value.
    """
    train = method_section(experiment, method, "train")
    if train.initial_weights:
        path = train.initial_weights.replace("{task}", task).replace("{seed}", str(seed))
        train = dataclasses.replace(train, initial_weights=path)
    return RunSettings(
        task=task,
        method=method,
        seed=seed,
        data=data_settings(experiment, task),
        model=method_section(experiment, method, "model"),
        train=train,
    )


def evaluate_settings(experiment: Experiment, method: str) -> EvaluateConfig:
    """The test-time compute of a method.

    Raises:
        GramError: an unknown method, key or value.
    """
    settings: EvaluateConfig = method_section(experiment, method, "evaluate")
    return settings


def load_run(path: Path) -> RunSettings:
    """The settings in a run's ``config.json``."""
    return parse(RunSettings, files.read_json(path), str(path))


def first_difference(
    one: Any, other: Any, keys: tuple[str, ...] = ()
) -> tuple[str, Any, Any] | None:
    """The first key in which two nested mappings differ, as ``train: steps``, with both values; None if they are equal."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return None if one == other else (": ".join(keys), one, other)
    found = (
        first_difference(one.get(key), other.get(key), (*keys, key))
        for key in dict.fromkeys([*one, *other])
    )
    return next((difference for difference in found if difference), None)


def check_card(card: Path, wanted: DataSettings, config: Path | str) -> None:
    """Whether a data set is the one that a run was set up for. Another fold trains on what this run's fold tests.

    Args:
        card: card.json of the data set.
        wanted: the data settings of the run.
        config: where these stand, for the message.

    Raises:
        GramError: no card, or one of another task or of other settings.
    """
    found = parse(DataSettings, files.read_json(card).get("settings"), f"{card}: settings")
    if difference := first_difference(dataclasses.asdict(wanted), dataclasses.asdict(found)):
        key, here, there = difference
        raise GramError(
            f"{card}: {key}: {short(there)}, but {short(here)} in {config}: the data set of another run; "
            f"give that of {wanted.task}, or build it anew if its settings were changed"
        )


def main() -> None:
    """Freeze the settings of one run to JSON: the file that training reads."""
    parser = argparse.ArgumentParser(prog="python -m gram.config", description=main.__doc__)
    parser.add_argument(
        "--experiment", type=Path, required=True, help="a file of config/experiments"
    )
    parser.add_argument("--task", help="default: the experiment's name; with folds {name}-fold{i}")
    parser.add_argument("--method", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--overrides",
        type=yaml.safe_load,
        default={},
        help="sections as YAML or JSON, merged over the file",
    )
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    experiment = load_experiment(args.experiment, args.overrides)
    settings = resolve(experiment, args.task or args.experiment.stem, args.method, args.seed)
    files.write_json(args.output, settings.as_dict())


if __name__ == "__main__":
    run(main)
