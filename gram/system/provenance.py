"""Where a result comes from: commit, code hash, versions, device; and generators seeded from one
run seed.
"""

from __future__ import annotations

import platform
import re
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy
import torch

import gram
from gram.system.code_version import PACKAGE, code_hash
from gram.system.errors import GramError
from gram.system.processor import processor, processor_name
from gram.system.seeds import child_seed

NO_DEVICE = "no such device; use auto, cpu, cuda or cuda:0"


def _git(*arguments: str) -> str | None:
    # Git refuses a clone that belongs to somebody else, for its configuration can name programs to
    # run; only fsmonitor's could run here.
    trusting = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false"]
    try:
        done = subprocess.run(
            ["git", *trusting, "-C", str(PACKAGE), *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def provenance(device: torch.device, made_by: Sequence[str] = ()) -> dict[str, Any]:
    """Commit and dirty flag (null outside of git), code hash, versions, device and processor.

    Args:
        device: what computed.
        made_by: the modules that the hash is of, with what they import (``code_of``); () for the
            whole package.
    """
    status = _git("status", "--porcelain", "--untracked-files=no")
    cuda = device.type == "cuda"
    return {
        "gram_version": gram.__version__,
        "code_hash": code_hash(tuple(made_by)),
        **({"code_of": list(made_by)} if made_by else {}),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "device": torch.cuda.get_device_name(device) if cuda else processor_name(),
        "device_type": device.type,
        "processor": processor() | {"vector": torch.backends.cpu.get_cpu_capability()},
        "cuda": torch.version.cuda if cuda else None,
        "threads": torch.get_num_threads(),
    }


def peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process: allocated on the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = (
        1 if platform.system() == "Darwin" else 1024
    )  # getrusage counts bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seeded_generator(device: torch.device, seed: int, *names: str | int) -> torch.Generator:
    """A generator on ``device`` for one named purpose of a run; see :func:`child_seed`."""
    generator = torch.Generator(device)
    generator.manual_seed(child_seed(seed, *names))
    return generator


def choose_device(name: str, *, tried: bool = True) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` as a device.

    Args:
        name: what the user calls it.
        tried: whether a number is put on the GPU, so that a broken one is told at once.

    Raises:
        GramError: the GPU that was asked for is not there or does not work, or the name is none of
            these.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError, OverflowError) as error:
        raise GramError(f"--device {name}: {NO_DEVICE}") from error
    if device.type == "cpu":
        return device
    if device.type != "cuda":  # torch knows others, such as meta, which computes nothing
        raise GramError(f"--device {name}: {NO_DEVICE}")
    with working(name):
        # Not by the number of devices: with a driver that is too old there are some, too.
        torch.cuda.init()  # type: ignore[no-untyped-call]
    if (device.index or 0) >= torch.cuda.device_count():
        raise GramError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use"
            " --device cpu or auto"
        )
    if tried:
        with working(name):
            try_out(device)
    return device


def try_out(device: torch.device) -> None:
    """Put a number there."""
    torch.zeros((), device=device)


@contextmanager
def working(name: str) -> Iterator[None]:
    """Turn what torch raises where CUDA does not work into one line.

    Raises:
        GramError: torch's own words for it, and what can be done.
    """
    try:
        yield
    # AssertionError: torch has no CUDA at all.
    except (RuntimeError, AssertionError, torch.cuda.DeferredCudaCallError) as error:
        cause = re.split(r"[.:]?\s*(?:\n|\. |$)", str(error).strip())[0]
        raise GramError(
            f"--device {name}: torch {torch.__version__} has no GPU that works ({cause}); wheels"
            " for older drivers: docs/CLUSTERS.md; to compute on the CPU: --device cpu, for the"
            " workflow --config device=cpu"
        ) from error
