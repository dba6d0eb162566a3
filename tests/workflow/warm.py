"""Snakemake and its jobs without the seconds that importing them takes: a server that has imported
both forks for each.

A job of the workflow starts ``python -m gram.X``, which is what happens here too; but that
interpreter reads the ``sitecustomize.py`` of :meth:`Warm.environment` before anything else, hands
its arguments and open files to the server and only waits. The code that runs, its files, its exit
code and its signals are those of the real job.

At a file of one's choice a fault is made: see :data:`FAULTS`.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import json
import os
import pkgutil
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import psutil

import gram
from gram.system.code_version import code_hash
from tests.faults.world import LATE

# What jobs import, beside the package itself: some of it late, and slowly.
PRELOADED = ("snakemake.cli", "snakemake.report", "torch._dynamo", "matplotlib.pyplot", *LATE)
WAIT = 300  # seconds at most, for other jobs of the same fault
SOCKET, FAULT = "WARM_SOCKET", "WARM_FAULT"

# Read by every interpreter of a job; it must be small, for it is all that such an interpreter does.
CLIENT = """
import os, sys
arguments = sys.orig_argv[1:]
if os.environ.get("WARM_SOCKET") and arguments[:1] == ["-m"] and arguments[1].startswith("gram."):
    import json, signal, socket
    numbers = (signal.SIGTERM, signal.SIGHUP)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the job gets it too, as one of the same group
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(os.environ["WARM_SOCKET"])
        asked = {"arguments": arguments, "cwd": os.getcwd(), "group": os.getpgid(0)}
        asked["environment"] = dict(os.environ)
        text = json.dumps(asked).encode()
        socket.send_fds(link, [len(text).to_bytes(8, "big")], [0, 1, 2])
        link.sendall(text)
        answers = link.makefile()
        job = int(answers.readline())
        for number in numbers:
            signal.signal(number, lambda number, frame: os.kill(job, number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
        code = int(answers.readline() or -9)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)
"""

# What happens when a job is about to put a file in its place.
FAULTS = {
    "job killed": lambda group: os.kill(os.getpid(), signal.SIGKILL),  # as for want of memory
    "Ctrl-C": lambda group: os.killpg(group, signal.SIGINT),
    "all killed": lambda group: os.killpg(group, signal.SIGKILL),  # as by a power cut
}


def arm(fault: str, paths: list[str], meeting: str, group: int) -> None:
    """Let this process meet a fault when it is about to rename a file to one of ``paths``.

    Args:
        fault: one of :data:`FAULTS`.
        paths: real paths, each of another job.
        meeting: a folder in which the jobs wait for each other, so that the fault meets all of
        them.
        group: of processes, that of Snakemake.
    """
    rename = os.replace

    def replace(source: Any, target: Any, **options: Any) -> None:
        path = os.path.realpath(target)
        if path in paths:
            Path(meeting, str(paths.index(path))).touch()
            until = time.monotonic() + WAIT
            while len(os.listdir(meeting)) < len(paths) and time.monotonic() < until:
                time.sleep(0.05)
            if fault == "job killed" or path == paths[0]:
                FAULTS[fault](group)
            time.sleep(20)  # for what the signal does, here or in another job
        rename(source, target, **options)

    os.replace = replace  # type: ignore[assignment]


def become(asked: dict[str, Any], files: list[int]) -> None:
    """Run what was asked for in this process; does not return."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[0] = asked["cwd"]
    atexit._clear()  # those of the server
    code: Any = 1
    try:
        if asked["arguments"][0] == "snakemake":
            from snakemake.cli import main

            os.setpgid(0, 0)
            sys.argv = asked["arguments"]
            main()
        else:
            os.setpgid(0, asked["group"])
            if os.environ.get(FAULT):
                arm(*json.loads(os.environ[FAULT]), asked["group"])
            _, module, *arguments = asked["arguments"]
            sys.argv = [module, *arguments]
            warnings.simplefilter("ignore", RuntimeWarning)  # runpy's, of modules that are there
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)  # as Python does
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def keep(link: socket.socket) -> None:
    """Serve one request: start the process, tell its number and its end, and end it with who
    asked.
    """
    size, files, _, _ = socket.recv_fds(link, 8, 3)
    text = b""
    while len(text) < int.from_bytes(size, "big"):
        text += link.recv(1 << 16)
    if not (pid := os.fork()):
        signal.set_wakeup_fd(-1)
        link.close()
        become(json.loads(text), files)
    for file in files:
        os.close(file)
    link.sendall(f"{pid}\n".encode())
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            link.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            return
        link.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            if not link.recv(1):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return


