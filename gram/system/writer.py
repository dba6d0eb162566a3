"""One training per run folder, by a lock (flock) that the kernel releases however that one ends.

A second training in the same folder, say after ``kill -9`` of a Snakemake whose training went on,
would save over the first one's state.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gram.system import files, regular, stopping
from gram.system.errors import GramError

NAME = ".writer"  # of the locked file, which says whose the lock is; removed at the end


def _cannot(path: Path, error: OSError, what: str = "opened") -> GramError:
    """What to say where the folder cannot be written."""
    fix = files.FIXES.get(error.errno or 0, "choose another folder")
    return GramError(f"{path}: cannot be {what} ({error.strerror}): {fix}")


def _open(path: Path) -> tuple[int, bool]:
    """A descriptor of the file, which may have to be made, and whether it is ours to write.

    What another user's killed training left can be locked and removed all the same.

    Raises:
        GramError: the folder cannot be written, or the name is a link, a pipe or a device.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(PermissionError):
            return regular.open_regular(path, os.O_RDWR | os.O_CREAT, 0o644), True
        return regular.open_regular(path, os.O_RDONLY), False
    except OSError as error:
        raise _cannot(path, error) from error


def _locked(path: Path) -> int:
    """A descriptor of the file that holds its lock, and is ours to write.

    Raises:
        GramError: another training holds it, or the folder cannot be written.
    """
    while True:
        descriptor, ours = _open(path)
        try:
            free = regular.try_lock(descriptor)
        except OSError as error:  # a file system without locks
            print(f"{path}: no lock ({error.strerror}): start no second training", file=sys.stderr)
            free = True
        if not free:
            who = os.read(descriptor, 200).decode(errors="replace").strip() or "just started"
            os.close(descriptor)
            raise GramError(
                f"{path.parent}: another training writes here ({who}); let it end, or stop it and "
                "run the same command again"
            )
        if ours and regular.still_named(path, descriptor):
            return descriptor
        try:
            if not ours:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot(path, error) from error
        finally:
            os.close(descriptor)


@contextmanager
def only_writer(folder: Path, outputs: Sequence[str] = ()) -> Iterator[None]:
    """Be the only training that writes into ``folder``.

    A file that a killed training left there is no obstacle. Before anything else a small file is
    written: a full disk is told before hours of work.

    Args:
        folder: of the run.
        outputs: the names of the files that will be written; what killed trainings left half
            written of them is removed.

    Raises:
        GramError: another training writes there, with its process; or the folder cannot be written.
    """
    path = folder / NAME
    descriptor = _locked(path)
    who = f"pid {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    stopping.leftovers.add(path)
    try:
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, who.encode(), 0)
        except OSError as error:
            raise _cannot(path, error, "written") from error
        for name in outputs:
            files.remove_leftovers(folder / name)
        files.try_writing(folder)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # while the lock is held, so that nobody else's is removed
        stopping.leftovers.discard(path)
        os.close(descriptor)
