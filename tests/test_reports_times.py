"""How long the README's commands take: sums by hand, what counts first, a time in every row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gram.bench.estimate import read_yaml
from gram.reports.times import (
    COLUMNS,
    COMMANDS,
    NOT_TIMED,
    PLACEHOLDER,
    TIMINGS,
    changes,
    downloads,
    read_timings,
    time_of,
)
from gram.system import files
from gram.system.errors import GramError
from tests import synthetic

REPOSITORY = Path(__file__).parents[1]
KEPT = "resources/reference_runs/cpu_default/runs"
TIMES = """
times:
  kept: {cores: 2, runs: ["cpu_default/runs/nqueens5-fold*/gram/seed*"]}
  timed: {}
  nothing: {}
rows:
"""


def commands(root: Path, time: str, times: str = TIMES) -> None:
    """A table with one row."""
    files.write_text(root / COMMANDS, times + f'  - {{to: look, do: "`look`", time: "{time}"}}\n')


def timed(root: Path, *lines: str, columns: tuple[str, ...] = tuple(COLUMNS)) -> None:
    """A file of timings; in its lines a space is a tab."""
    text = "\n".join(["\t".join(columns), *(line.replace(" ", "\t") for line in lines)])
    files.write_text(root / TIMINGS, text + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two kept runs of 90 s on 2 folds, and no timings."""
    for fold in (0, 1):
        for seed in (0, 1):
            meta = {"task": f"nqueens5-fold{fold}", "method": "gram", "seed": seed, "seconds": 90.0}
            files.write_json(
                tmp_path / KEPT / f"nqueens5-fold{fold}/gram/seed{seed}/meta.json",
                synthetic.meta(**meta),
            )
    timed(tmp_path)
    return tmp_path


def cell(root: Path) -> str:
    """The time of the one row."""
    (line,) = [line for line in changes(root).splitlines() if line.startswith("| look ")]
    return line.split(" | ")[-1].removesuffix(" |")


def test_a_time_of_kept_runs_is_their_sum_over_the_cores(root: Path) -> None:
    commands(root, "{kept} in all")
    assert cell(root) == "at least 3.0 min in all"  # 4 x 90 s on 2 cores


def test_what_was_measured_counts_before_kept_runs(root: Path) -> None:
    commands(root, "{kept}, {timed}, {nothing}")
    assert cell(root) == f"at least 3.0 min, {NOT_TIMED}, {NOT_TIMED}"
    timed(root, "kept x 2 600   CPU 0123456 2026-11-28", "timed x 1 59   CPU 0123456 2026-11-28")
    assert cell(root) == f"10.0 min, 59 s, {NOT_TIMED}"


def test_times_and_sizes_stand_in_sentences(root: Path) -> None:
    assert time_of(root, "test") == f"Time: {NOT_TIMED}." and NOT_TIMED in downloads(root)
    timed(
        root,
        "test pytest 2 1200   Zen 0123456 2026-11-28",
        "install-cpu pip   342 1440 Zen 0123456 2026-11-28",
        "install-cuda pip   2880  Zen 0123456 2026-11-28",
    )
    assert time_of(root, "test") == "Time: 20.0 min on 2 cores (Zen)."
    assert re.findall(r"[\d.]+ GB", downloads(root)) == ["2.9 GB", "0.3 GB", "1.4 GB"]


@pytest.mark.parametrize(
    ("time", "times", "expected"),
    [
        ("{keptt}", TIMES, "{keptt} is none of its times: kept, timed, nothing"),
        ("{kept}", TIMES.replace("fold*/gram", "fold*/trm"), "holds no run cpu_default/runs"),
        ("{kept}", TIMES.replace("rows:", "rows:\n  - {to: look}"), "rows[0]: the keys must be"),
    ],
)
def test_a_table_without_its_times_is_an_error(
    time: str, times: str, expected: str, root: Path
) -> None:
    commands(root, time, times)
    with pytest.raises(GramError, match=re.escape(expected)):
        changes(root)


def test_a_broken_file_of_timings_is_an_error(root: Path) -> None:
    def message() -> str:
        with pytest.raises(GramError) as error:
            read_timings(root)
        assert str(root / TIMINGS) in str(error.value)
        return str(error.value)

    timed(root, columns=("name", "seconds"))
    assert "the columns must be name, command" in message()
    line = "reproduce x 2 941   Zen 0123456 2026-11-28"
    timed(root, line, line)
    assert "reproduce stands there twice" in message()
    timed(root, line.replace("941", "soon"))
    assert "soon" in message()
    timed(root, line + " more")
    assert "loss of data" in message()
    (root / TIMINGS).unlink()
    assert "not a readable table" in message()


@pytest.fixture(scope="module")
def listed() -> dict[str, Any]:
    """The table of this repository."""
    return read_yaml(REPOSITORY / COMMANDS)


def test_every_row_of_this_repository_has_a_time() -> None:
    rows = changes(REPOSITORY).splitlines()[2:]
    assert len(rows) > 15
    for row in rows:
        time = row.split(" | ")[-1].removesuffix(" |")
        assert re.search(r"\d (s|min|h)\b", time) or re.match(
            rf"as (long|many) |no longer |.*{NOT_TIMED}", time
        ), row


def test_no_time_of_this_repository_is_typed_by_hand(listed: dict[str, Any]) -> None:
    for row in listed["rows"]:
        typed = re.sub(r"\b\d+x\d+\b", "", PLACEHOLDER.sub("", row["time"]))  # 7x7 is a board
        assert not re.search(r"\d", typed), row


def test_every_time_of_this_repository_is_shown(listed: dict[str, Any]) -> None:
    shown = {name for row in listed["rows"] for name in PLACEHOLDER.findall(row["time"])}
    assert shown == set(listed["times"])
    elsewhere = {"reproduce", "test", "install-cpu", "install-cuda"}
    assert set(read_timings(REPOSITORY)) <= shown | elsewhere
