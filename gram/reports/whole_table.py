"""What belongs to the whole of Table 1: the graphs that are coloured, the sizes of all networks,
and its small edition.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gram.evaluate.metrics import coverages, iid_ceiling
from gram.models.factory import build_model, parameter_count
from gram.models.network import Shape
from gram.reports.reference import NOT_MEASURED
from gram.reports.results import REPORTED, results_of
from gram.settings import EvaluateConfig
from gram.settings.config import load_experiment, method_section
from gram.settings.tasks import papers_coverage
from gram.system import files
from gram.tables.layout import NOTHING, mean_and_std
from gram.tables.paper import group, rows_of
from gram.tables.reference import REFERENCE, TABLE1_RUNS
from gram.tables.render import pipe_table
from gram.tables.reported import Reported, read_params, read_reported
from gram.tables.rows import natural
from gram.tasks import make_task

CARDS = Path("resources/cards")
SIZED = "nqueens8"  # the experiment whose networks are counted
CLOSE = 0.05  # greatest deviation from the paper's count that needs no explanation


def small_table1(root: Path) -> str:
    """The small tables of all methods on the small tasks, with the ordering of their families."""
    return "\n".join(results_of(root / REFERENCE / TABLE1_RUNS)).rstrip() or NOT_MEASURED


def millions(count: int) -> str:
    """A count as the paper writes it: "10.6M"."""
    return f"{count / 1e6:.1f}M"


def parameters(root: Path) -> str:
    """The trained parameters of every method at the paper's size, beside the paper's count."""
    experiment = load_experiment(root / f"config/experiments/{SIZED}.yaml")
    shape = Shape.of(make_task(SIZED, experiment.generator))
    papers = read_params(root / REPORTED)
    rows, far = [], []
    for method, row in rows_of().items():
        paper = papers.get(method, NOTHING)
        if method not in experiment.methods:
            rows.append([row.name, NOTHING, paper, NOTHING])
            continue
        with torch.device("meta"):  # counted, not allocated
            count = parameter_count(
                build_model(method_section(experiment, method, "model"), shape, seed=0)
            )
        cells = [row.name, millions(count), paper, NOTHING]
        if method in papers:
            deviation = count / (1e6 * float(paper.removesuffix("M"))) - 1
            cells[-1] = f"{100 * deviation:+.1f} %".replace("-", "−")
            far += [row.name] if abs(deviation) > CLOSE else []
        rows.append(cells)
    lines = pipe_table(["method", f"here, on {SIZED}", "paper", "deviation"], rows)
    if far:
        lines += [
            "",
            (
                f"More than {CLOSE:.0%} from the paper's: {', '.join(far)}. How their widths were"
                " chosen stands in GAP_DEFAULTS.md."
            ),
        ]
    return "\n".join(lines)


def best_deterministic(reported: Reported, task: str) -> str:
    """The greatest coverage that the paper has for a deterministic method on a task."""
    deterministic = group(rows_of(), "deterministic")
    found = [
        value
        for (t, method, metric), value in reported.items()
        if t == task and metric == "coverage" and method in deterministic
    ]
    return shown(max(found, default=None))


def shown(value: tuple[float, float | None] | None) -> str:
    """A mean of the paper's with its deviation."""
    return (
        NOTHING
        if value is None
        else mean_and_std(value[0], float("nan") if value[1] is None else value[1])
    )


def graph_row(card: dict[str, Any], reported: Reported, draws: int) -> list[str]:
    """One data set: its graphs, and the most that any method can cover of the test split, beside
    what the paper reports.
    """
    task, tables = card["task"], card["tables"]
    by_completions = tables["test"]["inputs_by_completions"]
    counts = np.repeat(np.array(list(map(int, by_completions))), list(by_completions.values()))
    name = papers_coverage(task)
    ceiling = coverages(counts, iid_ceiling(counts, draws), draws)[name]["ceiling"] or 0.0
    one = coverages(counts, np.ones(len(counts)), draws)[name]["value"] or 0.0
    return [
        task,
        str(card["settings"]["generator"].get("edge_probability", NOTHING)),
        f"{100 * card['facts']['colourable_share']:.1f}",
        f"{tables['train']['inputs'] + tables['valid']['inputs']:,} / {tables['test']['inputs']:,}",
        f"{tables['completions']['mean_completions']:.2f}",
        f"{tables['test']['mean_completions']:.2f}",
        str(tables["completions"]["most_completions"]),
        f"{100 * one:.1f}",
        best_deterministic(reported, task),
        f"{100 * ceiling:.1f}",
        shown(reported.get((task, "gram", "coverage"))),
    ]


def graphs(root: Path) -> str:
    """Every graph colouring data set whose card is kept."""
    paths = sorted((root / CARDS).glob("coloring*.json"), key=lambda path: natural(path.stem))
    if not paths:
        return f"Not measured yet: `{CARDS}` holds no cards."
    reported, draws = read_reported(root / REPORTED), EvaluateConfig().width
    header = [
        *(
            "data set",
            "edge probability",
            "% of drawn graphs with a 3-colouring",
            "graphs: train and valid / test",
        ),
        *("colourings per graph", "of the test graphs", "most"),
        *("% covered by one answer each", "paper's best deterministic"),
        *(f"% covered at best by {draws} independent samples", "paper's GRAM"),
    ]
    return "\n".join(
        pipe_table(header, [graph_row(files.read_json(path), reported, draws) for path in paths])
    )
