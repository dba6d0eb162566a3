"""The one exception that users see, and the wrapper that prints it as a single line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from gram.stopping import Stopped, listening


class GramError(Exception):
    """Bad input or a failed machine; the message names the file, the key and the mend in one line."""

    exit_code = 2


class Interrupted(GramError):
    """Work stopped on request after its state was saved; ``exit_code`` is 128 + the signal's number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def run(main: Callable[[], None]) -> None:
    """Call ``main`` and exit.

    A GramError or a stop request becomes one line on standard error and its exit code.
    """
    with listening(ends_process=True) as stops:
        try:
            main()
        except (GramError, Stopped) as error:
            stops.react()
            with stops.deferred():
                print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
                if stops.number:
                    sys.stdout.flush()
                    os._exit(error.exit_code)  # tidying up the interpreter takes half a second
                sys.exit(error.exit_code)
