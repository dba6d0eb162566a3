"""What a judge offers to the rest of the package; a new judge is one file that provides this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gram.data.splits import Split
from gram.evaluate.metrics import Samples
from gram.system.errors import GramError
from gram.tasks import Tokens


@dataclass(frozen=True)
class Metric:
    """A number of an evaluation.

    Attributes:
        meaning: its definition, in a few words.
        unit: "percent" of a share, or what is counted.
        better: the direction in which a method is better; None where neither is.
        path: where it stands below the section ``metrics``; () under its own name.
        always: whether every evaluation has it; one that counts what breaks a rule of some tasks is
            missing in others.
    """

    meaning: str
    unit: str = "percent"
    better: Literal["higher", "lower"] | None = "higher"
    path: tuple[str, ...] = ()
    always: bool = True


# What several judges measure, so that a name means the same in every table. All measure accuracy,
# by which methods can be ranked whatever the task.
ACCURACY = Metric("valid samples among all samples; every unique test input counts once")
VOTE = Metric(
    "inputs whose most frequent answer among their samples is right; of equally frequent ones, the"
    " earliest"
)
LPRM = Metric("inputs whose sample of the highest LPRM value is right")
BEST = Metric("inputs of whose samples any is right: the choice of an oracle")


class Chunk(NamedTuple):
    """Some inputs of a split with the answers to them.

    Attributes:
        split: these n inputs.
        tokens: [n, W, L_out], the answers in the task's canonical form.
    """

    split: Split
    tokens: Tokens


class Judge:
    """What is measured of the answers to a split.

    Args:
        train: what the network was trained on.
        bins: of a fact of the inputs, by its name; see :class:`gram.settings.tasks.Family`.

    Attributes:
        METRICS: what the section ``metrics`` has, by name, in the order of a table.
        UNLISTED: those of them that a table has no row for.
        CAPTION: of a table of these metrics.
        HEADLINES: where a few numbers must do, three metrics with words that need no legend.
        SENTENCE: what is said of a method, ``{method}``, with values of the headlines by their
            names; "" where the tables say more.
    """

    METRICS: ClassVar[Mapping[str, Metric]]
    UNLISTED: ClassVar[frozenset[str]] = frozenset()
    CAPTION: ClassVar[str]
    HEADLINES: ClassVar[Mapping[str, str]]
    SENTENCE: ClassVar[str] = ""

    def __init__(self, train: Split, bins: Mapping[str, Mapping[str, int]]) -> None:
        self.train = train
        self.bins = bins

    def columns(self, chunk: Chunk) -> dict[str, NDArray[Any]]:
        """What this judge reads off the tokens of some inputs, for :attr:`Samples.columns`, by
        name: [n] or [n, W] each. The tokens themselves are not kept.
        """
        return {}

    def sections(self, scored: Samples, independent: bool) -> dict[str, Any]:
        """Sections of an evaluation, ``metrics`` among them, each metric with its numerator and
        denominator.

        Args:
            scored: the answers to all inputs, with :meth:`columns`.
            independent: whether the samples of an input are.
        """
        raise NotImplementedError


def in_bins(
    fact: str, values: NDArray[np.int64], bins: Mapping[str, int]
) -> dict[str, NDArray[np.bool_]]:
    """Which values [N] of a fact lie in each bin: from its least value, inclusive, to the next
    bin's.

    Raises:
        GramError: a value lies below all bins.
    """
    ordered = sorted(bins, key=lambda name: bins[name])
    leasts = np.array([bins[name] for name in ordered])
    place = np.searchsorted(leasts, values, side="right") - 1
    if (place < 0).any():
        raise GramError(
            f"an input whose {fact} is {values.min()} lies below all bins, which begin at"
            f" {leasts[0]}: {', '.join(ordered)}"
        )
    return {name: place == number for number, name in enumerate(ordered)}
