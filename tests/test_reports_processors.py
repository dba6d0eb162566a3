"""What another type of processor makes of the default, below the README's table: from made-up
runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gram.reports.processors import other_processor
from gram.reports.results import results
from gram.system.errors import GramError
from gram.tables.reference import REFERENCE
from tests.reference_runs import XEON, write_runs

RUNS = {"gram": {0: 0.86, 1: 0.88}, "deterministic": {0: 0.5}}


def test_a_folder_beside_gives_the_sentence(tmp_path: Path) -> None:
    write_runs(tmp_path / REFERENCE / "cpu_default", RUNS, task="nqueens5")
    assert other_processor(tmp_path, "cpu_default", "nqueens5") == []
    folder = tmp_path / REFERENCE / "cpu_default_other_processor"
    write_runs(folder, RUNS, task="nqueens5", made_on=XEON)
    assert other_processor(tmp_path, "cpu_default", "nqueens5") == [
        "On another type of processor (Intel Xeon (family 6, model 207, AVX512)): "
        "Deterministic twin 50.0, 50.0, 50.0; GRAM 87.0 ± 1.4, 87.0 ± 1.4, 87.0 ± 1.4."
    ]
    assert other_processor(tmp_path, "cpu_default", "nqueens5-axial") == []
    text = results(tmp_path)  # the README's first table
    (sentence,) = other_processor(tmp_path, "cpu_default", "nqueens5")
    assert sentence in text.replace("\n", " ")
    assert max(len(line) for line in text.splitlines() if "|" not in line) <= 100


def test_without_its_metas_nobody_knows_the_processor(tmp_path: Path) -> None:
    folder = tmp_path / REFERENCE / "cpu_default_other_processor"
    write_runs(folder, RUNS, task="nqueens5")
    for path in folder.glob("runs/**/meta.json"):
        path.unlink()
    with pytest.raises(GramError, match=r"no runs/nqueens5/deterministic/seed0/meta\.json"):
        other_processor(tmp_path, "cpu_default", "nqueens5")
