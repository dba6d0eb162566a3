"""Toy: a word of 1 and 2 -> the word with 1 and 2 exchanged. Tokens are the digits themselves."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
from gram.settings.tasks.toy import ToyGenerator
from numpy.typing import NDArray

from gram.system.errors import GramError
from gram.tasks.base import Examples, Tokens


class Shuffle:
    """The symmetries of a word: its places in another order, and 1 and 2 exchanged or not."""

    def __init__(self, n: int) -> None:
        self.n = n

    def draw(self, random: Random) -> tuple[NDArray[np.int64], Tokens]:
        """See :class:`gram.tasks.base.Symmetries`."""
        places = np.array(sorted(range(self.n), key=lambda _: random.random()))
        tokens = [0, 1, 2] if random.random() < 0.5 else [0, 2, 1]
        return places, np.array(tokens, dtype=np.uint8)


class Toy:
    """Words of one length.

    Args:
        name: the task's name.
        n: letters.
        settings: which rows.
    """

    vocabulary = 3  # padding, 1, 2
    draws_tests = False
    complete = False  # so that no list of answers is asked for

    def __init__(self, name: str, n: int, settings: ToyGenerator) -> None:
        self.name, self.n, self.settings = name, n, settings
        self.length = n
        self.answers = slice(0, n)
        self.coordinates = np.arange(n)[:, None]

    @classmethod
    def from_settings(cls, name: str, size: int, settings: ToyGenerator) -> Toy:
        """Any size makes a task."""
        return cls(name, size, settings)

    def examples(self, sources: Path | None = None) -> Examples:
        """The first rows of the file.

        Raises:
            GramError: there is no file, or a row of another length.
        """
        if sources is None:
            raise GramError(f"{self.name}: needs --sources, the folder with toy.csv")
        words = (sources / "toy.csv").read_text(encoding="utf-8").split()[: self.settings.rows]
        if any(len(word) != self.n for word in words):
            raise GramError(f"{sources / 'toy.csv'}: a row has not {self.n} letters")
        inputs = np.array([list(map(int, word)) for word in sorted(words)], dtype=np.uint8)
        return Examples(
            inputs=inputs,
            completions=3 - inputs,
            offsets=np.arange(len(inputs) + 1),
            given=np.full(len(inputs), self.n),
        )

    def symmetries(self) -> Shuffle:
        """Any order of the letters, and either name of each."""
        return Shuffle(self.n)

    def is_valid(self, inputs: Tokens, outputs: Tokens) -> NDArray[np.bool_]:
        """Whether every letter is exchanged: [B]."""
        return np.asarray((inputs + outputs == 3).all(axis=1))

    def canonical(self, inputs: Tokens, outputs: Tokens) -> Tokens:
        """The outputs themselves."""
        return outputs

    def violations(self, inputs: Tokens, outputs: Tokens) -> dict[str, NDArray[np.int64]]:
        """How many letters are not exchanged."""
        return {"wrong_letters": (inputs + outputs != 3).sum(axis=1)}


TASK = Toy
