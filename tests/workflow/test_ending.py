"""The end of a run: the result of the tables asked for, and never a failure of its own."""

from __future__ import annotations

from typing import Any

import pytest

TABLE = "results/tables/table1.md"
OVERLAY = "config/one.yaml"
COMMAND = (TABLE, "--configfile", OVERLAY)
RUN = {"task": "nqueens6", "methods": ["gram"], "seeds": [0]}


@pytest.fixture(scope="module")
def workflow(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The workflow with one run, which is trained and evaluated, and no table yet."""
    copy = tiny(tmp_path_factory.mktemp("ending") / "gram")
    copy.write(OVERLAY, {"runs": [RUN]})
    output = copy.snakemake("results/eval/nqueens6/gram/seed0/test.json", *COMMAND[1:])
    assert "RESULT" not in output  # no table was asked for
    return copy


def test_the_result_is_printed_last(workflow: Any) -> None:
    assert "RESULT" not in workflow.snakemake("--dry-run", *COMMAND)
    output = workflow.snakemake(*COMMAND)
    lines = output[output.index("RESULT") :].splitlines()
    # The tiny workflow overrides settings of this task.
    row = next(line for line in lines if line.startswith("nqueens6: GRAM¶"))
    assert len(row.split()) == 5
    assert any(line.startswith("nqueens6 not compared: ") for line in lines)
    assert f"table:   {TABLE}" in lines
    assert f"report:  snakemake --report reports/report.html --configfile {OVERLAY}" in lines
    assert not any(line.startswith("figures:") for line in lines)  # none were asked for
    assert len(lines) < 15


def test_it_is_silent_where_everything_is(workflow: Any) -> None:
    (workflow / TABLE).unlink(missing_ok=True)
    assert "RESULT" not in workflow.snakemake(*COMMAND, "--quiet", "all")


def test_a_result_that_cannot_be_printed_fails_nothing(workflow: Any) -> None:
    (workflow / TABLE).unlink(missing_ok=True)
    path = workflow / "gram/tables/ending.py"
    before = path.read_text(encoding="utf-8")
    broken = "\n\ndef last_lines(*_):\n    raise RuntimeError('cannot be printed')\n"
    path.write_text(before + broken, encoding="utf-8")
    output = workflow.snakemake(*COMMAND, own_code=True)  # which must succeed
    path.write_text(before, encoding="utf-8")
    assert "cannot be printed" in output and (workflow / TABLE).exists()
