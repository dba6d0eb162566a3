"""The comparison of samplers: every one at the same compute, and a summary that agrees with its
rows.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.evaluate import compare_samplers, evaluation, metrics
from gram.evaluate.compare_samplers import COMPARED, SAMPLERS, summarise
from gram.evaluate.scoring import score
from gram.settings import EvaluateConfig
from gram.system import files

CPU = torch.device("cpu")


def row(
    sampler: str, width: int, seed: int, value: float | None, ceiling: float = 0.8
) -> dict[str, Any]:
    """A row in which every metric has the same value."""
    metric = metrics.ratio(10 * (value or 0), 0 if value is None else 10)
    values = {
        name: metric | ({"ceiling": ceiling} if "coverage" in name else {}) for name in COMPARED
    }
    return {"sampler": sampler, "width": width, "rollout_seed": seed} | values


def test_summary_of_known_rows() -> None:
    rows = [
        row("iid", 2, 0, 0.2),
        row("iid", 2, 1, 0.4),
        row("reseed", 2, 0, 0.3),
        row("reseed", 2, 1, 0.6),
        row("iid", 3, 0, 0.0),
    ]
    found = {(line["width"], line["metric"], line["sampler"]): line for line in summarise(rows)}
    assert len(found) == 3 * len(COMPARED)
    iid, reseed = found[2, "coverage_paper", "iid"], found[2, "coverage_paper", "reseed"]
    assert (iid["mean"], reseed["mean"]) == (pytest.approx(0.3), pytest.approx(0.45))
    assert reseed["std"] == pytest.approx(0.3 / 2**0.5) and reseed["rollout_seeds"] == 2
    assert (iid["to_iid"], reseed["to_iid"]) == (1, pytest.approx(1.5))
    assert reseed["ceiling"] == 0.8 and found[2, "accuracy", "iid"]["ceiling"] is None
    lonely = found[3, "accuracy", "iid"]
    assert (
        lonely["std"] is None and lonely["to_iid"] is None
    )  # one seed, and nothing to compare with
    assert summarise([row("iid", 2, 0, None)]) == []


def test_command_line(gram_run: Path, data_folder: Path, command: Any, tmp_path: Path) -> None:
    output = tmp_path / "samplers.json"
    arguments = ("--run", gram_run, "--data", data_folder, "--output", output, "--device", "cpu")
    outcome = command(
        compare_samplers.main,
        *arguments,
        "--settings",
        "{depth: 2, reseed_every: 1}",
        "--widths",
        3,
        2,
        "--seeds",
        2,
    )
    assert outcome.code == 0, outcome.err
    content = files.read_json(output)
    rows = {
        (found["sampler"], found["width"], found["rollout_seed"]): found
        for found in content["by_sampler"]
    }
    assert set(rows) == {
        (sampler, width, seed) for sampler in SAMPLERS for width in (2, 3) for seed in (0, 1)
    }
    # Each is an evaluation of its own, with the noise of its width and seed.
    subject = evaluation.load_subject(gram_run, data_folder, "test", EvaluateConfig(), CPU)
    config = EvaluateConfig(depth=2, width=3, seed=1, sampler="antithetic")
    drawn = evaluation.draw(
        subject.model, subject.split, config, subject.generator("compare_samplers", 1, 3)
    )
    expected = metrics.slices(score(subject.task, subject.split, drawn))
    found = rows["antithetic", 3, 1]
    assert (
        found["accuracy"] == expected["accuracy"]
        and found["coverage_macro"] == expected["coverage_macro"]
    )
    assert found["coverage_macro_several"] == expected["slices"]["several"]["coverage_macro"]
    # What is summarised is what the rows say, and it is printed.
    for line in content["summary"]:
        values = [
            rows[line["sampler"], line["width"], seed][line["metric"]]["value"] for seed in (0, 1)
        ]
        assert line["mean"] == pytest.approx(statistics.mean(values)) and line[
            "std"
        ] == pytest.approx(statistics.stdev(values))
    assert outcome.out.splitlines()[0].split()[:3] == ["width", "metric", "sampler"]
    assert len(outcome.out.splitlines()) == 1 + len(content["summary"])
    assert content["run"]["width"] == 3 and content["run"]["depth"] == 2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seeds", 0), "--widths and --seeds must be at least 1"),
        (("--widths", 0), "--widths and --seeds must be at least 1"),
        (
            ("--settings", "{depth: 3, reseed_every: 2}"),
            "evaluate: reseed_every: 2 leaves no restart within depth 3",
        ),
    ],
)
def test_bad_input_is_one_line(
    gram_run: Path,
    data_folder: Path,
    tmp_path: Path,
    command: Any,
    more: tuple[object, ...],
    message: str,
) -> None:
    arguments = (
        "--run",
        gram_run,
        "--data",
        data_folder,
        "--output",
        tmp_path / "samplers.json",
        "--device",
        "cpu",
    )
    outcome = command(compare_samplers.main, *arguments, *more)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_deterministic_run_has_nothing_to_compare(
    deterministic_run: Path, data_folder: Path, tmp_path: Path, command: Any
) -> None:
    arguments = (
        "--run",
        deterministic_run,
        "--data",
        data_folder,
        "--output",
        tmp_path / "samplers.json",
        "--device",
        "cpu",
    )
    outcome = command(compare_samplers.main, *arguments)
    assert (
        outcome.code == 2
        and "deterministic does not sample, so samplers cannot differ" in outcome.err
    )
