"""What follows ``--configfile``, ``--config`` and the like, before Snakemake looks at it.

It does so before it reads the Snakefile, and shows a traceback where something is wrong.

``profiles/default/config.yaml``, which it reads first, runs this file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

FILES = ("--configfile", "--configfiles")
ENTRIES = ("--config", "-C")
PAIRS = (*ENTRIES, "--resources", "--res")
QUIET = (
    "--quiet",
    "-q",
)  # whose values are words of letters; of another, Snakemake's usage is told
ENCODED = "base64//"  # begins a value that Snakemake hands to a job on another machine
SUFFIXES = (".yaml", ".yml", ".json")
KEY = re.compile(r"[a-zA-Z_][\w-]*\w")  # as Snakemake wants it


def values(options: Sequence[str], arguments: Sequence[str]) -> Iterator[str]:
    """What Snakemake takes for values of an option with these names: all that stands between it and
    the next option.
    """
    follows = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if argument.startswith("-"):
            follows = argument in options
            if name in options and value:
                yield value
        elif follows:
            yield argument


def targets_first(word: str, option: str, taken_for: str) -> str:
    """The message about a word that was probably meant as a target."""
    return (
        f"{word} stands after {option}, which takes every word that follows for {taken_for}; "
        f"write targets first: snakemake {word} {option} ..."
    )


def wrong_pair(word: str, option: str) -> str:
    """Why a value of such an option is none, and the fix; "" if it is one."""
    key, equals, _ = word.partition("=")
    if word.startswith(ENCODED):
        return ""
    if not equals:
        return targets_first(word, option, "NAME=VALUE")
    if option in ENTRIES and not KEY.fullmatch(key):
        return f"{option} {word}: {key!r} is no key of a configuration"
    return ""


def wrong_file(name: str) -> str:
    """Why a file cannot be a configuration, and the fix; "" if it can."""
    path = Path(name)
    if path.is_fifo() or path.is_char_device():
        return ""  # can be read only once
    wrong = unreadable(path)
    if wrong and path.suffix not in SUFFIXES:
        return targets_first(name, "--configfile", "a configuration")
    return f"--configfile {name}: {wrong}" if wrong else ""


def unreadable(path: Path) -> str:
    """Why a file is no configuration; "" if it is one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "no such file"
    except IsADirectoryError:
        return "is a folder and not a file"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        return f"not a YAML file: {' '.join(str(error).split())[:200]}"
    return "" if isinstance(content, dict) else "no mapping: holds no `key: value` at its top"


def check(command: Sequence[str]) -> None:
    """Stop a snakemake command, in one line, at the first configuration or entry that is none.

    Args:
        command: its program and arguments; programs that use Snakemake as a library have others.

    Raises:
        SystemExit: there is one.
    """
    if "snakemake" in Path(command[0]).parts[-2:]:
        wrong = [wrong_file(name) for name in values(FILES, command[1:])]
        for option in PAIRS:
            wrong += [wrong_pair(word, option) for word in values([option], command[1:])]
        for word in values(QUIET, command[1:]):
            wrong.append("" if word.isalpha() else targets_first(word, "--quiet", "its own"))
        if told := next(filter(None, wrong), ""):
            sys.exit(f"error: {told}")
