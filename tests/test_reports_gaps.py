"""The measured choices: differences against the default recomputed by hand, and where reference
runs of each kind are shown.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gram.reports.gaps import gap_measurements
from gram.reports.results import reproduction
from gram.settings.config import load_experiment, resolve
from gram.system import files
from gram.system.errors import GramError
from tests import synthetic
from tests.pages import cells, table_rows

REPOSITORY = Path(__file__).parents[1]
Make = Callable[..., dict[str, Any]]
META = {
    **{
        "steps": 700,
        "seconds": 60.0,
        "threads": 1,
        "device": "Some CPU",
        "commit": "c" * 40,
        "dirty": False,
    },
    **{"code_hash": "0123456789ab", "torch": "2.13.0", "python": "3.11.7"},
}


@pytest.fixture
def keep(tmp_path: Path, synthetic_evaluation: Make) -> Callable[..., None]:
    """``keep("gaps", "beta-4", {0: 0.5}, beta=4.0)``: a reference run per seed with this accuracy
    and this setting.
    """

    def write(kind: str, method: str, accuracy: dict[int, float], **train: Any) -> None:
        folder = tmp_path / "resources/reference_runs" / kind
        for seed, value in accuracy.items():
            evaluation = synthetic_evaluation(
                method=method,
                seed=seed,
                values={"accuracy": value},
                several={"accuracy": value / 2},
            )
            files.write_json(folder / f"eval/nqueens5/{method}/seed{seed}/test.json", evaluation)
            settings = resolve(
                load_experiment(REPOSITORY / "config/experiments/nqueens5-gaps.yaml"),
                "nqueens5",
                "gram",
                seed,
            ).as_dict()
            meta = META | {"settings": settings | {"train": settings["train"] | train}}
            if method == "gram":
                del meta["settings"]["train"][
                    "sampling"
                ]  # kept before this setting came: not a difference
            meta |= {"method": method, "seed": seed}
            path = folder / f"runs/nqueens5/{method}/seed{seed}/meta.json"
            files.write_json(path, synthetic.meta(**meta))

    return write


def test_differences_are_taken_seed_by_seed(keep: Any, tmp_path: Path) -> None:
    keep("gaps", "beta-4", {0: 0.50, 1: 0.58, 2: 0.9}, beta=4.0)
    keep("gaps", "gram", {0: 0.60, 1: 0.70})
    text = gap_measurements(tmp_path)
    table = table_rows(text)
    assert list(table) == ["choice", "gram (default)", "beta-4: `train.beta: 4.0`"]
    assert table["gram (default)"][:3] == ["2", "65.0 ± 7.1", "—"]
    # Seed 2 has no partner: it counts for the mean and not for the difference, -10 and -12.
    assert table["beta-4: `train.beta: 4.0`"][:3] == ["3", "66.0 ± 21.2", "−11.0 ± 1.4"]
    assert table["beta-4: `train.beta: 4.0`"][3:5] == [
        "33.0 ± 10.6",
        "−5.5 ± 0.7",
    ]  # on inputs with several completions


def test_without_runs_or_without_the_default_it_says_so(keep: Any, tmp_path: Path) -> None:
    assert "Not measured yet" in gap_measurements(tmp_path)
    keep("gaps", "beta-4", {0: 0.5}, beta=4.0)
    with pytest.raises(GramError, match="no eval/nqueens5/gram"):
        gap_measurements(tmp_path)


def test_each_kind_of_runs_has_its_page(keep: Any, tmp_path: Path) -> None:
    (tmp_path / "resources").mkdir()
    shutil.copy(REPOSITORY / "resources/reported.csv", tmp_path / "resources")
    keep("gaps", "gram", {0: 0.13})
    keep("cpu_default", "gram", {0: 0.22})
    keep("ablations", "gram", {0: 0.33})
    keep("ablations", "noise-only", {0: 0.44})
    text = reproduction(tmp_path)
    assert "13.00" not in text and "22.00" in text and "44.00" in text
    ablations = text[
        text.index("Reference runs `ablations`") : text.index("Reference runs `cpu_default`")
    ]
    assert "### nqueens5: which noise is needed (3b)" in ablations
    rows = [cells(line) for line in ablations.splitlines() if line.startswith("| stochasticity")]
    assert rows[-1][:2] == ["stochasticity only, N(0, σ²)", "1"]  # the section's last table: seeds
    (missing,) = re.findall(r"Not run: (.*)\.\n", ablations[: ablations.index("(3b)")])
    assert "+ DS + SG" in missing.split(", ")  # what was not run is said
