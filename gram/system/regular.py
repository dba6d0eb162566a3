"""Regular files and nothing else: opening them, and locking them by flock, which the kernel
releases.

A name in a folder that others may write to can be a link, a pipe or a device. Whoever opens such a
one waits for ever, or writes somewhere else.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from gram.system.errors import GramError

# No flag has an effect on a regular file, but for O_CLOEXEC.
SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KINDS = {
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "folder",
}


def kind(mode: int) -> str:
    """What a file of this ``st_mode`` is, where it is no regular file; empty for one that is."""
    return KINDS.get(stat.S_IFMT(mode), "")


def open_regular(path: Path, flags: int, mode: int = 0o666) -> int:
    """A descriptor of ``path``, which is a regular file.

    Args:
        path: the file.
        flags: as of :func:`os.open`; :data:`SAFE` is added.
        mode: of a file that is made, less the umask.

    Raises:
        GramError: it is a link, a pipe, a socket, a device or a folder.
        OSError: it cannot be opened.
    """
    with suppress(FileNotFoundError):
        if what := kind(os.lstat(path).st_mode):
            raise GramError(f"{path}: is a {what} and not a file; remove it")
    descriptor = os.open(path, flags | SAFE, mode)
    if what := kind(os.fstat(descriptor).st_mode):  # in the meantime
        os.close(descriptor)
        raise GramError(f"{path}: is a {what} and not a file; remove it")
    return descriptor


@contextmanager
def reading(path: Path) -> Iterator[BufferedReader]:
    """The bytes of a file, or of the one that a link leads to; never of a pipe or a device, which
    may have no end.

    Raises:
        GramError: it is a pipe, a socket, a device or a folder.
        OSError: it cannot be opened.
    """
    _expect_file(path, os.stat(path))  # before it is opened, for that alone moves some devices
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as handle:
        _expect_file(path, os.fstat(descriptor))  # it may have become another in the meantime
        yield handle


def _expect_file(path: Path, found: os.stat_result) -> None:
    if what := kind(found.st_mode):
        raise GramError(f"{path}: is a {what} and not a file; name a file")


def read_bytes(path: Path) -> bytes:
    """All bytes of a file, as of :func:`reading`."""
    with reading(path) as handle:
        return handle.read()


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, as of :func:`reading`; line ends stay as they are.

    Raises:
        UnicodeDecodeError: it is none.
    """
    return read_bytes(path).decode()


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file; False while another process, or another descriptor, has it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def still_named(path: Path, descriptor: int) -> bool:
    """Whether the file behind a descriptor still has this name.

    Whoever held its lock, or cleans a temporary folder, may have removed it meanwhile.
    """
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False
