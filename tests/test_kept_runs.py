"""Kept runs are evaluated to the bytes that are kept, on the type of processor that made these."""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from gram.system import files
from tests.kept_runs import (
    ROOT,
    Kept,
    commands,
    found_otherwise,
    kept_evaluations,
    made_by,
    made_here,
)

EVERY = kept_evaluations()
QUICKEST = "sudoku/emptysudoku4/gram/seed0"  # every time; the others by hand


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.slow] * (one.name != QUICKEST))
        for one in EVERY
    ],
)
def test_a_kept_run_is_evaluated_to_the_kept_bytes(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not made_here(kept):
        pytest.skip("its JSON was made on another type of processor: `python -m tests.kept_runs`")

    def call(command: list[str], root: Path) -> None:
        monkeypatch.setattr(sys, "argv", command)
        importlib.import_module(f"{command[0]}.__main__").main()

    monkeypatch.chdir(ROOT)
    assert (
        found_otherwise(files.read_json(ROOT / kept.path), made_by(ROOT, kept, tmp_path, call))
        == []
    )


def test_all_runs_that_are_kept_with_weights_are_compared() -> None:
    names = {kept.name for kept in EVERY}
    assert QUICKEST in names and len(names) == len(EVERY) >= 29


def test_a_difference_in_the_last_bit_is_found_and_a_new_fact_is_none() -> None:
    (kept,) = (one for one in EVERY if one.name == QUICKEST)
    before: Any = files.read_json(ROOT / kept.path)
    now = copy.deepcopy(before)
    now["a later section"] = []
    now["run"] |= {"later": 1, "evaluated_by": {}, "checkpoint": "elsewhere"}
    now["by_something_later"] = [{"times": 1}]
    assert found_otherwise(before, now) == []
    now["metrics"]["entropy"]["value"] *= 1 + 2**-52
    now["metrics"]["new"] = now["metrics"].pop("seen")
    keys = [line.partition(" ")[0] for line in found_otherwise(before, now)]
    assert len(keys) == 3  # the value, the old name and the new one
    assert len(found_otherwise(before, now, {"seen": "new"})) == 1


def test_what_its_json_says_of_an_evaluation_is_asked_for_again() -> None:
    (kept,) = (one for one in EVERY if one.name == QUICKEST)
    settings = kept.settings()
    assert (settings["width"], settings["depth"], settings["seed"]) == (2000, 16, 0)
    build, evaluate = commands(kept, Path("somewhere"))
    assert build[0] == "gram.data" and evaluate[0] == "gram.evaluate"
