"""Generated blocks: what they say, that an edit is found, and that this repository's own are up to
date.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gram.reports.__main__ import main
from gram.reports.gaps import gap_defaults
from gram.reports.reference import duration
from gram.reports.results import seconds_in_all, steps_of
from gram.settings import SECTIONS
from gram.settings.tasks import FAMILIES
from gram.system import files
from gram.tables.names import HEADLINES
from tests import synthetic
from tests.pages import table_rows

REPOSITORY = Path(__file__).parents[1]
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one page per block, one experiment and no results."""
    shutil.copytree(
        REPOSITORY / "resources",
        tmp_path / "resources",
        ignore=shutil.ignore_patterns("reference_runs", "cards"),
    )
    experiment = "generator: {removed: [3, 4]}\ntrain: {sampling: inputs, learning_rate: 7.0}\n"
    experiment += "methods: {gram: {train: {kl_channels: mean}}, deterministic: {}}\n"
    files.write_text(tmp_path / "config/experiments/nqueens5.yaml", experiment)
    files.write_text(
        tmp_path / "README.md",
        "before\n" + empty("results") + "between\n" + empty("datasets") + "after\n",
    )
    files.write_text(tmp_path / "reports/GAP_DEFAULTS.md", empty("gap-defaults"))
    files.write_text(
        tmp_path / "reports/REPRODUCTION.md", empty("short-tables") + empty("reproduction")
    )
    return tmp_path


def empty(name: str) -> str:
    """A block that was never filled."""
    return f"<!-- generated: {name} -->\n<!-- end generated -->\n"


@pytest.fixture
def reference(root: Path, synthetic_evaluation: Make) -> Path:
    """The same repository with reference runs: two methods, two seeds, two folds."""
    folder = root / "resources/reference_runs/cpu_default"
    for method, accuracy, several in (("gram", 0.8, 0.6), ("deterministic", 0.7, 0.0)):
        for seed in (0, 1):
            evaluation = synthetic_evaluation(
                method=method,
                seed=seed,
                folds=2,
                values={"accuracy": accuracy + 0.02 * seed},
                several={"accuracy": several, "coverage_macro": several},
            )
            files.write_json(folder / f"eval/nqueens5/{method}/seed{seed}/test.json", evaluation)
            for fold in (0, 1):
                meta = {
                    "steps": 2000,
                    "seconds": 90.0,
                    "threads": 1,
                    "device": "Some CPU",
                    "commit": "c" * 40,
                    "dirty": seed == 1,
                }
                meta |= {"code_hash": "0123456789ab", "torch": "2.13.0", "python": "3.11.7"}
                meta |= {"task": f"nqueens5-fold{fold}", "method": method, "seed": seed}
                files.write_json(
                    folder / f"runs/nqueens5-fold{fold}/{method}/seed{seed}/meta.json",
                    synthetic.meta(**meta),
                )
    return root


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_everything_outside_the_blocks_stays(root: Path, command: Any) -> None:
    assert command(main, "--root", root).code == 0
    text = read(root / "README.md")
    for around in (
        "before\n<!-- generated: results -->\n",
        "<!-- end generated -->\nbetween\n",
        "<!-- end generated -->\nafter\n",
    ):
        assert around in text
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.md")}
    assert command(main, "--root", root).out == ""
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.md")} == before


def test_nothing_measured_is_said_so(root: Path, command: Any) -> None:
    command(main, "--root", root)
    assert "Not measured yet" in read(root / "README.md") and "Not measured yet" in read(
        root / "reports/REPRODUCTION.md"
    )
    assert "%" not in read(root / "README.md")


