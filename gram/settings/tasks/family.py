"""What a family of tasks declares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Judge = Literal["completions", "validity"]
# The figures of a task whose inputs have completions that can be counted.
OF_COMPLETIONS = ("training", "elbo", "completions", "width")


@dataclass(frozen=True)
class Family:
    """A family of tasks, such as N-Queens of every size.

    Attributes:
        generator: the dataclass of the section ``generator`` of its experiments.
        judge: who judges answers, a key of ``gram.evaluate.judges.JUDGES``: "completions" counts which
            of an input's completions were found; "validity" counts valid answers, where an input has
            more than can be found, and asks whether they are new.
        coverage: the average that the paper's coverage is on it; see gram/evaluate/metrics.py.
        figures: the figures that a table of its runs has.
    """

    generator: type
    judge: Judge = "completions"
    coverage: str = "coverage_micro"
    figures: tuple[str, ...] = OF_COMPLETIONS
