"""The streaming carry: how long rows live, where they start again, what they are, and how often."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gram.data.splits import Split, load_split
from gram.models.factory import build_model
from gram.models.gram import GRAM
from gram.models.network import Shape, State, Step
from gram.settings import RunSettings, TrainConfig
from gram.system.errors import GramError
from gram.tasks import make_task
from gram.train.stream import Stream

CONFIG = TrainConfig(N_sup=4, batch_size=10)
ALL = slice(None)


@pytest.fixture(scope="module")
def split(data_folder: Path) -> Split:
    """The tiny training split."""
    return load_split(data_folder, "train")


@pytest.fixture(scope="module")
def model(settings: RunSettings) -> GRAM:
    """An untrained tiny model; only its z_0 matters here."""
    config = dataclasses.replace(settings.model, D=4, heads=2)
    return build_model(config, Shape(25, 3), seed=0)


def stream_of(split: Split, model: GRAM, seed: int = 0, **settings: Any) -> Stream:
    """A stream with some settings changed."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return Stream(split, model, dataclasses.replace(CONFIG, **settings), generator)


def fake_step(stream: Stream, number: int, halt: Tensor | None = None) -> Step:
    """A supervision step that adds 1 to every state, whose summary is ``number`` everywhere, and in
    which no row wants to halt.
    """
    state = State(stream.state.h + 1, stream.state.l + 1)
    summary = torch.full((len(stream.age), state.h.shape[-1]), float(number))
    empty = torch.zeros(0)
    halt = torch.full((len(stream.age), 2), -1.0) if halt is None else halt
    return Step(
        state=state, logits=empty, carried=None, summary=summary, halt=halt, value=empty, charges=[]
    )


@pytest.mark.parametrize("stagger", [True, False])
def test_rows_live_for_n_sup_steps_and_start_again_at_z0(
    split: Split, model: GRAM, stagger: bool
) -> None:
    stream = stream_of(split, model, stagger=stagger)
    start = [
        row % 4 if stagger else 0 for row in range(10)
    ]  # age at which a row's first trajectory begins
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
            assert stream.visited[row].tolist() == [
                first <= age <= first + lived for age in range(4)
            ]
        ages = stream.age.tolist()
        stream.record(fake_step(stream, number), ALL)
        for row in range(10):
            # The summaries of the trajectory so far are those of the steps that it was given, in
            # order.
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
    trajectories = [
        1 + (first + 13) // 4 for first in start
    ]  # ends after 13 steps, and the one that began last
    assert [len(pairs) for pairs in seen] == trajectories


@pytest.mark.parametrize("exploration", [0.0, 0.5, 1.0])
def test_halting_rows_are_replaced_as_hrm_does(
    split: Split, model: GRAM, exploration: float
) -> None:
    """Against a loop over rows; a second generator makes the same draws in the same order."""
    config = dataclasses.replace(CONFIG, halt="q", halt_exploration=exploration, batch_size=40)
    stream = stream_of(split, model, halt="q", halt_exploration=exploration, batch_size=40)
    shadow, logits = torch.Generator(), torch.Generator()
    shadow.manual_seed(0)
    logits.manual_seed(1)
    B, N_sup, pairs = config.batch_size, config.N_sup, len(split.completions)

    def least_steps() -> list[int]:
        explores = torch.rand(B, generator=shadow) < exploration
        drawn = torch.randint(2, N_sup + 1, (B,), generator=shadow)
        return [int(drawn[row]) if explores[row] else 0 for row in range(B)]

    pair = torch.randint(pairs, (B,), generator=shadow).tolist()
    least = least_steps()
    age, begun, finished = [row % N_sup for row in range(B)], [0] * B, [0] * B
    early = 0
    for number in range(12):
        assert stream.pair.tolist() == pair and stream.age.tolist() == age
        halt = torch.randn(B, 2, generator=logits)
        stream.record(fake_step(stream, number, halt), ALL)
        done = []
        for row in range(B):
            steps = age[row] + 1
            wants = float(halt[row, 0]) > 0 and steps >= least[row]
            done.append(steps == N_sup or wants)
            early += wants and steps < N_sup
            seen = stream.summaries[row, :, 0][stream.visited[row]].tolist()
            assert seen == [
                float(n) for n in range(begun[row], number + 1)
            ]  # what the value loss learns from
        assert stream.finishing.tolist() == done
        stream.advance()
        drawn = torch.randint(pairs, (B,), generator=shadow).tolist()
        least = least_steps()
        for row in range(B):
            if done[row]:
                pair[row], age[row], begun[row] = drawn[row], 0, number + 1
                finished[row] += 1
                assert torch.equal(stream.state.h[row], model.z0_h)
            else:
                age[row] += 1
    assert stream.finished.tolist() == finished
    assert early > 20


