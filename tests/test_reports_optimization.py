"""The page of measurements: every number is one of the files', and what is out of reach follows
from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gram.reports.optimization import benchmarks, goals
from gram.system import files
from tests.pages import cells


def variant(seconds: float, own: float, highest: float) -> dict[str, Any]:
    """What is measured of a variant, with a range around each median."""
    found = {
        "seconds_per_step": seconds,
        "examples_per_second": 24 / seconds,
        "share_of_own_peak": own,
    }
    found |= {"share_of_highest_peak": highest, "speed_against_first": 2 / seconds}
    return {key: [0.9 * value, value, 1.1 * value] for key, value in found.items()} | {
        "peak_memory_bytes": 300 * 2**20
    }


def measurement(**variants: dict[str, Any]) -> dict[str, Any]:
    """A file of measurements, as ``python -m gram.bench speed`` writes it."""
    by = {
        "device": "Some CPU",
        "threads": 2,
        "torch": "2.13.0",
        "python": "3.11.7",
        "code_hash": "0123456789ab",
    }
    gain = {
        "what": "one | two",
        "kept": "no",
        "reason": "because",
        "predicted": 1.2,
        "gain": [0.9, 1.05, 1.1],
    }
    return {
        "task": "nqueens8",
        "method": "gram",
        "settings": {"model": {"D": 512, "K": 4, "T": 3}, "train": {"batch_size": 16}},
        "turns": 6,
        "steps_per_turn": 2,
        "flops_per_step": 2.5e11,
        "matmul_peak_flops_per_second": {"bf16": [1e9, 2e9, 3e9], "fp32": [8e10, 1e11, 2e11]},
        "variants": variants,
        "optimizations": {"an idea": gain},
        "measured_by": by | {"commit": "c" * 40, "dirty": True},
    }


def test_page_holds_the_measured_numbers(tmp_path: Path) -> None:
    slow = {"fp32": variant(2.0, 0.7, 0.7), "bf16": variant(4.0, 0.4, 0.35)}
    files.write_json(tmp_path / "resources/benchmarks/cpu.json", measurement(**slow))
    page = benchmarks(tmp_path)
    assert (
        page.startswith("## `cpu`\n") and "16 rows, 250 GFLOP a step; 2 threads of Some CPU" in page
    )
    assert (
        "commit cccccccccccc with local changes" in page
        and "6 alternating turns of 2 steps" in page
    )
    rows = [cells(line) for line in page.splitlines() if line.startswith("| bf16")]
    assert rows == [["bf16", "4", "6", "40 % [36, 44]", "0.50 [0.45, 0.55]", "300"]]
    assert "| an idea | one \\| two | 1.20 | 1.05 [0.90, 1.10] | no | because |" in page


@pytest.mark.parametrize(
    ("plain", "fast", "reached", "bound"),
    [
        (
            variant(2.0, 0.8, 0.8),
            variant(1.9, 0.5, 0.84),
            "no variant",
            "more than 1.25 times as fast",
        ),
        (variant(2.0, 0.5, 0.25), variant(1.0, 0.5, 0.5), "fp32-compiled", None),
        (variant(2.0, 0.5, 0.25), variant(1.5, 0.5, 0.3), "no variant", None),
    ],
)
def test_goals_follow_from_the_shares(
    plain: dict[str, Any], fast: dict[str, Any], reached: str, bound: str | None
) -> None:
    lines = "\n".join(goals(measurement(fp32=plain, **{"fp32-compiled": fast})))
    share = "fp32" if plain["share_of_own_peak"][1] >= 0.6 else "no variant"
    assert f"At least 60% of the matmul peak of its precision: {share}." in lines
    assert f"At least 1.5 times as fast as fp32 without compilation: {reached}." in lines
    assert ("out of reach" in lines) == (bound is not None) and (bound or "") in lines


def test_without_measurements_the_page_says_so(tmp_path: Path) -> None:
    assert benchmarks(tmp_path).startswith("Not measured yet")
