"""What stands outside `rule all`: it is planned when asked for by its name, from the runs that are
there, and only then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SCALING = {
    f"Draw {what}, for table1"
    for what in ("accuracy of {} over depth and width", "where the trajectories of {} halt")
}
LATE = re.compile("over depth and width|halt|samplers")


def late(jobs: Iterable[str]) -> set[str]:
    """Those of the jobs that stand outside `rule all`."""
    return set(filter(LATE.search, jobs))


def test_scaling_and_samplers_are_built_when_asked_for(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    assert not late(workflow.planned())
    runs = {("nqueens5", "gram"), ("nqueens5", "deterministic"), ("nqueens6", "gram")}
    assert late(workflow.planned("scaling")) == {
        f"Measure {method} on {task} over depth and width, seed 0" for task, method in runs
    } | {text.format(task) for text in SCALING for task in ("nqueens5", "nqueens6")}
    assert late(workflow.planned("samplers")) == {
        f"Compare the samplers on {task}: gram, seed 0" for task in ("nqueens5", "nqueens6")
    } | {
        f"Draw the samplers of {task} at equal compute, for table1"
        for task in ("nqueens5", "nqueens6")
    }


def test_scaling_of_folds_tests_every_input_once(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    path = "results/eval/nqueens5/deterministic/seed0/scaling.json"
    workflow.snakemake(path)
    content = workflow.json(path)
    assert (content["run"]["task"], content["run"]["folds"], content["run"]["inputs"]) == (
        "nqueens5",
        2,
        125,
    )
    deepest = content["by_depth_and_width"][-1]
    assert (deepest["depth"], deepest["width"], deepest["accuracy_best"]["denominator"]) == (
        64,
        50,
        125,
    )
