"""The ablations of Table 3 beyond their equations, which tests/test_models.py checks: what is
drawn, and what stays the same.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gram.data.splits import load_split
from gram.models.factory import build_model, parameter_count
from gram.models.gram import GRAM
from gram.models.network import Given, Shape
from gram.models.rollout import rollout
from gram.settings import EvaluateConfig, GramModel, TrainConfig
from gram.train.stream import Stream

TINY = GramModel(
    D=8,
    heads=2,
    ffn_hidden=6,
    layers=1,
    K=2,
    T=2,
    puzzle_tokens=1,
    guidance_hidden=5,
    decoder_hidden=4,
)
LENGTH, VOCABULARY = 6, 3


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


def build(**changes: Any) -> GRAM:
    """A tiny model with all weights drawn anew, so that no zero-initialised part hides an error."""
    model = build_model(dataclasses.replace(TINY, **changes), Shape(LENGTH, VOCABULARY), seed=0)
    generator = seeded(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def repeated() -> Tensor:
    """One input, eight times."""
    return torch.randint(0, VOCABULARY, (1, LENGTH), generator=seeded(2)).expand(8, LENGTH)


@pytest.mark.parametrize(
    ("changes", "samples"),
    [
        ({}, True),
        ({"guidance": "noise"}, True),
        ({"guidance": "mean"}, False),
        ({"guidance": "none"}, False),
        ({"guidance": "none", "hierarchy": "flat"}, False),
        ({"hierarchy": "flat"}, True),
        ({"guidance": "none", "z0": "random"}, True),
    ],
    ids=str,
)
def test_trajectories_differ_exactly_where_something_is_drawn(
    changes: dict[str, Any], samples: bool, repeated: Tensor
) -> None:
    model = build(**changes)
    values = rollout(model, Given(repeated), depth=2, generator=seeded(3)).value
    assert model.samples == samples and len(set(values.double().round(decimals=6).tolist())) == (
        8 if samples else 1
    )
    assert torch.equal(values, rollout(model, Given(repeated), depth=2, generator=seeded(3)).value)
    again = rollout(model, Given(repeated), depth=2, generator=seeded(4)).value
    assert torch.equal(values, again) != samples


def test_sampled_answers_have_the_probabilities_of_the_softmax() -> None:
    model = build(guidance="none")
    assert not model.samples
    model.answer_as(EvaluateConfig(decoding="sample"))
    assert model.samples
    logits = torch.tensor([[0.0, 1.0, -2.0], [3.0, 0.0, 0.0]]).expand(20000, 2, 3)
    drawn = model.answer(logits, seeded(0))
    assert drawn.shape == (20000, 2) and drawn.dtype == torch.int64
    observed = torch.nn.functional.one_hot(drawn, 3).float().mean(dim=0)
    expected = logits[0].softmax(dim=-1)
    assert ((observed - expected).abs() < 5 * (expected * (1 - expected) / 20000).sqrt()).all()
    assert torch.equal(build().answer(logits, seeded(0)), logits.argmax(dim=-1))


def test_sampled_decoding_changes_the_answer_and_nothing_before_it(repeated: Tensor) -> None:
    twin, found = build(guidance="none"), []
    for decoding in ("argmax", "sample"):
        twin.answer_as(EvaluateConfig(decoding=decoding))
        found.append(rollout(twin, Given(repeated), depth=2, generator=seeded(0)))
    plain, sampled = found
    assert torch.equal(plain.value, sampled.value) and len(plain.tokens.unique(dim=0)) == 1 < len(
        sampled.tokens.unique(dim=0)
    )


def test_one_long_step_has_the_transitions_of_several_short_ones(repeated: Tensor) -> None:
    """Without deep supervision N_sup steps of T transitions become one of N_sup x T: the same
    function, another gradient.
    """
    for hierarchy in ("two", "flat"):
        short, long = (build(guidance="none", hierarchy=hierarchy, T=T) for T in (2, 8))
        several = rollout(short, Given(repeated), depth=4, generator=seeded(0))
        one = rollout(long, Given(repeated), depth=1, generator=seeded(0))
        assert torch.equal(several.value, one.value) and torch.equal(several.tokens, one.tokens)


def test_a_flat_state_loses_one_stack_and_never_moves_l(repeated: Tensor) -> None:
    two, flat = build(guidance="none"), build(guidance="none", hierarchy="flat")
    assert two.low is not None and flat.low is None
    assert parameter_count(two) - parameter_count(flat) == parameter_count(two.low)
    state = flat.initial_state(len(repeated))
    after = flat.advance(state, Given(repeated), None)
    assert torch.equal(after.l, state.l) and not torch.equal(after.h, state.h)


def test_heads_without_mu_or_sigma_have_half_the_weights() -> None:
    full, noise, mean = (build(guidance=kind).guidance for kind in ("full", "noise", "mean"))
    assert full is not None and noise is not None and mean is not None
    assert (
        parameter_count(full.prior)
        == 2 * parameter_count(noise.prior)
        == 2 * parameter_count(mean.prior)
    )
    u = torch.randn(3, 4, TINY.D, generator=seeded(0))
    assert not noise.prior(u).mu.any() and noise.prior(u).sigma.std() > 0
    assert (
        torch.allclose(mean.prior(u).sigma, torch.ones(3, 4, TINY.D)) and mean.prior(u).mu.std() > 0
    )


def test_a_random_z0_is_standard_normal_for_every_row_and_not_stored() -> None:
    model = build(guidance="none", z0="random", D=32)
    assert not model.z0_h.numel() and not model.z0_l.numel()
    inputs = torch.ones(200, LENGTH, dtype=torch.int64)
    for part in model.initial_state(len(inputs), seeded(0)):
        assert part.shape == (200, LENGTH + 1, 32)
        assert abs(float(part.mean())) < 0.02 and abs(float(part.std()) - 1) < 0.02
        assert float(part.flatten(1).std(dim=0).min()) > 0.8  # rows have their own
    h, l = model.initial_state(len(inputs), seeded(0))  # noqa: E741
    assert not torch.equal(h, l)


def test_rows_that_start_again_draw_their_z0_from_the_streams_generator(data_folder: Path) -> None:
    split = load_split(data_folder, "train")
    config = TrainConfig(batch_size=6, N_sup=2, stagger=False)

    def states(seed: int) -> list[Tensor]:
        model = build_model(
            dataclasses.replace(TINY, z0="random", guidance="none"), Shape(25, VOCABULARY), seed=0
        )
        stream = Stream(split, model, config, seeded(seed))
        found = [stream.state.h.clone()]
        for _ in range(4):
            step = model(stream.state, Given(stream.inputs), targets=stream.targets)
            stream.record(step, slice(config.batch_size))
            stream.advance()
            found.append(stream.state.h.clone())
        return found

    one, same, other = states(0), states(0), states(1)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])
    starts = [one[0], one[2], one[4]]  # every second step is a row's last
    assert len({row.numpy().tobytes() for start in starts for row in start}) == 18
