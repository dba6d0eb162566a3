"""What runs took: sums against numbers worked out here, every pod counted once, and ledgers that
are old, damaged or not there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gram.system import files
from gram.system.errors import GramError
from gram.tables.__main__ import main
from gram.tables.costs import OTHER_PODS, PURPOSES, TOTAL, clock, costs, read_ledger, read_metas
from snakemake_executor_plugin_runpod.ledger import Ledger
from tests import pages, synthetic

GIB = 2**30


def meta(
    task: str = "nqueens6",
    method: str = "gram",
    seed: int = 0,
    seconds: float = 3600.0,
    **more: Any,
) -> dict[str, Any]:
    facts = {
        "task": task,
        "method": method,
        "seed": seed,
        "seconds": seconds,
        "peak_memory_bytes": GIB,
        "device": "NVIDIA A40",
    }
    return synthetic.meta(**(facts | more))


def line(cost: float, outcome: str = "done", *jobs: tuple[str, str, str]) -> dict[str, Any]:
    parts = [
        {"rule": rule, "wildcards": {"task": task, "method": method, "seed": "0"}}
        for rule, task, method in jobs
    ]
    return {"run": "gram", "hours": 1.0, "cost": cost, "outcome": outcome, "jobs": parts}


def ledger(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def found(
    table: pd.DataFrame, task: str, method: str | None = None, source: str | None = None
) -> dict[str, Any]:
    rows = table[table["task"] == task]
    rows = rows if method is None else rows[rows["method"] == method]
    rows = rows if source is None else rows[rows["source"] == source]
    assert len(rows) == 1
    row: dict[str, Any] = rows.iloc[0].to_dict()
    return row


def dollars(row: dict[str, Any]) -> list[float]:
    return [round(row[f"dollars_{purpose}"], 6) for purpose in PURPOSES] + [
        round(row["dollars"], 6)
    ]


def test_hours_and_memory_of_seeds_and_folds() -> None:
    metas = [
        meta("nqueens5-fold0", seconds=1800, peak_memory_bytes=2 * GIB),
        meta("nqueens5-fold1", seconds=5400, device="NVIDIA L4"),
        meta("nqueens10", "deterministic", seconds=360, processes=2),
    ]
    table = costs(metas, None)
    assert list(table["task"]) == ["nqueens5", "nqueens10", TOTAL]
    assert "dollars" not in table
    folds = found(table, "nqueens5", "gram")
    assert (folds["trainings"], folds["hours_mean"], folds["hours"], folds["peak_memory_gib"]) == (
        2,
        1.0,
        2.0,
        2.0,
    )
    assert folds["device"] == "NVIDIA A40, NVIDIA L4"
    assert found(table, "nqueens10")["device"] == "2 × NVIDIA A40"
    assert (found(table, TOTAL)["trainings"], found(table, TOTAL)["hours"]) == (
        3,
        pytest.approx(2.1),
    )


def test_every_pod_counts_once_and_lost_ones_are_seen(tmp_path: Path) -> None:
    train, evaluate = (("train", "nqueens5-fold0", "gram"), ("evaluate", "nqueens5-fold1", "gram"))
    path = ledger(
        tmp_path / "ledger.jsonl",
        line(1.0, "pod p has disappeared (preempted, or ended by hand)", train),  # retried:
        line(2.0, "done", train),
        line(0.25, "done", evaluate),
        line(
            0.5, "done", ("train", "nqueens6", "gram"), ("evaluate", "nqueens6", "gram")
        ),  # a group on one pod
        line(0.125, "exit status 1", ("evaluate", "nqueens6", "gram")),
        line(4.0, "done", ("train", "coloring5", "gram")),  # of another table
        line(
            8.0, "done", ("train", "nqueens6", "gram"), ("train", "nqueens5-fold0", "gram")
        ),  # nobody can say whose
        line(16.0, "a pod without a job"),
        {
            "run": "old",
            "name": "smk-old-0a1b2c-train-00112233",
            "hours": 1.0,
            "cost": 32.0,
            "outcome": "done",
        },
    )
    table = costs(
        [meta("nqueens5-fold0"), meta("nqueens5-fold1"), meta("nqueens6")], read_ledger(path)
    )
    # training, evaluation, other, lost, total
    assert dollars(found(table, "nqueens5")) == [2.0, 0.25, 0.0, 1.0, 3.25]
    assert dollars(found(table, "nqueens6")) == [0.5, 0.0, 0.0, 0.125, 0.625]
    assert dollars(found(table, OTHER_PODS)) == [12.0, 0.0, 32.0, 16.0, 60.0]
    assert dollars(found(table, TOTAL)) == [14.5, 0.25, 32.0, 17.125, 63.875]


def test_restored_trainings_are_shown_and_not_counted(tmp_path: Path) -> None:
    kept = meta(seed=1, seconds=7200, device="NVIDIA H200", kept_weights={"md5": "0"})
    pods = read_ledger(
        ledger(tmp_path / "ledger.jsonl", line(0.5, "done", ("evaluate", "nqueens6", "gram")))
    )
    table = costs([meta(), kept], pods)
    restored = found(table, "nqueens6", "gram", "restored")
    assert (restored["trainings"], restored["hours"], restored["device"]) == (1, 2.0, "NVIDIA H200")
    assert (
        found(table, TOTAL)["trainings"],
        found(table, TOTAL)["hours"],
        found(table, TOTAL)["device"],
    ) == (1, 1.0, "NVIDIA A40")
    assert (
        found(table, "nqueens6", "gram", "trained")["dollars"]
        == found(table, TOTAL)["dollars"]
        == 0.5
    )
    assert table["dollars"].sum() == 1.0  # once in its row, once in the total
    alone = costs([kept], pods)
    assert found(alone, "nqueens6")["dollars"] == 0.5 and found(alone, TOTAL)["trainings"] == 0


def test_the_executors_own_ledger_is_understood(tmp_path: Path) -> None:
    name = "smk-gram-0a1b2c-train-00112233"
    folder = tmp_path / "jobs" / name
    folder.mkdir(parents=True)
    jobs = [{"rule": "train", "wildcards": {"task": "nqueens6", "method": "gram", "seed": "0"}}]
    (folder / "job.json").write_text(json.dumps({"command": "x", "jobs": jobs}), encoding="utf-8")
    written = Ledger(tmp_path / "ledger.jsonl", "gram", "session")
    written.pay(name, "id", "1 x NVIDIA A40", 0.5, "2026-06-01T12:00:00Z", 7200.0, "done")
    written.pay(
        "smk-gram-0a1b2c-train-44556677",
        "id2",
        "1 x NVIDIA A40",
        0.5,
        "2026-06-01T12:00:00Z",
        3600.0,
        "ended with the head",
    )
    table = costs([meta()], read_ledger(written.path))
    assert dollars(found(table, "nqueens6")) == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert dollars(found(table, OTHER_PODS)) == [0.0, 0.0, 0.0, 0.5, 0.5]


def test_a_ledger_that_is_not_there_cut_off_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert read_ledger(path) is None
    ledger(path, line(1.0))
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"run": "gram", "co')
    assert [pod.dollars for pod in read_ledger(path) or []] == [1.0]
    for damaged in (
        "nonsense",
        "[]",
        '{"cost": 1}',
        '{"cost": NaN, "outcome": "done"}',
        '{"cost": 1, "outcome": "done", "jobs": 1}',
    ):
        path.write_text(f"{json.dumps(line(1.0))}\n{damaged}\n", encoding="utf-8")
        with pytest.raises(
            GramError, match=r"ledger.jsonl:2: no line of a ledger .*; fix or delete this line"
        ):
            read_ledger(path)


def test_a_run_given_twice_or_a_foreign_file_is_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        files.write_json(path, meta())
    with pytest.raises(
        GramError, match=r"b.json: nqueens6 gram seed 0 is also in .*a.json; leave one out"
    ):
        read_metas(paths)
    files.write_json(paths[1], {"task": "nqueens6"})
    with pytest.raises(
        GramError, match=r"b.json: not the meta.json of a run \(method is missing\)"
    ):
        read_metas(paths)


@pytest.mark.parametrize("rented", [True, False])
def test_the_page_says_whether_anything_was_rented(
    rented: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_json(tmp_path / "meta.json", meta())
    path = tmp_path / "ledger.jsonl"
    if rented:
        ledger(
            path,
            line(1.5, "done", ("train", "nqueens6", "gram")),
            line(0.75, "exit status 1", ("train", "nqueens6", "gram")),
        )
    arguments = [
        "costs",
        "--metas",
        str(tmp_path / "meta.json"),
        "--ledger",
        str(path),
        "--output",
        str(tmp_path / "quick.costs"),
    ]
    monkeypatch.setattr(sys, "argv", ["gram.tables", *arguments])
    main()
    text = (tmp_path / "quick.costs.md").read_text(encoding="utf-8")
    assert text.startswith("# What the runs of quick took\n")
    assert "GRAM" in text and ("nothing was rented" in text) != rented
    (row,) = [line for line in text.splitlines() if "nqueens6: GRAM" in line]
    cells = pages.cells(row)
    assert cells[1:6] == ["1 trained", "NVIDIA A40", "1:00:00", "1:00:00", "1.00"]
    assert cells[6:] == (["1.50", "0.00", "0.00", "0.75", "2.25"] if rented else [])
    assert (
        "<th>lost</th>" in (tmp_path / "quick.costs.html").read_text(encoding="utf-8")
    ) == rented
    assert list(pd.read_csv(tmp_path / "quick.costs.csv")["task"]) == ["nqueens6", TOTAL]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (100 * 3600 + 61, "100:01:01")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds / 3600) == text
