"""A disk that is full after so many kilobytes.

A tmpfs of its own where one may be mounted (as root, or in a user namespace), else a limit on the
size of every file, which stops the same writes with another message of the system's.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults import forks, world
from tests.faults.forks import Class
from tests.faults.world import Command

BLOCK = 4096
STEPS = 10  # sizes between nothing and enough, for every command
NAMES = (
    "data;config;checksums verify;checksums record;train;evaluate;pool;scaling;samplers;carried;"
    "keep;restore;table1;table3;costs;figure halting;figure width;figure training"
).split(";")
PLENTY = 1 << 26  # bytes
MANY = 1 << 20  # more files than any command writes

NEW_USER, NEW_MOUNTS = 0x10000000, 0x00020000
RECURSIVE, PRIVATE, REMOUNT = 0x4000, 1 << 18, 32


class Full(NamedTuple):
    """A command on a disk that was full, and again on one that was not.

    Attributes:
        name: command and size.
        found: fits (it was not full), same, or what is lost or wrong.
        temporary: files left, after the first and the second run, that belong to nothing. After the
            first, the state of an unfinished training belongs to the second, which goes on from it.
    """

    name: str
    found: str
    temporary: int


_libc = ctypes.CDLL(None, use_errno=True)


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _mount(folder: Path, size: int, flags: int = 0, files: int = MANY) -> None:
    options = f"size={size},nr_inodes={files},mode=755".encode()
    _call("mount", b"none", os.fsencode(folder), b"tmpfs", flags, options)


def own_mounts() -> None:
    """Let this process, a fork, mount what nobody else sees.

    Raises:
        OSError: this machine does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", NEW_MOUNTS | (NEW_USER if user else 0))
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)


def may_mount(scratch: Path) -> bool:
    """Whether a small disk can be made here."""

    def work() -> bool:
        own_mounts()
        _mount(scratch, BLOCK * 16)
        return True

    log = scratch / "mount.log"
    ended = forks.in_fork(work, log)
    log.unlink(missing_ok=True)
    return bool(ended.value)


def rounded(size: int) -> int:
    """Bytes that a file takes on the disk."""
    return -(-size // BLOCK) * BLOCK


class Room:
    """The folder that a command writes, and what lies there before.

    Args:
        command: whose outputs lie in one folder.
        over: whether results of before lie there.
        undamaged: the project.
    """

    def __init__(self, command: Command, over: bool, undamaged: Path) -> None:
        self.command, self.over, self.undamaged = command, over, undamaged
        self.home = str(Path(command.outputs[0]).parent)
        names = [
            path.relative_to(undamaged).as_posix()
            for path in (undamaged / self.home).iterdir()
            if path.is_file()
        ]
        self.before = [name for name in names if over or name not in command.outputs]
        sizes = {name: rounded((undamaged / name).stat().st_size) for name in names}
        self.taken = sum(sizes[name] for name in self.before) + BLOCK
        self.needed = sum(sizes[name] for name in command.outputs)

    def fill(self, folder: Path) -> None:
        """Put there what lies there before."""
        for name in self.before:
            shutil.copy(self.undamaged / name, folder / name)


def write_twice(
    room: Room,
    folder: Path,
    log: Path,
    limit: Callable[[], None] | None,
    enlarge: Callable[[], None],
) -> tuple[str, int]:
    """Run a command where space is short, check what is left, and run it again with enough."""
    first = run(room, folder, log, limit)
    if first.name == "ok":
        wrong = world.differing(room.command.outputs, folder, room.undamaged)
        return f"other bytes: {', '.join(wrong)}" if wrong else "fits", 0
    left = len(world.strangers(folder, room.undamaged, set(room.command.states)))
    lost = world.differing(tuple(room.before), folder, room.undamaged)
    enlarge()
    again = run(room, folder, log, None)
    left += len(world.strangers(folder, room.undamaged))
    wrong = world.differing(room.command.outputs, folder, room.undamaged)
    if first.name != "clear":
        return f"{first.name}: {first.detail}", left
    if lost:
        return f"lost: {', '.join(lost)}", left
    if again.name != "ok":
        return f"the same command: {again.name}: {again.detail}", left
    return f"other bytes: {', '.join(wrong)}" if wrong else "same", left


def run(room: Room, folder: Path, log: Path, before: Callable[[], None] | None) -> Class:
    """The command in a fork."""
    log.unlink(missing_ok=True)
    return forks.classify(forks.command(room.command.argv, folder, log, before))


def small_disk(room: Room, size: int, scratch: Path, files: int | None = None) -> tuple[str, int]:
    """A command on a tmpfs with so many free bytes, and room for so many files more."""
    most = MANY if files is None else 1 + len(room.before) + files  # the folder is one
    folder, log = scratch / "disk", scratch / "disk.log"
    world.copy(room.undamaged, folder)

    def work() -> tuple[str, int]:
        own_mounts()
        shutil.rmtree(folder / room.home)
        (folder / room.home).mkdir()
        _mount(folder / room.home, room.taken + size, files=most)
        room.fill(folder)

        def enlarge() -> None:
            _mount(folder / room.home, PLENTY, REMOUNT)

        return write_twice(room, folder, log, None, enlarge)

    outer = scratch / "outer.log"
    ended = forks.in_fork(work, outer, idle=4 * forks.IDLE_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)
    outer.unlink(missing_ok=True)
    if ended.value is None:
        raise RuntimeError(f"no small disk: {ended.text}")
    found: tuple[str, int] = ended.value
    return found


def small_files(room: Room, size: int, scratch: Path) -> tuple[str, int]:
    """A command that can write no file of more than so many bytes."""
    folder, log = scratch / "disk", scratch / "disk.log"
    world.copy(room.undamaged, folder)
    for name in room.command.outputs:
        if not room.over:
            (folder / name).unlink()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    found = write_twice(room, folder, log, limit, lambda: None)
    shutil.rmtree(folder)
    return found


def full_disks(undamaged: Path, scratch: Path, part: int = 1) -> Iterator[Full]:
    """Every command at ``STEPS`` sizes, with and without results of before; every ``part``-th.

    Where a disk can be made, it is also tried with room for bytes and for too few files.
    """
    mounts = may_mount(scratch)
    place = 0
    for name in NAMES:
        for over in (False, True):
            room = Room(world.COMMANDS[name], over, undamaged)
            largest = max((undamaged / one).stat().st_size for one in room.command.outputs)
            most = room.needed if mounts else largest
            step = max(BLOCK, rounded(most // STEPS)) if mounts else max(1, most // STEPS)
            for size in range(0, most, step):
                place += 1
                if place % part:
                    continue
                short = small_disk if mounts else small_files
                what = f"{name}{', over results' * over}: {size:,} bytes"
                found, left = short(room, size, scratch)
                yield Full(what, found, left)
            for files in range(len(room.command.outputs) + 1) if mounts else ():
                place += 1
                if place % part:
                    continue
                what = f"{name}{', over results' * over}: room for {files} files"
                yield Full(what, *small_disk(room, PLENTY, scratch, files))
