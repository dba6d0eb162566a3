"""How long the README's commands take and what they download: measured, or as kept runs took."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.errors import ParserWarning

from gram.bench.estimate import read_yaml
from gram.reports.reference import duration
from gram.reports.results import seconds_in_all
from gram.system import regular
from gram.system.errors import GramError
from gram.system.shapes import read_meta
from gram.tables.reference import REFERENCE
from gram.tables.render import prose_table

TIMINGS = Path("resources/timings.tsv")
COMMANDS = Path("resources/commands.yaml")
NOT_TIMED = "not measured yet"
ROW = ("to", "do", "time")
PLACEHOLDER = re.compile(r"\{([\w-]+)\}")

# One line per command that was run and timed. An empty cell: not measured.
COLUMNS = {
    "name": "str",  # what COMMANDS and the blocks below call it
    "command": "str",
    "cores": "Int64",
    "seconds": "Float64",  # from start to end
    "downloaded_mb": "Float64",  # 10^6 bytes, of the files that it downloads
    "disk_mb": "Float64",  # 10^6 bytes that it leaves on the disk
    "machine": "str",  # the processor or platform, and what else ran there
    "commit": "str",
    "date": "str",  # year-month-day
}


def read_timings(root: Path) -> dict[str, Any]:
    """The lines of :data:`TIMINGS` by their name, each with the attributes :data:`COLUMNS`.

    Raises:
        GramError: no such file, other columns, a number that is none, or a name that stands twice.
    """
    path = root / TIMINGS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ParserWarning)  # a line with more cells than columns
            table = pd.read_csv(
                io.StringIO(regular.read_text(path)), sep="\t", dtype=COLUMNS, index_col=False
            )
    except (OSError, ValueError, ParserWarning) as error:
        raise GramError(f"{path}: not a readable table of timings: {error}") from error
    if list(table) != list(COLUMNS):
        raise GramError(f"{path}: the columns must be {', '.join(COLUMNS)}")
    if twice := list(table["name"][table["name"].duplicated()]):
        raise GramError(f"{path}: {twice[0]} stands there twice; keep the later measurement")
    return {str(row.name): row for row in table.itertuples(index=False)}


def measured(timings: dict[str, Any], name: str) -> str:
    """The time of a command, such as "15.7 min"; or that it was not measured."""
    if name not in timings or pd.isna(timings[name].seconds):
        return NOT_TIMED
    return duration(timings[name].seconds)


def size(timings: dict[str, Any], name: str, column: str) -> str:
    """What a command downloads or leaves on the disk, such as "2.9 GB"; or that nobody measured."""
    if name not in timings or pd.isna(megabytes := getattr(timings[name], column)):
        return NOT_TIMED
    return f"{megabytes / 1000:.1f} GB"


def of_kept_runs(root: Path, name: str, runs: list[str], cores: int) -> str:
    """What the trainings of kept runs took, such as "at least 34.1 min".

    Args:
        root: of the repository.
        name: what the time is for; for the message.
        runs: patterns of their folders below the reference runs.
        cores: over which they are spread, one training on each.

    Raises:
        GramError: a pattern without a run.
    """
    metas = []
    for pattern in runs:
        paths = sorted((root / REFERENCE).glob(f"{pattern}/meta.json"))
        if not paths:
            raise GramError(f"{COMMANDS}: times: {name}: {REFERENCE} holds no run {pattern}")
        metas += [read_meta(path) for path in paths]
    return f"at least {duration(seconds_in_all(metas) / cores)}"


def changes(root: Path) -> str:
    """The table of what a reader may want to do, by which command, and how long it takes.

    Raises:
        GramError: a row with other keys than :data:`ROW`, or a time that nothing tells.
    """
    content, timings = read_yaml(root / COMMANDS), read_timings(root)
    times = {}
    for name, kept in content["times"].items():
        times[name] = measured(timings, name)
        if times[name] == NOT_TIMED and kept:
            times[name] = of_kept_runs(root, name, kept["runs"], kept["cores"])

    def filled(match: re.Match[str]) -> str:
        if match[1] not in times:
            raise GramError(f"{COMMANDS}: {match[0]} is none of its times: {', '.join(times)}")
        return times[match[1]]

    rows = []
    for number, row in enumerate(content["rows"]):
        if tuple(row) != ROW:
            raise GramError(f"{COMMANDS}: rows[{number}]: the keys must be {', '.join(ROW)}")
        rows.append([row["to"], row["do"], PLACEHOLDER.sub(filled, row["time"])])
    return "\n".join(prose_table(["to", "do", "how long, on 2 cores"], rows))


def time_of(root: Path, name: str) -> str:
    """How long a command takes and where, such as "Time: 15.7 min on 2 cores (AMD EPYC)."."""
    timings = read_timings(root)
    time = measured(timings, name)
    if time == NOT_TIMED:
        return f"Time: {time}."
    return f"Time: {time} on {timings[name].cores} cores ({timings[name].machine})."


def downloads(root: Path) -> str:
    """What pip downloads with either build of PyTorch, and what the environment takes on the
    disk.
    """
    timings = read_timings(root)
    gpu = size(timings, "install-cuda", "downloaded_mb")
    cpu, disk = (size(timings, "install-cpu", column) for column in ("downloaded_mb", "disk_mb"))
    return (
        f"pip downloads {gpu} on Linux, because PyTorch brings CUDA there. Without an NVIDIA GPU, "
        f"type this\nfirst; then it is {cpu}, and `.venv` takes {disk}:"
    )
