"""Files: one writer per name, only regular files are replaced, and a changed JSON file is told."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gram.data.checksums import read_listed
from gram.data.splits import read_table, write_table
from gram.runs.checkpoint import read_tensors, write_tensors
from gram.runs.restore import trained_here
from gram.runs.trained import META
from gram.settings.documents import read_yaml
from gram.system import files, writer
from gram.system.errors import GramError
from gram.tables.costs import read_ledger
from gram.tables.reported import read_columns


def names(folder: Path) -> list[str]:
    """What lies in a folder, hidden files as well."""
    return sorted(path.name for path in folder.iterdir())


def test_two_writers_of_one_name_never_share_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even with the same process id, as in two containers with one volume."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    target = tmp_path / "result"
    with files.atomic_write(target) as first:
        first.write_text("first", encoding="utf-8")
        with files.atomic_write(target) as second:
            assert second != first and second.read_text(encoding="utf-8") == ""
            second.write_text("second", encoding="utf-8")
        assert first.read_text(encoding="utf-8") == "first"  # not taken for a leftover
        assert target.read_text(encoding="utf-8") == "second"
    assert target.read_text(encoding="utf-8") == "first" and names(tmp_path) == ["result"]


def test_what_killed_processes_left_is_removed_by_the_next_write_and_nothing_else(
    tmp_path: Path,
) -> None:
    left = [".result.123.tmp", ".result.0123456789abcdef.tmp"]
    others = [".result.notes.tmp", ".other.123.tmp", ".results.123.tmp"]
    for name in left + others:
        (tmp_path / name).write_text("x", encoding="utf-8")
    (tmp_path / ".result.456.tmp").symlink_to(tmp_path / others[0])
    busy = tmp_path / ".result.1111111111111111.tmp"
    with open(busy, "w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # as a process that writes holds it
        files.write_text(tmp_path / "result", "new")
        assert names(tmp_path) == sorted([*others, ".result.456.tmp", busy.name, "result"])
    files.write_text(tmp_path / "result", "new")
    assert not busy.exists()


def test_links_planted_at_temporary_names_are_not_written_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    tokens = iter(["0" * 16])
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: next(tokens))
    (tmp_path / f".result.{'0' * 16}.tmp").symlink_to(victim)
    with pytest.raises(GramError, match="result"):
        files.write_text(tmp_path / "result", "new")
    assert victim.read_text(encoding="utf-8") == "mine"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def device(path: Path) -> None:
    if os.geteuid():
        path.symlink_to("/dev/null")
    else:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("make", [fifo, unix_socket, device, link_to_device, Path.mkdir])
def test_only_files_are_replaced(make: Any, tmp_path: Path) -> None:
    target = tmp_path / "x"
    make(target)
    before = target.lstat()
    with pytest.raises(GramError, match=r"x: is a .*, and only files are replaced"):
        files.write_json(target, {})
    assert target.lstat() == before and names(tmp_path) == ["x"]


# Everything that opens a file for its content; each is given a path.
READERS: dict[str, Callable[[Path], Any]] = {
    "JSON": files.read_json,
    "JSON lines": files.read_json_lines,
    "MD5": files.md5,
    "copy": lambda path: files.copy(path, path.with_name("copied")),
    "Parquet": read_table,
    "YAML": read_yaml,
    "tensors": read_tensors,
    "sums": read_listed,
    "reported": lambda path: read_columns(path, ("a",), ()),
    "ledger": read_ledger,
    "trained here": lambda path: trained_here(path.parent),
}


@pytest.mark.parametrize("make", [fifo, unix_socket, device, link_to_device, Path.mkdir])
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_only_files_are_read(read: Callable[[Path], Any], make: Any, tmp_path: Path) -> None:
    """A pipe would be waited for, and a device has no end."""
    path = tmp_path / META
    make(path)
    with pytest.raises(GramError, match=rf"{META}: is a .* and not a file; name a file"):
        read(path)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"a": 1})
    (tmp_path / "link.json").symlink_to("x.json")
    assert files.read_json(tmp_path / "link.json") == {"a": 1}


def test_names_that_are_no_utf8_are_names(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    table = pd.DataFrame({"a": [1, 2]})
    write_table(folder / "t.parquet", table)
    assert read_table(folder / "t.parquet").equals(table)
    write_tensors(folder / "t.safetensors", {"a": torch.ones(2)}, {"b": 1})
    tensors, facts = read_tensors(folder / "t.safetensors")
    assert facts == {"b": 1} and torch.equal(tensors["a"], torch.ones(2))
    files.write_json(folder / "t.json", {"path": str(folder)})
    assert files.read_json(folder / "t.json") == {"path": str(folder)}
    with pytest.raises(GramError, match="no such file"):
        read_table(folder / "u.parquet")


def test_a_link_to_a_file_is_replaced_and_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine", encoding="utf-8")
    for name in ("victim", "nowhere"):
        (tmp_path / f"to-{name}").symlink_to(tmp_path / name)
        files.write_text(tmp_path / f"to-{name}", "new")
        assert not (tmp_path / f"to-{name}").is_symlink()
    assert (tmp_path / "victim").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("path", ["/", "a\0b", "."])
def test_what_names_no_file_is_one_line(path: str) -> None:
    with pytest.raises(GramError, match="file"):
        files.write_text(Path(path), "x")


def test_results_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    """A file that nobody else may read would end every shared folder."""
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "x", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_any_change_of_a_json_object_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    content = {"a": 1, "b": [1.5, {"c": None}], "d": "ä"}
    files.write_json(path, content)
    assert files.read_json(path) == content
    text = path.read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["a", "b", "d", files.SEAL]
    path.write_text(text.replace(" ", ""), encoding="utf-8")  # only blanks
    assert files.read_json(path) == content
    for old, new in (("1.5", "1.6"), ("null", "0"), ('"a"', '"e"'), ('"a": 1,', "")):
        path.write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(GramError, match=r"x\.json: damaged, or changed after it was written"):
            files.read_json(path)
    path.write_text('{"a": 1}', encoding="utf-8")  # of an older version, without a digest
    assert files.read_json(path) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        f'{{"a": {"9" * 5000}}}',
        '{"a": 36893488147419103232}',
        "\ufeff{}",
        "",
    ],
)
def test_json_that_nothing_here_writes_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    for read in (files.read_json, files.read_json_lines) if text else (files.read_json,):
        with pytest.raises(GramError, match=r"x\.json: not a JSON") as error:
            read(path)
        assert len(str(error.value)) < 400
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(GramError, match=r"x\.json: not a JSON file"):
        files.read_json(path)
    with pytest.raises(GramError, match="is a folder and not a file"):
        files.read_json(tmp_path)


def test_a_full_disk_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(GramError, match="the disk is full: free some space"),
        writer.only_writer(tmp_path),
    ):
        raise AssertionError("the work began")
    assert names(tmp_path) == []


def test_a_training_first_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / ".resume.safetensors.99.tmp").write_bytes(bytes(9))
    (tmp_path / ".writer").write_text("pid 1, killed\n", encoding="utf-8")
    with writer.only_writer(tmp_path, ["resume.safetensors"]):
        assert names(tmp_path) == [".writer"]
    assert names(tmp_path) == []


@pytest.mark.parametrize("make", [fifo, link_to_device, unix_socket])
def test_a_lock_of_a_run_is_a_file(make: Any, tmp_path: Path) -> None:
    make(tmp_path / writer.NAME)
    with (
        pytest.raises(GramError, match=r"\.writer: is a .* and not a file; remove it"),
        writer.only_writer(tmp_path),
    ):
        raise AssertionError("the work began")


@pytest.mark.parametrize("text", ["", ".", "/", "..", "a/..", "x\0y", "results/" + "9" * 400])
def test_an_output_without_a_name_is_refused_before_any_work(text: str) -> None:
    with pytest.raises(GramError, match="names no file"):
        files.named(text)
    assert files.named("results/tables/table1") == Path("results/tables/table1")


def test_the_root_of_all_files_is_no_folder_for_data(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("/", "/tmp/..", "//"):
        with pytest.raises(GramError, match="is the root of all files"):
            files.own_folder(text)
    assert files.own_folder("data") == Path("data")
