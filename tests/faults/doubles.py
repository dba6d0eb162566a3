"""Two processes that write the same: one waits at an operation on a file while the other runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults import forks, world
from tests.faults.forks import Class
from tests.faults.world import Command

ONE_PID = 7  # of both, as in two containers that share a volume


class Double(NamedTuple):
    """Two runs at once.

    Attributes:
        group: what they were.
        name: and where the first waited.
        found: same, or what is lost or wrong.
        temporary: files left that belong to nothing.
    """

    group: str
    name: str
    found: str
    temporary: int


def interleaved(
    first: Command, second: Command, number: int, folder: Path, scratch: Path, one_pid: bool
) -> tuple[Class, Class] | None:
    """Run ``second`` while ``first`` waits before an operation; None if ``first`` had ended."""
    waits, goes = os.pipe(), os.pipe()

    def pretend() -> None:
        if one_pid:
            os.getpid = lambda: ONE_PID

    def react(count: int, _event: str, _name: str) -> None:
        if count == number:
            os.write(waits[1], b"!")
            os.read(goes[0], 1)

    def before() -> None:
        pretend()
        os.close(waits[0])
        os.close(goes[1])
        forks.watch_files(folder, react)

    logs = [scratch / "first.log", scratch / "second.log"]
    for log in logs:
        log.unlink(missing_ok=True)
    started = forks.start(lambda: forks.as_command(first.argv, folder, before), logs[0])
    os.close(waits[1])
    os.close(goes[0])
    reached = os.read(waits[0], 1)
    found = None
    if reached:
        found = forks.classify(forks.command(second.argv, folder, logs[1], pretend))
    os.close(goes[1])  # whoever waits reads the end
    ended = forks.classify(forks.finish(*started, logs[0]))
    os.close(waits[0])
    return (ended, found) if found else None


def fine(found: Class, *, may_refuse: bool) -> bool:
    """Whether a run of two ended well: with its result, or because of the other."""
    refused = found.name == "clear" and "another" in found.detail
    return found.name == "ok" or (may_refuse and refused)


def same_run(
    group: str,
    command: Command,
    numbers: Iterator[int],
    undamaged: Path,
    scratch: Path,
    one_pid: bool,
) -> Iterator[Double]:
    """Two of the same command."""
    for number in numbers:
        folder = scratch / "double"
        shutil.rmtree(folder, ignore_errors=True)
        world.copy(undamaged, folder)
        for name in command.outputs:
            (folder / name).unlink()
        both = interleaved(command, command, number, folder, scratch, one_pid)
        if both is None:
            return
        found = "same"
        if not all(fine(one, may_refuse=True) for one in both):
            bad = next(one for one in both if not fine(one, may_refuse=True))
            found = f"{bad.name}: {bad.detail}"
        elif all(one.name == "clear" for one in both):
            found = f"both refused: {both[0].detail}"
        elif wrong := world.differing(command.outputs, folder, undamaged):
            found = f"other bytes: {', '.join(wrong)}"
        left = len(world.strangers(folder, undamaged))
        yield Double(group, f"the first waits at operation {number}", found, left)


def other_settings(numbers: Iterator[int], undamaged: Path, scratch: Path) -> Iterator[Double]:
    """A training, and one of other settings for which the folder has been configured meanwhile."""
    first, evaluate = world.train(), world.evaluate()
    config = f"{world.run_folder()}/config.json"
    settings = json.loads((undamaged / config).read_bytes())
    settings["train"] |= {"steps": 9, "learning_rate": 1e-4}
    for number in numbers:
        folder = scratch / "double"
        shutil.rmtree(folder, ignore_errors=True)
        world.copy(undamaged, folder)
        for name in (*first.outputs, *evaluate.outputs):
            (folder / name).unlink()
        both = interleaved_configured(first, config, settings, number, folder, scratch)
        if both is None:
            return
        bad = [one for one in both if not fine(one, may_refuse=True)]
        found = f"{bad[0].name}: {bad[0].detail}" if bad else "same"
        if not bad:
            log = scratch / "evaluate.log"
            log.unlink(missing_ok=True)
            after = forks.classify(forks.command(evaluate.argv, folder, log))
            found = verdict(after, folder, settings)
        left = len(world.strangers(folder, undamaged))
        yield Double("two trainings, other settings", f"waits at operation {number}", found, left)


def interleaved_configured(
    first: Command, config: str, settings: object, number: int, folder: Path, scratch: Path
) -> tuple[Class, Class] | None:
    """:func:`interleaved`, with config.json replaced before the second of two trainings begins.

    The second goes by way of a copy of the same command whose configuration lies elsewhere until
    the first has read its own.
    """
    other = folder / "other.json"
    other.write_text(json.dumps(settings), encoding="utf-8")
    argv = tuple("other.json" if part == config else part for part in first.argv)
    both = interleaved(first, Command(argv, first.outputs), number, folder, scratch, False)
    os.replace(other, folder / config)
    return both


def verdict(after: Class, folder: Path, settings: dict[str, object]) -> str:
    """Whether an evaluation shows numbers only under the settings that made them."""
    if after.name == "clear":
        return "same"  # refused
    if after.name != "ok":
        return f"the evaluation: {after.name}: {after.detail}"
    made = json.loads((folder / world.run_folder() / "meta.json").read_bytes())["settings"]
    return "same" if made == settings else "numbers of other settings are shown"


def every(step: int, begin: int = 0) -> Iterator[int]:
    """0, step, 2 step, ... without end."""
    number = begin
    while True:
        yield number
        number += step


def doubles(undamaged: Path, scratch: Path, part: int = 1) -> Iterator[Double]:
    """All pairs of two writers."""
    plans: list[tuple[str, Callable[[], Iterator[Double]]]] = []
    for name, step, one_pid in (
        ("train", 2, False),
        ("train", 2, True),
        ("evaluate", 1, False),
        ("evaluate", 1, True),
        ("data", 2, True),
        ("table1", 4, True),
        ("checksums record", 1, True),
        ("keep", 3, True),
    ):
        command = world.COMMANDS[name]
        group = f"two of `{name}`, same settings{', same PID' * one_pid}"

        def run(
            group: str = group, command: Command = command, step: int = step, pid: bool = one_pid
        ) -> Iterator[Double]:
            numbers = every(step * part, part // 2)
            return same_run(group, command, numbers, undamaged, scratch, pid)

        plans.append((group, run))
    plans.append(
        (
            "two trainings, other settings",
            lambda: other_settings(every(2 * part, part // 2), undamaged, scratch),
        )
    )
    for _, plan in plans:
        yield from plan()
