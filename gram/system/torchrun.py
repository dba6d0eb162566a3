"""``python -m gram.torchrun``: torchrun, whose end is one line instead of a traceback.

The processes that it starts say themselves what has failed.
"""

from __future__ import annotations

import signal
import sys

from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from gram.system.errors import GramError, Interrupted, run
from gram.system.stopping import listening


class Failed(GramError):
    """A process of the run has failed; ``exit_code`` is what a shell would give for it."""

    def __init__(self, failure: ProcessFailure) -> None:
        code = failure.exitcode
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        super().__init__(
            f"process {failure.local_rank} of the run (pid {failure.pid}) {how}; the reason stands "
            "above, if it gave one; run the same command again to go on"
        )
        self.exit_code = 128 - code if code < 0 else code


def main() -> None:
    """Start several processes of one training: torchrun, with its arguments.

    Raises:
        GramError: one of them has failed, or a signal came.
    """
    with listening() as stops:
        stops.react()  # torchrun handles signals itself: it waits while its processes save
    try:
        torchrun.main(sys.argv[1:])
    except ChildFailedError as error:
        raise Failed(error.get_first_failure()[1]) from error
    except SignalException as error:
        number = int(error.sigval)
        name = signal.Signals(number).name
        raise Interrupted(f"{name}: all processes of the run were stopped", number) from error


if __name__ == "__main__":
    run(main)
