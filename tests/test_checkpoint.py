"""Weights and resume states: plain safetensors, loaded strictly, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.data.splits import build
from gram.models.factory import build_model
from gram.models.gram import GRAM
from gram.models.network import Shape
from gram.runs import checkpoint
from gram.runs.checkpoint import load_weights, read_tensors, write_tensors
from gram.settings import RunSettings
from gram.system import files
from gram.system.errors import GramError
from gram.system.seeds import child_seed
from gram.train.__main__ import main as train_main

TENSORS = {"a/b": torch.arange(6).reshape(2, 3), "c": torch.tensor(1.5), "d": torch.zeros(0, 2)}


def fresh(settings: RunSettings, **model: Any) -> GRAM:
    """An untrained model of the tiny run, with changes."""
    values = {
        name: getattr(settings.model, name) for name in settings.model.__dataclass_fields__
    } | model
    return build_model(type(settings.model)(**values), Shape(25, 3), seed=9)


def test_round_trip_with_header(tmp_path: Path) -> None:
    meta = {"step": 3, "history": [{"loss": 0.1, "name": "ü"}]}
    write_tensors(tmp_path / "x.safetensors", TENSORS, meta)
    tensors, header = read_tensors(tmp_path / "x.safetensors")
    assert header == meta and tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor) and tensors[name].dtype == tensor.dtype
        # As torch allocates: kernels round unaligned memory differently, and a resumed training
        # would drift.
        assert tensors[name].data_ptr() % 64 == 0
    write_tensors(tmp_path / "y.safetensors", TENSORS)
    assert read_tensors(tmp_path / "y.safetensors")[1] == {}


def test_weights_are_safetensors_and_nothing_else(gram_run: Path) -> None:
    """The format in plain bytes: a length, a JSON header, then numbers that it accounts for to the
    last byte.
    """
    content = (gram_run / "weights.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    assert max(entry["data_offsets"][1] for entry in header.values()) == len(content) - 8 - size
    assert {entry["dtype"] for entry in header.values()} == {"F32"}
    assert not list(gram_run.glob("*.pt")) and not list(gram_run.glob("*.pkl"))
    assert {path.name for path in gram_run.iterdir()} == {
        "config.json",
        "history.jsonl",
        "meta.json",
        "weights.safetensors",
    }


def test_both_weights_and_z0_are_there_under_the_models_own_names(
    gram_run: Path, settings: RunSettings
) -> None:
    tensors, _ = read_tensors(gram_run / "weights.safetensors")
    names = fresh(settings).state_dict().keys()
    ema, raw = checkpoint.under("ema", tensors), checkpoint.under("raw", tensors)
    assert ema.keys() == raw.keys() == names and len(tensors) == 2 * len(names)
    start = build_model(
        settings.model, Shape(25, 3), seed=child_seed(settings.seed, "weights")
    ).state_dict()
    for name in names:
        if name in ("z0_h", "z0_l"):
            assert torch.equal(ema[name], start[name]) and torch.equal(raw[name], start[name])
        else:
            assert not torch.equal(raw[name], start[name]) and not torch.equal(
                ema[name], raw[name]
            ), name
    for which, expected in (("ema", ema), ("raw", raw)):
        model = fresh(settings)
        load_weights(gram_run / "weights.safetensors", model, which)
        assert all(
            torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items()
        )


def test_weights_with_the_names_of_an_earlier_version_are_understood(
    gram_run: Path, settings: RunSettings, tmp_path: Path
) -> None:
    tensors, _ = read_tensors(gram_run / "weights.safetensors")
    renamed = {
        name.replace("front.", "").replace("back.head", "decoder").replace("mixer", "attention"): t
        for name, t in tensors.items()
    }
    assert "ema/low.blocks.0.attention.qkv.weight" in renamed and len(renamed) == len(tensors)
    write_tensors(tmp_path / "weights.safetensors", renamed)
    model = fresh(settings)
    load_weights(tmp_path / "weights.safetensors", model, "raw")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, tensors[f"raw/{name}"])
    del renamed["raw/decoder.down.weight"]
    write_tensors(tmp_path / "weights.safetensors", renamed)
    with pytest.raises(GramError, match=r"back.head.down.weight is absent in the file"):
        load_weights(tmp_path / "weights.safetensors", model, "raw")


@pytest.mark.parametrize(
    ("change", "tensor"),
    [
        ({"ffn_hidden": 12}, "high.blocks.0.ffn.down.weight"),
        ({"guidance": "none"}, "guidance."),
        ({"layers": 2}, "high.blocks.1.ffn.down.weight"),
        ({"puzzle_tokens": 0}, "z0_h"),
        ({"z0": "vector"}, "z0_h"),
    ],
)
def test_another_architecture_is_refused_with_file_and_tensor(
    gram_run: Path, settings: RunSettings, change: dict[str, Any], tensor: str
) -> None:
    model, path = fresh(settings, **change), gram_run / "weights.safetensors"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(GramError) as error:
        load_weights(path, model, "ema")
    message = str(error.value)
    assert (
        str(path) in message
        and tensor in message
        and "another architecture" in message
        and "config.json" in message
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_file_is_named(
    gram_run: Path, settings: RunSettings, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes((gram_run / "weights.safetensors").read_bytes()[:kept])
    with pytest.raises(GramError) as error:
        load_weights(path, fresh(settings), "ema")
    assert str(path) in str(error.value) and "delete it and train again" in str(error.value)


def test_missing_file_and_pickle_are_named(settings: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(GramError, match=r"weights\.safetensors: no such checkpoint"):
        load_weights(tmp_path / "weights.safetensors", fresh(settings), "ema")
    torch.save(fresh(settings).state_dict(), tmp_path / "pickled.safetensors")
    with pytest.raises(GramError, match=r"pickled\.safetensors: not a readable safetensors file"):
        load_weights(tmp_path / "pickled.safetensors", fresh(settings), "ema")


# Writing ------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write of bytes or text puts down a first part, then finds the disk full."""

    def write(path: Path, content: Any, *_: Any, **__: Any) -> None:
        with open(path, "wb") as handle:
            handle.write((content if isinstance(content, bytes) else content.encode())[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(Path, "write_text", write)


@contextmanager
def small_files() -> Iterator[None]:
    """The operating system itself refuses to let a file grow past 2,000 bytes; held briefly, for
    pytest writes files too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_leaves_the_former_file(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    tensors, text = tmp_path / "x.safetensors", tmp_path / "x.json"
    write_tensors(tensors, TENSORS)
    files.write_json(text, {"a": 1})
    before = tensors.read_bytes(), text.read_bytes()
    request.getfixturevalue("full_disk")
    for path, write in (
        (tensors, lambda: write_tensors(tensors, TENSORS)),
        (text, lambda: files.write_json(text, {"a": 2})),
    ):
        with pytest.raises(GramError) as error:
            write()
        assert str(path) in str(error.value) and "the disk is full: free some space" in str(
            error.value
        )
    assert (tensors.read_bytes(), text.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x.json",
        "x.safetensors",
    ]  # nothing temporary is left


def test_write_that_the_system_cuts_short_leaves_the_former_file(
    settings: RunSettings, tmp_path: Path
) -> None:
    (tmp_path / "train.parquet").write_bytes(b"former")
    (tmp_path / "x.safetensors").write_bytes(b"former")
    with (
        pytest.raises(GramError, match=r"x\.safetensors: cannot be written \(File too large\)"),
        small_files(),
    ):
        write_tensors(tmp_path / "x.safetensors", {"x": torch.zeros(10_000)})
    with pytest.raises(GramError, match=r"train\.parquet: cannot be written"), small_files():
        build(settings.data, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "train.parquet": b"former",
        "x.safetensors": b"former",
    }


def test_full_disk_while_training_keeps_the_last_resume_state(
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Any,
) -> None:
    files.write_json(tmp_path / "config.json", settings.as_dict())
    write, calls = checkpoint.write_tensors, []

    def second_fails(path: Path, *arguments: Any) -> None:
        calls.append(path)
        if len(calls) == 2:
            monkeypatch.setattr(
                Path,
                "write_bytes",
                lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")),
            )
        write(path, *arguments)

    monkeypatch.setattr(checkpoint, "write_tensors", second_fails)
    arguments = (
        "--config",
        tmp_path / "config.json",
        "--data",
        data_folder,
        "--output",
        tmp_path,
        "--device",
        "cpu",
    )
    outcome = command(train_main, *arguments)
    monkeypatch.undo()
    error = outcome.err.strip().splitlines()[-1]
    assert (
        outcome.code == 2
        and error.startswith(f"error: {tmp_path / 'resume.safetensors'}")
        and "the disk is full" in error
    )
    assert "Traceback" not in outcome.err
    assert read_tensors(tmp_path / "resume.safetensors")[1]["step"] == settings.train.save_every
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "resume.safetensors"]


def test_path_below_a_file_is_named(
    settings: RunSettings, data_folder: Path, tmp_path: Path, command: Any
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        GramError,
        match=(
            r"x\.safetensors: cannot be written \(.*\): a part of this path is a file, not a folder"
        ),
    ):
        write_tensors(tmp_path / "file" / "x.safetensors", TENSORS)
    files.write_json(tmp_path / "config.json", settings.as_dict())
    arguments = ("--config", tmp_path / "config.json", "--data", data_folder, "--device", "cpu")
    outcome = command(train_main, *arguments, "--output", tmp_path / "file" / "run")
    assert (
        outcome.code == 2
        and "a part of this path is a file" in outcome.err
        and "Traceback" not in outcome.err
    )
    assert (tmp_path / "file").read_text() == "not a folder"


def test_folder_without_write_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    write_tensors(folder / "x.safetensors", TENSORS)
    before = (folder / "x.safetensors").read_bytes()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # root may write anywhere, so the refusal is played

        def refuse(path: Path, *_: Any) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

        monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(
        GramError,
        match=(
            r"locked/x\.safetensors: cannot be written \(Permission denied\): no permission to"
            r" write"
        ),
    ):
        write_tensors(folder / "x.safetensors", TENSORS)
    folder.chmod(0o700)
    assert (folder / "x.safetensors").read_bytes() == before and len(list(folder.iterdir())) == 1
    shutil.rmtree(folder)
