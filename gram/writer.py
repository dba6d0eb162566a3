"""One training per run folder, by a lock (flock) that the kernel releases however that one ends.

A second training in the same folder, say after ``kill -9`` of a Snakemake whose training went on,
would save over the first one's state.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gram import files, stopping
from gram.errors import GramError

NAME = ".writer"  # of the locked file, which says whose the lock is; removed at the end


def _open(path: Path) -> int:
    """A descriptor of the file, which may have to be made.

    Raises:
        GramError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        mend = files.MENDS.get(error.errno or 0, "choose another folder")
        raise GramError(f"{path}: cannot be opened ({error.strerror}): {mend}") from error


def _is(path: Path, descriptor: int) -> bool:
    """Whether the file behind a descriptor still has this name.

    Whoever held its lock may have removed it meanwhile.
    """
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the only training that writes into ``folder``.

    A file that a killed training left there is no obstacle.

    Raises:
        GramError: another training writes there, with its process; or the folder cannot be written.
    """
    path = folder / NAME
    descriptor = -1
    while descriptor < 0:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            who = os.read(descriptor, 200).decode(errors="replace").strip() or "just started"
            os.close(descriptor)
            raise GramError(
                f"{folder}: another training writes here ({who}); let it end, or stop it and run "
                "the same command again"
            ) from error
        except OSError as error:  # a file system without locks
            print(f"{path}: no lock ({error.strerror}): start no second training", file=sys.stderr)
        else:
            if not _is(path, descriptor):
                os.close(descriptor)
                descriptor = -1
    who = f"pid {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    stopping.leftovers.add(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, who.encode(), 0)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # while the lock is held, so that nobody else's is removed
        stopping.leftovers.discard(path)
        os.close(descriptor)
