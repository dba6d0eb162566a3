"""What a family of tasks declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# The figures of a task whose inputs have completions that can be counted.
OF_COMPLETIONS = ("training", "elbo", "completions", "width")


@dataclass(frozen=True)
class Source:
    """A file that a family's examples are made from, and that does not stand in this repository.

    Attributes:
        file: what it is called in results/sources/{family}, and in a folder of the user's.
        url: where it can be downloaded.
        sha256: of its content, in hex.
        bytes: its size.
        licence: under which it is published, for whoever asks why it is not in this repository.
    """

    file: str
    url: str
    sha256: str
    bytes: int
    licence: str


@dataclass(frozen=True)
class Family:
    """A family of tasks, such as N-Queens of every size.

    Attributes:
        generator: the dataclass of the section ``generator`` of its experiments.
        judge: who judges answers, a module of gram/evaluate/judges: "completions" counts which of
            an input's completions were found; "exact" compares with the one right answer;
            "validity" counts valid answers, where an input has more than can be found, and asks
            whether they are new.
        coverage: the average that the paper's coverage is on it; see gram/evaluate/metrics.py.
        figures: the figures that a table of its runs has.
        sources: the files that its examples are made from; () of one that makes them itself.
        bins: by the name of a fact of its inputs, into which groups the judge "exact" parts them:
            the name of each with the least value in it, as in ``{"givens": {"17-19": 17, "20 or
            more": 20}}``.
    """

    generator: type
    judge: str = "completions"
    coverage: str = "coverage_micro"
    figures: tuple[str, ...] = OF_COMPLETIONS
    sources: tuple[Source, ...] = ()
    bins: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
