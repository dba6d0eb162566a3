"""Commands in forks of a process that has imported torch before: a command takes milliseconds then.

Whatever happens to a fork (no end, no memory, a segmentation fault, SIGKILL at a chosen operation
on a file) leaves this process as it was.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import pickle
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gram import COMMANDS, ROOMS
from gram.system.errors import run

CPU_SECONDS = 10  # of processor time, so that a busy machine makes nothing endless
IDLE_SECONDS = 15.0  # without need of it
PAUSE = 0.5  # seconds between two looks
MEMORY = 3 << 30  # bytes of address space beyond what the imports take
LINE = 2000  # characters: a longer line is not clear to anybody
SHOWN = 1 << 16  # bytes of the output that are read

Argv = tuple[str, ...]  # a module, which has `main`, and its arguments


class Ended(NamedTuple):
    """How a fork ended."""

    code: int  # minus the signal's number
    endless: bool
    text: str  # what it printed, at most SHOWN bytes
    value: Any = None  # what its work returned


class Class(NamedTuple):
    """What a user saw of a command."""

    name: str  # ok, clear, traceback, endless, crash
    detail: str


def _limits(memory: int) -> None:
    """Limits of this process, within those that stand already."""
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, own + memory),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, hard))


def start(work: Callable[[], Any], log: Path, *, memory: int = MEMORY) -> tuple[int, int]:
    """Call ``work`` in a fork whose output goes to ``log``.

    Returns:
        Its process id, and a descriptor for :func:`finish`.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 70
    try:
        os.setpgid(0, 0)
        os.close(reading)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for standard in (1, 2):
            os.dup2(descriptor, standard)
        # As Python opens them: on the second, every name can be written, also one that is no UTF-8.
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")
        faulthandler.disable()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
        _limits(memory)
        os.write(writing, pickle.dumps(work()))
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)  # as Python does
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def working(process: int) -> bool:
    """Whether a process or one of its children computes, or would if it had a processor."""
    for task in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):
            if (task / "stat").read_text().rpartition(")")[2].split()[0] in "RD":
                return True
            if any(map(working, map(int, (task / "children").read_text().split()))):
                return True
    return False


def finish(child: int, reading: int, log: Path, *, idle: float = IDLE_SECONDS) -> Ended:
    """Wait for a fork, and end it with its children once it has waited for ``idle`` seconds.

    Seconds on a busy machine say nothing: they count where nothing of it wants the processor.
    """
    poll = select.poll()
    descriptor = os.pidfd_open(child)
    poll.register(descriptor, select.POLLIN)
    left = idle / PAUSE
    while not poll.poll(PAUSE * 1000) and left > 0:
        left -= not working(child)
    endless = left <= 0
    with suppress(ProcessLookupError):  # children of a killed command as well
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(descriptor)
    code = os.waitstatus_to_exitcode(status)
    value = None
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read() if code == 0 else b""  # none of a process that became another
        value = pickle.loads(content) if content else None
    with open(log, "rb") as handle:
        text = handle.read(SHOWN).decode(errors="replace")
    return Ended(code, endless or code == -signal.SIGXCPU, text, value)


def in_fork(work: Callable[[], Any], log: Path, **options: Any) -> Ended:
    """Call ``work`` in a fork and wait for it."""
    idle = options.pop("idle", IDLE_SECONDS)
    return finish(*start(work, log, **options), log, idle=idle)


def as_command(argv: Argv, folder: Path, before: Callable[[], None] | None) -> None:
    """Be ``python -m MODULE ARGUMENTS`` in a folder."""
    os.chdir(folder)
    module, *sys.argv[1:] = argv
    sys.argv[0] = module
    if before:
        before()
    run(importlib.import_module(place_of(module)).main)


def place_of(command: str) -> str:
    """The module that ``python -m COMMAND`` runs: ``gram.runs.export`` of ``gram.export``."""
    name = command.removeprefix("gram.")
    if name in COMMANDS:
        return f"gram.{COMMANDS[name]}.{name}"
    return f"gram.{name}.__main__" if name in ROOMS else command


def command(
    argv: Argv, folder: Path, log: Path, before: Callable[[], None] | None = None, **options: Any
) -> Ended:
    """Run a command in a fork.

    Args:
        argv: a module and its arguments.
        folder: where.
        log: a file that does not exist, for what it prints.
        before: called in the fork.
        options: of :func:`in_fork`.
    """
    return in_fork(lambda: as_command(argv, folder, before), log, **options)


