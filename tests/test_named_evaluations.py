"""Evaluations of one training that have names: gram@deep beside gram."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from gram.evaluate.__main__ import main as evaluate_main
from gram.settings.config import evaluate_settings, load_experiment, resolve
from gram.system import files
from gram.system.errors import GramError
from gram.tables.__main__ import measured_table, write_table
from gram.tables.evaluations import read_evaluations
from tests.conftest import EXPERIMENT

REPORTED = Path(__file__).parents[1] / "resources/reported.csv"
DEEP = "evaluations:\n  deep: {depth: 7}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The tiny experiment with an evaluation."""
    path = tmp_path / "experiments/nqueens5.yaml"
    path.parent.mkdir()
    path.write_text(EXPERIMENT + DEEP, encoding="utf-8")
    return path


def test_an_evaluation_is_laid_over_what_its_method_has(path: Path) -> None:
    experiment = load_experiment(path, {"methods": {"gram": {"evaluate": {"width": 2}}}})
    plain, deep = (evaluate_settings(experiment, name) for name in ("gram", "gram@deep"))
    assert (plain.depth, plain.width) == (3, 2) and (deep.depth, deep.width) == (7, 2)
    changed = load_experiment(path, {"evaluations": {"deep": {"act": True}, "wide": {"width": 9}}})
    assert evaluate_settings(changed, "deterministic@wide").width == 9
    deep = evaluate_settings(changed, "gram@deep")
    assert deep.act and deep.depth == 7


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gram@dep", r"evaluations: no 'dep' for 'gram@dep'; did you mean 'deep'\?"),
        ("gram@", r"evaluations: no '' for 'gram@'"),
        ("gran@deep", r"methods: no 'gran'; did you mean 'gram'\?"),
        ("gram@cold", r"evaluations: cold: temperature does nothing for the architecture gram"),
        ("gram@odd", r"gram@odd: evaluate: forms: 3 forms cannot share width: 4"),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(name: str, said: str, path: Path) -> None:
    more = {"cold": {"temperature": 0.5}, "odd": {"forms": 3}}
    experiment = load_experiment(path, {"evaluations": more})
    with pytest.raises(GramError, match=said):
        evaluate_settings(experiment, name)


@pytest.mark.parametrize(
    ("evaluations", "said"),
    [
        ({"deep": {"dept": 7}}, r"evaluations: deep: unknown key 'dept'; did you mean 'depth'\?"),
        ({"deep": {"depth": 0}}, "evaluations: deep: depth: 0 is less than 1"),
        ({"a@b": {"depth": 7}}, "evaluations: 'a@b' is no name"),
        ({"deep": 7}, "evaluations: deep: expected keys and values, found 7"),
    ],
)
def test_settings_of_an_evaluation_are_checked_when_the_file_is_read(
    evaluations: object, said: str, path: Path
) -> None:
    with pytest.raises(GramError, match=said):
        load_experiment(path, {"evaluations": evaluations})


def test_an_evaluation_is_not_trained(path: Path) -> None:
    with pytest.raises(GramError, match="'gram@deep' is an evaluation of gram, which is what is"):
        resolve(load_experiment(path), "nqueens5", "gram@deep", 0)


def test_both_evaluations_of_one_training_stand_in_a_table(
    path: Path,
    gram_run: Path,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "runs/nqueens5/gram/seed0"
    shutil.copytree(gram_run, run)
    found = {}
    for name, more in (("gram", []), ("gram@deep", ["--name", "deep", "--depth", "7"])):
        found[name] = tmp_path / f"eval/nqueens5/{name}/seed0/test.json"
        arguments = ["--run", str(run), "--data", str(data_folder), "--output", str(found[name])]
        tested = ["--settings", "{depth: 3, width: 4}", "--device", "cpu", *more]
        monkeypatch.setattr(sys, "argv", ["gram.evaluate", *arguments, *tested])
        evaluate_main()
    paths = list(found.values())
    assert [one["run"]["method"] for one in read_evaluations(paths)] == list(found)
    table, runs = measured_table("table1", paths, REPORTED, experiments=path.parent)
    assert len(runs["nqueens5", "gram@deep"].metas) == 1
    depths = table[table["task"] == "nqueens5"].drop_duplicates("method").set_index("method")
    assert depths["depth"].to_dict() == {"gram": 3, "gram@deep": 7}
    assert (depths["settings"] == "").all()  # both are what the experiment's file says
    write_table("table1", paths, REPORTED, tmp_path / "table1", experiments=path.parent)
    page = (tmp_path / "table1.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| GRAM")]
    assert "GRAM" in rows and "GRAM@deep" in rows
    assert "- **method@name**: the same weights" in page

    # The weights beside them are those of the training, and are compared with it.
    content = files.read_json(found["gram@deep"])
    content["run"]["checkpoint_md5"] = "0" * 32
    files.write_json(found["gram@deep"], content)
    with pytest.raises(GramError, match="the run was trained again; evaluate it again"):
        read_evaluations(paths)
