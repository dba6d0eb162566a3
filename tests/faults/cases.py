"""One case: a copy of the project, damage, commands, and what a user saw of it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.faults import forks, world
from tests.faults.damage import Damaged
from tests.faults.world import Command

CLASSES = ("clear", "traceback", "wrong", "accepted", "endless", "crash")

Judge = Callable[[Path, Path], str]


class Case(NamedTuple):
    """Damage and what is run after it.

    Attributes:
        name: what was done.
        damage: to a project in this folder.
        commands: run in turn, up to the first that does not succeed.
        judge: given the folder and that of the undamaged project, once all have succeeded: why what
            was made is silently wrong; "" where it is not.
    """

    name: str
    damage: Callable[[Path], None]
    commands: tuple[Command, ...]
    judge: Judge


Kind = Callable[[Path, random.Random, int], Iterator[Case]]


class Row(NamedTuple):
    """The outcome of a case."""

    kind: str
    name: str
    found: str  # one of CLASSES
    detail: str
    temporary: int  # files left that belong to nothing


def same(command: Command, ignored: set[str] = world.VOLATILE) -> Judge:
    """Silently wrong is what differs from the undamaged results."""

    def judge(folder: Path, undamaged: Path) -> str:
        return ", ".join(world.differing(command.outputs, folder, undamaged, ignored))

    return judge


def refused(_folder: Path, _undamaged: Path) -> str:
    """The judge of what must not be taken at all."""
    return "taken"


def harmless(_folder: Path, _undamaged: Path) -> str:
    """The judge of what may be taken."""
    return ""


def replaced(path: str, damaged: Damaged) -> Callable[[Path], None]:
    """Damage that gives a file another content."""
    return lambda folder: world.replace(folder / path, damaged.content)


def no_file(path: str) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Damage that puts no file, or something else, in the place of one."""

    def gone(folder: Path) -> None:
        (folder / path).unlink()

    def directory(folder: Path) -> None:
        gone(folder)
        (folder / path).mkdir()

    def linked(target: str) -> Callable[[Path], None]:
        def link(folder: Path) -> None:
            gone(folder)
            (folder / path).symlink_to(target)

        return link

    yield f"{path} is missing", gone
    yield f"{path} is a folder", directory
    yield f"{path} is a link to nothing", linked("nothing")
    yield f"{path} is a link to itself", linked(Path(path).name)


def of_file(path: str, damage: Iterator[Damaged], command: Command, judge: Judge) -> Iterator[Case]:
    """A case for each kind of damage to one file."""
    for damaged in damage:
        yield Case(f"{path}: {damaged.name}", replaced(path, damaged), (command,), judge)


def run_case(kind: str, case: Case, undamaged: Path, scratch: Path) -> Row:
    """Run a case in a copy that is removed at its end."""
    folder, log = scratch / "case", scratch / "case.log"
    world.copy(undamaged, folder)
    try:
        for name in (name for command in case.commands for name in command.outputs):
            (folder / name).unlink(missing_ok=True)
        case.damage(folder)
        before = set(world.strangers(folder, undamaged))
        found = forks.Class("ok", "")
        for command in case.commands:
            log.unlink(missing_ok=True)
            found = forks.classify(forks.command(command.argv, folder, log))
            if found.name != "ok":
                break
        left = [name for name in world.strangers(folder, undamaged, before) if temporary(name)]
        name, detail = found
        if name == "ok":
            detail = case.judge(folder, undamaged)
            name = "wrong" if detail else "accepted"
        return Row(kind, case.name, name, detail, len(left))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        log.unlink(missing_ok=True)


def temporary(name: str) -> bool:
    """Whether a file's name is that of a half-written one or of a lock."""
    return Path(name).name.startswith(".") or name.endswith((".tmp", ".lock"))
