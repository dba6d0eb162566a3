"""What a task offers to the rest of the package; a new task is one file that provides this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint8]
PAD = 0  # token 0 is padding in every task


@dataclass(frozen=True)
class Enumeration:
    """Every unique input of a task with every one of its completions.

    Attributes:
        inputs: [N, L] tokens, in ascending order of their content, so that a row number is a stable input id.
        completions: [M, L] tokens; those of input i are rows ``offsets[i]:offsets[i + 1]``, in ascending order.
        offsets: [N + 1] int64.
        given: [N] int64, cells that the input gives (queens kept), for stratified splits.
    """

    inputs: Tokens
    completions: Tokens
    offsets: NDArray[np.int64]
    given: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Completions per input, [N]."""
        return np.diff(self.offsets)


class Task(Protocol):
    """A generator, an encoder and an exact verifier."""

    name: str
    length: int  # tokens per input and per output
    vocabulary: int

    def enumerate(self) -> Enumeration:
        """All inputs and completions, the same on every machine."""
        ...

    def is_valid(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """Whether each output [B, L] satisfies all constraints and keeps what its input [B, L] gives: [B]."""
        ...
