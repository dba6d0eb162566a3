"""The campaign sees what it looks for: each class is planted once, and found."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gram.system.errors import GramError, run
from tests.faults import damage, disks, doubles, forks, world
from tests.faults.cases import CLASSES, Case, Row, run_case
from tests.faults.world import Command


def fails() -> None:
    """A command that refuses its input."""

    def main() -> None:
        raise GramError("a file: what is wrong: what to do")

    run(main)


def computes() -> None:
    """A command that never ends."""
    while True:
        pass


def waits() -> None:
    """A command that waits for what never comes."""
    reading, _writing = os.pipe()
    os.read(reading, 1)


def raises() -> None:
    """A command that does not expect its input."""
    raise ValueError("not expected")


def long_line() -> None:
    """A command whose message is the whole file."""
    print("error: " + "x" * 10_000)
    raise SystemExit(2)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: None, "ok"),
        (fails, "clear"),
        (raises, "traceback"),
        (long_line, "traceback"),
        (lambda: os._exit(3), "traceback"),
        (computes, "endless"),
        (waits, "endless"),
        (os.abort, "crash"),
    ],
)
def test_how_a_command_ended(
    work: Callable[[], None], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "CPU_SECONDS", 1)
    ended = forks.in_fork(work, tmp_path / "log", idle=1.0)
    assert forks.classify(ended).name == expected, ended


def test_a_place_is_the_last_function_of_this_project() -> None:
    text = (
        'Traceback (most recent call last):\n  File "/a/gram/system/files.py", line 3, in'
        ' read_json\n  File "/b/json/decoder.py", line 5, in decode\njson.JSONDecodeError: no\n'
    )
    assert forks.place(text) == "system/files.py:read_json json.JSONDecodeError"


def writes(folder: Path) -> None:
    """Three operations on files: open, rename, remove."""
    (folder / "new").write_text("0123456789")
    (folder / "new").rename(folder / "one")
    (folder / "one").unlink()


@pytest.mark.parametrize(
    ("number", "torn", "left"),
    [(0, False, {}), (1, False, {"new": 10}), (1, True, {"new": 5}), (2, False, {"one": 10})],
)
def test_a_kill_comes_before_the_operation_that_was_asked_for(
    number: int, torn: bool, left: dict[str, int], tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def work() -> None:
        forks.kill_at(number, folder, torn=torn)()
        writes(folder)

    assert forks.in_fork(work, tmp_path / "log").code == -signal.SIGKILL
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == left


def test_the_small_disk_is_full(tmp_path: Path) -> None:
    if not disks.may_mount(tmp_path):
        pytest.skip("no file system may be mounted here; files are limited instead")

    def work() -> str:
        disks.own_mounts()
        disks._mount(tmp_path, 2 * disks.BLOCK)
        try:
            (tmp_path / "file").write_bytes(bytes(3 * disks.BLOCK))
        except OSError as error:
            return error.strerror
        return "written"

    # The log would lie on the small disk.
    log = tmp_path.with_suffix(".log")
    assert forks.in_fork(work, log).value == "No space left on device"
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("left_by_both", "expected"),
    [(("state",), 0), ((".output.tmp",), 1), (("state", ".output.tmp"), 1)],
)
def test_a_state_to_go_on_from_is_no_temporary_file_unless_it_stays(
    left_by_both: tuple[str, ...], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that fails on a full disk leaves files, and removes them when it goes on."""
    undamaged, folder = tmp_path / "world", tmp_path / "folder"
    for place in (undamaged, folder):
        place.mkdir()
    (undamaged / "output").write_text("right")
    room = disks.Room(Command(("command",), ("output",), ("state",)), False, undamaged)
    full, removes = True, True

    def one(_argv: object, folder: Path, _before: object) -> None:
        for name in left_by_both:
            (folder / name).touch()
        if full:
            raise SystemExit("error: a file: the disk is full: free some space")
        (folder / "output").write_text("right")
        for name in left_by_both if removes else ():
            (folder / name).unlink()

    def enlarge() -> None:
        nonlocal full
        full = False

    monkeypatch.setattr(forks, "as_command", one)
    found = disks.write_twice(room, folder, tmp_path / "log", None, enlarge)
    assert found == ("same", expected)
    full, removes = True, False
    (folder / "output").unlink()
    _, left = disks.write_twice(room, folder, tmp_path / "log", None, enlarge)
    assert left == expected + len(left_by_both)


def test_two_processes_meet_at_an_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first waits before it renames; the second writes, so the first finds its file changed."""
    folder = tmp_path / "folder"
    folder.mkdir()

    def one(argv: tuple[str, ...], _folder: Path, before: Callable[[], None] | None) -> None:
        if before:
            before()
        (folder / "new").write_text(argv[0])
        os.rename(folder / "new", folder / argv[0])
        if argv[0] == "second":
            (folder / "new").write_text("of the second")

    monkeypatch.setattr(forks, "as_command", one)
    both = doubles.interleaved(
        Command(("first",), ()), Command(("second",), ()), 1, folder, tmp_path, False
    )
    assert both is not None and [found.name for found in both] == ["ok", "ok"]
    assert (folder / "first").read_text() == "of the second"


def damaged(found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Row:
    """A case whose command leaves a temporary file and what the case's judge does not expect."""
    undamaged = tmp_path / "world"
    undamaged.mkdir()
    (undamaged / "input").write_text("right")

    def one(_argv: object, folder: Path, _before: object) -> None:
        (folder / "output").write_text((folder / "input").read_text())
        (folder / ".output.tmp").touch()

    monkeypatch.setattr(forks, "as_command", one)
    case = Case(
        "another word",
        lambda folder: world.replace(folder / "input", found.encode()),
        (Command(("command",), ("output",)),),
        lambda folder, _: "" if (folder / "output").read_text() == "right" else "another",
    )
    return run_case("kind", case, undamaged, tmp_path)


@pytest.mark.parametrize(("word", "expected"), [("right", "accepted"), ("wrong", "wrong")])
def test_what_was_made_of_damage_is_judged(
    word: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = damaged(word, tmp_path, monkeypatch)
    assert (row.found, row.temporary) == (expected, 1)
    assert row.found in CLASSES


def test_damage_is_the_same_for_the_same_seed() -> None:
    content = b'{"a": [1, 2.5], "b": {"c": "text"}}\n'
    first, second = (list(damage.json_damage(content, random.Random(3), 60)) for _ in range(2))
    assert first == second and len(first) == 60
    assert all(one.content != content for one in first)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"share": 0.4, "count": 8}, True),
        ({"share": 1.4, "count": 8}, False),
        ({"share": 0.4, "count": 8.5}, False),
        ({"share": float("nan"), "count": 7}, False),
        ({"share": 0.5, "count": -7}, False),
        ({"share": 0.5}, False),
        ({"share": None, "count": 7}, False),
    ],
)
def test_what_could_be_right_by_itself(after: object, expected: bool) -> None:
    assert damage.plausible({"share": 0.5, "count": 7}, after) == expected


def test_a_process_that_computes_is_not_idle(tmp_path: Path) -> None:
    child, reading = forks.start(computes, tmp_path / "log")
    time.sleep(0.2)
    try:
        assert forks.working(child)
    finally:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)
