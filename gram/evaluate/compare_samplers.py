"""``python -m gram.compare_samplers``: every sampler of ``gram/models/samplers`` on trained runs,
all at the same compute.

Each sampler, width and rollout seed is a rollout of its own: smaller widths are not taken from
larger ones, since only independent samples may be. The samplers start from the same noise for the
same width and seed.
"""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from gram.data.checksums import check_cards
from gram.evaluate import metrics
from gram.evaluate.evaluation import Subject, add_arguments, draw, load_subjects
from gram.evaluate.pool import pool_folds
from gram.evaluate.scoring import score
from gram.models.samplers import make_sampler
from gram.settings import EvaluateConfig
from gram.settings.evaluate import SAMPLERS
from gram.settings.parsing import parse
from gram.system import files
from gram.system.errors import GramError, Parser, run
from gram.system.progress import progress
from gram.system.provenance import choose_device

WIDTHS = (2, 3, 5, 10, 20)
SEEDS = 5
MOST_SEEDS = 1000
COVERAGES = ("coverage_paper", "coverage_micro", "coverage_macro")
COMPARED = ("accuracy", *COVERAGES, "accuracy_several", "coverage_macro_several")


def compare(
    subject: Subject, config: EvaluateConfig, widths: Sequence[int], seeds: int
) -> dict[str, Any]:
    """One run on one split, as the JSON's content: a row per sampler, width and rollout seed.

    Args:
        subject: the run.
        config: depth and the samplers' own settings; sampler, width and seed are replaced, and all
            trajectories answer the inputs themselves.
        widths: trajectories per input.
        seeds: rollout seeds, from 0.

    Raises:
        GramError: a run of a deterministic method, or settings that a sampler refuses.
    """
    if not subject.model.samples:
        raise GramError(
            f"{subject.weights.parent}: {subject.settings.method} does not sample, so samplers"
            " cannot differ"
        )
    config = dataclasses.replace(config, forms=1)
    for sampler in (
        SAMPLERS
    ):  # settings that one of them refuses are found before hours are spent on the others
        make_sampler(dataclasses.replace(config, sampler=sampler), max(widths))
    rows = []
    with progress(
        total=sum(widths) * seeds * len(SAMPLERS),
        desc=subject.settings.task,
        unit="sample per input",
    ) as bar:
        for width, seed, sampler in itertools.product(widths, range(seeds), SAMPLERS):
            chosen = dataclasses.replace(config, sampler=sampler, width=width, seed=seed)
            drawn = draw(
                subject.model,
                subject.split,
                chosen,
                subject.generator("compare_samplers", seed, width),
            )
            scored = metrics.slices(score(subject.task, subject.split, drawn))
            several = scored["slices"]["several"]
            values = {name: scored[name] for name in ("accuracy", *COVERAGES)}
            values |= {f"{name}_several": several[name] for name in ("accuracy", "coverage_macro")}
            rows.append({"sampler": sampler, "width": width, "rollout_seed": seed} | values)
            bar.update(width)
    return {
        "run": subject.facts(
            dataclasses.replace(config, width=max(widths)),
            "gram.evaluate.compare_samplers",
            SAMPLERS,
        ),
        "by_sampler": rows,
    }


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and standard deviation over rollout seeds per width, metric and sampler, beside the
    ceiling of independent samples.

    ``std`` is null for one seed; ``to_iid``, the mean over that of independent samples, is null
    where these find nothing. A metric over no inputs is left out.
    """
    groups: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    for row in rows:
        for metric in COMPARED:
            if row[metric]["denominator"]:
                groups.setdefault((row["width"], metric, row["sampler"]), []).append(row[metric])
    means = {}
    for key, values in groups.items():
        means[key] = statistics.mean(value["value"] for value in values)
    summary = []
    for (width, metric, sampler), values in groups.items():
        mean, iid = means[width, metric, sampler], means[width, metric, "iid"]
        summary.append(
            {
                "width": width,
                "metric": metric,
                "sampler": sampler,
                "mean": mean,
                "std": (
                    statistics.stdev(value["value"] for value in values)
                    if len(values) > 1
                    else None
                ),
                "rollout_seeds": len(values),
                "ceiling": values[0].get("ceiling"),
                "to_iid": mean / iid if iid else None,
            }
        )
    return sorted(
        summary,
        key=lambda row: (
            row["width"],
            COMPARED.index(row["metric"]),
            SAMPLERS.index(row["sampler"]),
        ),
    )


def lines(summary: Sequence[dict[str, Any]]) -> list[str]:
    """The summary as text."""
    found = [
        f"{'width':>5}  {'metric':<22}  {'sampler':<17}  {'mean':>6}  {'std':>6}  {'to iid':>6} "
        f" {'ceiling':>7}"
    ]
    for row in summary:
        numbers = (
            f"{'-' if row[key] is None else format(row[key], '.3f'):>6}"
            for key in ("mean", "std", "to_iid", "ceiling")
        )
        found.append(
            f"{row['width']:>5}  {row['metric']:<22}  {row['sampler']:<17}  {'  '.join(numbers)}"
        )
    return found


def main() -> None:
    """Compare all samplers on a run at equal compute; prints and writes mean, standard deviation
    and ratio to independent ones.
    """
    parser = Parser(prog="python -m gram.compare_samplers", description=main.__doc__)
    add_arguments(parser, folds=True)
    parser.add_argument(
        "--widths", type=int, nargs="+", default=WIDTHS, help="trajectories per input"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="rollout seeds per sampler and width"
    )
    args = parser.parse_args()
    config = parse(EvaluateConfig, args.settings, "evaluate")
    if min(*args.widths, args.seeds) < 1 or args.seeds > MOST_SEEDS:
        raise GramError(
            f"--widths and --seeds must be at least 1, and --seeds at most {MOST_SEEDS}"
        )
    check_cards(args.data, args.checksums)
    subjects = load_subjects(args.run, args.data, args.split, config, choose_device(args.device))
    content = pool_folds(
        [compare(subject, config, args.widths, args.seeds) for subject in subjects]
    )
    summary = summarise(content["by_sampler"])
    print("\n".join(lines(summary)))
    files.write_json(args.output, content | {"summary": summary})


if __name__ == "__main__":
    run(main)
