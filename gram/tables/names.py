"""Names that the tables, figures and reports share: metrics and marks, each written once, and the
methods by the labels that ``resources/paper.yaml`` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gram.settings.tasks import judge_of, papers_coverage
from gram.settings.tasks.family import Judge
from gram.tables.paper import Method, rows_of


def label(method: str, rows: Mapping[str, Method] | None = None) -> str:
    """How a method is called; one that no row knows keeps its own name.

    Args:
        method: its name.
        rows: of the table; those of Table 1 without it.
    """
    known = rows_of() if rows is None else rows
    return known[method].name if method in known else method


def in_order(methods: Iterable[str], rows: Mapping[str, Method] | None = None) -> list[str]:
    """The methods in the order of the rows, unknown ones last by name; see :func:`label`."""
    order = list(rows_of() if rows is None else rows)
    return sorted(
        set(methods),
        key=lambda method: (order.index(method) if method in order else len(order), method),
    )


COVERAGE = "coverage"  # the paper's metric, which is another average on each family of tasks


@dataclass(frozen=True)
class Metric:
    """A row of the long table.

    Attributes:
        path: where its value stands below ``metrics`` of an evaluation.
        meaning: its definition, for the legend.
        paper: the paper's metric that stands beside it, or None.
        unit: "percent", or what is counted.
        judges: which judges measure it.
        always: whether it has a row where nobody measured it.
    """

    path: tuple[str, ...]
    meaning: str
    paper: str | None = None
    unit: str = "percent"
    judges: tuple[Judge, ...] = ("completions",)
    always: bool = True

    def papers(self, task: str) -> str | None:
        """The paper's metric that stands beside it on a task, or None."""
        if self.paper == COVERAGE and self.path[0] != papers_coverage(task):
            return None
        return self.paper


METRICS = {
    "accuracy": Metric(
        ("accuracy",),
        "valid samples among all samples; every unique test input counts once",
        "accuracy",
        judges=("completions", "validity"),
    ),
    "accuracy_paper": Metric(
        ("accuracy_paper",),
        "the same over (input, target) rows, where an input with m completions counts m times:"
        " probably the paper's rows",
        "accuracy",
    ),
    "exact_match": Metric(
        ("exact_match",), "samples equal to their row's one target, over (input, target) rows"
    ),
    "coverage_paper": Metric(
        ("coverage_paper",),
        "completions found by a method's samples among all that exist, summed over (input, target)"
        " rows; the average that fits the paper's own numbers on N-Queens",
        COVERAGE,
    ),
    "coverage_micro": Metric(
        ("coverage_micro",),
        "completions found among all that exist, summed over unique inputs; the average that fits"
        " the paper's on graph colouring",
        COVERAGE,
    ),
    "coverage_macro": Metric(
        ("coverage_macro",),
        "the share of its completions found for an input, averaged over unique inputs",
    ),
    "hostile_accuracy": Metric(
        ("slices", "hostile", "accuracy"),
        "accuracy on the test inputs with two or more completions",
    ),
    "hostile_coverage_macro": Metric(
        ("slices", "hostile", "coverage_macro"),
        "coverage_macro on the test inputs with two or more completions",
    ),
    "conflict_edges": Metric(
        ("conflict_edges",),
        "edges whose two ends do not differ in colour, in total over the first sample of every test"
        " input; lower is better",
        "conflict_edges",
        "edges",
        always=False,
    ),
    "distinct": Metric(
        ("distinct",), "different answers among the valid samples", judges=("validity",)
    ),
    "seen": Metric(
        ("seen",), "valid samples that stand in training as answers", judges=("validity",)
    ),
    "seen_answers": Metric(
        ("seen_answers",),
        "the same of the different answers, each of which counts once",
        judges=("validity",),
    ),
    "entropy": Metric(
        ("entropy",),
        "entropy of the valid samples, in nats: how evenly the answers are drawn, the log of their"
        " number at most",
        unit="nats",
        judges=("validity",),
    ),
}


# Where a few numbers must do, in words that need no legend; by judge, three each.
HEADLINES: dict[Judge, dict[str, str]] = {
    "completions": {
        "accuracy": "accuracy",
        "hostile_accuracy": "on inputs with several solutions",
        "hostile_coverage_macro": "share of their solutions found",
    },
    "validity": {
        "accuracy": "valid answers",
        "distinct": "different ones among these",
        "seen": "of these in training",
    },
}


def headlines_of(task: str) -> dict[str, str]:
    """The numbers of a task that must do where there is room for three, with their words."""
    return HEADLINES[judge_of(task)]


TWIN, GRAM = "deterministic", "gram"


NOT_RUN, FAILED = "not run", "failed"
HOLES = (NOT_RUN, FAILED)  # what stands in the place of a number
OVERRIDDEN = "¶"
MARKS = {"incomplete": "§", "mixed": "‡", "stale": "†"}
FOOTNOTES = {
    FAILED: (
        "failed: a run of this row ended with an error, which stands in results/logs; `snakemake`"
        " tries it again."
    ),
    "incomplete": (
        "§ incomplete: another seed of this row failed, and is left out; its error stands in"
        " results/logs, and `snakemake` tries it again."
    ),
    "mixed": (
        "‡ mixed: the seeds (or folds) of this row were trained or evaluated by different versions"
        " of the code; build them again with one."
    ),
    "stale": (
        "† stale: trained or evaluated by another version of the code than the present one; build"
        " it again."
    ),
    OVERRIDDEN: (
        f"{OVERRIDDEN} overridden: trained or tested with other settings than its file in "
        "config/experiments has."
    ),
}
