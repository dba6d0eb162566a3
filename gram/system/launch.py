"""``python -m gram.launch``: run a module of this package on GPUs that no other job of this machine
uses.

Snakemake counts GPUs but does not say which one a job gets. A job takes its GPUs by exclusive locks
(flock) on one empty file per GPU. A lock belongs to the open file, which the job keeps through
exec; so the kernel releases it when the job ends, also by SIGKILL. Slurm shows a job only its own
GPUs; then there is nothing to choose, and the locks are free.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import itertools
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gram.system import regular
from gram.system.errors import GramError, Parser, run

POLL_SECONDS = 0.5
SAID_EVERY = 600.0  # seconds between two lines of a job that waits
VISIBLE = "CUDA_VISIBLE_DEVICES"


def installed_gpus() -> list[str]:
    """The UUIDs of the GPUs that the driver shows, in the order of their numbers; none without
    nvidia-smi.
    """
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.split()


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by UUID where the driver tells it, and as
    CUDA_VISIBLE_DEVICES names them otherwise.

    A number means another GPU in every container and batch job; a UUID is the same for all who
    share the locks.
    """
    uuids = installed_gpus()
    if VISIBLE not in os.environ:
        return uuids
    names = [name.strip() for name in os.environ[VISIBLE].split(",")]
    shown = itertools.takewhile(
        lambda name: re.fullmatch(r"\d+|[A-Za-z].*", name) and name != "NoDevFiles", names
    )
    return [
        uuids[int(name)] if name.isdigit() and int(name) < len(uuids) else name for name in shown
    ]


def candidates(device: str) -> list[str]:
    """The GPUs that a job on ``device`` (auto, gpu, cpu, cuda or cuda:1) may get; empty on the CPU.

    Raises:
        GramError: ``device`` names a GPU that is not there, or is ``gpu`` and there is none.
    """
    kind, _, number = device.partition(":")
    gpus = visible_gpus() if kind in ("auto", "gpu", "cuda") else []
    if kind == "gpu" and not gpus:
        raise GramError(
            "a GPU was asked for (--resources gpu=N, as in profiles/local), and none is visible "
            "here; to compute on the CPU, set device: cpu in the configuration, or leave the "
            "profile out"
        )
    if not number or kind != "cuda":
        return gpus
    if not number.isdigit() or int(number) >= len(gpus):
        raise GramError(
            f"--device {device}: {len(gpus)} GPUs are visible here; use --device cpu or auto"
        )
    return [gpus[int(number)]]


