"""Keys of the configuration that stand in another section than they did. Where they stood is
understood until the next version, with a line that says where they belong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A key in a section."""

    section: str
    key: str


# What a network answers with changes no weights, so it belongs to its evaluation.
MOVED = {
    Place("model", "temperature"): Place("evaluate", "temperature"),
    Place("model", "sampling_steps"): Place("evaluate", "sampling_steps"),
    Place("model", "decoding"): Place("evaluate", "decoding"),
}


def with_moved(sections: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Sections of an experiment, or of a method, with all keys where they belong; a key that stands
    there already counts.

    Args:
        sections: by name; those of other names stay as they are.
        where: the file and method, for the line on stderr that tells of each key.
    """
    found = dict(sections)
    for old, new in MOVED.items():
        values = found.get(old.section)
        if not isinstance(values, Mapping) or old.key not in values:
            continue
        print(
            f"{where}: {old.section}: {old.key} is now {new.section}: {new.key}; write it there",
            file=sys.stderr,
        )
        found[old.section] = {key: value for key, value in values.items() if key != old.key}
        found[new.section] = {new.key: values[old.key]} | dict(found.get(new.section) or {})
    return found


def without_moved(run: Any) -> Any:
    """The settings of a training, as a file of before has them, without keys that have moved to
    another section than those of a training.
    """
    if not isinstance(run, Mapping):
        return run
    found = dict(run)
    for old, new in MOVED.items():
        values = found.get(old.section)
        if isinstance(values, Mapping) and new.section not in found:
            found[old.section] = {key: value for key, value in values.items() if key != old.key}
    return found
