"""Regular files and nothing else: opening them, and locking them by flock, which the kernel releases.

A name in a folder that others may write to can be a link, a pipe or a device. Whoever opens such a
one waits for ever, or writes somewhere else.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
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
