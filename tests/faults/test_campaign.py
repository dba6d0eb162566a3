"""A share of the fault campaign, drawn from every kind of it; ``python -m tests.faults`` is the
whole.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.__main__ import COUNTS, FAULTS

ROOT = Path(__file__).parents[2]
PART = int(os.environ.get("GRAM_FAULTS_PART", "40"))  # one case of so many; 1 is all of them


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a share came to. In a process of its own, since pytest's has threads, and forks of it
    may hang.
    """
    path = tmp_path_factory.mktemp("faults") / "counts.json"
    command = [sys.executable, "-m", "tests.faults", "--part", str(PART), "--output", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("kind", COUNTS)
def test_broken_input_is_one_clear_line(kind: str, counts: dict[str, Any]) -> None:
    found = counts[kind]
    assert found["tried"] >= min(COUNTS[kind] // PART, 1)
    assert found["failures"] == []
    assert found["clear"] + found["accepted"] == found["tried"]
    assert found["temporary"] == 0


@pytest.mark.parametrize("kind", FAULTS)
def test_a_failing_machine_loses_nothing(kind: str, counts: dict[str, Any]) -> None:
    groups = counts[kind]["groups"]
    assert groups
    for found in groups.values():
        assert found["tried"] > 0
        assert found["failures"] == []
        assert found["same"] == found["tried"]
        assert found["temporary"] == 0
