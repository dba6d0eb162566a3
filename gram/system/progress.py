"""Progress bars of long work, on a terminal and in log files."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

TERMINAL_INTERVAL, LOG_INTERVAL = 0.5, 15.0  # seconds between two refreshes
DELAY = 10.0  # seconds: a part of a command that is shorter shows no bar of its own


def progress(**options: Any) -> tqdm[Any]:
    """A progress bar that refreshes often on a terminal and seldom in a log file, where every
    refresh stays; options as tqdm's.
    """
    return tqdm(mininterval=TERMINAL_INTERVAL if sys.stderr.isatty() else LOG_INTERVAL, **options)


def progress_of_part(**options: Any) -> tqdm[Any]:
    """The bar of a part of a command, which appears only if that lasts, and leaves nothing."""
    return progress(leave=False, delay=DELAY, **options)