def serve(path: str) -> None:
    """Import what takes long, then fork for each request until standard input ends."""
    for name in PRELOADED:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(gram.__path__, "gram."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    # What every command works out anew: the plugins of Snakemake, the digest of the code, the
    # fonts.
    importlib.import_module("snakemake.cli").get_argument_parser()
    code_hash()
    figure = matplotlib.figure.Figure()
    figure.subplots().set_title("a")
    figure.savefig(io.BytesIO(), format="svg")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while True:
            link, _ = listening.accept()
            with link:
                if not os.fork():
                    listening.close()
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        keep(link)
                    os._exit(0)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


class Warm:
    """A server that runs.

    Args:
        folder: where its socket and the ``sitecustomize.py`` of the jobs lie; a short path.
    """

    seconds = 600.0  # that a command may take

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def environment(
        self, workflow: Path, fault: str = "", paths: Sequence[str] = ()
    ) -> dict[str, str]:
        """The variables under which Snakemake runs in ``workflow``, where a fault is made at files
        of it.
        """
        modules = [str(self.folder), str(workflow)]
        added = {"PYTHONPATH": os.pathsep.join(modules), SOCKET: str(self.folder / "socket")}
        if not fault:
            return os.environ | added
        meeting = self.folder / "meeting"
        shutil.rmtree(meeting, ignore_errors=True)
        meeting.mkdir()
        real = [os.path.realpath(workflow / path) for path in paths]
        return os.environ | added | {FAULT: json.dumps([fault, real, str(meeting)])}

    def snakemake(
        self, workflow: Path, *arguments: str, fault: str = "", paths: Sequence[str] = ()
    ) -> tuple[int, str]:
        """Exit code (negative: the signal that ended it) and output of a snakemake command.

        Args:
            workflow: the folder with the Snakefile.
            arguments: of the command.
            fault: one of :data:`FAULTS`, or "".
            paths: the files at which it is made, below ``workflow``, each of another job; all of
                these must run at once.
        """
        asked = {
            "arguments": ["snakemake", *arguments],
            "cwd": str(workflow),
            "environment": self.environment(workflow, fault, paths),
        }
        text = json.dumps(asked).encode()
        said = self.folder / "output"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link,
            said.open("wb") as output,
        ):
            link.settimeout(self.seconds)
            link.connect(str(self.folder / "socket"))
            files = [0, output.fileno(), output.fileno()]
            with open(os.devnull, "rb") as nothing:
                files[0] = nothing.fileno()
                socket.send_fds(link, [len(text).to_bytes(8, "big")], files)
                link.sendall(text)
                answers = link.makefile()
                answers.readline()
                code = int(answers.readline())
        return code, said.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def warm(folder: Path, *packages: Path) -> Iterator[Warm]:
    """A server for the time of a test.

    Args:
        folder: where its files lie; a short path.
        packages: folders whose modules come before those of this repository.
    """
    (folder / "sitecustomize.py").write_text(CLIENT, encoding="utf-8")
    command = [sys.executable, __file__, str(folder / "socket")]
    modules = os.pathsep.join(map(str, [*packages, Path(__file__).parents[2]]))
    environment = os.environ | {"PYTHONPATH": modules, "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None and server.stdout.readline() == "ready\n"
        yield Warm(folder)
    finally:
        left = psutil.Process(server.pid).children(recursive=True)  # where a test was interrupted
        for process in [psutil.Process(server.pid), *left]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        server.wait()


if __name__ == "__main__":
    serve(sys.argv[1])
