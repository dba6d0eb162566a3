"""Names and places that are not what they seem: devices, pipes, links, letters of the shell."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tests.faults import forks, world
from tests.faults.forks import Class
from tests.faults.settings import option
from tests.faults.world import Command

VICTIM = "victim.txt"
PRECIOUS = b"precious\n"


class Injection(NamedTuple):
    """What was planted, and what came of it: fine, or what is wrong."""

    group: str
    name: str
    found: str
    temporary: int


# What is planted ---------------------------------------------------------------------------------


def device(path: Path, minor: int = 3) -> None:
    """A node like /dev/null, or /dev/full."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))


def listening(path: Path) -> None:
    """A socket."""
    one = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    one.bind(path.name)
    os.chdir(here)
    one.close()


def link(target: str) -> Callable[[Path], None]:
    """A symbolic link to a file of the project's top, or to nothing."""

    def make(path: Path) -> None:
        top = next(parent for parent in path.parents if (parent / VICTIM).exists())
        path.symlink_to(target if target.startswith("/") else top / target)

    return make


PLANTED: dict[str, Callable[[Path], None]] = {
    "a device like /dev/null": device,
    "a device like /dev/full": lambda path: device(path, 7),
    "a pipe": os.mkfifo,
    "a socket": listening,
    "a folder": lambda path: path.mkdir(),
    "a link to a file": link(VICTIM),
    "a link to nothing": link("nothing"),
    "a link to /dev/null": link("/dev/null"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
SPECIAL = (stat.S_ISCHR, stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISDIR)


def may_make_devices(scratch: Path) -> bool:
    """Whether this user may make a node, and the file system here has any."""
    path = scratch / "node"
    try:
        device(path)
        path.open("wb").close()
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def outputs() -> Iterator[tuple[str, Command, str]]:
    """Commands, and one of the files that they write."""
    for name in ("evaluate", "config", "checksums verify", "train", "data", "pool"):
        command = world.COMMANDS[name]
        yield name, command, command.outputs[0]
    for name in ("table1", "figure halting", "keep", "restore"):
        command = world.COMMANDS[name]
        yield name, command, command.outputs[-1]


def inputs() -> Iterator[tuple[str, Command, str]]:
    """Commands, and a file of each kind that they read."""
    run, folder = world.run_folder(), world.data_folder()
    for name, path in (
        ("data", world.EXPERIMENT),
        ("config", world.SHARED),
        ("checksums verify", world.CHECKSUMS),
        ("checksums verify", f"{folder}/card.json"),
        ("evaluate", f"{folder}/test.parquet"),
        ("evaluate", f"{run}/config.json"),
        ("evaluate", f"{run}/weights.safetensors"),
        ("keep", f"{run}/history.jsonl"),
        ("restore", f"{world.KEPT}/weights.safetensors"),
        ("restore", f"{world.KEPT}/history.jsonl"),
        ("train", world.UNFINISHED),
        ("pool", world.evaluation("test.samples.parquet")),
        ("table1", world.POOLED[0]),
        ("table1", world.REPORTED),
        ("costs", world.LEDGER),
        ("figure training", f"{run}/history.jsonl"),
    ):
        yield name, world.COMMANDS[name], path


def at_input(
    called: str, command: Command, path: str, what: str, undamaged: Path, scratch: Path
) -> Injection:
    """What is no regular file stands where a command reads."""
    folder = planted(undamaged, scratch, path, PLANTED[what])
    found = run(command, folder, scratch)
    wrong = "" if found.name in ("ok", "clear") else f"{found.name}: {found.detail}"
    name = f"{called} from {what}: {Path(path).name}"
    return ended("special files as inputs", name, wrong, folder)


def at_output(
    called: str,
    command: Command,
    output: str,
    what: str,
    undamaged: Path,
    scratch: Path,
) -> Injection:
    """What is no regular file stands where a command writes."""
    folder = planted(undamaged, scratch, output, PLANTED[what])
    before = (folder / output).lstat().st_mode
    found = run(command, folder, scratch)
    wrong = ""
    if found.name not in ("ok", "clear"):
        wrong = f"{found.name}: {found.detail}"
    elif any(kind(before) for kind in SPECIAL):
        after = (folder / output).lstat().st_mode
        wrong = "" if stat.S_IFMT(after) == stat.S_IFMT(before) else "it was replaced"
    return ended("special files as outputs", f"{called} to {what}", wrong, folder, output)


def planted(undamaged: Path, scratch: Path, path: str, plant: Callable[[Path], None]) -> Path:
    """A copy of the project with a file of its own and something at ``path``."""
    folder = scratch / "injected"
    shutil.rmtree(folder, ignore_errors=True)
    world.copy(undamaged, folder)
    (folder / VICTIM).write_bytes(PRECIOUS)
    (folder / path).unlink(missing_ok=True)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    plant(folder / path)
    return folder


def run(
    command: Command, folder: Path, scratch: Path, before: Callable[[], None] | None = None
) -> Class:
    """The command in a fork."""
    log = scratch / "injected.log"
    log.unlink(missing_ok=True)
    found = forks.classify(forks.command(command.argv, folder, log, before, idle=5.0))
    return found


def ended(group: str, name: str, wrong: str, folder: Path, *own: str) -> Injection:
    """What came of it; whoever reads through a link must find what was there, or a whole result."""
    victim = folder / VICTIM
    if not wrong and victim.read_bytes() != PRECIOUS:
        wrong = "" if "link to a file" in name and own else "another file was written"
    if not wrong and (folder / "pwned").exists():
        wrong = "a command of the name was run"
    left = [
        path.name
        for path in folder.rglob("*")
        if path.name.endswith(".tmp") and path.relative_to(folder).as_posix() not in own
    ]
    return Injection(group, name, wrong or "fine", len(left))


def at_temporary_names(called: str, command: Command, undamaged: Path, scratch: Path) -> Injection:
    """A link at the name of a temporary file that can be guessed from the process's number."""
    folder = planted(undamaged, scratch, "unused", lambda path: None)
    for name in command.outputs:
        (folder / name).unlink()

    def plant() -> None:
        for name in command.outputs:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            link(VICTIM)(path.with_name(f".{path.name}.{os.getpid()}.tmp"))

    found = run(command, folder, scratch, plant)
    wrong = "" if found.name in ("ok", "clear") else f"{found.name}: {found.detail}"
    victim = (folder / VICTIM).read_bytes()
    wrong = wrong or ("" if victim == PRECIOUS else "written through the link")
    return Injection("links at temporary names", called, wrong or "fine", 0)


def at_lock_of_a_run(what: str, undamaged: Path, scratch: Path) -> Injection:
    """Something else stands where the lock of a run's folder is taken."""
    folder = planted(undamaged, scratch, f"{world.run_folder()}/.writer", PLANTED[what])
    found = run(world.train(), folder, scratch)
    wrong = "" if found.name in ("ok", "clear") else f"{found.name}: {found.detail}"
    return ended("special files as locks", f"lock of a run: {what}", wrong, folder)


def at_lock_of_a_gpu(what: str, undamaged: Path, scratch: Path) -> Injection:
    """Something else stands where the lock of a GPU is taken."""
    folder = planted(undamaged, scratch, "gram-gpu-0.lock", PLANTED[what])
    launch = Command(("gram.launch", "--device", "cuda", "this"), ())

    def pretend() -> None:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "0", "TMPDIR": str(folder)}

    found = run(launch, folder, scratch, pretend)
    wrong = "" if found.name in ("ok", "clear") else f"{found.name}: {found.detail}"
    if not wrong and (folder / "nothing").exists():
        wrong = "a file was made behind the link"
    return ended("special files as locks", f"lock of a GPU: {what}", wrong, folder)


LETTERS = (
    *(
        "a b",
        "x;touch pwned",
        "x`touch pwned`",
        "$(touch pwned)",
        "'",
        '"',
        "*",
        "[a]",
        "{a}",
        "%s",
    ),
    *("é", "\u202e", "x\ny", "-x", "~", "#", "&", "a|b", "\\", "x" * 200, "\udcff", "😀", "a=b"),
)


def in_paths(letters: str, undamaged: Path, scratch: Path) -> Injection:
    """Any letters in the folders that a command is given."""
    command = evaluate = world.evaluate()
    folder = planted(undamaged, scratch, "unused", lambda path: None)
    top = folder / letters
    top.mkdir()
    shutil.move(folder / world.run_folder(), top / "run")
    shutil.move(folder / world.data_folder(), top / "data")
    for name, path in (("--run", "run"), ("--data", "data"), ("--output", "out.json")):
        command = option(command, name, f"./{letters}/{path}")
    found = run(command, folder, scratch)
    wrong = "" if found.name in ("ok", "clear") else f"{found.name}: {found.detail}"
    if found.name == "ok":
        own, other = (
            world.content(path)["metrics"]
            for path in (top / "out.json", undamaged / evaluate.outputs[0])
        )
        wrong = "" if own == other else "other numbers"
    return ended("letters of folders", repr(letters), wrong, folder)


def plan(devices: bool) -> Iterator[Callable[[Path, Path], Injection]]:
    """What there is to inject, each a function of the undamaged project and a scratch folder."""
    kinds = [what for what in PLANTED if devices or "device" not in what]
    for called, command, output in outputs():
        for what in kinds:
            yield partial(at_output, called, command, output, what)
    for called, command, path in inputs():
        for what in kinds:
            yield partial(at_input, called, command, path, what)
    for called, command, _ in outputs():
        if called != "figure halting":
            yield partial(at_temporary_names, called, command)
    for what in kinds:
        yield partial(at_lock_of_a_run, what)
        yield partial(at_lock_of_a_gpu, what)
    for letters in LETTERS:
        yield partial(in_paths, letters)


def injections(undamaged: Path, scratch: Path, part: int = 1) -> Iterator[Injection]:
    """All of them, or a share: every ``part``-th, of no more than 12 apart."""
    whole = plan(may_make_devices(scratch))
    for inject in islice(whole, 0, None, min(part, 12)):
        yield inject(undamaged, scratch)
