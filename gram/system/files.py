"""Reading and writing files: every write goes to a temporary name and is renamed, so no
half-written file is ever seen.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gram.system import regular, stopping
from gram.system.errors import GramError

FIXES = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again",
    errno.EACCES: "no permission to write there: choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.ENOTDIR: "a part of this path is a file, not a folder: choose another folder",
    errno.EEXIST: (
        "a part of this path is a file, not a folder: choose another folder"
    ),  # what mkdir says to the same
}


SEAL = "sha256"  # the key of a JSON object that holds the digest of all its others
# bytes of a file's name: 255 in most file systems, less what temporary names and endings add
LONGEST = 180
PROBE = 65_536  # bytes; more than a file system may keep beside the name of a file


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left half written of ``path``, and nothing that one is writing.

    Whoever writes holds the lock of its temporary file. Where a file system has no locks, nobody
    can tell, and everything stays.
    """
    own = re.compile(rf"\.{re.escape(path.name)}\.(\d+|[0-9a-f]{{16}})\.tmp")
    with suppress(OSError):
        names = [entry.name for entry in os.scandir(path.parent) if own.fullmatch(entry.name)]
        for name in names:
            with suppress(OSError, GramError):
                descriptor = regular.open_regular(path.with_name(name), os.O_RDWR)
                try:
                    if regular.try_lock(descriptor):
                        os.unlink(path.with_name(name))
                finally:
                    os.close(descriptor)


def unwritable(path: Path, error: OSError) -> GramError:
    """What to say of a file that cannot be written."""
    fix = FIXES.get(error.errno or 0, "see the message of the operating system")
    return GramError(f"{path}: cannot be written ({error.strerror or error}): {fix}")


def refuse_special(path: Path) -> None:
    """Refuse a target that is there and is no regular file, nor a link to one.

    To rename onto ``/dev/null`` would take the device from the whole machine.

    Raises:
        GramError: says what it is.
    """
    with suppress(OSError):
        if what := regular.kind(path.stat().st_mode):
            raise GramError(f"{path}: is a {what}, and only files are replaced; name a file")


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, int]]:
    """A new empty file beside ``path`` that no other process can have, and its descriptor; removed
    at the end.

    Raises:
        GramError: the operating system refused to write, also inside the block.
    """
    descriptor, temporary = -1, path
    if not path.name or "\0" in str(path):
        raise GramError(f"{path}: names no file; name one that can be written")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_special(path)
        remove_leftovers(path)
        while descriptor < 0:
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
            stopping.leftovers.add(temporary)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            descriptor = regular.open_regular(temporary, flags)
            with suppress(OSError):  # a file system without locks
                if not (
                    regular.try_lock(descriptor) and regular.still_named(temporary, descriptor)
                ):
                    os.close(descriptor)  # taken for a leftover before it was locked
                    stopping.leftovers.discard(temporary)
                    descriptor = -1
        yield temporary, descriptor
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary != path:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            stopping.leftovers.discard(temporary)
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it onto ``path`` on success, remove it on
    failure.

    The temporary file is there, empty, under a name that no other process can have.

    Raises:
        GramError: the operating system refused to write (full disk, missing permission, ...), or
            ``path`` is a device, a pipe, a socket or a folder; ``path`` is as before.
    """
    with _temporary(path) as (temporary, descriptor):
        yield temporary
        os.fsync(descriptor)  # a rename must not reach the disk before the bytes do
        os.replace(temporary, path)


def named(text: str) -> Path:
    """For ``type=`` of an argument: the path of a file to write, or its stem, known before any work
    to have a name.

    Raises:
        GramError: a path without a name, such as ``/``, or one with a name that is too long.
    """
    path = Path(text)
    if not path.name.strip(".") or "\0" in text or len(path.name.encode()) > LONGEST:
        raise GramError(f"{text}: names no file; name one of at most {LONGEST} letters")
    return path


def own_folder(text: str) -> Path:
    """For ``type=`` of an argument: a folder to write files into, which is not that of the whole
    machine.

    Raises:
        GramError: ``/``.
    """
    path = Path(text)
    if path.resolve() == Path(path.resolve().anchor):
        raise GramError(f"{text}: is the root of all files; name a folder in it")
    return path


def try_writing(folder: Path) -> None:
    """Write a small file into ``folder`` and remove it: a full or read-only disk is told before
    hours of work.

    Raises:
        GramError: the operating system refused.
    """
    with _temporary(folder / ".space") as (temporary, descriptor):
        temporary.write_bytes(bytes(PROBE))
        os.fsync(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_tsv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a line of column names and a line per row, tab-separated, atomically."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def content_digest(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON object but for its :data:`SEAL`, in hex digits; blanks and the order of
    keys do not count.
    """
    rest = {key: value for key, value in content.items() if key != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinities are refused because JSON has
    neither.

    An object gets its digest as a last key, by which :func:`read_json` tells a damaged file.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    if isinstance(value, dict):
        plain = json.loads(text)
        text = json.dumps(plain | {SEAL: content_digest(plain)}, indent=2)
    write_text(path, text + "\n")


def md5(path: Path) -> str:
    """MD5 of the bytes of a file, in hex digits.

    Raises:
        GramError: it cannot be read.
    """
    try:
        with regular.reading(path) as handle:
            return hashlib.file_digest(
                handle, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> GramError:
    """What to say of a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return GramError(f"{path}: no such file; build it with `snakemake {path}`")
    return GramError(f"{path}: cannot be read ({error.strerror or error})")


def _finite(text: str) -> float:
    """A JSON number as a float.

    Raises:
        ValueError: too large for one.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def _whole(text: str) -> int:
    """A JSON number without a point as an int.

    Raises:
        ValueError: of more than 64 bits, which neither a float nor a table holds.
    """
    if len(text) > 20 or abs(number := int(text)) >= 2**64:
        raise ValueError(f"{text[:20]}... is too large a number")
    return number


def parse_json(text: str) -> Any:
    """The value of a JSON text, all of whose numbers are finite and of at most 64 bits.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=_finite)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


@contextmanager
def _built(path: Path, kind: str) -> Iterator[None]:
    """Turn what is raised while a file is read that a command of this project has written into one
    line.

    Raises:
        GramError: the file is missing, or is not of its ``kind``.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise GramError(
            f"{path}: not a {kind} file ({error}); delete it and build it again"
        ) from error


def read_json(path: Path) -> Any:
    """The JSON value in ``path``, without its digest where it has one.

    Raises:
        GramError: the file is missing, is not JSON, or was changed after it was written.
    """
    with _built(path, "JSON"):
        value = parse_json(regular.read_text(path))
    seal = value.pop(SEAL, None) if isinstance(value, dict) else None
    if seal is not None and seal != content_digest(value):
        raise GramError(
            f"{path}: damaged, or changed after it was written (its {SEAL} is of another content); "
            "delete it and build it again"
        )
    return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects in ``path``, one a line.

    Raises:
        GramError: the file is missing, or a line is no JSON object.
    """
    with _built(path, "JSON-lines"):
        lines = [parse_json(line) for line in regular.read_text(path).splitlines()]
        for number, line in enumerate(lines, start=1):
            if not isinstance(line, dict):
                raise ValueError(f"line {number} is no object")
    return lines


def copy(source: Path, target: Path) -> None:
    """Copy a file, atomically.

    Raises:
        GramError: ``source`` cannot be read, or ``target`` cannot be written; what was there before
            is intact.
    """
    with (
        atomic_write(target) as temporary,
        regular.reading(source) as handle,
        temporary.open("wb") as copied,
    ):
        shutil.copyfileobj(handle, copied)
