"""The README's line about boards from nothing: which run it is of, and the paper beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gram.evaluate.metrics import ratio
from gram.reports.nothing import from_nothing
from gram.reports.reference import NOT_MEASURED
from gram.reports.results import REPORTED
from gram.system import files
from gram.tables.reference import REFERENCE
from tests.reference_runs import write_runs

ROOT = Path(__file__).parents[1]


def keep(root: Path, task: str, valid: int, seen: int, **facts: Any) -> None:
    """A kept run of which so many of 1,000 boards are valid, and so many of these stand in
    training.
    """
    for path in write_runs(root / REFERENCE / "some", {"gram": {0: 0.5}}, task=task, **facts):
        evaluation = files.read_json(path)
        evaluation["metrics"] = {
            "accuracy": ratio(valid, 1000),
            **{name: ratio(seen, valid) for name in ("distinct", "seen", "seen_answers")},
            "entropy": ratio(5, 1),
        }
        files.write_json(path, evaluation)


def test_the_largest_boards_stand_beside_the_papers(tmp_path: Path) -> None:
    (tmp_path / REPORTED).parent.mkdir(parents=True)
    shutil.copy(ROOT / REPORTED, tmp_path / REPORTED)
    assert from_nothing(tmp_path) == NOT_MEASURED
    keep(tmp_path, "emptysudoku4", 1000, 500, width=1000)
    keep(tmp_path, "emptysudoku9", 850, 17, width=1000, depth=96, parameters=537507)
    text = from_nothing(tmp_path).replace("\n", " ")
    assert text.startswith("Of 1,000 boards of 9x9 85.0 % are valid after 96 supervision steps")
    assert "2.0 % of these stand in training (0.54M parameters, 1.0 h on" in text
    assert "AMD EPYC" in text
    assert "In the paper: GRAM 99.05 % after 16 steps; D3PM 21.88 to 91.33 % after 1,000" in text
