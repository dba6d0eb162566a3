"""resources/settings.tsv: what every method resolves to, under whatever library reads the files
here.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from gram.settings import config
from gram.settings import listing as settings_list
from gram.settings.config import check_listed, experiment_files, listed_rows, load_experiment
from gram.settings.documents import read_yaml
from gram.settings.listing import COMMAND, PATH, read_list, write_list
from gram.system import files
from gram.system.errors import GramError

ROOT = Path(__file__).parents[1]
EXPERIMENTS = experiment_files(ROOT / "config/experiments")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The experiments and their list in a folder of their own."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    files.copy(ROOT / PATH, tmp_path / PATH)
    return tmp_path


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_method_resolves_to_the_settings_that_are_listed(path: Path) -> None:
    """After an edit of a file of config/ or of a default, ``python -m gram.config --list`` writes
    the list anew.
    """
    listed = [row for row in read_list(ROOT / PATH) if row.experiment == path.stem]
    assert listed == sorted(listed_rows(load_experiment(path))), f"run `{COMMAND}`"


def test_nothing_is_listed_that_is_not_there() -> None:
    assert {row.experiment for row in read_list(ROOT / PATH)} == {path.stem for path in EXPERIMENTS}


def numbers(text: str) -> list[re.Match[str]]:
    """The numbers that stand as values in the text of an experiment, outside of comments."""
    lines = re.sub(r"#.*", lambda found: " " * len(found[0]), text)
    return list(re.finditer(r"(?<=: )\d+(?:\.\d+)?(?:e-?\d+)?(?=[,}\n ])", lines))


@pytest.mark.parametrize("name", ["experiments/nqueens7", "shared/small", "shared/paper"])
def test_each_changed_number_changes_the_settings_of_a_method(copied: Path, name: str) -> None:
    path = copied / f"config/{name}.yaml"
    text = path.read_text(encoding="utf-8")
    user = (
        copied
        / "config/experiments"
        / {"small": "nqueens5.yaml", "paper": "nqueens8.yaml"}.get(path.stem, path.name)
    )
    before = {row.method: row for row in listed_rows(load_experiment(user))}
    found = numbers(text)
    assert len(found) > 10
    unseen = []
    for number in found[:: max(1, len(found) // 12)]:
        other = str(float(number[0]) / 2) if "." in number[0] else str(int(number[0]) + 8)
        path.write_text(text[: number.start()] + other + text[number.end() :], encoding="utf-8")
        try:
            rows = listed_rows(load_experiment(user))
        except GramError:
            continue  # told at once, which is as good
        assert all(row.written != before[row.method].written for row in rows)
        if all(row.settings == before[row.method].settings for row in rows):
            unseen.append(text[: number.start()].count("\n") + 1)
    # A value that every experiment writes over: its own list has the digest of the text all the
    # same.
    assert len(unseen) <= 3, unseen


def test_an_edit_is_not_refused_but_the_same_text_with_other_settings_is(
    copied: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Any
) -> None:
    path = copied / "config/experiments/nqueens7.yaml"
    check_listed(load_experiment(path))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("steps: 14000", "steps: 13000"), encoding="utf-8")
    check_listed(load_experiment(path))  # a user's edit
    path.write_text(text, encoding="utf-8")

    def reads_otherwise(path: Path) -> Any:
        values = read_yaml(path)
        values["methods"]["diagonal"]["train"]["beta"] = 2.5
        return values

    monkeypatch.setattr(config, "read_yaml", reads_otherwise)
    with pytest.raises(GramError) as error:
        check_listed(load_experiment(path))
    message = str(error.value)
    assert message.startswith(f"{path}: methods: diagonal: its text is that of {copied / PATH}")
    assert "PyYAML" in message and "\n" not in message
    output = tmp_path / "config.json"
    given = ("--experiment", path, "--method", "gram", "--output", output)
    assert command(config.main, *given).code == 2 and not output.exists()
    monkeypatch.setattr(settings_list, "declared", list)  # nor an edited default
    check_listed(load_experiment(path))


def test_the_command_writes_the_list(copied: Path, monkeypatch: Any, command: Any) -> None:
    monkeypatch.chdir(copied)
    (copied / PATH).unlink()
    (copied / "config/experiments/.#nqueens5.yaml").symlink_to("me@host.1:2")
    assert command(config.main, "--list").code == 0
    assert (copied / PATH).read_bytes() == (ROOT / PATH).read_bytes()


@pytest.mark.parametrize("text", ["", "a\tb\n", "experiment\tmethod\twritten\tsettings\na\tb\n"])
def test_a_broken_list_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(GramError, match=re.escape(f"{path}: line ")) as error:
        read_list(path)
    assert COMMAND in str(error.value)


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = read_list(ROOT / PATH)
    write_list(tmp_path / "settings.tsv", reversed(rows))
    assert read_list(tmp_path / "settings.tsv") == rows
