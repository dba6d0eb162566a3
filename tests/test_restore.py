"""Restoring kept runs: only what a training with these settings on these data would have made."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gram.runs.export import export
from gram.runs.restore import RESTORED, check, main, restore, trained_here
from gram.runs.trained import KEPT, META
from gram.settings import RunSettings, TrainConfig
from gram.system import files
from gram.system.errors import GramError


@pytest.fixture
def kept(gram_run: Path, tmp_path: Path) -> Path:
    """A kept run, to be changed."""
    export(gram_run, tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def config(settings: RunSettings, tmp_path: Path) -> Callable[..., Path]:
    """``config(settings)``: the config.json of a run that is asked for."""

    def write(asked: RunSettings = settings) -> Path:
        files.write_json(tmp_path / "run/config.json", asked.as_dict())
        return tmp_path / "run/config.json"

    return write


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the content of a JSON file."""
    content = files.read_json(path)
    change(content)
    files.write_json(path, content)


def test_restores_what_was_kept_beside_the_config(
    kept: Path, config: Any, data_folder: Path, command: Any
) -> None:
    path = config()
    before = path.read_bytes()
    arguments = (
        "--reference",
        kept,
        "--config",
        path,
        "--card",
        data_folder / "card.json",
        "--output",
        path.parent,
    )
    for _ in range(2):  # a restored run may be restored again
        outcome = command(main, *arguments)
        assert outcome.code == 0, outcome.err
    assert {file.name for file in path.parent.iterdir()} == {"config.json", *RESTORED}
    assert path.read_bytes() == before
    for name in RESTORED:
        assert (path.parent / name).read_bytes() == (kept / name).read_bytes()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"learning_rate": 0.5}, "train: learning_rate: 0.003, but 0.5 in"),
        # The first in the order of the settings is named, whatever the order of the changes.
        ({"learning_rate": 0.5, "T": 3}, "model: T: 2, but 3 in"),
        ({"seed": 1}, "seed: 0, but 1 in"),
        ({"method": "deterministic"}, "method: 'gram', but 'deterministic' in"),
    ],
)
def test_other_settings_are_refused_with_the_first_key(
    kept: Path,
    config: Any,
    data_folder: Path,
    settings: RunSettings,
    change: Any,
    other: Any,
    command: Any,
    expected: str,
) -> None:
    edit(kept / "meta.json", lambda meta: meta.update(commit="0123456789abcdef"))
    path = config(change(settings, **other))
    arguments = (
        "--reference",
        kept,
        "--config",
        path,
        "--card",
        data_folder / "card.json",
        "--output",
        path.parent,
    )
    outcome = command(main, *arguments)
    assert outcome.code == 2 and outcome.err == (
        f"error: {kept}/config.json: {expected} {path}: the reference run was trained with other "
        f"settings: "
        "leave reference_runs out of the configuration to train the run here, or check out commit "
        "0123456789ab, which made it\n"
    )
    assert [file.name for file in path.parent.iterdir()] == ["config.json"]


def test_settings_of_the_execution_may_differ(
    kept: Path, config: Any, data_folder: Path, settings: RunSettings, change: Any
) -> None:
    check(
        kept,
        config(change(settings, micro_batch=3, threads=2, compile="default")),
        data_folder / "card.json",
    )


def test_settings_added_later_have_their_defaults(
    kept: Path, config: Any, data_folder: Path, settings: RunSettings, change: Any
) -> None:
    edit(kept / "config.json", lambda content: content["train"].pop("grad_clip"))
    check(kept, config(), data_folder / "card.json")
    with pytest.raises(
        GramError, match=rf"train: grad_clip: {TrainConfig().grad_clip}, but 0\.5 in"
    ):
        check(kept, config(change(settings, grad_clip=0.5)), data_folder / "card.json")


def test_settings_that_are_no_more_are_named_with_the_fix(
    kept: Path, config: Any, data_folder: Path
) -> None:
    edit(kept / "config.json", lambda content: content["train"].update(momentum=0.9))
    with pytest.raises(
        GramError,
        match=r"config\.json: train: unknown key 'momentum'; .*: leave reference_runs out",
    ):
        check(kept, config(), data_folder / "card.json")


def test_other_data_are_refused_with_both_sums(
    kept: Path, config: Any, data_folder: Path, tmp_path: Path
) -> None:
    card = shutil.copy(data_folder / "card.json", tmp_path / "card.json")
    trained_on = files.read_json(card)["tables"]["valid"]["md5"]
    edit(card, lambda content: content["tables"]["valid"].update(md5="0" * 32))
    with pytest.raises(
        GramError,
        match=rf"trained on a valid split with MD5 {trained_on}, but .*card\.json has {'0' * 32}",
    ):
        check(kept, config(), card)


def test_weights_of_another_run_are_refused(kept: Path, config: Any, data_folder: Path) -> None:
    weights = kept / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(
        GramError,
        match=r"weights\.safetensors: MD5 \w+, but its meta\.json says \w+; restore both with git",
    ):
        check(kept, config(), data_folder / "card.json")


@pytest.mark.parametrize("name", ["config.json", *RESTORED])
def test_a_missing_file_is_named(kept: Path, config: Any, data_folder: Path, name: str) -> None:
    (kept / name).unlink()
    with pytest.raises(GramError, match=rf"{kept / name}: missing from a reference run"):
        check(kept, config(), data_folder / "card.json")


def test_a_run_that_nobody_kept_is_refused(gram_run: Path, config: Any, data_folder: Path) -> None:
    with pytest.raises(
        GramError,
        match=r"meta\.json: no kept_weights: not a kept run; write it with `python -m gram\.exp",
    ):
        check(gram_run, config(), data_folder / "card.json")


def test_a_run_whose_meta_was_emptied_is_none(
    kept: Path, gram_run: Path, data_folder: Path, tmp_path: Path
) -> None:
    output = shutil.copytree(gram_run, tmp_path / "trained")
    os.truncate(output / META, 100)
    with pytest.raises(GramError, match=r"meta\.json: not a JSON file .*; delete it and build it"):
        restore(kept, output / "config.json", data_folder / "card.json", output)
    os.truncate(output / META, 0)
    restore(kept, output / "config.json", data_folder / "card.json", output)
    assert not trained_here(output) and KEPT in files.read_json(output / META)


def test_a_trained_run_is_never_replaced(
    kept: Path, gram_run: Path, data_folder: Path, tmp_path: Path
) -> None:
    output = shutil.copytree(gram_run, tmp_path / "trained")
    assert (
        trained_here(output) and not trained_here(kept) and not trained_here(tmp_path / "nothing")
    )
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(GramError, match="holds a run that was trained here; move it away"):
        restore(kept, output / "config.json", data_folder / "card.json", output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
