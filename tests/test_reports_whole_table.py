"""The blocks of the whole Table 1: graphs counted again by hand, cards that are those of the data,
parameters, the small table.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gram.data.checksums import read_listed
from gram.data.splits import build
from gram.reports.whole_table import CARDS, graphs, parameters, small_table1
from gram.settings.config import data_settings, load_experiment
from gram.system import files
from gram.tables.paper import rows_of
from tests import synthetic
from tests.pages import table_rows

REPOSITORY = Path(__file__).parents[1]
Make = Callable[..., dict[str, Any]]
TASKS = sorted(path.stem for path in (REPOSITORY / CARDS).glob("*.json"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the paper's numbers and nothing measured."""
    (tmp_path / "resources").mkdir()
    shutil.copy(REPOSITORY / "resources/reported.csv", tmp_path / "resources")
    return tmp_path


def test_nothing_measured_is_said_so(root: Path) -> None:
    assert graphs(root).startswith("Not measured yet") and small_table1(root).startswith(
        "Not measured yet"
    )


def test_ceilings_of_a_data_set_by_hand(root: Path) -> None:
    """Three test graphs with one colouring and one with four: 20 draws of four miss each with
    probability (3/4)^20.
    """
    tables = {
        "train": {"inputs": 30},
        "valid": {"inputs": 2},
        "completions": {"mean_completions": 2.5, "most_completions": 9},
    }
    tables["test"] = {
        "inputs": 4,
        "mean_completions": 1.75,
        "inputs_by_completions": {"1": 3, "4": 1},
    }
    card = {
        "task": "coloring8",
        "settings": {"generator": {"edge_probability": 0.5}},
        "tables": tables,
    }
    files.write_json(root / CARDS / "coloring8.json", card | {"facts": {"colourable_share": 0.25}})
    (cells,) = [cells for name, cells in table_rows(graphs(root)).items() if name == "coloring8"]
    ceiling = 100 * (3 + 4 * (1 - 0.75**20)) / 7
    assert cells == [
        "0.5",
        "25.0",
        "32 / 4",
        "2.50",
        "1.75",
        "9",
        f"{400 / 7:.1f}",
        "22.3 ± 0.6",
        f"{ceiling:.1f}",
        "85.8 ± 0.5",
    ]


@pytest.mark.parametrize("task", TASKS)
def test_a_kept_card_is_that_of_the_listed_data(task: str) -> None:
    """A card that was kept before the generator changed would tell of graphs that nobody has."""
    card = files.read_json(REPOSITORY / CARDS / f"{task}.json")
    settings = data_settings(load_experiment(REPOSITORY / f"config/experiments/{task}.yaml"), task)
    assert card["settings"]["generator"] == settings.generator
    listed = read_listed(REPOSITORY / "resources/checksums.tsv")[task]
    assert {name: sums.md5 for name, sums in listed.items()} == {
        name: table["md5"] for name, table in card["tables"].items()
    }


def test_the_smallest_card_is_built_again(tmp_path: Path) -> None:
    task = min(TASKS, key=len)
    card = build(
        data_settings(load_experiment(REPOSITORY / f"config/experiments/{task}.yaml"), task),
        tmp_path,
    )
    assert card == files.read_json(REPOSITORY / CARDS / f"{task}.json")


def test_parameters_are_counted_at_the_size_of_the_experiment(root: Path) -> None:
    experiment = """
generator: {removed: [5, 6, 7]}
methods:
  gram: {}
  deterministic: {model: {guidance: none}}
  direct32: {model: {architecture: direct, layers: 32}}
  ar: {model: {architecture: ar}}
"""
    files.write_text(root / "config/experiments/nqueens8.yaml", experiment)
    text = parameters(root)
    table = table_rows(text)
    names = [row.name for row in rows_of().values()]
    assert [name for name in table if name in names] == names
    # 6 layers of 12 D^2 weights with D = 384 (section B.1), and two embeddings of 3 tokens.
    assert table["AR"] == [f"{(6 * 12 * 384**2 + 2 * 3 * 384) / 1e6:.1f}M", "10.6M", "+0.2 %"]
    assert table["Deterministic twin"][1:] == ["—", "—"] and table["HRM"] == ["—", "27M", "—"]
    assert "More than 5% from the paper's: Direct Pred (32 layers), GRAM." in text


def test_the_small_table_shows_its_methods_and_their_ordering(
    root: Path, synthetic_evaluation: Make
) -> None:
    folder = root / "resources/reference_runs/cpu_table1"
    meta = {"steps": 10, "seconds": 6.0, "threads": 1, "device": "Some CPU"}
    for method, several in (("gram", 0.6), ("hrm", 0.1), ("ar", 0.3)):
        one = synthetic_evaluation(
            task="coloring5",
            method=method,
            several={"accuracy": several, "coverage_macro": several},
        )
        files.write_json(folder / f"eval/coloring5/{method}/seed0/test.json", one)
        run = {"task": "coloring5", "method": method, "seed": 0}
        files.write_json(
            folder / f"runs/coloring5/{method}/seed0/meta.json", synthetic.meta(**run, **meta)
        )
    text = small_table1(root)
    table = table_rows(text)
    assert list(table)[1:] == ["HRM", "AR", "GRAM"] and table["AR"][1] == "30.0 (1)"
    assert "- holds: on inputs with several completions, every generative method" in text
    assert (
        "AR 30.0 (1) against HRM 10.0 (1)" in text
        and "- does not hold here: GRAM is the most accurate" in text
    )
