"""``python -m gram.evaluate``: accuracy and coverage of one run on one split."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from gram.data.checksums import check_cards
from gram.evaluate.evaluation import add_arguments, load_subject, write_evaluation
from gram.settings import EvaluateConfig
from gram.settings.parsing import merge, parse
from gram.system.errors import Parser, run
from gram.system.names import check_name
from gram.system.provenance import choose_device


def main() -> None:
    """Evaluate one run on one split with prior samples; writes the metrics as JSON and the samples
    as Parquet.
    """
    parser = Parser(prog="python -m gram.evaluate", description=main.__doc__)
    add_arguments(parser, folds=False)
    parser.add_argument("--depth", type=int, help="supervision steps; overrides --settings")
    parser.add_argument("--width", type=int, help="samples per input; overrides --settings")
    parser.add_argument("--samples", type=Path, help="Parquet file to write")
    parser.add_argument(
        "--name",
        default="",
        help="of this evaluation, where a run has several: a key of its experiment's `evaluations`",
    )
    args = parser.parse_args()
    given = {key: value for key in ("depth", "width") if (value := getattr(args, key)) is not None}
    config = parse(EvaluateConfig, merge(args.settings, given), "evaluate")
    check_cards([args.data], args.checksums)
    device = choose_device(args.device)
    subject = load_subject(args.run, args.data, args.split, config, device)
    if args.name:
        subject = dataclasses.replace(subject, evaluation=check_name(args.name, "--name"))
    write_evaluation(subject, config, args.output, args.samples)


if __name__ == "__main__":
    run(main)
