"""The files of the configuration, before Snakemake opens them: it says of none what is wrong, or
shows a traceback.

Snakemake reads those that follow ``--configfile`` before the Snakefile, and of
``config/config.yaml`` it says neither the name nor the mend where that holds a list.
``profiles/default/config.yaml``, which it reads first, runs this file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

OPTIONS = ("--configfile", "--configfiles")
DEFAULT = Path("config/config.yaml")
SUFFIXES = (".yaml", ".yml", ".json")


def configurations(arguments: Sequence[str]) -> Iterator[str]:
    """What Snakemake takes for configurations: all that stands between such an option and the next
    one.
    """
    follows = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if argument.startswith("-"):
            follows = argument in OPTIONS
            if name in OPTIONS and value:
                yield value
        elif follows:
            yield argument


def whats_wrong(name: str) -> str:
    """Why a file cannot be a configuration, and the mend; "" if it can."""
    path = Path(name)
    if path.exists() and not path.is_file():
        return ""  # a pipe, which can be read only once
    wrong = unreadable(path)
    if wrong and path.suffix not in SUFFIXES:
        return (
            f"{name} stands after --configfile, which takes every name that follows for a "
            f"configuration; "
            f"write targets first: snakemake {name} --configfile ..."
        )
    return f"--configfile {name}: {wrong}" if wrong else ""


def unreadable(path: Path) -> str:
    """Why a regular file is no configuration; "" if it is one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "no such file"
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        return f"not a YAML file: {' '.join(str(error).split())[:200]}"
    return "" if isinstance(content, dict) else "no mapping: holds no `key: value` at its top"


def check(command: Sequence[str]) -> None:
    """Stop a snakemake command, in one line, at its first configuration that cannot be one.

    Args:
        command: its program and arguments; programs that use Snakemake as a library have others.

    Raises:
        SystemExit: there is one.
    """
    if "snakemake" in Path(command[0]).parts[-2:]:
        for name in configurations(command[1:]):
            if wrong := whats_wrong(name):
                sys.exit(f"error: {wrong}")
        if DEFAULT.is_file() and (wrong := unreadable(DEFAULT)):
            sys.exit(f"error: {DEFAULT}: {wrong}")