FRAME = re.compile(r'^ *File "([^"]+)", line \d+, in (\S+)', re.MULTILINE)


def place(text: str) -> str:
    """Where a traceback was raised: the last function of this project, and the exception."""
    frames = [frame for frame in FRAME.findall(text) if "/gram/" in frame[0]]
    file, function = frames[-1] if frames else ("?", "?")
    raised = re.findall(
        r"^([\w.]+(?:Error|Exception|Interrupt|Warning|Exit)\w*)", text, re.MULTILINE
    )
    return f"{file.rpartition('/gram/')[2]}:{function} {raised[-1] if raised else '?'}"


def classify(ended: Ended) -> Class:
    """What a user saw."""
    lines = [line for line in ended.text.splitlines() if "error: " in line]
    if ended.endless:
        return Class("endless", "")
    if ended.code < 0:
        return Class("crash", signal.Signals(-ended.code).name)
    if "Traceback (most recent call last)" in ended.text:
        return Class("traceback", place(ended.text))
    if ended.code == 0:
        return Class("ok", "")
    if len(lines) != 1:
        return Class("traceback", f"no single line: {ended.text[:200]!r}")
    if len(lines[0]) > LINE:
        return Class("traceback", f"a line of {len(lines[0]):,} characters")
    return Class("clear", lines[0])


# Operations on files, as Python tells them to a hook ---------------------------------------------

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OPERATIONS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "fcntl.flock",
}


def watch_files(folder: Path, react: Callable[[int, str, str], None]) -> None:
    """Call ``react`` in this process before each of its operations on files that change something.

    Args:
        folder: below which they count.
        react: given the operation's number from 0, its name, and the path.
    """
    count, inside = 0, False
    top = f"{folder}/"

    def hook(event: str, arguments: Sequence[Any]) -> None:
        nonlocal count, inside
        if inside or (event != "open" and event not in OPERATIONS):
            return
        if event == "open" and not (arguments[2] or 0) & WRITING:
            return
        path = "" if event == "fcntl.flock" else arguments[0]
        if not isinstance(path, str | bytes | os.PathLike):  # a descriptor
            return
        name = os.fsdecode(path)
        if name and not os.path.abspath(name).startswith(top):
            return
        if event == "os.mkdir" and os.path.isdir(name):  # changes nothing
            return
        inside = True
        try:
            react(count, event, name)
        finally:
            inside = False
        count += 1

    sys.addaudithook(hook)


def kill_at(number: int, folder: Path, *, torn: bool = False) -> Callable[[], None]:
    """For ``before`` of :func:`command`: end this process by SIGKILL before an operation on a file.

    Args:
        number: of the operation.
        folder: below which they are counted.
        torn: first cut the file of the operation in half, as if the kill had come while it was
            written.
    """

    def react(count: int, event: str, name: str) -> None:
        if count == number:
            if torn:
                os.truncate(name, os.stat(name).st_size // 2)
            signal.raise_signal(signal.SIGKILL)

    return lambda: watch_files(folder, react)


class Operation(NamedTuple):
    """An operation on a file."""

    event: str
    path: str
    size: int  # bytes of the file at that time; 0 if it is none


def operations(argv: Argv, folder: Path, log: Path) -> list[Operation]:
    """What a command does to files, in order; the command is run for it."""
    record = log.with_suffix(".operations")
    with open(record, "w", encoding="utf-8"):
        pass
    out = os.open(record, os.O_WRONLY | os.O_APPEND)

    def react(_: int, event: str, name: str) -> None:
        size = os.stat(name).st_size if name and os.path.isfile(name) else 0
        os.write(out, f"{event}\t{name}\t{size}\n".encode())

    ended = command(argv, folder, log, lambda: watch_files(folder, react))
    os.close(out)
    if ended.code:
        raise RuntimeError(f"{' '.join(argv)} failed: {ended.text}")
    lines = [line.split("\t") for line in record.read_text(encoding="utf-8").splitlines()]
    return [Operation(event, name, int(size)) for event, name, size in lines]


def seconds_since(begin: float) -> float:
    """Wall seconds, for the provenance."""
    return round(time.monotonic() - begin, 1)
