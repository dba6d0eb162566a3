"""Reading settings: experiment files are checked key by key and resolved into the settings of one
run.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gram.settings import (
    SECTIONS,
    DataSettings,
    EvaluateConfig,
    RunSettings,
    SplitConfig,
    listing,
)
from gram.settings.agreement import check_at, check_forms, check_restarts, check_run
from gram.settings.architectures import TAG
from gram.settings.documents import mapping, read_yaml, yaml_option
from gram.settings.lineage import (
    BASED_ON,
    Sections,
    ancestors,
    chain_text,
    lay_section,
    read_bases,
    resolve_bases,
)
from gram.settings.moved import with_moved
from gram.settings.parsing import known, merge, parse, tags
from gram.system import files, shapes
from gram.system.errors import GramError, Parser, run, short, suggestion
from gram.system.names import FOLD, RULE, check_name, is_experiment_name, split_evaluation

# The key of an experiment that names a file of config/shared, over which it is laid.
SHARED = "shared"
OF_METHODS = ("model", "train", "evaluate")  # the sections that a method may have
# Test-time settings by name, each of which any method can be evaluated with as well.
EVALUATIONS = "evaluations"
KEYS = ("generator", "methods", *SECTIONS, EVALUATIONS)


def split_fold(task: str) -> tuple[str, int | None]:
    """The experiment's name and the fold of a task's name: ``nqueens5-fold2`` is fold 2 of
    ``nqueens5``.
    """
    match = FOLD.fullmatch(task)
    return (match["base"], int(match["fold"])) if match else (task, None)


def sized_task(task: str) -> str:
    """Family and size, which several experiments may share: ``nqueens8`` of ``nqueens8-cpu`` and of
    ``nqueens8-fold2``.
    """
    return split_fold(task)[0].partition("-")[0]


@dataclass(frozen=True)
class Experiment:
    """One file of ``config/experiments``: the settings shared by all methods, and each method's
    own.

    Attributes:
        path: the file.
        sources: the files that were read: it, and the shared one that it names.
        sections: what all methods share, by section.
        methods: what each method has of its own or of those that it is based on.
        evaluations: by name, what is laid over a method's section ``evaluate`` when it is evaluated
            a second time: ``{"deep": {"depth": 256}}`` for ``gram@deep``.
        own: what each method states itself.
        bases: the names under its ``based_on``.
    """

    path: str
    sources: tuple[str, ...]
    generator: dict[str, Any]
    split: SplitConfig
    sections: Sections
    methods: dict[str, Sections]
    evaluations: dict[str, dict[str, Any]]
    own: dict[str, Sections]
    bases: dict[str, tuple[str, ...]]

    def tasks(self, name: str) -> list[str]:
        """The trainable tasks of the experiment ``name``: itself, or its folds."""
        return (
            [name]
            if self.split.folds == 1
            else [f"{name}-fold{fold}" for fold in range(self.split.folds)]
        )

    def ancestors(self, method: str) -> list[str]:
        """A method, then those that it takes settings from."""
        return ancestors(method, self.bases)


def experiment_files(folder: Path) -> list[Path]:
    """The experiments in a folder, sorted: files ``*.yaml`` with a name that an experiment may
    have.

    What an editor or a file manager leaves beside them (``.#coloring5.yaml``, ``._x.yaml``,
    ``nqueens6.bak.yaml``) is none.
    """
    return sorted(path for path in folder.glob("*.yaml") if is_experiment_name(path.stem))


def load_experiment(path: Path, overrides: dict[str, Any] | None = None) -> Experiment:
    """Read and check an experiment file, laid over the one of config/shared that it names, if it
    does.

    Args:
        path: the YAML file.
        overrides: sections that are merged over the file's, key by key, as if they stood in it;
            methods that are based on one of these change with it.

    Raises:
        GramError: missing file, broken YAML, a name with other characters than a name may have, an
            unknown key, a value that makes no sense in any method.
    """
    if not is_experiment_name(path.stem):
        raise GramError(
            f"{path}: no name of an experiment: {RULE}; it does not end as that of a fold, as in"
            " -fold0"
        )
    values = known(read_yaml(path), str(path), [SHARED, *KEYS])
    sources = [path]
    below: dict[str, Any] = {}
    if SHARED in values:
        name = check_name(values.pop(SHARED), f"{path}: {SHARED}")
        shared = path.parents[1] / SHARED / f"{name}.yaml"
        sources.append(shared)
        below = _normal(known(read_yaml(shared), str(shared), KEYS), str(shared))
    merged = merge(below, _normal(values, str(path)))
    if overrides:
        merged = merge(merged, _overrides(overrides, f"overrides of {path.stem}", merged))
    methods, where = merged["methods"], f"{path}: methods"
    bases = {
        name: read_bases(method.pop(BASED_ON, None), f"{where}: {name}: {BASED_ON}")
        for name, method in methods.items()
    }
    default = merged["model"].get(TAG, next(iter(tags(SECTIONS["model"]))))
    experiment = Experiment(
        path=str(path),
        sources=tuple(map(str, sources)),
        generator=merged["generator"],
        split=parse(SplitConfig, merged["split"], f"{path}: split"),
        sections={name: merged[name] for name in OF_METHODS},
        methods=resolve_bases(methods, bases, default, str(path)),
        evaluations=merged[EVALUATIONS],
        own=methods,
        bases=bases,
    )
    for name, values in experiment.evaluations.items():
        parse(EvaluateConfig, values, f"{path}: {EVALUATIONS}: {name}")
    for method in methods:
        settings = resolve(experiment, path.stem, method, 0)
        check_acts(experiment, method, settings.model.architecture)
        evaluate_settings(experiment, method)
    return experiment


def check_acts(experiment: Experiment, method: str, architecture: str) -> None:
    """Refuse a setting that a method states itself, and that does nothing for its architecture.

    What all methods share may say more: the others leave it alone.

    Raises:
        GramError: names the key and the architectures that have it.
    """
    own = experiment.own[method]
    for section in ("train", "evaluate"):
        where = f"{experiment.path}: methods: {method}: {section}"
        check_keys_act(own.get(section, {}), section, architecture, where)


def check_keys_act(keys: Container[str], section: str, architecture: str, where: str) -> None:
    """Refuse keys of a section that do nothing for an architecture.

    Raises:
        GramError: begins with ``where`` and names the first of them.
    """
    for field in dataclasses.fields(SECTIONS[section]):
        only = field.metadata["only"]
        if only and architecture not in only and field.name in keys:
            raise GramError(
                f"{where}: {field.name} does nothing for the architecture {architecture}, but for"
                f" {' and '.join(only)}; leave it out"
            )


def _normal(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The content of a file with a mapping, if only an empty one, in the place of every section,
    method and section of a method.

    Raises:
        GramError: something else stands there, or a method has a name or key that none has.
    """
    values = with_moved(values, where)
    sections = {key: dict(mapping(values.get(key), f"{where}: {key}")) for key in KEYS}
    methods = {}
    for name, own in sections["methods"].items():
        check_name(name, f"{where}: methods")
        place = f"{where}: methods: {name}"
        methods[name] = {
            key: value if key == BASED_ON else mapping(value, f"{place}: {key}")
            for key, value in with_moved(known(own, place, [*OF_METHODS, BASED_ON]), place).items()
        }
    evaluations = {
        check_name(name, f"{where}: {EVALUATIONS}"): mapping(own, f"{where}: {EVALUATIONS}: {name}")
        for name, own in sections[EVALUATIONS].items()
    }
    return sections | {"methods": methods, EVALUATIONS: evaluations}


