"""``python -m gram.trajectories``: where the latent state goes, from one supervision step to the
next, while one puzzle is solved (the paper's Figures 18 and 19).

For example, 50 trajectories of one Sudoku: for each of them, after each supervision step, the two
coordinates of h in which all of these states differ most (their first two principal components),
the answer that is read there, and how much of it is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gram.data.checksums import check_cards
from gram.evaluate.evaluation import Subject, add_arguments, load_subject
from gram.models.network import Given, State
from gram.models.rollout import Stop, rollouts
from gram.models.samplers import Sampler
from gram.settings import EvaluateConfig
from gram.settings.parsing import parse
from gram.system import files
from gram.system.errors import GramError, Parser, run
from gram.system.provenance import choose_device

SECTION = "trajectories"
SAMPLES = 50


class Recorded(Sampler):
    """Independent trajectories whose states are kept.

    Attributes:
        states: h after each supervision step, [B, L', D] each, on the CPU.
    """

    def __init__(self) -> None:
        self.states: list[torch.Tensor] = []

    def move(self, state: State) -> State:
        self.states.append(state.h.detach().float().cpu())
        return state


def principal(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal components of points [n, d], n at least 2: their coordinates [n, 2],
    and the share of the variance that each explains [2].

    The sign of a component, which is arbitrary, is such that its largest coordinate is positive.
    """
    centred = points - points.mean(axis=0)
    # By the n x n products: a state has many more channels than there are states.
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1][:2].clip(min=0), vectors[:, ::-1][:, :2]
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(2)]
    total = float(np.square(centred).sum())
    shares = values / total if total else np.zeros(2)
    return vectors * np.sign(largest) * np.sqrt(values), shares


def trajectories(
    subject: Subject, config: EvaluateConfig, row: int, samples: int
) -> dict[str, Any]:
    """The trajectories of one input, as the JSON's content.

    Args:
        subject: the run.
        config: depth, and how a rollout is drawn and answered; not its width.
        row: of the input in the split, from 0.
        samples: trajectories; a method without noise has one.

    Returns:
        "run", and under :data:`SECTION` the input's id and tokens, the shares of the variance that
        the two components explain, and for every trajectory and supervision step: sample (from 0),
        step (from 1), x and y (principal components), tokens (the answer there), right (its share
        of tokens that agree with the nearest completion listed), valid.

    Raises:
        GramError: no such row, or a method without a state that goes on.
    """
    split, model = subject.split, subject.model
    if not 0 <= row < len(split.inputs):
        raise GramError(
            f"--input {row}: the split {subject.split_name} has {len(split.inputs)} inputs,"
            " counted from 0"
        )
    count = samples if model.samples else 1
    inputs = np.repeat(split.inputs[row : row + 1], count, axis=0)
    recorded = Recorded()
    reads = rollouts(
        model,
        Given(torch.from_numpy(inputs).long().to(subject.device)),
        stops=[Stop(step, config.act) for step in range(1, config.depth + 1)],
        generator=subject.generator("trajectories", config.seed, row),
        sampler=recorded,
        noise_scale=config.noise_scale,
    )
    states = torch.stack(recorded.states).flatten(2)  # [depth, count, L' * D]
    if not states.shape[2]:
        raise GramError(
            f"{subject.weights}: {subject.settings.method} answers in one pass, from no state that"
            " goes on"
        )
    points, shares = principal(states.flatten(0, 1).double().numpy())
    known = split.of(row)
    found = []
    for step, read in enumerate(reads):
        answers = read.tokens.cpu().numpy().astype(np.uint8)
        valid = subject.task.is_valid(inputs, answers)
        canonical = subject.task.canonical(inputs, answers)
        agree = (canonical[:, None] == known[None]).mean(axis=2).max(axis=1)
        for sample in range(count):
            x, y = points[step * count + sample]
            found.append(
                {
                    "sample": sample,
                    "step": step + 1,
                    "x": float(x),
                    "y": float(y),
                    "right": float(agree[sample]),
                    "valid": bool(valid[sample]),
                    "tokens": answers[sample].tolist(),
                }
            )
    return {
        "run": subject.facts(config, "gram.evaluate.trajectories"),
        SECTION: {
            "input_id": int(split.input_ids[row]),
            "input": split.inputs[row].tolist(),
            "explained": shares.tolist(),
            "steps": found,
        },
    }


def main() -> None:
    """Follow the latent states of some trajectories of one input through the supervision steps."""
    parser = Parser(prog="python -m gram.trajectories", description=main.__doc__)
    add_arguments(parser, folds=False)
    parser.add_argument(
        "--input", type=int, default=0, help="row of the input in the split, from 0"
    )
    parser.add_argument("--trajectories", type=int, default=SAMPLES, help="how many")
    args = parser.parse_args()
    config = parse(EvaluateConfig, args.settings, "evaluate")
    if not 1 <= args.trajectories * config.depth <= 20_000 or args.trajectories < 1:
        raise GramError(
            f"--trajectories {args.trajectories}: with depth {config.depth} give 1 to"
            f" {20_000 // config.depth}"
        )
    check_cards([args.data], args.checksums)
    subject = load_subject(args.run, args.data, args.split, config, choose_device(args.device))
    files.write_json(args.output, trajectories(subject, config, args.input, args.trajectories))


if __name__ == "__main__":
    run(main)