def test_the_readme_opens_with_one_table_of_gram_and_its_twin(
    reference: Path, synthetic_evaluation: Make, command: Any
) -> None:
    # Other tasks and methods of the same folder stand on the page of what was measured.
    kept = reference / "resources/reference_runs/cpu_default"
    for task, method in (("nqueens5-axial", "gram"), ("nqueens5", "trm")):
        other = synthetic_evaluation(task=task, method=method)
        files.write_json(kept / f"eval/{task}/{method}/seed0/test.json", other)
        run = {"task": task, "method": method, "seed": 0, "steps": 10, "seconds": 6.0}
        meta = run | {"threads": 1, "device": "Some CPU", "commit": None, "code_hash": "0123"}
        meta |= {"torch": "2.13.0", "python": "3.11.7"}
        files.write_json(kept / f"runs/{task}/{method}/seed0/meta.json", synthetic.meta(**meta))
    assert command(main, "--root", reference).code == 0
    text = read(reference / "README.md")
    rows = table_rows(text[: text.index("between")])
    assert list(rows) == ["%", "Deterministic twin", "GRAM"]
    assert rows["%"] == list(HEADLINES["completions"].values())
    assert rows["GRAM"] == ["81.0 ± 1.4", "60.0 ± 0.0", "60.0 ± 0.0"]
    assert rows["Deterministic twin"] == ["71.0 ± 1.4", "0.0 ± 0.0", "0.0 ± 0.0"]
    assert "60.0 % of GRAM's answers are right, and 20 answers\ncontain 60.0 % of the" in text
    assert "For its deterministic twin these are 0.0 % and 0.0 %." in text
    assert "10 boards, 4 of them with several solutions" in text and "over 2 trainings" in text


def test_short_tables_are_those_of_the_reference_runs(reference: Path, command: Any) -> None:
    assert command(main, "--root", reference).code == 0
    text = read(reference / "reports/REPRODUCTION.md")
    rows = table_rows(text)
    assert rows["GRAM"] == ["81.0 ± 1.4 (2)", "60.0 ± 0.0 (2)", "60.0 ± 0.0 (2) of 90.0"]
    assert rows["Deterministic twin"][1:] == ["0.0 ± 0.0 (2)", "0.0 ± 0.0 (2) of 90.0"]
    assert "`nqueens5`, 10 test inputs, 4 of them with several solutions, over 2 folds" in text
    assert "8 runs, 12.0 min in all" in text and "Some CPU" in text


def test_time_of_a_run_that_others_start_from_counts_once() -> None:
    def meta(method: str, seconds: float, start: str | None, before: float = 0.0) -> dict[str, Any]:
        initial = (
            {"path": f"results/runs/nqueens7/{start}/seed0/weights.safetensors", "seconds": before}
            if start
            else None
        )
        return {
            "task": "nqueens7",
            "method": method,
            "seed": 0,
            "seconds": seconds,
            "initial_weights": initial,
        }

    first, second, third = meta("a", 100, None), meta("b", 130, "a", 100), meta("c", 150, "b", 130)
    assert seconds_in_all([first, second, third]) == seconds_in_all([third, first, second]) == 150
    assert (
        seconds_in_all([second, meta("d", 110, "a", 100)]) == 140
    )  # the 100 of a, which is not among them, once
    assert seconds_in_all([first, first | {"seed": 1}]) == 200


def test_reproduction_holds_every_seed_and_where_it_was_measured(
    reference: Path, command: Any
) -> None:
    command(main, "--root", reference)
    text = read(reference / "reports/REPRODUCTION.md")
    seeds = [line for line in text.splitlines() if line.startswith("| nqueens5 gram seed 1")]
    assert len(seeds) == 2  # values, and provenance
    assert "82.00" in seeds[0] and "60.00" in seeds[0]
    assert seeds[1].split(" | ")[1:6] == [
        "2",
        "2000",
        "3.0 min",
        "cccccccccccc (with local changes)",
        "0123456789ab",
    ]
    # A reference run states the code that made it; a later change of the code must not turn this
    # page out of date.
    assert "†" not in text and "## nqueens8" not in text


def test_an_evaluation_without_its_meta_is_an_error(reference: Path, command: Any) -> None:
    shutil.rmtree(reference / "resources/reference_runs/cpu_default/runs")
    outcome = command(main, "--root", reference)
    assert outcome.code == 2 and "no runs/nqueens5/deterministic/seed0/meta.json" in outcome.err


def test_every_open_choice_is_listed_with_default_and_reason(root: Path) -> None:
    lines = gap_defaults(root).splitlines()
    noted = set()
    owners = {section: typing.get_args(cls) or (cls,) for section, cls in SECTIONS.items()}
    owners["generator"] = tuple(family.generator for family in FAMILIES.values())
    for section, classes in owners.items():
        for owner in classes:
            for field in dataclasses.fields(owner):
                found = [
                    line
                    for line in lines
                    if re.match(rf"\| `{section}\.{field.name}`( of [\w, ]+)? \|", line)
                ]
                if field.metadata["gap"]:
                    (one,) = [
                        line
                        for line in found
                        if f"| {field.metadata['gap']} |" in line
                        and f"`{json.dumps(field.default)}`" in line
                    ]
                    assert field.metadata["doc"] in one
                    noted.add(one)
    assert len(noted) > 30 and noted == {line for line in lines[2:] if line.startswith("| `")}
    assert any(line.startswith('| `train.kl_channels` | `"sum"` |') for line in lines)
    assert any(line.startswith("| `model.D` of ar | `384` |") for line in lines)


