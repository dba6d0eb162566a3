"""Names that the tables, figures and reports share: metrics and marks, each written once, and the
methods by the labels that ``resources/paper.yaml`` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gram.evaluate.judges import JUDGES
from gram.evaluate.judges import Metric as Declared
from gram.settings.tasks import judge_of, papers_coverage
from gram.system.names import join_evaluation, split_evaluation
from gram.tables.paper import Method, rows_of


def label(method: str, rows: Mapping[str, Method] | None = None) -> str:
    """How a method is called; one that no row knows keeps its own name. An evaluation that has a
    name, ``gram@deep``, is called ``GRAM@deep``.

    Args:
        method: its name.
        rows: of the table; those of Table 1 without it.
    """
    known = rows_of() if rows is None else rows
    trained, evaluation = split_evaluation(method)
    return join_evaluation(known[trained].name if trained in known else trained, evaluation)


def in_order(methods: Iterable[str], rows: Mapping[str, Method] | None = None) -> list[str]:
    """The methods in the order of the rows, unknown ones last by name; see :func:`label`."""
    order = list(rows_of() if rows is None else rows)

    def place(method: str) -> tuple[int, str]:
        trained, _ = split_evaluation(method)
        return (order.index(trained) if trained in order else len(order), method)

    return sorted(set(methods), key=place)


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
    paper: str | None
    unit: str
    judges: tuple[str, ...]
    always: bool

    def papers(self, task: str) -> str | None:
        """The paper's metric that stands beside it on a task, or None."""
        if self.paper == COVERAGE and self.path[0] != papers_coverage(task):
            return None
        return self.paper


# What the paper calls the metrics that it has.
PAPERS = {
    "accuracy": "accuracy",
    "accuracy_paper": "accuracy",
    "coverage_paper": COVERAGE,
    "coverage_micro": COVERAGE,
    "conflict_edges": "conflict_edges",
}


def _metrics() -> dict[str, Metric]:
    """The rows of a long table, in order: what the judges measure, one after the other."""
    listing: dict[str, list[str]] = {}
    declared: dict[str, Declared] = {}
    for judge, one in JUDGES.items():
        for name, metric in one.METRICS.items():
            if name not in one.UNLISTED:
                listing.setdefault(name, []).append(judge)
                declared[name] = metric
    return {
        name: Metric(
            path=metric.path or (name,),
            meaning=metric.meaning + "; lower is better" * (metric.better == "lower"),
            paper=PAPERS.get(name),
            unit=metric.unit,
            judges=tuple(listing[name]),
            always=metric.always,
        )
        for name, metric in declared.items()
    }


METRICS = _metrics()

# Where a few numbers must do, in words that need no legend; by judge, three each.
HEADLINES = {name: judge.HEADLINES for name, judge in JUDGES.items()}


def headlines_of(task: str) -> Mapping[str, str]:
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
