"""What more compute at test time brought to the kept runs: samplers side by side, and accuracy over
depth and width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gram.figures.samplers import INDEPENDENT
from gram.figures.samplers import SECTIONS as COMPARISON
from gram.figures.scaling import CHOOSERS, scaling_data
from gram.figures.scaling import SECTIONS as SCALING
from gram.reports.reference import NOT_MEASURED, pictures, signed
from gram.tables.evaluations import shown_progress
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.names import label
from gram.tables.reference import REFERENCE, reference_evaluations
from gram.tables.render import pipe_table

COMPARED = ("accuracy", "coverage_paper", "coverage_macro", "coverage_macro_several")
WIDTH = 20  # samples that an answer is chosen among: the paper's


def samplers(root: Path) -> str:
    """Every sampler beside independent samples, at the greatest width that was compared."""
    return of_reference_runs(root, "samplers.json", COMPARISON, samplers_of, ("samplers",))


def scaling(root: Path) -> str:
    """Accuracy over depth with each way to choose an answer, and where trajectories halt."""
    return of_reference_runs(root, "scaling.json", SCALING, scaling_of, ("scaling", "halting"))


def of_reference_runs(
    root: Path,
    name: str,
    sections: Sequence[str],
    write: Callable[[list[dict[str, Any]]], list[str]],
    figures: Sequence[str],
) -> str:
    """The lines of ``write`` for every task and method of the reference runs that has files called
    ``name``, with its figures.
    """
    lines = []
    for folder in sorted(path for path in (root / REFERENCE).glob("*") if path.is_dir()):
        for task, methods in by_task_and_method(
            reference_evaluations(folder, name, sections)
        ).items():
            lines += [line for seeds in methods.values() for line in (*write(seeds), "")]
            lines += pictures(root, folder, task, figures)
    return "\n".join(lines).rstrip() or NOT_MEASURED


def by_task_and_method(
    evaluations: list[dict[str, Any]],
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """The seeds of each method of each task; tasks stay in order."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for evaluation in evaluations:
        run = evaluation["run"]
        found.setdefault(run["task"], {}).setdefault(run["method"], []).append(evaluation)
    return found


def heading(evaluations: Sequence[dict[str, Any]]) -> str:
    """Which runs these are, and on what they were measured."""
    run = evaluations[0]["run"]
    count = f"{len(evaluations)} trained {'run' if len(evaluations) == 1 else 'runs'}"
    name = label(run["method"]) + shown_progress(evaluations)
    return f"`{run['task']}`, {name}, {count}, {run['inputs']} test inputs"


def samplers_of(evaluations: list[dict[str, Any]]) -> list[str]:
    """The samplers of one task and method: means, and differences to independent samples, both in
    percent.
    """
    rows = pd.DataFrame(
        in_percent(evaluation["run"]["seed"], row, metric)
        for evaluation in evaluations
        for row in evaluation["by_sampler"]
        for metric in COMPARED
    )
    width = rows["width"].max()
    rows = rows[rows["width"] == width]
    table = rows.pivot(
        index=["seed", "rollout_seed"], columns=["metric", "sampler"], values="value"
    )
    cells = []
    for sampler in rows["sampler"].unique():
        line = [sampler]
        for metric in COMPARED:
            found = table[metric, sampler]
            difference = found - table[metric, INDEPENDENT]
            versus = (
                NOTHING if sampler == INDEPENDENT else signed(difference.mean(), difference.std())
            )
            line += [mean_and_std(found.mean(), found.std()), versus]
        cells.append(line)
    ceilings = rows.groupby("metric")["ceiling"].mean()
    reached = (mean_and_std(ceilings[metric], float("nan")) for metric in COMPARED)
    cells.append(
        [
            "ceiling of independent samples",
            *(cell for ceiling in reached for cell in (ceiling, NOTHING)),
        ]
    )
    depth = evaluations[0]["run"]["depth"]
    return [
        (
            f"{heading(evaluations)}, {width} trajectories per input, {depth} supervision steps"
            f" each; percent, mean ± sample standard deviation over {len(table)} pairs of run and"
            " rollout seed. A difference is taken pair by pair."
        ),
        "",
        *pipe_table(
            ["sampler", *(name for metric in COMPARED for name in (metric, "difference"))], cells
        ),
    ]


def in_percent(seed: int, row: dict[str, Any], metric: str) -> dict[str, Any]:
    """One metric of a sampler on a run, in percent: a line of the table of all of them."""
    line = {"seed": seed, "metric": metric}
    line |= {key: row[key] for key in ("sampler", "width", "rollout_seed")}
    found = {key: row[metric].get(key) for key in ("value", "ceiling")}
    return line | {key: 100 * value for key, value in found.items() if value is not None}


def halting_of(evaluation: dict[str, Any]) -> dict[str, float]:
    """The share of a run's trajectories that never halt, and steps and accuracy of those that
    would.
    """
    return {key: evaluation["halting"][key]["value"] for key in ("never", "steps", "accuracy")}


def scaling_of(evaluations: list[dict[str, Any]]) -> list[str]:
    """One task and method over depth: one sample, and an answer chosen among several; then where
    trajectories halt.
    """
    data = scaling_data(evaluations)
    width = WIDTH if WIDTH in set(data["width"]) else data["width"].max()
    rows = []
    for depth in sorted(data["depth"].unique()):
        here = data[(data["depth"] == depth) & (data["width"] == width)]
        values = (here.loc[here["metric"] == metric, "value"] for metric in ("accuracy", *CHOOSERS))
        rows.append([str(depth), *(mean_and_std(value.mean(), value.std()) for value in values)])
    halting = pd.DataFrame(map(halting_of, evaluations))
    deepest = data["depth"].max()
    return [
        (
            f"{heading(evaluations)}; accuracy in percent, mean ± sample standard deviation over"
            f" the runs; answers chosen among {width} samples:"
        ),
        "",
        *pipe_table(["depth", "one sample", *CHOOSERS.values()], rows),
        "",
        (
            f"With halting, {100 * halting['never'].mean():.1f} % of the trajectories go on to step"
            f" {deepest}; the mean is {halting['steps'].mean():.1f} steps, and"
            f" {100 * halting['accuracy'].mean():.1f} % of the answers are valid."
        ),
    ]