def test_a_setting_of_one_network_is_not_asked_of_others(root: Path) -> None:
    path = root / "config/experiments/nqueens5.yaml"
    files.write_text(
        path,
        read(path).replace(
            "deterministic: {}",
            "ar: {model: {architecture: ar, layers: 3}}, deterministic: {}",
        ),
    )
    files.write_text(
        root / "config/experiments/coloring5.yaml",
        "generator: {edge_probability: 0.9}\nmethods: {gram: {}}\n",
    )
    lines = gap_defaults(root).splitlines()
    assert "| nqueens5 | all | `model.layers` of ar | `6` | `3` |" in lines
    assert "| coloring5 | all | `generator.edge_probability` | `0.57` | `0.9` |" in lines


def test_deviating_experiments_are_listed(root: Path) -> None:
    lines = gap_defaults(root).splitlines()
    assert '| nqueens5 | all | `train.sampling` | `"pairs"` | `"inputs"` |' in lines
    assert '| nqueens5 | gram | `train.kl_channels` | `"sum"` | `"mean"` |' in lines
    assert not any(
        "learning_rate" in line and "nqueens5" in line for line in lines
    )  # the paper states it
    assert sum(line.startswith("| nqueens5 ") for line in lines) == 2


def test_datasets_show_rows_and_sums(root: Path, command: Any) -> None:
    files.write_text(
        root / "resources/checksums.tsv",
        "dataset\tsplit\trows\tmd5\nnqueens8\ttest\t1222\ta652c133bafb1b30\n",
    )
    command(main, "--root", root)
    assert "| nqueens8 | — | — | 1,222 `a652c133` | — |" in read(root / "README.md")


@pytest.mark.parametrize("name", ["README.md", "reports/GAP_DEFAULTS.md"])
def test_check_names_the_file_and_block_that_was_edited(
    name: str, root: Path, command: Any
) -> None:
    command(main, "--root", root)
    assert command(main, "--check", "--root", root).code == 0
    path = root / name
    text = read(path)
    edited = text.replace("Not measured yet", "Measured well").replace("| `0.05` |", "| `0.5` |")
    assert edited != text
    files.write_text(path, edited)
    outcome = command(main, "--check", "--root", root)
    block = "results" if name == "README.md" else "gap-defaults"
    assert outcome.code == 2 and f"{path}: block {block}: out of date" in outcome.err
    assert read(path) == edited  # a check repairs nothing
    assert command(main, "--root", root).code == 0 and read(path) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            empty("result"),
            "no generated block is called 'result'; did you mean 'results'?",
        ),
        ("<!-- generated: results -->\nnever closed\n", "without its `<!-- end generated -->`"),
        (
            "<!-- generated: results -->\n" + empty("datasets"),
            "without its `<!-- end generated -->`",
        ),
    ],
)
def test_a_broken_marker_is_an_error(text: str, expected: str, root: Path, command: Any) -> None:
    files.write_text(root / "README.md", text)
    outcome = command(main, "--root", root)
    assert outcome.code == 2 and expected in outcome.err and str(root / "README.md") in outcome.err
    assert read(root / "README.md") == text


def test_elsewhere_is_an_error(tmp_path: Path, command: Any) -> None:
    assert "run from the root" in command(main, "--root", tmp_path).err


@pytest.mark.parametrize(
    ("seconds", "expected"), [(59.4, "59 s"), (60, "1.0 min"), (5400, "1.5 h")]
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_the_pages_of_this_repository_are_up_to_date(command: Any) -> None:
    outcome = command(main, "--check", "--root", REPOSITORY)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("meta", "shown"),
    [
        ({"steps": 26}, "26"),  # kept before runs could start from others
        ({"steps": 26, "initial_weights": None}, "26"),
        ({"steps": 26, "initial_weights": {"steps": 24}}, "24 + 2"),
    ],
)
def test_steps_are_told_apart_from_those_of_the_initial_weights(
    meta: dict[str, Any], shown: str
) -> None:
    assert steps_of(meta) == shown
