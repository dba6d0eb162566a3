"""``python -m gram.scaling``: what more depth and more width bring at test time, and at which step
trajectories would halt.

All depths come from one pass through the deepest, and all widths from the samples of the widest.
Per depth and width:

* accuracy_best (an oracle takes a valid sample if there is one), accuracy_lprm (the sample of the
  highest LPRM value) and the coverages are exact means over all subsets of that width, by the
  hypergeometric distribution;
* accuracy_vote (the most frequent answer) has no such closed form: the W samples are cut into as
  many groups of that width as they fill, and each group votes;
* accuracy is the share of valid samples, whatever the width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gram.data.checksums import check_cards
from gram.evaluate import metrics
from gram.evaluate.evaluation import Subject, add_arguments, draw_at, load_subjects
from gram.evaluate.pool import pool_folds
from gram.evaluate.scoring import Drawn, canonical, score
from gram.evaluate.votes import answer_numbers, majority
from gram.models.rollout import Stop
from gram.settings import EvaluateConfig
from gram.settings.parsing import merge, parse
from gram.system import files
from gram.system.errors import Parser, run
from gram.system.provenance import choose_device

DEPTHS = (1, 2, 4, 8, 16, 32, 64)
WIDTHS = (1, 5, 10, 20, 50)


def voted(answers: NDArray[np.int64], valid: NDArray[np.bool_], width: int) -> float:
    """Inputs whose most frequent answer is valid, a mean over disjoint groups of ``width`` samples.

    Args:
        answers: [N, W] from :func:`gram.evaluate.votes.answer_numbers`.
        valid: [N, W].
        width: samples that vote; at most W.
    """
    groups = valid.shape[1] // width
    used = slice(groups * width)
    chosen = majority(answers[:, used].reshape(-1, width))
    return float(valid[:, used].reshape(-1, width)[np.arange(len(chosen)), chosen].sum()) / groups


def by_depth_and_width(
    depth: int, drawn: Drawn, samples: metrics.Samples, widths: Sequence[int]
) -> list[dict[str, Any]]:
    """One row per width for the samples read at ``depth``; see the head of this file."""
    N = len(samples.counts)
    valid = samples.found >= 0
    answers = answer_numbers(drawn.tokens)
    return [
        {
            "depth": depth,
            "width": width,
            "accuracy": metrics.ratio(valid.sum(), valid.size),
            "accuracy_vote": metrics.ratio(voted(answers, valid, width), N),
            "accuracy_lprm": metrics.ratio(
                metrics.expected_highest(valid, drawn.value, width).sum(), N
            ),
            "accuracy_best": metrics.ratio(metrics.expected_best(valid, width).sum(), N),
            **metrics.coverages(samples.counts, metrics.expected_found(samples, width), width),
        }
        for width in widths
    ]


def halting(drawn: Drawn, samples: metrics.Samples, depth: int) -> dict[str, Any]:
    """Where trajectories would halt, and whether the answers that they would keep there are valid.

    Args:
        drawn: read with ACT at ``depth``.
        samples: the same, scored.
        depth: supervision steps.

    Returns:
        "halting": accuracy of the kept answers, the share of trajectories that never halt, the mean
        of the steps; "by_halting_step": for each supervision step the trajectories that halt there,
        and the accuracy of those.
    """
    valid = samples.found >= 0
    rows = []
    for step in range(1, depth + 1):
        here = drawn.halted & (drawn.steps == step)
        rows.append(
            {
                "step": step,
                "trajectories": metrics.ratio(here.sum(), here.size),
                "accuracy": metrics.ratio(valid[here].sum(), here.sum()),
            }
        )
    whole = {
        "accuracy": metrics.ratio(valid.sum(), valid.size),
        "never": metrics.ratio((~drawn.halted).sum(), valid.size),
        "steps": metrics.ratio(drawn.steps.sum(), valid.size),
    }
    return {"halting": whole, "by_halting_step": rows}


def scaling(
    subject: Subject, config: EvaluateConfig, depths: Sequence[int], widths: Sequence[int]
) -> dict[str, Any]:
    """The scaling of one run on one split, as the JSON's content.

    Args:
        subject: the run.
        config: batch size, weights and seed; the greatest of ``depths`` and ``widths`` take the
            place of its own, and samples are independent, do not halt, and answer the inputs
            themselves.
        depths: supervision steps to read at.
        widths: numbers of samples to choose among.
    """
    depths, widths = sorted(set(depths)), sorted(set(widths))
    config = dataclasses.replace(
        config, depth=depths[-1], width=widths[-1], act=False, sampler="iid", forms=1
    )
    stops = [*(Stop(depth) for depth in depths), Stop(config.depth, act=True)]
    generator = subject.generator("scaling", config.seed)
    *drawn, kept = draw_at(subject.model, subject.split, stops, config, generator)
    rows = []
    for depth, read in zip(depths, drawn, strict=True):
        read = read._replace(
            tokens=canonical(subject.task, subject.split, read)
        )  # a vote counts what means the same
        rows += by_depth_and_width(depth, read, score(subject.task, subject.split, read), widths)
    halts = halting(kept, score(subject.task, subject.split, kept), config.depth)
    return {
        "run": subject.facts(config, "gram.evaluate.scaling"),
        "by_depth_and_width": rows,
    } | halts


def main() -> None:
    """Measure accuracy and coverage of a run over depths and widths, and where its trajectories
    would halt.
    """
    parser = Parser(prog="python -m gram.scaling", description=main.__doc__)
    add_arguments(parser, folds=True)
    parser.add_argument(
        "--depths",
        type=int,
        nargs="+",
        help=f"supervision steps to read at (default: {DEPTHS}, and that of --settings)",
    )
    parser.add_argument(
        "--widths",
        type=int,
        nargs="+",
        help=f"samples to choose among (default: {WIDTHS}, and that of --settings)",
    )
    args = parser.parse_args()
    own = parse(EvaluateConfig, args.settings, "evaluate")
    args.depths = args.depths or (*DEPTHS, own.depth)
    args.widths = args.widths or (*WIDTHS, own.width)
    # The extremes are checked as the settings are.
    for pick in (min, max):
        given = {"depth": pick(args.depths), "width": pick(args.widths)}
        config = parse(EvaluateConfig, merge(args.settings, given), "evaluate")
    check_cards(args.data, args.checksums)
    subjects = load_subjects(args.run, args.data, args.split, config, choose_device(args.device))
    files.write_json(
        args.output,
        pool_folds([scaling(subject, config, args.depths, args.widths) for subject in subjects]),
    )


if __name__ == "__main__":
    run(main)
