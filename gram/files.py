"""Reading and writing files: every write goes to a temporary name and is renamed, so no half-written file is ever seen."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gram import stopping
from gram.errors import GramError

MENDS = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EACCES: "no permission to write there: choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder: choose another folder",
    errno.EEXIST: "a part of this path is a file, not a folder: choose another folder",  # what mkdir says to the same
}


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` on success, remove it on failure.

    Raises:
        GramError: the operating system refused to write (full disk, missing permission, ...); ``path`` is as before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    stopping.leftovers.add(temporary)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as handle:
            os.fsync(handle.fileno())  # a rename must not reach the disk before the bytes do
        os.replace(temporary, path)
    except OSError as error:
        mend = MENDS.get(error.errno or 0, "see the message of the operating system")
        raise GramError(f"{path}: cannot be written ({error.strerror or error}): {mend}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        stopping.leftovers.discard(temporary)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinities are refused because JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def md5(path: Path) -> str:
    """MD5 of the bytes of a file, in hex digits."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def read_json(path: Path) -> Any:
    """The JSON value in ``path``.

    Raises:
        GramError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GramError(f"{path}: no such file; build it with `snakemake {path}`") from error
    except ValueError as error:
        raise GramError(
            f"{path}: not a JSON file ({error}); delete it and build it again"
        ) from error


def copy(source: Path, target: Path) -> None:
    """Copy a file, atomically.

    Raises:
        GramError: ``target`` cannot be written; what was there before is intact.
    """
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)
