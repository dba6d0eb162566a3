"""The one exception that users see, the wrapper that prints it as a single line, and words that
messages share.
"""

from __future__ import annotations

import argparse
import difflib
import os
import reprlib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from gram.system.stopping import Stopped, exit_code, listening

SHOWN = 80  # characters of a value, in a message
WORD = 600  # characters without a blank, in a line
WHOLE = 10_000  # parts of a value that is spelt out before it is cut
COMPARED = 200  # letters of a name that is not known
SKETCH = reprlib.Repr()  # first parts and first levels only
LISTED = 12  # names that are listed where none is close to the one given


class GramError(Exception):
    """Bad input or a failed machine; the message names the file, the key and the fix in one
    line.
    """

    exit_code = 2


class Interrupted(GramError):
    """Work stopped on request after its state was saved; ``exit_code`` tells the signal."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code(signal_number)


def short(value: object) -> str:
    """``repr(value)``, cut in its middle to what a line can hold: a value may be a whole file."""
    try:
        text = repr(value) if _is_shown_whole(value) else SKETCH.repr(value)
    except (
        ValueError,
        RecursionError,
    ):  # an integer of thousands of digits, lists in lists in lists
        text = f"a value of type {type(value).__name__} that is too large to be shown"
    if len(text) <= SHOWN:
        return text
    half = (SHOWN - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


def _is_shown_whole(value: object) -> bool:
    """Whether a value has at most WHOLE parts: aliases of YAML make of a few lines what no memory
    could spell out.
    """
    parts, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str | bytes | dict | list | tuple | set):
            parts += len(one)
        if parts > WHOLE:
            return False
        if isinstance(one, dict):
            waiting += [*one, *one.values()]
        elif isinstance(one, list | tuple | set):
            waiting += one
    return True


def suggestion(wrong: object, known: Iterable[object], what: str, described: str = "") -> str:
    """The end of a message about a name that is not known: what was probably meant, or what there
    is.

    Args:
        wrong: the name as it was given, for example ``stepz``.
        known: the names that there are; case does not count when they are compared.
        what: what they are called, for example ``known keys``.
        described: a file in which all of them can be read.

    Returns:
        For example ``did you mean 'steps'?``; if no name is close, ``known keys: steps, N_sup``, of
        many only the first.
    """
    names = {str(name).casefold(): str(name) for name in known}
    given = wrong if isinstance(wrong, str) else short(wrong)
    if close := difflib.get_close_matches(given[:COMPARED].casefold(), names):
        *others, last = (repr(names[one]) for one in close)
        return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
    listed = ", ".join(list(names.values())[:LISTED]) or "none"
    if len(names) <= LISTED:
        return f"{what}: {listed}"
    where = f"; all are described in {described}" if described else ""
    return f"{what}: {listed} and {len(names) - LISTED} more{where}"


def in_one_line(message: str) -> str:
    """A message without line breaks, and with words cut that no line can hold, such as long
    paths.
    """
    words = message.split()
    half = (WORD - 5) // 2
    return " ".join(w if len(w) <= WORD else f"{w[:half]} ... {w[-half:]}" for w in words)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows of a wrong argument what a line can hold."""

    def error(self, message: str) -> NoReturn:
        """Exit with the usage, and a message in one line."""
        super().error(in_one_line(message))


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
                print(f"error: {in_one_line(str(error))}", file=sys.stderr)
                if stops.number:
                    sys.stdout.flush()
                    os._exit(error.exit_code)  # tidying up the interpreter takes half a second
                sys.exit(error.exit_code)
