"""``python -m gram.carried``: whether a choice among several completions is carried on, or
forgotten.

It is a diagnosis of a trained run and not a result, because its trajectories see the targets; see
:func:`gram.train.elbo.by_supervision_step`, which training watches as well.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from gram.data.checksums import check_cards
from gram.evaluate.evaluation import Subject, add_arguments, load_subjects
from gram.evaluate.metrics import ratio
from gram.evaluate.pool import pool_folds
from gram.settings import EvaluateConfig
from gram.settings.parsing import parse
from gram.system import files
from gram.system.errors import GramError, Parser, run
from gram.system.provenance import choose_device
from gram.train.elbo import by_supervision_step

SECTION = "by_supervision_step"
PAIRS = 256


def carried(subject: Subject, config: EvaluateConfig, pairs: int) -> dict[str, Any]:
    """What every supervision step of one run pays, as the JSON's content.

    Args:
        subject: the run.
        config: depth (supervision steps), weights and seed; nothing else of it is used.
        pairs: (input, target) pairs in all, an equal share for each group of inputs.

    Returns:
        "run", and a row per group of inputs and supervision step: its number, and the means over
        pairs of log m, KL and cross-entropy, in nats per board, as numerators and denominators.

    Raises:
        GramError: a method without a prior and a posterior.
    """
    train = dataclasses.replace(subject.settings.train, N_sup=config.depth)
    config = dataclasses.replace(config, forms=1)  # as it is in training
    generator = subject.generator("carried", config.seed)
    found = by_supervision_step(subject.model, subject.split, train, generator, pairs)
    if found is None:
        method = subject.settings.method
        raise GramError(f"{subject.weights}: {method} has no posterior that could steer it")
    rows = []
    for group, means in found.items():
        for step in range(config.depth):
            values = {
                "log_m": means["log_m"],
                "kl": means["kl"][step],
                "cross_entropy": means["cross_entropy"][step],
            }
            row: dict[str, Any] = {"group": group, "step": step + 1}
            for name, value in values.items():
                row[name] = ratio(value * means["pairs"], means["pairs"])
            rows.append(row)
    return {"run": subject.facts(config, "gram.evaluate.carried"), SECTION: rows}


def main() -> None:
    """Measure the KL of every supervision step along trajectories that the posterior steers."""
    parser = Parser(prog="python -m gram.carried", description=main.__doc__)
    add_arguments(parser, folds=True)
    parser.set_defaults(split="train")
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help="(input, target) pairs, of each data set"
    )
    args = parser.parse_args()
    config = parse(EvaluateConfig, args.settings, "evaluate")
    if args.pairs < 1:
        raise GramError(f"--pairs {args.pairs}: give at least 1")
    check_cards(args.data, args.checksums)
    device = choose_device(args.device)
    subjects = load_subjects(args.run, args.data, args.split, config, device)
    measured = [carried(subject, config, args.pairs) for subject in subjects]
    files.write_json(args.output, pool_folds(measured))


if __name__ == "__main__":
    run(main)
