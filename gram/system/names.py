"""The one rule for names that become parts of paths: those of experiments, of methods and of shared
files.
"""

from __future__ import annotations

import re

from gram.system.errors import GramError, short

# A point only inside a number, as in beta-0.25: no name is ".." or looks like a file.
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|(?<=[0-9])\.(?=[0-9]))*")
FOLD = re.compile(r"(?P<base>.+)-fold(?P<fold>[0-9]+)")
LONGEST = 100  # letters of a name; a file's may have 255 bytes, with what is added to it
RULE = f"a name has letters, digits, - and _, the first a letter or digit, at most {LONGEST}"


# Parts a method from an evaluation of its trainings that has a name: gram@deep.
EVALUATED_AS = "@"


def split_evaluation(method: str) -> tuple[str, str]:
    """The method that is trained, and the name of the evaluation, of a row of a table: ``("gram",
    "deep")`` of ``gram@deep``, and ``("gram", "")`` of ``gram``.
    """
    trained, _, evaluation = method.partition(EVALUATED_AS)
    return trained, evaluation


def join_evaluation(trained: str, evaluation: str) -> str:
    """``gram@deep``; see :func:`split_evaluation`."""
    return f"{trained}{EVALUATED_AS}{evaluation}" if evaluation else trained


def is_name(text: object) -> bool:
    """Whether ``text`` may be the name of an experiment, a method or a shared file.

    ``nqueens5-gaps`` and ``beta-0.25`` are; ``.hidden``, ``nqueens5.bak``, ``a b`` and ``../up``
    are none.
    """
    return isinstance(text, str) and len(text) <= LONGEST and NAME.fullmatch(text) is not None


def is_experiment_name(text: object) -> bool:
    """Whether ``text`` may be the name of an experiment: one without a point that does not end as
    that of a fold does.
    """
    return is_name(text) and "." not in str(text) and FOLD.fullmatch(str(text)) is None


def check_name(text: object, where: str) -> str:
    """``text``, if it is a name.

    Args:
        text: what stands where a name is expected.
        where: file and key, for the message.

    Raises:
        GramError: it is none; says what a name may have.
    """
    if not is_name(text):
        quoted = "" if isinstance(text, str) else "; quote it if it is meant as text"
        raise GramError(f"{where}: {short(text)} is no name: {RULE}{quoted}")
    return str(text)