def test_halting_excludes_all_supervision_steps(split: Split, model: GRAM) -> None:
    with pytest.raises(
        GramError, match=r"train: halt: q .* supervision: all .* change one of them"
    ):
        stream_of(split, model, halt="q", supervision="all")


def test_some_rows_of_the_carry_are_those_of_the_whole(split: Split, model: GRAM) -> None:
    """Two parts, as two processes own them, beside the whole; then each from the tensors of the
    whole.
    """
    config = dataclasses.replace(CONFIG, halt="q", sampling="inputs", reveal=0.5)
    parts = [slice(0, 5), slice(5, 10)]
    whole, *owners = (
        Stream(split, model, config, torch.Generator().manual_seed(3), rows)
        for rows in (None, *parts)
    )
    for number in range(9):
        if number == 5:
            for owner in owners:
                owner.load_tensors(whole.tensors())
        halt = torch.randn(10, 2, generator=torch.Generator().manual_seed(number))
        whole.record(fake_step(whole, number, halt), ALL)
        for owner, rows in zip(owners, parts, strict=True):
            owner.record(fake_step(owner, number, halt[rows]), ALL)
        for each in (whole, *owners):
            each.advance()
        for name, tensor in whole.tensors().items():
            assert torch.equal(torch.cat([owner.tensors()[name] for owner in owners]), tensor), name


def test_targets_are_completions_of_their_inputs(
    split: Split, model: GRAM, settings: RunSettings
) -> None:
    task = make_task("nqueens5", settings.data.generator)
    known = {board.tobytes() for board in split.inputs}
    for sampling in ("pairs", "inputs"):
        stream = stream_of(split, model, sampling=sampling, batch_size=500)
        for _ in range(3):
            inputs, targets = (
                tokens.numpy().astype("uint8") for tokens in (stream.inputs, stream.targets)
            )
            assert task.is_valid(inputs, targets).all()
            assert all(board.tobytes() in known for board in inputs)
            stream.advance()


def test_revealed_inputs_lie_between_the_data_sets_and_their_targets(
    split: Split, model: GRAM, data_folder: Path
) -> None:
    """Of four in ten rows; what they leave open is uniform, and none is an input of any split."""
    size = 4000
    stream = stream_of(split, model, reveal=0.4, batch_size=size, N_sup=2, stagger=False)
    fewest = min(
        int((board != split.of(i)).sum(axis=1).min()) for i, board in enumerate(split.inputs)
    )
    every = {
        board.tobytes()
        for name in ("train", "valid", "test")
        for board in load_split(data_folder, name).inputs
    }
    for _ in range(2):
        given = stream._inputs[stream._owner[stream.pair]]
        inputs, targets = stream.inputs, stream.targets
        changed = (inputs != given).any(dim=1)
        assert abs(float(changed.float().mean()) - 0.4) < 5 * (0.4 * 0.6 / size) ** 0.5
        shown = inputs != given
        assert torch.equal(inputs[shown], targets[shown])
        left = (inputs != targets)[changed].sum(dim=1)
        by_number = torch.bincount(left, minlength=fewest).double()
        assert len(by_number) == fewest and by_number[0] == 0
        assert (
            chi_square(
                by_number[1:],
                torch.full((fewest - 1,), len(left) / (fewest - 1), dtype=torch.float64),
            )
            < 5
        )
        # Which of an input's open positions stay open is uniform as well.
        times = (inputs != targets)[changed].double().sum(dim=0)
        possible = (given != targets)[changed].double() * (
            left / (given != targets)[changed].sum(dim=1)
        )[:, None]
        assert chi_square(times, possible.sum(dim=0)) < 5
        boards = inputs.numpy().astype("uint8")
        assert not any(board.tobytes() in every for board in boards[changed.numpy()])
        before = inputs
        stream.record(fake_step(stream, 0), ALL)
        stream.advance()
        assert torch.equal(stream.inputs, before)  # a row shows the same for all its steps
        stream.record(fake_step(stream, 1), ALL)
        stream.advance()


