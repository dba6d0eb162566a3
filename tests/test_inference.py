"""Reading one pass at several stops gives what a pass for each would give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gram.evaluate import evaluation
from gram.models.gram import GRAM
from gram.models.network import Given
from gram.models.rollout import Stop, rollouts
from gram.settings import EvaluateConfig

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def subject(gram_run: Path, data_folder: Path) -> evaluation.Subject:
    """The tiny trained GRAM on its test split."""
    return evaluation.load_subject(gram_run, data_folder, "test", EvaluateConfig(), CPU)


def shifted(model: GRAM, threshold: float) -> GRAM:
    """The model with another threshold of halting."""
    with torch.no_grad():
        model.halt_head.bias[0] -= threshold  # type: ignore[operator]
    return model


def test_one_pass_serves_all_stops(subject: evaluation.Subject) -> None:
    inputs = torch.from_numpy(subject.split.inputs).long().repeat_interleave(3, dim=0)

    def read(*stops: Stop) -> list[tuple[Tensor, ...]]:
        return [
            tuple(rollout)
            for rollout in rollouts(
                model, Given(inputs), stops=stops, generator=subject.generator("stops")
            )
        ]

    # Untrained enough for its halting logits to be almost the same: their median splits the
    # trajectories.
    state = subject.model.initial_state(len(inputs), subject.generator("median"))
    noise = subject.model.draw_noise(len(inputs), subject.generator("median"))
    after = subject.model.advance(state, Given(inputs), noise)
    halt = subject.model.halt_head(after.h[:, 0])[:, 0]
    model = shifted(subject.model, float(halt.median()))
    stops = [Stop(1), Stop(2), Stop(5), Stop(2, act=True), Stop(5, act=True)]
    together = read(*stops)
    for stop, found in zip(stops, together, strict=True):
        (alone,) = read(stop)
        assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))
    *_, now, _, kept = together
    steps, halted = kept[2], kept[3]
    assert torch.equal(halted, now[3]) and 0 < int((steps == 1).sum()) < len(steps)
    # What halted at the first step keeps the answer and value read there, and what never halted
    # goes to the end.
    first = (steps == 1) & halted
    for column in (0, 1):
        assert torch.equal(kept[column][first], together[0][column][first])
        assert torch.equal(kept[column][~halted], now[column][~halted])
    assert (steps[~halted] == 5).all()


def test_a_narrower_rollout_is_a_draw_of_the_narrower_prior(subject: evaluation.Subject) -> None:
    """Of one supervision step by hand, with the noise that the same generator gives."""
    inputs = torch.from_numpy(subject.split.inputs).long().repeat_interleave(3, dim=0)
    state = subject.model.initial_state(len(inputs))
    noise = subject.model.draw_noise(len(inputs), subject.generator("scaled"))
    assert noise is not None

    def value(scale: float) -> Tensor:
        generator = subject.generator("scaled")
        stops = [Stop(1)]
        (read,) = rollouts(
            subject.model, Given(inputs), stops=stops, generator=generator, noise_scale=scale
        )
        return read.value

    found = {}
    for scale in (0.0, 0.3, 1.0, 2.0):
        expected = subject.model.value(
            subject.model.advance(state, Given(inputs), scale * noise).h[:, 0]
        )
        found[scale] = value(scale)
        assert torch.equal(found[scale], expected)
    assert not torch.equal(found[0.3], found[1.0])
    still = found[0.0].view(-1, 3)
    assert (still == still[:, :1]).all(), "without width all trajectories of an input are one"
