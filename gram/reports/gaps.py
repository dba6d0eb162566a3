"""What the paper leaves open: every such setting with its default, and what some of the other
choices do on a small board.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gram.reports.reference import NOT_MEASURED, SHOWN, signed
from gram.settings import SECTIONS, RunSettings
from gram.settings.architectures import TAG
from gram.settings.config import Experiment, experiment_files, load_experiment, method_section
from gram.settings.parsing import parse
from gram.settings.tasks import FAMILIES, family_of
from gram.system.errors import GramError
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import METRICS
from gram.tables.reference import GAP_RUNS, REFERENCE, metas_of, reference_evaluations
from gram.tables.render import pipe_table, prose_table
from gram.tables.rows import measured, natural

BASELINE = "gram"  # the method with the default settings


def value(setting: Any) -> str:
    """A setting's value as it would be written in an experiment file."""
    return f"`{json.dumps(setting)}`"


class Gap(NamedTuple):
    """A setting that the paper leaves open, as all dataclasses have it that share its default and
    its note.
    """

    section: str
    field: dataclasses.Field[Any]
    owners: list[type]

    @property
    def name(self) -> str:
        """How it is called; of a network other than GRAM with the architectures that have it."""
        tags = [str(tag) for owner in self.owners if (tag := getattr(owner, TAG, None))]
        others = f" of {', '.join(tags)}" if tags and BASELINE not in tags else ""
        return f"`{self.section}.{self.field.name}`{others}"


def gap_settings() -> list[Gap]:
    """Every setting that the paper leaves open."""
    found: dict[tuple[Any, ...], Gap] = {}
    owners = {section: typing.get_args(cls) or (cls,) for section, cls in SECTIONS.items()}
    owners["generator"] = tuple(family.generator for family in FAMILIES.values())
    for section, classes in owners.items():
        for owner in classes:
            for field in dataclasses.fields(owner):
                if note := field.metadata.get("gap"):
                    same = (section, field.name, field.default, note)
                    found.setdefault(same, Gap(section, field, [])).owners.append(owner)
    return list(found.values())


def gap_defaults(root: Path) -> str:
    """Every open choice with its default and reason, and the experiments that choose otherwise."""
    settings = [
        [gap.name, value(gap.field.default), gap.field.metadata["doc"], gap.field.metadata["gap"]]
        for gap in gap_settings()
    ]
    lines = prose_table(
        ["setting", "default", "meaning", "what is open, and why this default"], settings
    )
    rows = []
    for path in sorted(
        experiment_files(root / "config/experiments"), key=lambda path: natural(path.stem)
    ):
        experiment = load_experiment(path)
        for gap in gap_settings():
            chosen = {
                method: getattr(own, gap.field.name)
                for method, own in sections(experiment, path.stem, gap)
            }
            for setting in sorted(
                {json.dumps(v) for v in chosen.values()} - {json.dumps(gap.field.default)}
            ):
                methods = [method for method, v in chosen.items() if json.dumps(v) == setting]
                whose = "all" if len(methods) == len(chosen) else ", ".join(methods)
                rows.append([path.stem, whose, gap.name, value(gap.field.default), f"`{setting}`"])
    lines += [
        "",
        "Experiments that choose otherwise (all: of the methods that have the setting):",
        "",
    ]
    lines += (
        prose_table(["experiment", "methods", "setting", "default", "here"], rows)
        if rows
        else ["None."]
    )
    return "\n".join(lines)


def sections(experiment: Experiment, task: str, gap: Gap) -> Iterator[tuple[str, Any]]:
    """The methods of an experiment whose settings have an open choice, with the section that it
    stands in.
    """
    for method in experiment.methods:
        if gap.section == "split":
            own: Any = experiment.split
        elif gap.section == "generator":
            own = parse(family_of(task).generator, experiment.generator, experiment.path)
        else:
            own = method_section(experiment, method, gap.section)
        if type(own) in gap.owners:
            yield method, own


