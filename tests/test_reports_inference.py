"""More compute at test time: means and differences recomputed by hand from synthetic
evaluations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gram.reports.inference import samplers, scaling
from gram.system import files
from tests.pages import cells_after

KEPT = "resources/reference_runs/proving_ground"


def test_without_runs_both_say_so(tmp_path: Path) -> None:
    for block in (samplers, scaling):
        assert block(tmp_path).startswith("Not measured yet")


def test_samplers_are_compared_pair_by_pair_at_the_greatest_width(
    comparison: dict[str, Any], tmp_path: Path
) -> None:
    later = comparison | {"run": comparison["run"] | {"seed": 1}}
    for seed, content in enumerate((comparison, later)):
        files.write_json(tmp_path / KEPT / f"eval/nqueens5/gram/seed{seed}/samplers.json", content)
    figure = tmp_path / KEPT / "figures/table1/nqueens5/samplers.png"
    figure.parent.mkdir(parents=True)
    figure.touch()
    text = samplers(tmp_path)
    assert (
        "2 trained runs" in text and "5 trajectories per input" in text and "over 4 pairs" in text
    )
    # Width 5, rollout seeds 0 and 1, both runs: 25 and 35 % without a sampler's own 5 points per
    # place; the ceiling is 50 %.
    assert cells_after(text, "iid")[:4] == ["30.0 ± 5.8", "—", "30.0 ± 5.8", "—"]
    assert cells_after(text, "quasi")[:4] == [
        "40.0 ± 5.8",
        "+10.0 ± 0.0",
        "40.0 ± 5.8",
        "+10.0 ± 0.0",
    ]
    assert cells_after(text, "ceiling of independent samples")[:4] == ["—", "—", "50.0", "—"]
    assert f"![samplers of nqueens5](../{KEPT}/figures/table1/nqueens5/samplers.png)" in text


def test_scaling_has_a_row_per_depth(scalings: list[dict[str, Any]], tmp_path: Path) -> None:
    for content in scalings:
        run = content["run"]
        files.write_json(
            tmp_path / KEPT / f"eval/nqueens5/{run['method']}/seed{run['seed']}/scaling.json",
            content,
        )
    twin, gram = sorted(
        scaling(tmp_path).split("`nqueens5`, ")[1:],
        key=lambda part: not part.startswith("Deterministic"),
    )
    assert "1 trained run," in twin and "chosen among 5 samples" in twin
    assert cells_after(twin, "4") == ["40.0", "50.0", "60.0", "70.0"]
    assert cells_after(gram, "1") == ["20.0 ± 14.1", "30.0 ± 14.1", "40.0 ± 14.1", "50.0 ± 14.1"]
    assert (
        "40.0 % of the trajectories go on to step 4; the mean is 1.6 steps, and 45.0 % of the "
        "answers are valid" in gram
    )
