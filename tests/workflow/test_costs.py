"""The table of costs in the workflow: it is built with everything, comes last, and follows the
ledger.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG, LEDGER = "config/config.yaml", "results/runpod/ledger.jsonl"
COSTS = "Add up what the runs of table1 took"
RUN = [{"task": "nqueens6", "methods": ["gram"], "seeds": [0]}]


def pay(path: Path, cost: float) -> None:
    path.parent.mkdir(exist_ok=True)
    jobs = [{"rule": "train", "wildcards": {"task": "nqueens6", "method": "gram", "seed": "0"}}]
    with open(path, "a", encoding="utf-8") as file:
        file.write(
            json.dumps({"run": "gram", "hours": 1.0, "cost": cost, "outcome": "done", "jobs": jobs})
            + "\n"
        )


def test_everything_holds_the_costs_which_follow_the_ledger(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    workflow.edit(CONFIG, lambda config: config.update(runs=RUN))
    assert COSTS in workflow.planned() and COSTS in workflow.planned("all")
    target = "results/tables/table1.costs.md"
    workflow.snakemake(target)
    assert "nothing was rented" in workflow.text(target)
    assert workflow.planned(target) == set()
    pay(workflow / LEDGER, 1.25)
    assert workflow.jobs(target) == {COSTS}
    assert "1.25" in workflow.text(target)
    assert workflow.planned(target) == set()
    pay(workflow / LEDGER, 2.5)
    assert workflow.jobs(target) == {COSTS}
    assert "3.75" in workflow.text(target)
    assert workflow.planned(target) == set()