@pytest.mark.parametrize("reveal", [0.0, 1.0])
def test_a_completion_that_is_answered_becomes_the_target(
    split: Split, model: GRAM, reveal: float
) -> None:
    """That of a carried state, of the input as it is shown; anything else changes nothing."""
    size = 400
    for carried in (True, False):
        stream = stream_of(split, model, reveal=reveal, batch_size=size, stagger=False)
        changed = 0
        for pick in range(3):
            answers = stream.targets.clone()
            if pick == 2:
                answers[:, 0] = 3 - answers[:, 0]  # another first cell: no completion at all
            else:
                for row, pair in enumerate(stream.pair.tolist()):
                    owner = int(np.searchsorted(split.offsets, pair, side="right")) - 1
                    answers[row] = torch.from_numpy(
                        split.of(owner)[-1 - pick % len(split.of(owner))]
                    ).long()
            step, logits = fake_step(stream, 0), torch.nn.functional.one_hot(answers, 3).float()
            before, shown = stream.targets, stream.inputs
            # Two halves, as micro-batches record them.
            for rows in (slice(0, size // 2), slice(size // 2, size)):
                part = step._replace(
                    state=State(*(x[rows] for x in step.state)),
                    summary=step.summary[rows],
                    halt=step.halt[rows],
                )
                stream.record(part._replace(carried=logits[rows] if carried else None), rows)
            fits = (
                ((shown == 1) | (answers == shown)).all(dim=1)
                if pick < 2
                else torch.zeros(size, dtype=torch.bool)
            )
            taken = fits & carried
            assert torch.equal(stream.targets, torch.where(taken[:, None], answers, before))
            assert torch.equal(stream.inputs, shown)
            changed += int((stream.targets != before).any(dim=1).sum())
        assert (changed > 0) == (
            carried and reveal == 0.0
        )  # what is revealed here leaves one completion


def test_inputs_that_cannot_be_revealed(split: Split, model: GRAM) -> None:
    other = dataclasses.replace(split, completions=split.completions[:, :5])
    with pytest.raises(
        GramError, match=r"train: reveal: .* hold no part of its answers; use reveal: 0"
    ):
        stream_of(other, model, reveal=0.5)
    solved = dataclasses.replace(split, inputs=split.completions[split.offsets[:-1]].copy())
    with pytest.raises(
        GramError, match=r"train: reveal: an input leaves 0 positions open, .* use reveal: 0"
    ):
        stream_of(solved, model, reveal=0.5)


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
    stream, other = (stream_of(split, model, seed=seed, reveal=0.5) for seed in (0, 1))
    for number in range(2):  # some of the first, staggered trajectories still run
        stream.record(fake_step(stream, number + 1), ALL)
        stream.advance()
    assert stream.first.any() and stream.summaries.any()
    other.load_tensors({name: tensor.clone() for name, tensor in stream.tensors().items()})
    other.generator.set_state(stream.generator.get_state())
    for number in range(3, 9):
        for name in (
            "age",
            "first",
            "least",
            "finished",
            "pair",
            "revealed",
            "summaries",
            "inputs",
            "targets",
            "visited",
            "finishing",
        ):
            assert torch.equal(getattr(other, name), getattr(stream, name)), name
        assert all(torch.equal(a, b) for a, b in zip(other.state, stream.state, strict=True))
        for each in (stream, other):
            each.record(fake_step(each, number), ALL)
            each.advance()


def test_symmetries_change_inputs_and_targets_alike_and_last_a_trajectory(
    split: Split, model: GRAM
) -> None:
    """Two symmetries of 25 cells: none, and the order reversed with tokens 1 and 2 exchanged."""
    places = torch.stack([torch.arange(25), torch.arange(24, -1, -1)])
    tokens = torch.tensor([[0, 1, 2], [0, 2, 1]])
    generator = torch.Generator()
    generator.manual_seed(0)
    config = dataclasses.replace(CONFIG, symmetries=2, batch_size=40)
    stream = Stream(split, model, config, generator, symmetries=(places, tokens))
    plain = torch.from_numpy(split.inputs).long()[stream._owner[stream.pair]]
    reversed_ = tokens[1][plain.flip(1)]
    assert 0 < int(stream.symmetry.sum()) < 40
    expected = torch.where(stream.symmetry[:, None] == 1, reversed_, plain)
    assert torch.equal(stream.inputs, expected)
    shown = stream.inputs
    # What a changed input gives, its changed target has: queens stay queens under either table.
    queen = torch.where(stream.symmetry == 1, 1, 2)[:, None]
    assert (stream.targets[shown == queen] == queen.expand_as(shown)[shown == queen]).all()
    before, ages = stream.symmetry.clone(), stream.age.clone()
    stream.advance()
    stays = ages + 1 < CONFIG.N_sup
    assert torch.equal(stream.symmetry[stays], before[stays])
    kept = {name: tensor.clone() for name, tensor in stream.tensors().items()}
    other = Stream(split, model, config, torch.Generator(), symmetries=(places, tokens))
    other.load_tensors(kept)
    assert torch.equal(other.symmetry, stream.symmetry) and torch.equal(other.inputs, stream.inputs)


def test_without_symmetries_nothing_is_drawn_for_them(split: Split, model: GRAM) -> None:
    stream = stream_of(split, model)
    assert "symmetry" not in stream.tensors() and len(stream.symmetry) == 0


def test_rollouts_of_the_prior_start_and_end_with_their_rows(split: Split, model: GRAM) -> None:
    """Beside the carry, which they do not touch, and saved with it."""
    plain, beside = (stream_of(split, model, heads_on=on) for on in ("posterior", "prior"))
    assert plain.taken(None).rolled is None
    for number in range(6):
        for stream in (plain, beside):
            rolled = stream.rolled and State(stream.rolled.h + 2, stream.rolled.l + 2)
            stream.record(fake_step(stream, number), ALL, rolled)
            stream.advance()
        assert torch.equal(plain.state.h, beside.state.h) and torch.equal(plain.pair, beside.pair)
        assert beside.rolled is not None
        lived = beside.state.h - model.z0_h
        torch.testing.assert_close(beside.rolled.h - model.z0_h, 2 * lived)
    again = stream_of(split, model, seed=1, heads_on="prior")
    again.load_tensors(beside.tensors())
    assert again.rolled is not None and torch.equal(again.rolled.h, beside.rolled.h)


def test_every_completion_of_a_rows_input_is_right(split: Split, model: GRAM) -> None:
    stream = stream_of(split, model, heads_on="prior", stagger=False)
    rolled = stream.taken(None).rolled
    assert rolled is not None
    owner = stream._owner[stream.pair].tolist()
    for found, number in zip(rolled.completions.tolist(), owner, strict=True):
        assert {tuple(one) for one in found} == {tuple(one) for one in split.of(number).tolist()}
    assert rolled.part(slice(2, 5)).completions.shape == (3, *rolled.completions.shape[1:])
