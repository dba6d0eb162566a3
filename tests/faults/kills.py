"""SIGKILL at every operation on a file in turn, then the same command again."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults import forks, world
from tests.faults.forks import Operation
from tests.faults.world import Command

# Figures are saved by one function, and drawing them takes seconds.
ALIKE = {f"figure {name}" for name in world.FIGURES} - {"figure halting", "figure training"}
SHARE = {"data", "train", "evaluate", "table1", "keep"}  # all that a share of the campaign kills
WHOLE_FILE = {"os.rename", "open"}  # operations that find a file that was written before


class Kill(NamedTuple):
    """A kill, and what the same command came to afterwards.

    Attributes:
        name: of the command, and the operation.
        found: same, or what is lost or wrong.
        temporary: files left after the second run that belong to nothing.
    """

    name: str
    found: str
    temporary: int


def fresh(command: Command, undamaged: Path, folder: Path) -> None:
    """A copy of the project without what the command writes."""
    world.copy(undamaged, folder)
    for name in command.outputs:
        (folder / name).unlink()


def planned(
    command: Command, undamaged: Path, scratch: Path
) -> Iterator[tuple[int, bool, Operation]]:
    """Every kill of a command: the operation's number, whether its file is cut, and what it is."""
    folder, log = scratch / "planned", scratch / "planned.log"
    fresh(command, undamaged, folder)
    log.unlink(missing_ok=True)
    found = forks.operations(command.argv, folder, log)
    shutil.rmtree(folder)
    for number, operation in enumerate(found):
        yield number, False, operation
        if operation.event in WHOLE_FILE and operation.size > 1:
            yield number, True, operation


def kill(
    name: str, command: Command, number: int, torn: bool, undamaged: Path, scratch: Path
) -> Kill | None:
    """Kill a command at an operation and run it again; None where it ended before that."""
    folder, log = scratch / "killed", scratch / "killed.log"
    shutil.rmtree(folder, ignore_errors=True)
    fresh(command, undamaged, folder)
    log.unlink(missing_ok=True)
    before = forks.kill_at(number, folder, torn=torn)
    ended = forks.command(command.argv, folder, log, before)
    if ended.code != -signal.SIGKILL or ended.endless:
        return None
    half = [
        output
        for output in command.outputs
        if (folder / output).exists() and world.differing((output,), folder, undamaged)
    ]
    log.unlink(missing_ok=True)
    again = forks.classify(forks.command(command.argv, folder, log))
    found = "same"
    if half:
        found = f"half written under its name: {', '.join(half)}"
    elif again.name != "ok":
        found = f"the same command: {again.name}: {again.detail}"
    elif wrong := world.differing(command.outputs, folder, undamaged):
        found = f"other bytes: {', '.join(wrong)}"
    left = len(world.strangers(folder, undamaged))
    shutil.rmtree(folder)
    return Kill(name, found, left)


def kills(undamaged: Path, scratch: Path, part: int = 1) -> Iterator[Kill]:
    """Kills of every command at every ``part``-th operation."""
    place = 0
    for called, command in world.COMMANDS.items():
        if called in ALIKE or (part > 1 and called not in SHARE):
            continue
        for number, torn, operation in planned(command, undamaged, scratch):
            place += 1
            if place % part:
                continue
            file = Path(operation.path).name
            what = f"{called}: {number}: {operation.event} {file}{', half' * torn}"
            found = kill(what, command, number, torn, undamaged, scratch)
            if found:
                yield found
