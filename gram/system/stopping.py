"""Stop requests: SIGTERM, SIGINT and SIGHUP end any command within two seconds.

It prints one line and has the exit code 128 + number. SIGALRM, by which a training with a time
limit wakes itself, ends it as SIGTERM does. ``kill`` of an evaluation, say: Python calls a handler
between two of its instructions, the handler raises :class:`Stopped`, and on its way out bars are
closed and temporary files removed. Two kinds of work need more than that:

* What must not be cut, such as a save, is :meth:`Stops.deferred`: nothing is raised there, and the
  work asks for ``number`` itself.
* Python calls no handler while a library computes, such as the backward pass of a large network on
  a CPU, which can take minutes. So a thread hears of every signal too. If the command has not
  reacted after ``patience`` seconds, the thread writes the line, and ends the process.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
PATIENCE = 0.5  # seconds
STDERR = 2  # the file descriptor

# Files that are removed when the thread ends the process, since no `finally` runs then: locks, and
# what is half written.
leftovers: set[Path] = set()


def exit_code(number: int) -> int:
    """What a command ends with after a signal: 128 + its number, and 143 at a time limit."""
    return 128 + (signal.SIGTERM if number == signal.SIGALRM else number)


def named(number: int) -> str:
    """What a message calls a signal: ``SIGTERM``, ``time limit``."""
    return "time limit" if number == signal.SIGALRM else signal.Signals(number).name


class Stopped(KeyboardInterrupt):
    """A stop request, raised wherever the command was.

    A KeyboardInterrupt, because libraries let that pass.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(
            f"{named(number)}: stopped on request; no file is half written, and the "
            "same command begins again or goes on where it last saved"
        )
        self.exit_code = exit_code(number)


class Stops:
    """The stop requests of this process, of which the first counts.

    Attributes:
        number: of the signal; 0 without a request.
        patience: seconds that the main thread has for its reaction.
        guard: held by the thread while it ends the process; whoever holds it is not ended.
        last_message: called by the thread before it ends the process; gives the line to write.
    """

    number: int
    patience: float
    guard: AbstractContextManager[object]
    last_message: Callable[[int], str]

    def __init__(self) -> None:
        self._raises = True
        self._reacts = threading.Event()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Go on with other work: what was asked for so far is done, and the next request is the
        first again.
        """
        self.number = 0
        self.patience = PATIENCE
        self.guard = threading.Lock()
        self.last_message = lambda number: str(Stopped(number))
        self._reacts.clear()

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """The handler of all signals.

        Raises:
            Stopped: at the first of them, unless it is deferred.
        """
        if not self.number:
            self.number = number
            if self._raises:
                raise Stopped(number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise nothing inside, also not later: the work asks for ``number`` where it can stop."""
        before, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = before

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Inside :meth:`deferred`, a part that may be cut.

        Raises:
            Stopped: also for a request that came before.
        """
        before, self._raises = self._raises, True
        try:
            if self.number:
                raise Stopped(self.number)
            yield
        finally:
            self._raises = before

    def react(self) -> None:
        """The main thread is about to end the process itself, however long that takes."""
        self._reacts.set()

    def watch(self, descriptor: int) -> None:
        """Wait for signals' numbers on the reading end of a pipe; work of the thread."""
        while byte := os.read(descriptor, 1):
            if byte[0] in SIGNALS:
                self._answer(byte[0])
        os.close(descriptor)  # nobody listens any more

    def _answer(self, number: int) -> None:
        """End the process unless the main thread reacts to a signal."""
        self._reacts.wait(self.patience)
        with self.guard:
            if self._reacts.is_set():
                return
            try:
                line = self.last_message(number)
            except Exception as error:  # such as a full disk
                line = f"{named(number)}: {error}"
            for path in list(leftovers):
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            # Not by print: the main thread may hold the lock of sys.stderr. The empty line ends
            # that of a progress bar.
            os.write(STDERR, f"\nerror: {' '.join(line.split())}\n".encode())
            os._exit(exit_code(number))


_listening: list[Stops] = []


@contextmanager
def listening(*, ends_process: bool = False) -> Iterator[Stops]:
    """React to stop requests, in the main thread; inside another one, these are that one's.

    Args:
        ends_process: whether a thread ends the process if the command does not.
    """
    if _listening:
        yield _listening[-1]
        return
    stops = Stops()
    # nohup ignores SIGHUP, and so do its children.
    numbers = [n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stops.handle) for number in numbers}
    _listening.append(stops)
    if ends_process:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        earlier = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        thread = threading.Thread(target=stops.watch, args=(reading,), daemon=True)
        thread.start()
    try:
        yield stops
    finally:
        stops._raises = False
        if ends_process:
            stops.react()
            signal.set_wakeup_fd(earlier)
            os.close(writing)
            thread.join()  # a thread that wakes up while the interpreter ends would abort it
        _listening.pop()
        for number, handler in before.items():
            signal.signal(number, handler)