def _overrides(values: Any, where: str, below: dict[str, Any]) -> dict[str, Any]:
    """Overrides in the form of :func:`_normal`.

    Raises:
        GramError: what :func:`_normal` refuses, or a method that is not there and does not say what
            it is based on: a name with a slip of the pen would else be a new method, which nothing
            runs.
    """
    layer = _normal(known(values, where, KEYS), where)
    for name, own in layer["methods"].items():
        if name not in below["methods"] and BASED_ON not in own:
            meant = suggestion(name, below["methods"], "known ones")
            raise GramError(
                f"{where}: methods: no {short(name)}; {meant} (a new one says what it is"
                f" {BASED_ON})"
            )
    return layer


class Difference(NamedTuple):
    """A key in which two nested mappings differ, as ``train: steps``, with both values."""

    key: str
    one: Any
    other: Any


def differences(one: Any, other: Any, keys: tuple[str, ...] = ()) -> Iterator[Difference]:
    """All keys in which two nested mappings differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            yield from differences(one.get(key), other.get(key), (*keys, key))
    elif one != other:
        yield Difference(": ".join(map(str, keys)), one, other)


def first_difference(one: Any, other: Any) -> Difference | None:
    """The first key in which two nested mappings differ; None if they are equal."""
    return next(differences(one, other), None)


def data_settings(experiment: Experiment, task: str) -> DataSettings:
    """The data settings of ``task`` (the experiment's name, or one of its folds)."""
    return DataSettings(task, experiment.generator, experiment.split)


def check_method(experiment: Experiment, method: str) -> None:
    """Refuse what is neither a method of an experiment nor an evaluation of one, as ``gram@deep``.

    Raises:
        GramError: says which of the two names is not known.
    """
    trained, evaluation = split_evaluation(method)
    if trained not in experiment.methods:
        meant = suggestion(trained, experiment.methods, "known ones")
        raise GramError(f"{experiment.path}: methods: no {short(trained)}; {meant}")
    if method != trained and evaluation not in experiment.evaluations:
        meant = suggestion(evaluation, experiment.evaluations, "known ones")
        raise GramError(
            f"{experiment.path}: {EVALUATIONS}: no {short(evaluation)} for {short(method)}; {meant}"
        )


def method_section(experiment: Experiment, method: str, section: str) -> Any:
    """One section for one method: defaults, then the experiment's values, then the method's.

    A method of another architecture than the experiment's shares nothing of its section ``model``.
    The section ``evaluate`` of ``gram@deep`` is gram's with the evaluation ``deep`` laid over it;
    its other sections are gram's.

    Raises:
        GramError: an unknown method, evaluation, key or value.
    """
    check_method(experiment, method)
    trained, evaluation = split_evaluation(method)
    shared, own = experiment.sections[section], experiment.methods[trained].get(section, {})
    values = lay_section(shared, own, next(iter(tags(SECTIONS["model"]))))
    if section == "evaluate" and evaluation:
        values = merge(values, experiment.evaluations[evaluation])
    return parse(SECTIONS[section], values, f"{experiment.path}: {method}: {section}")


def resolve(experiment: Experiment, task: str, method: str, seed: int) -> RunSettings:
    """The settings of one training run, with ``{task}`` and ``{seed}`` in the path of its initial
    weights filled in.

    Raises:
        GramError: an unknown method, key or value.
    """
    if split_evaluation(method)[0] != method:
        raise GramError(
            f"{experiment.path}: {short(method)} is an evaluation of"
            f" {split_evaluation(method)[0]}, which is what is trained"
        )
    train = method_section(experiment, method, "train")
    if train.initial_weights:
        path = train.initial_weights.replace("{task}", task).replace("{seed}", str(seed))
        train = dataclasses.replace(train, initial_weights=path)
    settings = RunSettings(
        task=task,
        method=method,
        seed=seed,
        data=data_settings(experiment, task),
        model=method_section(experiment, method, "model"),
        train=train,
    )
    check_at(check_run, settings, f"{experiment.path}: {method}")
    return settings


def evaluate_settings(experiment: Experiment, method: str) -> EvaluateConfig:
    """The test-time compute of a method, or of an evaluation of it that has a name.

    Raises:
        GramError: an unknown method, evaluation, key or value; or one of the evaluation's that does
            nothing for the method.
    """
    settings: EvaluateConfig = method_section(experiment, method, "evaluate")
    trained, evaluation = split_evaluation(method)
    if evaluation:
        architecture = method_section(experiment, trained, "model").architecture
        where = f"{experiment.path}: {EVALUATIONS}: {evaluation}"
        check_keys_act(experiment.evaluations[evaluation], "evaluate", architecture, where)
    for check in (check_restarts, check_forms):
        check_at(check, settings, f"{experiment.path}: {method}")
    return settings


def load_run(path: Path) -> RunSettings:
    """The settings in a run's ``config.json``.

    Raises:
        GramError: a missing or broken file, or settings that make no sense.
    """
    settings = RunSettings.of(files.read_json(path), str(path))
    check_name(settings.task, f"{path}: task")
    check_name(settings.method, f"{path}: method")
    return settings


def check_card(card: Path, wanted: DataSettings, config: Path | str) -> None:
    """Whether a data set is the one that a run was set up for. Another fold trains on what this
    run's fold tests.

    Args:
        card: card.json of the data set.
        wanted: the data settings of the run.
        config: where these stand, for the message.

    Raises:
        GramError: no card, or one of another task or of other settings.
    """
    found = parse(DataSettings, shapes.read_card(card)["settings"], f"{card}: settings")
    if difference := first_difference(dataclasses.asdict(wanted), dataclasses.asdict(found)):
        key, here, there = difference
        raise GramError(
            f"{card}: {key}: {short(there)}, but {short(here)} in {config}: the data set of another"
            f" run; give that of {wanted.task}, or build it anew if its settings were changed"
        )


def list_path(experiment: str) -> Path:
    """The list of settings that belongs to an experiment's file: that of the repository in which it
    lies.
    """
    return Path(experiment).resolve().parents[2] / listing.PATH


def listed_rows(experiment: Experiment) -> list[listing.Row]:
    """The lines of an experiment in the list of settings, as they are here."""
    name, written = Path(experiment.path).stem, listing.written(experiment.sources)
    data = dataclasses.asdict(data_settings(experiment, name))
    return [
        listing.Row(name, method, written, listing.digest([data, resolved]))
        for method in experiment.methods
        for resolved in [sections_of(experiment, method)]
    ]


def sections_of(experiment: Experiment, method: str) -> dict[str, dict[str, Any]]:
    """A method's sections with all their values, as plain mappings."""
    return {
        section: dataclasses.asdict(method_section(experiment, method, section))
        for section in OF_METHODS
    }


def check_listed(experiment: Experiment) -> None:
    """Refuse an experiment whose text is listed in ``resources/settings.tsv``, and resolves to
    other settings here.

    Args:
        experiment: without overrides.

    Raises:
        GramError: what :func:`gram.settings.listing.check` refuses, or a file that cannot be read.
    """
    listing.check(listed_rows(experiment), list_path(experiment.path), experiment.path)


def origin(experiment: Experiment, method: str, section: str, key: str) -> str:
    """Where a method's value of a setting was written: in it, in another method, for all methods,
    or nowhere.
    """
    tag = experiment.methods[method].get("model", {}).get(TAG)
    for name in _by_weight(method, experiment.bases):
        own = experiment.own[name].get(section, {})
        if key in own and own.get(TAG, tag) == tag:
            return name
    return "all methods" if key in experiment.sections[section] else "default"


def _by_weight(method: str, bases: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """A method and those under it, those that count more first."""
    yield method
    for base in reversed(bases[method]):
        yield from _by_weight(base, bases)


def show(experiment: Experiment, method: str) -> str:
    """A method's settings as lines, each with its origin, below what the method is based on."""
    lines = [f"# {chain_text(method, experiment.bases)}"]
    for section, values in sections_of(experiment, method).items():
        lines.append(f"{section}:")
        for key, value in values.items():
            text = f"  {key}: {json.dumps(value)} "
            lines.append(f"{text:<45}# {origin(experiment, method, section, key)}")
    return "\n".join(lines)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """The option with what is laid over an experiment's file."""
    parser.add_argument(
        "--overrides",
        type=yaml_option("--overrides"),
        default={},
        help="sections as YAML or JSON, merged over the file",
    )


def main() -> None:
    """Freeze the settings of one run to JSON, the file that training reads; or show, or list, what
    settings there are.
    """
    parser = Parser(prog="python -m gram.config", description=main.__doc__)
    parser.add_argument("--experiment", type=Path, help="a file of config/experiments")
    parser.add_argument("--task", help="default: the experiment's name; with folds {name}-fold{i}")
    parser.add_argument("--method")
    parser.add_argument("--seed", type=int, default=0)
    add_overrides(parser)
    parser.add_argument("--output", type=Path, help="the JSON file to write")
    parser.add_argument(
        "--show",
        action="store_true",
        help=(
            "print what the method is based on, and all its settings with the place where each was"
            " written; without --method what each method is based on"
        ),
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help=(
            "write what the methods of config/experiments resolve to, as digests, to"
            f" {listing.PATH}"
        ),
    )
    args = parser.parse_args()
    if args.list:
        paths = experiment_files(Path("config/experiments"))
        rows = [listed_rows(load_experiment(path)) for path in paths]
        listing.write_list(listing.PATH, itertools.chain.from_iterable(rows))
        return
    if not args.experiment or not (args.show or (args.method and args.output)):
        parser.error("--experiment with --show, or with --method and --output, or --list is needed")
    experiment = load_experiment(args.experiment, args.overrides)
    if args.show:
        methods = [args.method] if args.method else experiment.methods
        for method in methods:
            print(show(experiment, method) if args.method else chain_text(method, experiment.bases))
        return
    check_listed(load_experiment(args.experiment) if args.overrides else experiment)
    known = experiment.tasks(args.experiment.stem)
    task = args.experiment.stem if args.task is None else args.task
    if task not in known:
        raise GramError(
            f"--task {short(task)}: not of {args.experiment};"
            f" {suggestion(task, known, 'its tasks')}"
        )
    settings = resolve(experiment, task, args.method, args.seed)
    files.write_json(args.output, settings.as_dict())


if __name__ == "__main__":
    run(main)