def kept_settings(folder: Path, task: str, method: str, seed: int) -> dict[str, Any]:
    """A reference run's settings; keys that came after it was kept have their defaults.

    Raises:
        GramError: no meta, or settings that the code no longer knows.
    """
    meta = metas_of(folder, task, method, seed)[0]
    where = f"{folder}: {task}/{method}/seed{seed}"
    return RunSettings.of(meta["settings"], where).without_execution()


def changed_settings(settings: dict[str, Any], default: dict[str, Any]) -> str:
    """What a run's settings have otherwise than the default run's, as it would be written in an
    experiment file.
    """
    return ", ".join(
        f"`{section}.{key}: {json.dumps(chosen)}`"
        for section in ("model", "train")
        for key, chosen in settings[section].items()
        if chosen != default[section][key]
    )


def gap_measurements(root: Path) -> str:
    """The default and, against it, one alternative per line: means over seeds, and the difference
    seed by seed.
    """
    folder = root / REFERENCE / GAP_RUNS
    evaluations = reference_evaluations(folder)
    lines = []
    for task in sorted({evaluation["run"]["task"] for evaluation in evaluations}, key=natural):
        by_method: dict[str, dict[int, dict[str, Any]]] = {}
        for evaluation in evaluations:
            run = evaluation["run"]
            if run["task"] == task:
                by_method.setdefault(run["method"], {})[run["seed"]] = evaluation
        lines += [*task_measurements(folder, task, by_method), ""]
    return "\n".join(lines).rstrip() if lines else NOT_MEASURED


def task_measurements(
    folder: Path, task: str, by_method: dict[str, dict[int, dict[str, Any]]]
) -> list[str]:
    """The sentences and the table of one task.

    Args:
        folder: of the reference runs.
        task: its name.
        by_method: method -> seed -> evaluation; the method ``gram`` has the default settings.

    Raises:
        GramError: no run with the default settings, or as of :func:`kept_settings`.
    """
    if BASELINE not in by_method:
        raise GramError(
            f"{folder}: no eval/{task}/{BASELINE}: nothing to compare the other choices with; copy"
            " it from results/"
        )
    settings = {
        method: kept_settings(folder, task, method, min(seeds))
        for method, seeds in by_method.items()
    }
    header = ["choice", "n"]
    for name in SHOWN:
        header += [name, "difference"]
    rows = []
    for method in sorted(by_method, key=lambda method: (method != BASELINE, natural(method))):
        changed = changed_settings(settings[method], settings[BASELINE])
        cells = [
            f"{method}: {changed}" if changed else f"{method} (default)",
            str(len(by_method[method])),
        ]
        for name in SHOWN:
            values = percentages(by_method[method], name)
            shared = (values - percentages(by_method[BASELINE], name)).dropna()
            difference = (
                signed(shared.mean(), shared.std())
                if method != BASELINE and len(shared)
                else NOTHING
            )
            cells += [mean_and_std(values.mean(), values.std()), difference]
        rows.append(cells)
    one = next(iter(by_method[BASELINE].values()))
    several = one["metrics"]["slices"]["several"]["inputs"]
    return [
        (
            f"`{task}`, {one['run']['inputs']} test inputs, {several} of them with several"
            f" completions, {one['run']['width']} samples per input; percent, mean ± sample"
            " standard deviation over n seeds. A difference is the alternative minus the default,"
            " seed by seed, so that its own deviation says how far to trust it."
        ),
        "",
        *pipe_table(header, rows),
    ]


def percentages(seeds: dict[int, dict[str, Any]], name: str) -> pd.Series:
    """A metric by seed; seeds in which it has no value are left out."""
    found = {seed: measured(evaluation, METRICS[name]) for seed, evaluation in seeds.items()}
    return pd.Series(
        {seed: 100.0 * metric["value"] for seed, metric in found.items() if metric}, dtype=float
    )
