"""The streaming carry: how long rows live, where they start again, what they are, and how often."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gram.data import Split, load_split
from gram.models.factory import build_model
from gram.models.gram import GRAM, State, Step
from gram.settings import RunSettings, TrainConfig
from gram.stream import Stream
from gram.tasks import make_task

CONFIG = TrainConfig(N_sup=4, batch_size=10)


@pytest.fixture(scope="module")
def split(data_folder: Path) -> Split:
    """The tiny training split."""
    return load_split(data_folder, "train")


@pytest.fixture(scope="module")
def model(settings: RunSettings) -> GRAM:
    """An untrained tiny model; only its z_0 matters here."""
    config = dataclasses.replace(settings.model, D=4, heads=2)
    return build_model(config, length=25, vocabulary=3, seed=0)


def stream_of(split: Split, model: GRAM, seed: int = 0, **settings: Any) -> Stream:
    """A stream with some settings changed."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return Stream(split, model, dataclasses.replace(CONFIG, **settings), generator)


def fake_step(stream: Stream, number: int) -> Step:
    """A supervision step that adds 1 to every state, and whose summary is ``number`` everywhere."""
    state = State(stream.state.h + 1, stream.state.l + 1)
    summary = torch.full((len(stream.age), state.h.shape[-1]), float(number))
    empty = torch.zeros(0)
    return Step(state=state, logits=empty, summary=summary, halt=empty, value=empty, charges=[])


@pytest.mark.parametrize("stagger", [True, False])
def test_rows_live_for_n_sup_steps_and_start_again_at_z0(split: Split, model: GRAM, stagger: bool) -> None:
    stream = stream_of(split, model, stagger=stagger)
    start = [row % 4 if stagger else 0 for row in range(10)]  # age at which a row's first trajectory begins
    begun = [0] * 10  # step at which a row's present trajectory began
    seen = [[pair] for pair in stream.pair.tolist()]
    for number in range(13):
        for row in range(10):
            lived = number - begun[row]
            first = start[row] if begun[row] == 0 else 0
            assert stream.age[row] == first + lived
            for part, z0 in zip(stream.state, (model.z0_h, model.z0_l), strict=True):
                assert torch.allclose(part[row], z0 + lived)
            assert bool(stream.finishing[row]) == (first + lived == 3)
            assert stream.visited[row].tolist() == [first <= age <= first + lived for age in range(4)]
        ages = stream.age.tolist()
        stream.record(fake_step(stream, number))
        for row in range(10):
            # The summaries of the trajectory so far are those of the steps that it was given, in order.
            values = stream.summaries[row, :, 0][stream.visited[row]].tolist()
            assert values == [float(n) for n in range(begun[row], number + 1)]
        pairs = stream.pair.tolist()
        stream.advance()
        for row in range(10):
            if ages[row] == 3:
                begun[row] = number + 1
                seen[row].append(int(stream.pair[row]))
            else:
                assert stream.pair[row] == pairs[row]  # a living row keeps its input and its target
    assert any(len(set(pairs)) > 1 for pairs in seen)
    trajectories = [1 + (first + 13) // 4 for first in start]  # ends after 13 steps, and the one that began last
    assert [len(pairs) for pairs in seen] == trajectories


def test_targets_are_completions_of_their_inputs(split: Split, model: GRAM, settings: RunSettings) -> None:
    task = make_task("nqueens5", settings.data.generator)
    known = {board.tobytes() for board in split.inputs}
    for sampling in ("pairs", "inputs"):
        stream = stream_of(split, model, sampling=sampling, batch_size=500)
        for _ in range(3):
            inputs, targets = (tokens.numpy().astype("uint8") for tokens in (stream.inputs, stream.targets))
            assert task.is_valid(inputs, targets).all()
            assert all(board.tobytes() in known for board in inputs)
            stream.advance()


def chi_square(observed: Tensor, expected: Tensor) -> float:
    """How many standard deviations Pearson's statistic lies above its mean under ``expected``."""
    statistic = ((observed - expected).square() / expected).sum()
    freedom = len(expected) - 1
    return float((statistic - freedom) / (2 * freedom) ** 0.5)


@pytest.mark.parametrize("sampling", ["pairs", "inputs"])
def test_frequencies_of_inputs_and_targets(split: Split, model: GRAM, sampling: str) -> None:
    size = 20000
    stream = stream_of(split, model, sampling=sampling, batch_size=size, N_sup=1)
    counts = torch.from_numpy(split.counts).double()
    completions = len(split.completions)
    observed = torch.bincount(stream.pair, minlength=completions).double()
    by_pairs = torch.full((completions,), size / completions, dtype=torch.float64)
    by_inputs = size / len(counts) / counts.repeat_interleave(torch.from_numpy(split.counts))
    right, wrong = (by_pairs, by_inputs) if sampling == "pairs" else (by_inputs, by_pairs)
    assert chi_square(observed, right) < 5
    assert chi_square(observed, wrong) > 20  # the two ways are told apart


def test_all_draws_are_from_the_streams_own_generator(split: Split, model: GRAM) -> None:
    before = torch.random.get_rng_state()
    one, two, other = (stream_of(split, model, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.pair, two.pair) and not torch.equal(one.pair, other.pair)
    one.advance()
    assert torch.equal(before, torch.random.get_rng_state())


def test_round_trip_of_the_tensors(split: Split, model: GRAM) -> None:
    stream, other = stream_of(split, model, seed=0), stream_of(split, model, seed=1)
    for number in range(2):  # some of the first, staggered trajectories still run
        stream.record(fake_step(stream, number + 1))
        stream.advance()
    assert stream.first.any() and stream.summaries.any()
    other.load_tensors({name: tensor.clone() for name, tensor in stream.tensors().items()})
    other.generator.set_state(stream.generator.get_state())
    for number in range(3, 9):
        for name in ("age", "first", "pair", "summaries", "inputs", "targets", "visited", "finishing"):
            assert torch.equal(getattr(other, name), getattr(stream, name)), name
        assert all(torch.equal(a, b) for a, b in zip(other.state, stream.state, strict=True))
        for each in (stream, other):
            each.record(fake_step(each, number))
            each.advance()
