"""The README's table of larger boards: which method stands for a board, and the paper beside it."""

from __future__ import annotations

import shutil
from pathlib import Path

from gram.reports.larger import REPORTED, larger_boards
from gram.reports.reference import NOT_MEASURED
from gram.system import files
from gram.tables.reference import PROVING_RUNS, REFERENCE
from tests.reference_runs import write_runs

ROOT = Path(__file__).parents[1]


def test_validation_inputs_choose_the_method_and_the_paper_stands_beside(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "resources", tmp_path / "resources", ignore=shutil.ignore_patterns("*_runs")
    )
    assert larger_boards(tmp_path) == NOT_MEASURED
    folder = tmp_path / REFERENCE / PROVING_RUNS
    tested = {"gram": {0: 0.9, 1: 0.9}, "diagonal": {0: 0.5, 1: 0.7}}
    for path in write_runs(folder, tested, task="nqueens8-cpu"):
        evaluation = files.read_json(path)
        if "diagonal" in path.parts:
            evaluation["run"]["noise_scale"] = 0.5
            files.write_json(path, evaluation)
        evaluation["run"]["split"] = "valid"
        found = 0.8 if "diagonal" in path.parts else 0.4
        evaluation["metrics"]["coverage_macro"]["value"] = found
        files.write_json(path.with_name("valid.json"), evaluation)
    lines = larger_boards(tmp_path).splitlines()
    ours, papers = lines[2], lines[3]
    assert ours.startswith("| nqueens8-cpu, diagonal (2), noise × 0.5") and "60.0 ± 14.1" in ours
    assert "1.0 h of AMD EPYC" in ours
    assert papers.startswith("| nqueens8, the paper") and "99.7 ± 0.3" in papers
    assert (tmp_path / REPORTED).is_file()
