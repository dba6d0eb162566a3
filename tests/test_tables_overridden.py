"""Settings that are not the experiment's: found in training, testing and every fold, and marked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gram.runs.trained import KEPT
from gram.system import files
from gram.tables.__main__ import main
from gram.tables.costs import costs
from gram.tables.evaluations import read_evaluations
from gram.tables.names import FOOTNOTES, OVERRIDDEN
from gram.tables.overridden import in_one_line, in_testing, in_training, overridden
from gram.tables.reference import REFERENCE, runs_of
from tests.reference_runs import EXPERIMENTS, meta, write_runs

ROOT = Path(__file__).parents[1]
GRAM = {"gram": {0: 0.5}}
STEPS = meta("nqueens7", "gram", 0)["settings"]["train"]["steps"]


def test_an_override_is_told_with_what_it_replaced() -> None:
    changed = meta("nqueens7", "gram", 0, {"steps": 20})
    assert list(in_training(changed, EXPERIMENTS)) == [f"train: steps: 20 ({STEPS})"]
    assert list(in_training(meta("nqueens7", "gram", 0), EXPERIMENTS)) == []
    execution = meta("nqueens7", "gram", 0, {"threads": 7, "micro_batch": 2})
    assert list(in_training(execution, EXPERIMENTS)) == []


def test_a_run_of_before_a_setting_came_has_its_default() -> None:
    old = meta("nqueens7", "gram", 0)
    del old["settings"]["train"]["optimizer"]
    assert list(in_training(old | {KEPT: {"md5": "0"}}, EXPERIMENTS)) == []


@pytest.mark.parametrize(
    "unknown",
    [
        {"task": "nqueens6", "method": "gram", "seed": 0},  # no such experiment
        {"task": "nqueens6", "method": "gram", "seed": 0, "settings": {}},
        meta("nqueens7", "gram", 0) | {"settings": {"forgotten": 1}},
    ],
)
def test_what_cannot_be_told_is_not_marked(unknown: dict[str, Any]) -> None:
    assert list(in_training(unknown, EXPERIMENTS)) == []


def test_a_method_that_only_an_override_has_is_told() -> None:
    added = meta("nqueens7", "gram", 0) | {"method": "added"}
    assert list(in_training(added, EXPERIMENTS)) == ["the whole method (not in the file)"]


def test_test_time_compute_counts_too(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, GRAM, width=3, noise_scale=0.5, rollout_seed=5)
    run = read_evaluations(paths)[0]["run"]
    assert list(in_testing(run, EXPERIMENTS)) == [
        "evaluate: width: 3 (20)",
        "evaluate: noise_scale: 0.5 (1.0)",
        "evaluate: seed: 5 (0)",
    ]


def test_settings_are_told_by_section() -> None:
    changes = ["train: steps: 2 (9)", "evaluate: width: 3 (20)", "train: beta: 1 (2)"]
    assert in_one_line(changes) == "train: steps: 2 (9), beta: 1 (2); evaluate: width: 3 (20)"
    assert (
        in_one_line(["the whole method (not in the file)"]) == "the whole method (not in the file)"
    )


def test_one_fold_is_enough_and_each_setting_is_said_once(tmp_path: Path) -> None:
    paths = write_runs(tmp_path, {"gram": {0: 0.5, 1: 0.5}}, task="nqueens5")
    read = read_evaluations(paths)
    runs = runs_of(paths, read)["nqueens5", "gram"]
    assert len(runs.metas) == 4 and overridden(runs, EXPERIMENTS) == []
    for seed in (0, 1):
        other = meta("nqueens5-fold1", "gram", seed, {"steps": 20})
        files.write_json(tmp_path / f"runs/nqueens5-fold1/gram/seed{seed}/meta.json", other)
    runs = runs_of(paths, read)["nqueens5", "gram"]
    assert overridden(runs, EXPERIMENTS) == ["train: steps: 20 (1000)"]


def test_the_default_that_was_kept_is_not_overridden() -> None:
    paths = sorted((ROOT / REFERENCE / "cpu_default").glob("eval/*/*/seed*/test.json"))
    runs = runs_of(paths, read_evaluations(paths))
    assert {task for task, _ in runs} == {"nqueens5", "nqueens5-axial"}
    assert all(one.metas for one in runs.values())
    assert [key for key, one in runs.items() if overridden(one, EXPERIMENTS)] == []


def test_tables_and_costs_mark_it(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    paths = write_runs(tmp_path, GRAM, train={"steps": 20})
    paths += write_runs(tmp_path, {"revealed": {0: 0.5}})
    stem = tmp_path / "table1"
    arguments = ("--evaluations", *paths, "--reported", "resources/reported.csv")
    assert command(main, "table1", *arguments, "--output", stem).code == 0
    text = stem.with_suffix(".md").read_text(encoding="utf-8")
    assert text.count(f"| GRAM†{OVERRIDDEN} ") == 3 and f"revealed†{OVERRIDDEN}" not in text
    assert f"- GRAM: train: steps: 20 ({STEPS})" in text
    assert text.count(FOOTNOTES[OVERRIDDEN]) == 1
    assert r"\P{}" in stem.with_suffix(".tex").read_text(encoding="utf-8")
    table = pd.read_csv(stem.with_suffix(".csv"), keep_default_na=False)
    assert set(table.loc[table["method"] == "gram", "settings"]) == {
        f"train: steps: 20 ({STEPS})",
        "",
    }
    metas = sorted(tmp_path.glob("runs/**/meta.json"))
    more = ("--metas", *metas, "--ledger", tmp_path / "absent", "--output", tmp_path / "x.costs")
    assert command(main, "costs", *more).code == 0
    text = (tmp_path / "x.costs.md").read_text(encoding="utf-8")
    assert f"| nqueens7: GRAM{OVERRIDDEN} " in text and FOOTNOTES[OVERRIDDEN] in text
    assert "| nqueens7: revealed " in text
    plain = costs([meta("nqueens7", "gram", 0)], None, EXPERIMENTS)
    assert set(plain["settings"]) == {""}
