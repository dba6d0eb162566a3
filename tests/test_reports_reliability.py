"""The page of reliability: sums, what is not counted, what is not as it should be, findings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gram.reports.reliability import (
    BEFORE,
    CAMPAIGN,
    FINDINGS,
    INPUTS,
    NOT_COUNTED,
    NOT_YET,
    OF_RULES,
    RULES,
    STEPS,
    faults_after,
    faults_before,
    findings,
    rules,
    steps,
)
from gram.system import files
from gram.system.errors import GramError
from tests.pages import cells_after

BY = {"commit": "0123456789abcdef", "dirty": False, "torch": "2", "python": "3", "device": "one"}
ROOT = Path(__file__).parents[1]


def kind(**counts: int) -> dict[str, Any]:
    """The counts of a kind of input."""
    every = dict.fromkeys(INPUTS, 0) | counts
    return every | {"failures": [], "part": 1, "by": BY, "cpu_seconds": 60.0}


def test_counts_are_added_up_and_failures_told(tmp_path: Path) -> None:
    group = {"tried": 5, "same": 4, "wrong": 1, "temporary": 0, "failures": ["one: other bytes"]}
    campaign = {
        "a": kind(tried=1200, clear=1199, accepted=1),
        "b": kind(tried=3, clear=2, traceback=1) | {"failures": ["traceback: cut: files.py"]},
        "c": {"groups": {"kills": group}, "part": 2, "by": BY, "cpu_seconds": 120.0},
    }
    files.write_json(tmp_path / CAMPAIGN, campaign)
    text = faults_after(tmp_path)
    assert cells_after(text, "sum") == ["1,203", "1,201", "1", "0", "1", "0", "0", "0"]
    assert cells_after(text, "kills") == ["5", "4", "1", "0"]
    assert "commit 0123456789ab (torch 2, Python 3, one), in 4 minutes" in text
    assert "Not the whole of: c." in text
    assert "* b: traceback: cut: files.py\n* kills: one: other bytes" in text


def test_what_was_not_counted_is_a_dash(tmp_path: Path) -> None:
    before = {
        "source": "a review",
        "commit": "abc",
        "versions": "torch 2",
        "inputs": {"a": kind(tried=2, clear=2) | {"wrong": None, "temporary": None}},
        "faults": {"kills": {"tried": 3, "same": 3, "wrong": 0, "temporary": 2}},
    }
    files.write_json(tmp_path / BEFORE, before)
    text = faults_before(tmp_path)
    assert text.startswith("Counted by a review abc (torch 2).")
    assert cells_after(text, "a")[3] == NOT_COUNTED and cells_after(text, "a")[-1] == NOT_COUNTED
    assert cells_after(text, "kills") == ["3", "3", "0", "2"]


def test_pairs_of_rules_and_faults(tmp_path: Path) -> None:
    assert rules(tmp_path) == faults_after(tmp_path) == NOT_YET
    lines = [("data", "kill", 2, 2, 0, "abc"), ("train", "kill", 3, 2, 1, "def")]
    files.write_tsv(tmp_path / RULES, OF_RULES, lines)
    text = rules(tmp_path)
    assert text.startswith("2 pairs of a rule and a fault, of 2 rules, at commit abc and def;")
    assert cells_after(text, "kill") == ["5", "4", "1"]
    files.write_text(tmp_path / RULES, "rule\tfault\ndata\tkill\n")
    with pytest.raises(GramError, match=r"rules\.tsv: the columns must be rule, fault, tried"):
        rules(tmp_path)


def test_a_step_is_compared_with_that_of_before(tmp_path: Path) -> None:
    assert steps(tmp_path) == NOT_YET
    found = {
        "run": "nqueens5-fold0/gram",
        "steps": 200,
        "commits": {"before": "a" * 40, "now": "b" * 40},
        "milliseconds": {"before": [10.0, 30.0, 20.0], "now": [11.0, 30.0, 19.0]},
        "ratios": [1.1, 1.0, 0.95],
        "ratio": 1.0,
    }
    files.write_json(tmp_path / STEPS, found)
    text = steps(tmp_path)
    assert "takes 1.000 times what it took before: 19.00 ms" in text
    assert "bbbbbbbbbbbb, 20.00 ms at aaaaaaaaaaaa. Medians of 3 turns" in text
    assert "the ratios are 0.950 to 1.100" in text


def test_a_finding_says_what_became_of_it(tmp_path: Path) -> None:
    one = "faults:\n  - {id: H1, seen: a thing, now: %s, tests: %s}\n"
    files.write_text(tmp_path / FINDINGS, one % ("fixed", "['tests/a.py::test_b']"))
    assert "| H1 | a thing | fixed | `tests/a.py::test_b` |" in findings(tmp_path)
    files.write_text(tmp_path / FINDINGS, one % ("left", "[]"))
    assert "| H1 | a thing | left | — |" in findings(tmp_path)
    files.write_text(tmp_path / FINDINGS, one % ("null", "[]"))
    with pytest.raises(GramError, match="faults H1: now: say what became of it"):
        findings(tmp_path)


def test_the_counts_before_are_those_of_the_review() -> None:
    """Its own sums, over the kinds that it added up."""
    inputs = files.read_json(ROOT / BEFORE)["inputs"]
    added = pd.DataFrame(one for name, one in inputs.items() if "(workflow)" not in name)
    sums = added[list(INPUTS)[:-1]].sum().to_dict()
    assert sums == {
        **{"tried": 2761, "clear": 1363, "traceback": 360, "wrong": 244, "accepted": 774},
        **{"endless": 19, "crash": 1},
    }
