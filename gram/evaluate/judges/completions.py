"""Which of the completions of each input were found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from gram.evaluate import metrics
from gram.evaluate.judges.base import ACCURACY, BEST, LPRM, VOTE, Judge, Metric

WIDTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50)


class Completions(Judge):
    """Of inputs whose completions are all listed: how many answers are valid, and how many of the
    completions are among them. With the sections ``by_completions`` and ``by_width``.
    """

    METRICS: ClassVar[Mapping[str, Metric]] = {
        "accuracy": ACCURACY,
        "accuracy_paper": Metric(
            "the same over (input, target) rows, where an input with m completions counts m times:"
            " probably the paper's rows",
        ),
        "exact_match": Metric("samples equal to their row's one target, over (input, target) rows"),
        "accuracy_best": BEST,
        "accuracy_vote": VOTE,
        "accuracy_lprm": LPRM,
        "coverage_paper": Metric(
            "completions found by a method's samples among all that exist, summed over (input,"
            " target) rows; the average that fits the paper's own numbers on N-Queens",
        ),
        "coverage_micro": Metric(
            "completions found among all that exist, summed over unique inputs; the average that"
            " fits the paper's on graph colouring",
        ),
        "coverage_macro": Metric(
            "the share of its completions found for an input, averaged over unique inputs",
        ),
        "accuracy_several": Metric(
            "accuracy on the test inputs with two or more completions",
            path=("slices", "several", "accuracy"),
        ),
        "coverage_macro_several": Metric(
            "coverage_macro on the test inputs with two or more completions",
            path=("slices", "several", "coverage_macro"),
        ),
        "conflict_edges": Metric(
            "edges whose two ends do not differ in colour, in total over the first sample of every"
            " test input",
            unit="edges",
            better="lower",
            always=False,
        ),
    }
    UNLISTED = frozenset(("accuracy_best", "accuracy_vote", "accuracy_lprm"))
    CAPTION = "accuracies"
    HEADLINES: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "accuracy_several": "on inputs with several solutions",
        "coverage_macro_several": "share of their solutions found",
    }

    def sections(self, scored: metrics.Samples, independent: bool) -> dict[str, Any]:
        """See :class:`gram.evaluate.judges.base.Judge`."""
        # What fewer samples would have found can be told from subsets of independent ones only.
        widths = WIDTHS if independent else (scored.width,)
        return {
            "metrics": metrics.slices(scored),
            "by_completions": metrics.by_completions(scored),
            "by_width": metrics.by_width(scored, widths),
        }


JUDGE = Completions
