"""Made-up evaluations beside metas, laid out as ``results`` and a folder of reference runs are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gram.settings.config import load_experiment, resolve, split_fold
from gram.system import files
from tests import synthetic

EXPERIMENTS = Path(__file__).parents[1] / "config/experiments"
EPYC = {"device": "AMD EPYC", "device_type": "cpu"}  # what was noted before types were told apart
XEON = {
    "device": "Intel Xeon",
    "device_type": "cpu",
    "processor": {
        **{"name": "Intel Xeon", "vendor": "GenuineIntel", "family": 6, "model": 207},
        **{"stepping": 2, "vector": "AVX512"},
    },
}


def meta(
    task: str, method: str, seed: int, train: Mapping[str, Any] | None = None, **facts: Any
) -> dict[str, Any]:
    """A meta.json; ``train`` replaces settings of that section, further keywords replace facts."""
    experiment = load_experiment(EXPERIMENTS / f"{split_fold(task)[0]}.yaml")
    settings = resolve(experiment, task, method, seed)
    changed = dataclasses.replace(
        settings, train=dataclasses.replace(settings.train, **(train or {}))
    )
    run = {"task": task, "method": method, "seed": seed, "settings": changed.as_dict()}
    return synthetic.meta(**run, **({"seconds": 3600.0} | EPYC | facts))


def write_runs(
    folder: Path,
    values: Mapping[str, Mapping[int, float]],
    *,
    task: str = "nqueens7",
    train: Mapping[str, Any] | None = None,
    made_on: Mapping[str, Any] | None = None,
    **facts: Any,
) -> list[Path]:
    """The evaluations of some runs, written with their metas; with folds two of them.

    Args:
        folder: in which eval and runs lie.
        values: method -> seed -> the share that all three headline numbers are, in 100 inputs.
        task: a file of config/experiments.
        train: settings of that section that are not the experiment's.
        made_on: facts of the device.
        facts: of the run in the evaluation, in the place of made-up ones.
    """
    experiment = load_experiment(EXPERIMENTS / f"{task}.yaml")
    paths = []
    for method, seeds in values.items():
        asked = experiment.sections["evaluate"]
        tested = {"depth": asked.get("depth", 16), "width": asked.get("width", 20), "inputs": 100}
        for seed, value in seeds.items():
            evaluation = synthetic.evaluation(
                task=task,
                method=method,
                seed=seed,
                values={"accuracy": value},
                several={"accuracy": value, "coverage_macro": value},
                **(tested | facts),
            )
            evaluation["metrics"]["slices"]["several"]["inputs"] = 100
            paths.append(folder / f"eval/{task}/{method}/seed{seed}/test.json")
            files.write_json(paths[-1], evaluation)
            for part in experiment.tasks(task)[:2]:
                content = meta(part, method, seed, train, **(made_on or {}))
                files.write_json(folder / f"runs/{part}/{method}/seed{seed}/meta.json", content)
    return paths
