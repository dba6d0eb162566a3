"""Settings that are not those of ``config/experiments``: a rehearsal or trial overrode them.

What a run was trained with stands in its meta.json, and what it was tested with in its evaluation.
Both are compared with what its experiment's file resolves to, so that nothing has to note an
override when it is made.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gram.runs.facts import settings_noted
from gram.settings import RunSettings
from gram.settings.config import (
    Experiment,
    differences,
    evaluate_settings,
    load_experiment,
    resolve,
    split_fold,
)
from gram.system.errors import GramError
from gram.tables.reference import Runs

EXPERIMENTS = Path("config/experiments")


@functools.cache
def _experiment(path: Path) -> Experiment | None:
    """An experiment's file without overrides; None where there is no such file."""
    return load_experiment(path) if path.exists() else None


def in_training(meta: Mapping[str, Any], experiments: Path = EXPERIMENTS) -> Iterator[str]:
    """The settings that a run was trained with otherwise, each as "train: steps: 60 (1000)".

    The experiment's value stands behind. Nothing where that cannot be told: there is no such file,
    or the run has settings that the code no longer knows. Settings of the execution do not count.

    Args:
        meta: meta.json of a run; of one that was kept before a setting came, it has the default.
        experiments: the folder of the experiments.
    """
    experiment = _experiment(experiments.resolve() / f"{split_fold(meta['task'])[0]}.yaml")
    if experiment is None or "settings" not in meta:
        return
    if meta["method"] not in experiment.methods:  # an override can add one
        yield "the whole method (not in the file)"
        return
    try:
        trained = RunSettings.of(meta["settings"], f"meta.json of {meta['task']}")
    except GramError:
        return
    asked = resolve(experiment, meta["task"], meta["method"], meta["seed"])
    changes = differences(trained.without_execution(), asked.without_execution())
    for key, here, there in changes:
        yield f"{key}: {json.dumps(here)} ({json.dumps(there)})"


def in_testing(run: Mapping[str, Any], experiments: Path = EXPERIMENTS) -> Iterator[str]:
    """The settings that a run was tested with otherwise; see :func:`in_training`.

    Args:
        run: the facts of a run in an evaluation.
        experiments: the folder of the experiments.
    """
    experiment = _experiment(experiments.resolve() / f"{split_fold(run['task'])[0]}.yaml")
    if experiment is None:
        return
    try:
        asked = evaluate_settings(experiment, run["method"])
    except GramError:  # an override can add a method, or an evaluation
        return
    for key, fact in settings_noted().items():
        if fact in run and run[fact] != getattr(asked, key):
            yield f"evaluate: {key}: {json.dumps(run[fact])} ({json.dumps(getattr(asked, key))})"


def overridden(runs: Runs, experiments: Path = EXPERIMENTS) -> list[str]:
    """What the seeds of one method have otherwise than their experiment: each setting once.

    Args:
        runs: with no metas, only their test-time compute is compared.
        experiments: the folder of the experiments.
    """
    found = [text for meta in runs.metas for text in in_training(meta, experiments)]
    found += [text for one in runs.evaluations for text in in_testing(one["run"], experiments)]
    return list(dict.fromkeys(found))


def in_one_line(changes: Iterable[str]) -> str:
    """Settings by section, as "train: steps: 60 (1000), beta: 5 (1); evaluate: width: 4 (20)"."""
    sections: dict[str, list[str]] = {}
    for change in changes:
        section, _, rest = change.partition(": ")
        sections.setdefault(section, []).append(rest)
    return "; ".join(
        f"{name}: {', '.join(rest)}".removesuffix(": ") for name, rest in sections.items()
    )


def with_settings(
    table: pd.DataFrame, runs: Mapping[tuple[str, str], Runs], experiments: Path = EXPERIMENTS
) -> pd.DataFrame:
    """A long table whose column ``settings`` says what was overridden; layout.py marks such rows.

    Args:
        table: from :func:`gram.tables.rows.whole_table`.
        runs: those in it, from :func:`gram.tables.reference.runs_of`.
        experiments: the folder of the experiments.
    """
    texts = {key: in_one_line(overridden(one, experiments)) for key, one in runs.items()}
    keys = zip(table["task"], table["method"], strict=True)
    return table.assign(settings=[texts.get(key, "") for key in keys])