def _open_lock(path: Path) -> int:
    """A descriptor of a lock file, which is made where it is missing; it may belong to another
    user.

    Raises:
        OSError: it cannot be opened.
        GramError: it is a link, a pipe or a device.
    """
    while True:
        # Reading is enough for a lock. What is there is opened without O_CREAT, which Linux refuses
        # in a shared temporary folder if the file is another user's.
        with suppress(FileNotFoundError):
            return regular.open_regular(path, os.O_RDONLY)
        with suppress(FileExistsError):
            descriptor = regular.open_regular(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
            os.fchmod(descriptor, 0o644)  # whatever the umask: for the other users
            return descriptor


def _name_socket(path: Path) -> socket.socket | None:
    """A socket with the name of a lock file, but in no folder, so that nobody can remove it; None
    if another job has it.

    Linux has such names, and each container with a network of its own has its own. Elsewhere, and
    for these, the file alone is the lock.
    """
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    try:
        if sys.platform == "linux":
            held.bind(f"\0gram-gpu-{name}")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            held.close()
            return None
    return held


def _try_lock(path: Path) -> list[int] | None:
    """Descriptors that hold the lock on ``path``, or None while another job holds it.

    Raises:
        GramError: the file cannot be opened or locked, or is none.
    """
    fix = "set TMPDIR to a folder that all jobs of this machine can use"
    while True:
        try:
            descriptor = _open_lock(path)
        except OSError as error:
            raise GramError(f"{path}: cannot be opened ({error.strerror}): {fix}") from error
        except GramError as error:
            raise GramError(f"{error}, or {fix}") from error
        try:
            free = regular.try_lock(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise GramError(f"{path}: cannot be locked ({error.strerror}): {fix}") from error
        if free and not regular.still_named(path, descriptor):
            os.close(descriptor)  # removed meanwhile, and another job may have made it anew
            continue
        held = _name_socket(path) if free else None
        if held is None:
            os.close(descriptor)
            return None
        return [descriptor, held.detach()]


def try_take(gpus: Sequence[str], count: int, folder: Path) -> dict[str, list[int]] | None:
    """``count`` of the GPUs and the descriptors that hold their locks, or None, holding nothing, if
    too few are free.
    """
    taken: dict[str, list[int]] = {}
    for gpu in gpus:
        if len(taken) == count:
            break
        descriptors = _try_lock(folder / f"gram-gpu-{re.sub(r'[^A-Za-z0-9.-]', '_', gpu)}.lock")
        if descriptors is not None:
            taken[gpu] = descriptors
    if len(taken) == count:
        return taken
    # All or nothing: two jobs that each held a part of what they need would wait for each other for
    # ever.
    for descriptor in itertools.chain.from_iterable(taken.values()):
        os.close(descriptor)
    return None


def take(gpus: Sequence[str], count: int, folder: Path) -> dict[str, list[int]]:
    """As :func:`try_take`, but waits until enough GPUs are free, and says so, now and then again.

    Raises:
        GramError: there are fewer than ``count``, or the lock files cannot be opened.
    """
    if len(gpus) < count:
        raise GramError(
            f"{count} GPUs are needed and {len(gpus)} visible; set train: processes: {len(gpus)},"
            " or use --device cpu"
        )
    wanted = f"other jobs of this machine use the GPUs; {count} of {', '.join(gpus)} wanted"
    started = said = time.monotonic()
    taken = try_take(gpus, count, folder)
    if taken is None:
        print(f"waiting: {wanted}", file=sys.stderr, flush=True)
    while taken is None:
        time.sleep(POLL_SECONDS)
        if time.monotonic() - said > SAID_EVERY:
            said = time.monotonic()
            minutes = f"{(said - started) / 60:.0f} minutes"
            fix = f"`fuser {folder}/gram-gpu-*.lock` shows which"
            print(f"waiting for {minutes}: {wanted}; {fix}", file=sys.stderr, flush=True)
        taken = try_take(gpus, count, folder)
    return taken


def main() -> None:
    """Wait for free GPUs, then become the module: as plain python, or under torchrun with several
    processes.
    """
    parser = Parser(prog="python -m gram.launch", description=main.__doc__)
    parser.add_argument(
        "--device",
        default="auto",
        help="auto, cpu, cuda or cuda:0, handed on to the module; or gpu: stop where there is none",
    )
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="processes that share the work, each with a GPU of its own",
    )
    parser.add_argument("module", help="such as gram.train")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the module's own")
    args = parser.parse_args()
    device = args.device
    if gpus := candidates(device):
        taken = take(gpus, args.processes, Path(tempfile.gettempdir()))
        for descriptor in itertools.chain.from_iterable(taken.values()):
            os.set_inheritable(
                descriptor, True
            )  # through exec; the children of the job do not get it
        os.environ[VISIBLE] = ",".join(taken)
        # The number has done its work: among the visible GPUs it would be another.
        device = device.partition(":")[0]
        if device in ("auto", "gpu"):
            # A card that the driver shows has to work: who holds one does not compute beside it.
            # Where only CUDA_VISIBLE_DEVICES names one, torch has the last word.
            device = "cuda" if installed_gpus() else "auto"
    command = [sys.executable, "-m"]
    if args.processes > 1:
        command += [
            "gram.torchrun",
            "--standalone",
            "--nproc-per-node",
            str(args.processes),
            "-m",
        ]
    os.execv(sys.executable, [*command, args.module, *args.arguments, "--device", device])


if __name__ == "__main__":
    run(main)
