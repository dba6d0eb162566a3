"""Progress bars of long work, on a terminal and in log files."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress(**options: Any) -> tqdm[Any]:
    """A progress bar that refreshes often on a terminal and seldom in a log file, where every refresh stays; options as tqdm's."""
    return tqdm(mininterval=0.5 if sys.stderr.isatty() else 15, **options)
