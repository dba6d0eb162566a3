"""FLOPs of every architecture and every switch of it: counted without computing, as torch does."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gram.bench.flops import row_flops, shape_of, supervised_loss
from gram.models.factory import build_model
from gram.settings import ModelConfig, RunSettings
from gram.settings.config import load_experiment, resolve

ROOT = Path(__file__).parents[1]
SMALL = {
    **{"D": 32, "heads": 2, "ffn_hidden": 24, "layers": 2, "guidance_hidden": 8},
    **{"decoder_hidden": 8, "puzzle_tokens": 1, "loops": 4, "gradient_loops": 2},
    **{"condition": 16},
}


def small(cls: Any) -> Any:
    """The settings of a small network of an architecture."""
    names = {field.name for field in dataclasses.fields(cls)}
    return cls(**{name: value for name, value in SMALL.items() if name in names})


def switched() -> Iterator[Any]:
    """Every architecture with each value of each of its switches, one at a time."""
    for cls in typing.get_args(ModelConfig):
        yield pytest.param(small(cls), id=cls.__name__)
        for name, hint in typing.get_type_hints(cls).items():
            values = {bool: (False, True)}.get(hint, ())
            if typing.get_origin(hint) is Literal and name != "architecture":
                values = typing.get_args(hint)
            for value in values:
                changed = dataclasses.replace(small(cls), **{name: value})
                if changed != small(cls):
                    yield pytest.param(changed, id=f"{cls.__name__}-{name}-{value}")


@pytest.fixture(scope="module")
def plain() -> RunSettings:
    """A run on 5x5, of which the tests replace the network."""
    experiment = load_experiment(ROOT / "config/experiments/nqueens5.yaml")
    return resolve(experiment, "nqueens5-fold0", "gram", 0)


@pytest.mark.parametrize("model", list(switched()))
def test_count_is_that_of_a_computation(model: Any, plain: RunSettings) -> None:
    train = dataclasses.replace(plain.train, cross_entropy="softmax")
    settings = dataclasses.replace(plain, model=model, train=train)
    network = build_model(model, shape_of(settings), seed=0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        loss = supervised_loss(network, settings, 1)
        loss.backward()
    assert torch.isfinite(loss)
    assert row_flops(settings) == counter.get_total_flops() > 0


@pytest.mark.parametrize("model", list(switched()))
def test_a_network_is_built_on_the_device_that_was_asked_for(
    model: Any, plain: RunSettings
) -> None:
    """All of it: weights and buffers, whatever the task's shape brings along."""
    settings = dataclasses.replace(plain, model=model)
    with torch.device("meta"):
        network = build_model(model, shape_of(settings), seed=0)
    parts = [*network.parameters(), *network.buffers()]
    assert parts and {part.device.type for part in parts} == {"meta"}
