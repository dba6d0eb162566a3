"""Time as the executor sees it, so that a test can let an hour pass in a moment."""

from __future__ import annotations

import time


class Clock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """Seconds of a clock that nobody sets."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


CLOCK = Clock()
