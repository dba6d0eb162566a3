"""Two evaluations of one training: it is trained once, and a table has a row of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.workflow.conftest import CONFIG, Workflow

RUNS = [{"task": "nqueens6", "methods": ["gram", "gram@deep"], "seeds": [0]}]
DEEP = {"deep": {"depth": 5}}


def test_a_second_evaluation_trains_nothing(
    tiny: Callable[[Path], Workflow], tmp_path: Path
) -> None:
    workflow = tiny(tmp_path / "w")
    overrides = {"nqueens6": {**CONFIG["overrides"]["nqueens6"], "evaluations": DEEP}}
    changes = {"runs": RUNS, "ablations": [], "overrides": overrides}
    workflow.edit("config/config.yaml", lambda config: config.update(changes))
    jobs = workflow.jobs("results/tables/table1.md")
    assert {job for job in jobs if job.startswith("Train")} == {"Train gram on nqueens6, seed 0"}
    assert {job for job in jobs if job.startswith("Evaluate")} == {
        "Evaluate gram on the test split of nqueens6, seed 0",
        "Evaluate gram as deep on the test split of nqueens6, seed 0",
    }
    assert [path.name for path in (workflow / "results/runs/nqueens6").iterdir()] == ["gram"]
    deep, plain = (
        workflow.json(f"results/eval/nqueens6/{name}/seed0/test.json")["run"]
        for name in ("gram@deep", "gram")
    )
    assert (deep["method"], deep["depth"], plain["depth"]) == ("gram@deep", 5, 2)
    assert deep["checkpoint_md5"] == plain["checkpoint_md5"]
    page = workflow.text("results/tables/table1.md")
    assert "| GRAM@deep" in page

    # Another depth evaluates again, and trains nothing.
    overrides["nqueens6"]["evaluations"] = {"deep": {"depth": 6}}
    workflow.edit("config/config.yaml", lambda config: config.update(changes))
    planned = workflow.planned("results/tables/table1.md")
    assert planned == {
        "Evaluate gram as deep on the test split of nqueens6, seed 0",
        "Write table1 from all its configured runs",
    }
    said = workflow.snakemake("results/eval/nqueens6/gram@dep/seed0/test.json", fails=True)
    assert "no 'dep' for 'gram@dep'; did you mean 'deep'?" in said
