"""Every command that takes a run and a data set, given by hand, refuses those that do not belong
together, in one line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gram.bench import __main__ as bench
from gram.data.splits import build
from gram.evaluate import compare_samplers, scaling
from gram.evaluate.__main__ import main as evaluate_main
from gram.runs import restore
from gram.runs.export import export
from gram.settings import RunSettings
from gram.train.__main__ import main as train_main

COMMANDS: dict[str, tuple[Callable[[], None], str]] = {
    "train": (train_main, "--config {run}/config.json --data {data} --output {out}"),
    "evaluate": (evaluate_main, "--run {run} --data {data} --output {out}.json"),
    "scaling": (scaling.main, "--run {run} --data {data} --output {out}.json"),
    "compare_samplers": (compare_samplers.main, "--run {run} --data {data} --output {out}.json"),
    "restore": (
        restore.main,
        "--reference {kept} --config {run}/config.json --card {data}/card.json --output {out}",
    ),
    "bench speed": (
        bench.main,
        "speed --config {run}/config.json --data {data} --output {out}.json --steps 1 --turns 1",
    ),
    "bench memory": (
        bench.main,
        "memory --config {run}/config.json --data {data} --variant fp32",
    ),
}


@pytest.fixture(scope="module")
def foreign(
    settings: RunSettings, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """``foreign(task)``: the data set of another task than ``nqueens5``, or of a fold of it."""
    folders: dict[str, Path] = {}

    def folder(task: str) -> Path:
        if task not in folders:
            split = dataclasses.replace(settings.data.split, folds=2 if "fold" in task else 1)
            folders[task] = tmp_path_factory.mktemp(task)
            build(dataclasses.replace(settings.data, task=task, split=split), folders[task])
        return folders[task]

    return folder


@pytest.mark.parametrize("task", ["nqueens5-fold1", "nqueens6"])
@pytest.mark.parametrize(("main", "arguments"), COMMANDS.values(), ids=COMMANDS.keys())
def test_data_of_another_fold_or_task_are_refused_in_one_line(
    main: Callable[[], None],
    arguments: str,
    task: str,
    gram_run: Path,
    foreign: Callable[[str], Path],
    tmp_path: Path,
    command: Any,
) -> None:
    run, kept, out, data = gram_run, tmp_path / "kept", tmp_path / "out", foreign(task)
    export(run, kept)
    given = arguments.format(run=run, kept=kept, out=out, data=data).split()
    outcome = command(main, *given)
    assert outcome.code == 2 and outcome.err.count("\n") == 1, outcome.err
    assert f"{data / 'card.json'}: task: '{task}', but 'nqueens5' in " in outcome.err
    assert "give that of nqueens5" in outcome.err
    assert not out.exists() and not out.with_suffix(".json").exists()
