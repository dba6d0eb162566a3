"""The one exception that users see, and the wrapper that prints it as a single line."""

from __future__ import annotations

import sys
from collections.abc import Callable


class GramError(Exception):
    """Bad input or a failed machine; the message names the file, the key and the mend in one line."""

    exit_code = 2


class Interrupted(GramError):
    """Work stopped on request after its state was saved; ``exit_code`` is 128 + the signal's number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def run(main: Callable[[], None]) -> None:
    """Call ``main`` and exit; a GramError becomes one line on standard error and its exit code, not a traceback."""
    try:
        main()
    except GramError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted from the keyboard", file=sys.stderr)
        sys.exit(130)
