"""``python -m gram.fetch``: the files that a family's examples are made from, downloaded once or
taken from a folder.

Each has a listed size and SHA-256 (:class:`gram.settings.tasks.family.Source`), and nothing else is
ever taken for it. A download that was cut off goes on where it ended.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import requests

from gram.settings.tasks import FAMILIES
from gram.settings.tasks.family import Source
from gram.system import files, regular
from gram.system.errors import GramError, Parser, run, suggestion
from gram.system.progress import progress

CHUNK = 1 << 16  # bytes read at a time; what a broken connection loses at most
TIMEOUT = 30  # seconds without an answer


def check(path: Path, source: Source) -> None:
    """Whether a file is the listed one.

    Raises:
        GramError: another size or sum, or a file that cannot be read.
    """
    size = path.stat().st_size
    if size != source.bytes:
        raise GramError(f"{path}: {size:,} bytes, but {source.file} has {source.bytes:,}")
    with regular.reading(path) as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != source.sha256:
        raise GramError(f"{path}: SHA-256 {found}, but {source.file} has {source.sha256}")


def take(source: Source, folder: Path, output: Path) -> None:
    """Copy a file of the user's folder to ``output``, once it is known to be the listed one.

    Raises:
        GramError: it is missing or another file.
    """
    path = folder / source.file
    if not path.is_file():
        raise GramError(
            f"{path}: no such file; put it there (from {source.url}), or leave out the folder to"
            " download it"
        )
    check(path, source)
    files.copy(path, output)


def download(source: Source, output: Path) -> None:
    """Download a file to ``output``; what came before a connection broke stays beside it, and the
    next call goes on there.

    Raises:
        GramError: no answer, a refusal, another file than the listed one, or one that cannot be
            written.
    """
    part = output.with_name(f".{output.name}.part")
    other = "or name a folder that holds it: --config sources=FOLDER"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        done = part.stat().st_size if part.exists() else 0
        if done > source.bytes:
            part.unlink()
            done = 0
        if done < source.bytes:
            _continue(source, part, done)
    except requests.RequestException as error:
        said = str(error).partition("\n")[0]
        raise GramError(
            f"{source.url}: the download broke off ({type(error).__name__}: {said[:200]}); run"
            f" the same command again to go on, {other}"
        ) from error
    except OSError as error:  # of which those of the connection, above, are some
        raise files.unwritable(part, error) from error
    try:
        check(part, source)
    except GramError as error:
        part.unlink()
        raise GramError(f"{source.url}: not the file that is listed ({error}); {other}") from error
    with files.atomic_write(output) as temporary:
        part.replace(temporary)


def _continue(source: Source, part: Path, done: int) -> None:
    """Append to ``part``, which has ``done`` bytes; never more than the listed size.

    Raises:
        requests.RequestException: no answer, a refusal, or a connection that broke.
        GramError: the server sends more than is listed.
    """
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(source.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        if done and answer.status_code != requests.codes.partial_content:
            done = 0  # a server that knows no ranges begins anew
        with (
            part.open("ab" if done else "wb") as stream,
            progress(
                total=source.bytes, initial=done, unit="B", unit_scale=True, desc=source.file
            ) as bar,
        ):
            for chunk in answer.iter_content(CHUNK):
                done += len(chunk)
                if done > source.bytes:
                    part.unlink()
                    raise GramError(
                        f"{source.url}: sends more than the {source.bytes:,} bytes of"
                        f" {source.file}; nothing of it was kept"
                    )
                stream.write(chunk)
                bar.update(len(chunk))
            stream.flush()
            os.fsync(stream.fileno())  # a rename must not reach the disk before the bytes do


def main() -> None:
    """Bring a file that a family's examples are made from: download it, or take it from a folder;
    its sum is checked.
    """
    parser = Parser(prog="python -m gram.fetch", description=main.__doc__)
    parser.add_argument("--family", required=True, help="of tasks")
    parser.add_argument("--file", required=True, help="one of its sources")
    parser.add_argument(
        "--folder", type=Path, help="a folder that holds the file; without it, it is downloaded"
    )
    parser.add_argument("--output", type=files.named, required=True, help="where to write it")
    args = parser.parse_args()
    if args.family not in FAMILIES:
        meant = suggestion(args.family, FAMILIES, "known ones")
        raise GramError(f"--family {args.family}: no such family; {meant}")
    sources = {source.file: source for source in FAMILIES[args.family].sources}
    if args.file not in sources:
        meant = suggestion(args.file, sources, "known ones") if sources else "it has none"
        raise GramError(f"--file {args.file}: no source of {args.family}; {meant}")
    if args.folder:
        take(sources[args.file], args.folder, args.output)
    else:
        download(sources[args.file], args.output)


if __name__ == "__main__":
    run(main)
