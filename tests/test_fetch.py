"""Sources of data sets: downloads that break, go on, are too large or wrong, and folders in their
place.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gram.data.fetch import check, download, main, take
from gram.settings.tasks import FAMILIES
from gram.settings.tasks.family import Family, Source
from gram.system.errors import GramError

CONTENT = bytes(range(256)) * 20


class Server(ThreadingHTTPServer):
    """A server of one file on this machine, which can be told to break off, and notes what was
    asked.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.ranges = CONTENT, len(CONTENT), True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        """Of the file."""
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    """Answers GET, with ranges if the server is to know them."""

    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        start = (
            int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        )
        part = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: max(self.server.cut - start, 0)])

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def source(server: Server) -> Source:
    return Source(
        "file.bin", server.url, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "CC0-1.0"
    )


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once_and_whole(source: Source, tmp_path: Path) -> None:
    download(source, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT and names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_broke_off_goes_on(
    server: Server,
    source: Source,
    tmp_path: Path,
    ranges: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gram.data.fetch.CHUNK", 512)
    server.cut, server.ranges = 3000, ranges
    with pytest.raises(
        GramError, match=r"the download broke off .* run the same command again"
    ) as error:
        download(source, tmp_path / "file.bin")
    assert "--config sources=FOLDER" in str(error.value) and "\n" not in str(error.value)
    kept = (tmp_path / ".file.bin.part").stat().st_size
    assert names(tmp_path) == [".file.bin.part"] and 0 < kept <= 3000
    server.cut = len(CONTENT)
    download(source, tmp_path / "file.bin")
    assert server.asked == [None, f"bytes={kept}-"]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT and names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[:-1] + b"x", "not the file that is listed .*SHA-256"),
        (CONTENT[:-1], "not the file that is listed .*5,119 bytes, but file.bin has 5,120"),
        (CONTENT + b"x", "sends more than the 5,120 bytes of file.bin"),
    ],
)
def test_another_file_is_refused_and_nothing_is_kept(
    server: Server, source: Source, tmp_path: Path, content: bytes, message: str
) -> None:
    server.content, server.cut = content, len(content)
    with pytest.raises(GramError, match=message):
        download(source, tmp_path / "file.bin")
    assert names(tmp_path) == []


def test_a_server_that_is_not_there_is_one_line(
    source: Source, server: Server, tmp_path: Path
) -> None:
    gone = dataclasses.replace(source, url="http://127.0.0.1:9/file.bin")
    with pytest.raises(
        GramError, match=r"http://127.0.0.1:9/file.bin: the download broke off"
    ) as error:
        download(gone, tmp_path / "file.bin")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_folder_takes_the_place_of_the_download(
    source: Source, server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with pytest.raises(GramError, match=r"mine/file.bin: no such file; put it there \(from http"):
        take(source, folder, tmp_path / "out.bin")
    (folder / "file.bin").write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(GramError, match="SHA-256"):
        take(source, folder, tmp_path / "out.bin")
    (folder / "file.bin").write_bytes(CONTENT)
    take(source, folder, tmp_path / "out.bin")
    check(tmp_path / "out.bin", source)
    assert server.asked == []


def test_the_command_knows_its_families_and_files(
    command: Any, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "filed", Family(Source, sources=(source,)))
    for words, message in (
        (
            "--family filled --file file.bin",
            "--family filled: no such family; did you mean 'filed'?",
        ),
        (
            "--family filed --file fill.bin",
            "--file fill.bin: no source of filed; did you mean 'file.bin'?",
        ),
        ("--family nqueens --file file.bin", "--file file.bin: no source of nqueens; it has none"),
    ):
        outcome = command(main, *words.split(), "--output", tmp_path / "file.bin")
        assert outcome.code == 2 and message in outcome.err
    assert (
        command(
            main, "--family", "filed", "--file", "file.bin", "--output", tmp_path / "file.bin"
        ).code
        == 0
    )
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_disk_that_is_full_is_one_line_and_what_came_stays(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "file.bin"
    with monkeypatch.context() as full:

        def refuse(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "fsync", refuse)
        with pytest.raises(GramError, match=r"file\.bin\.part: cannot be written .* disk is full"):
            download(source, output)
    assert names(tmp_path) == [".file.bin.part"]
    download(source, output)
    assert output.read_bytes() == CONTENT and names(tmp_path) == ["file.bin"]
    (tmp_path / "a file").touch()
    with pytest.raises(GramError, match="a part of this path is a file"):
        download(source, tmp_path / "a file/file.bin")
