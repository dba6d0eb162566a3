"""Names that the tables, figures and reports share: methods, metrics and marks, each written
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gram.evaluate.judges import JUDGES
from gram.evaluate.judges import Metric as Declared
from gram.settings.tasks import judge_of, papers_coverage


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        label: how tables and figures call it.
        paper: its name in the paper's table, or None where the paper does not have it.
        generative: whether it can give several answers to one input.
    """

    label: str
    paper: str | None
    generative: bool = False


# The one mapping between the paper's names and ours: Table 1, in the paper's order.
METHODS = {
    "direct8": Method("Direct Pred (8 layers)", "Direct Pred (8 layers)"),
    "direct32": Method("Direct Pred (32 layers)", "Direct Pred (32 layers)"),
    "looped": Method("Looped TF", "Looped TF"),
    "hrm": Method("HRM", "HRM"),
    "trm": Method("TRM", "TRM"),
    "ar": Method("AR", "AR", generative=True),
    "mdlm": Method("MDLM", "MDLM", generative=True),
    "deterministic": Method("Deterministic twin", None),
    "gram": Method("GRAM", "GRAM", generative=True),
}
# The same for the two halves of Table 3, where GRAM and its twin stand beside their ablations.
COMPONENTS = {
    "base": Method("Looped TF (base)", "Looped TF (base)"),
    "hrm": Method("+ DS + HR (HRM)", "+ DS + HR (HRM)"),
    "trm": Method("+ DS + HR (TRM)", "+ DS + HR (TRM)"),
    "deterministic": Method("+ DS + HR (deterministic twin)", None),
    "base-sg": Method("+ SG", "+ SG"),
    "base-ds-sg": Method("+ DS + SG", "+ DS + SG"),
    "gram": Method("+ DS + HR + SG (GRAM)", "GRAM (+ DS + HR + SG)"),
}
GUIDANCE = {
    "deterministic": Method("no stochastic guidance", "no stochastic guidance"),
    "noise-only": Method("stochasticity only, N(0, σ²)", "stochasticity only N(0 sigma^2)"),
    "mean-only": Method("guidance only, N(μ, 0)", "guidance only N(mu 0)"),
    "direct-prediction": Method("no proposal, h = ε", "with direct prediction"),
    "sampled-decoding": Method("no guidance, answers sampled", "TRM + stochastic decoding"),
    "random-z0": Method("no guidance, z_0 drawn anew", "TRM + random init"),
    "gram": Method("stochastic guidance, N(μ, σ²) (GRAM)", None),
}
# Tables by the names that resources/reported.csv gives them.
PAPER_TABLES: dict[str, dict[str, Method]] = {
    "table1": METHODS,
    "table3a": COMPONENTS,
    "table3b": GUIDANCE,
}
TITLES = {
    "table1": "{task}",
    "table3a": "{task}: which parts are needed (Table 3a)",
    "table3b": "{task}: which noise is needed (3b)",
}
COMPONENT_TERMS = {
    "DS": (
        "deep supervision: a loss at each of N_sup supervision steps, whose state is carried on"
        " without gradient; without it one supervision step has all their transitions and one loss,"
        " and gradient still flows through its last transition only (its depth counts such long"
        " steps)"
    ),
    "HR": (
        "hierarchical recursion: K updates of l for each of h; without it one stack updates h"
        " alone, K + 1 times per transition"
    ),
    "SG": "stochastic guidance: noise from a learned prior, trained with a posterior",
}


def label(method: str, names: Mapping[str, Method] = METHODS) -> str:
    """How a method is called; one that the mapping does not know keeps its own name."""
    return names[method].label if method in names else method


def in_order(methods: Iterable[str], names: Mapping[str, Method] = METHODS) -> list[str]:
    """The methods in the order of the mapping, unknown ones last by name."""
    order = list(names)
    return sorted(
        set(methods),
        key=lambda method: (order.index(method) if method in names else len(order), method),
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
