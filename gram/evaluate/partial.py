"""What a long evaluation has drawn so far, kept beside its output, so that the same command goes
on.

``results/eval/.../test.json`` of a paper-size network takes hours on a CPU. Every minute what it
has drawn is written to ``.test.drawn.safetensors`` in the same folder, with the state of the
generator; after a stop or a crash the next call goes on from there, and ends with the bytes that an
uninterrupted one gives. Whoever is done in a minute never writes it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gram.models.rollout import Rollout
from gram.runs.checkpoint import read_tensors, write_tensors
from gram.system.errors import GramError

SECONDS = 60.0  # between two saves


def rollout_at(stop: int, tensors: dict[str, Tensor]) -> Rollout:
    """What was read at a stop, from the tensors of a file.

    Raises:
        KeyError: they have no such stop.
    """
    return Rollout(*(tensors[f"{field}.{stop}"] for field in Rollout._fields))


class PartialDraws:
    """The file of the draws of one call.

    Args:
        output: the file that the call writes in the end.
        facts: JSON values that say what is drawn and by what; a file with others is of another
        call.
        every: seconds between two saves.
    """

    def __init__(self, output: Path, facts: dict[str, Any], every: float = SECONDS) -> None:
        self.path = output.with_name(f".{output.stem}.drawn.safetensors")
        self.facts = json.loads(json.dumps(facts))  # as they are read again: tuples become lists
        self.every = every
        self._saved = time.monotonic()

    def resume(self, generator: torch.Generator) -> list[Rollout]:
        """What was drawn, at every stop; ``generator`` then goes on from there.

        An unreadable file, or one of another call, is as good as none: all is drawn anew.

        Returns:
            A rollout for every stop; [] if all is drawn anew.
        """
        if not self.path.exists():
            return []
        try:
            tensors, facts = read_tensors(self.path)
            if facts != self.facts:
                return []
            count = len([name for name in tensors if name.startswith("tokens.")])
            read = [rollout_at(stop, tensors) for stop in range(count)]
            generator.set_state(tensors["generator"])
        except (GramError, KeyError, RuntimeError, TypeError):
            return []
        return read

    def save_if_due(self, read: Sequence[Rollout], generator: torch.Generator) -> None:
        """Write what was read at every stop if the last save is long enough ago.

        Raises:
            GramError: the file cannot be written.
        """
        if time.monotonic() - self._saved < self.every:
            return
        tensors = {"generator": generator.get_state()}
        for stop, rollout in enumerate(read):
            for field in Rollout._fields:
                tensors[f"{field}.{stop}"] = getattr(rollout, field)
        write_tensors(self.path, tensors, self.facts)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """The output is written: what was drawn on the way is not needed any more."""
        self.path.unlink(missing_ok=True)
