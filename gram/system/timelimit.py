"""A time limit: a training saves its state and ends before whoever lent the machine takes it back.

For example, ``--time-limit 42600`` in a job of Slurm that may take 43,200 seconds. The kernel's
timer sends SIGALRM to this process early enough, and the rest is what SIGTERM does too
(:mod:`gram.system.stopping`).
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

# Seconds from the signal to the end of the process, without what the main thread may take for its
# reaction and without a save: the way out, and a bit.
WAY_OUT = 1.5
# Bytes per second of a slow disk or network volume, for a state that was never written so far. It
# holds four tensors for each weight: itself, its average, and two moments.
SLOW = 50e6
TENSORS = 4


def seconds(text: str) -> float:
    """A number of seconds of the command line.

    Raises:
        ArgumentTypeError: it is not a number, or not above zero; 0 is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; 0 is no limit")
    return value


def add_time_limit_argument(parser: argparse.ArgumentParser) -> None:
    """``--time-limit SECONDS``."""
    parser.add_argument(
        "--time-limit",
        type=seconds,
        default=0.0,
        metavar="SECONDS",
        help=(
            "since the start of this command: before then, save and end with exit code 143, as "
            "after SIGTERM (default: 0, no limit)"
        ),
    )


def began(processes: int = 1) -> float:
    """When the command of this process began, on the clock of :func:`time.monotonic`.

    ``gram.launch`` becomes the training, so that a wait for a GPU counts; ``torchrun`` is the
    parent of several processes. Where there is no /proc, it is now.
    """
    pid = os.getpid() if processes == 1 else os.getppid()
    try:
        # The second field, a name, may hold blanks. See proc(5): the 22nd is the start since boot.
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(after_name.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return time.monotonic()
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - max(age, 0.0)


class TimeLimit:
    """When a training has to have ended, and the alarm that tells it so.

    Args:
        limit: seconds that it may take; 0 for no limit.
        since: when it began, on the clock of :func:`time.monotonic`; None is now.
    """

    def __init__(self, limit: float = 0.0, since: float | None = None) -> None:
        self._end = (time.monotonic() if since is None else since) + limit if limit else math.inf
        self._reaction = self._save = 0.0
        self._measured = False

    @contextmanager
    def kept(self, patience: float, model: nn.Module) -> Iterator[TimeLimit]:
        """Inside, SIGALRM comes early enough for the process to save and end.

        Args:
            patience: seconds after which a main thread that does not react is not waited for.
            model: whose state is saved.
        """
        weights = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
        self._reaction, self._save = patience + WAY_OUT, TENSORS * weights / SLOW
        self._arm()
        try:
            yield self
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """A save of the state; the alarm leaves time for one that takes twice as long."""
        start = time.monotonic()
        yield
        took = 2 * (time.monotonic() - start)
        self._save = max(took, self._save) if self._measured else took
        self._measured = True
        self._arm()

    def _arm(self) -> None:
        if self._end < math.inf:
            left = self._end - self._reaction - self._save - time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, max(left, 1e-6))
