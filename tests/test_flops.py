"""FLOPs of every architecture and every switch of it: counted without computing, as torch does, and
by formula.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from gram.bench import formula
from gram.bench.flops import counted_flops, shape_of, supervised_loss
from gram.bench.formula import row_flops
from gram.models.factory import build_model
from gram.settings import GramModel, ModelConfig, RunSettings
from gram.settings.architectures.baselines import HrmModel, LoopedModel
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
    assert row_flops(settings) == counted_flops(settings) == counter.get_total_flops() > 0


OBJECTIVES = (
    {"charged": "all"},
    {"charged": "all", "model": {"noise_in": "last"}},
    {"uncharged_noise": "posterior"},
    {"uncharged_noise": "posterior", "model": {"guidance": "mean"}},
    {"charged": "all", "model": {"guidance": "noise", "posterior": "pooled"}},
    {"carry_prior_from": 0},
    {"carry_prior_from": 0, "model": {"guidance": "none"}},
    {"halt_loss": "regression"},
    {"halt_loss": "regression", "lprm_reads": "transition", "model": {"guidance": "none"}},
    {"N_sup": 1},
    {"supervision": "all", "N_sup": 3},
)


@pytest.mark.parametrize("changed", OBJECTIVES, ids=str)
@pytest.mark.parametrize("cls", [GramModel, HrmModel], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("task", ["nqueens5-fold0", "coloring5"])
def test_the_formula_is_the_count_with_every_switch_of_the_objective(
    changed: dict[str, Any], cls: Any, task: str, plain: RunSettings
) -> None:
    """Also where the answer is read at some of the input's tokens only."""
    base = load_experiment(ROOT / f"config/experiments/{task.partition('-')[0]}.yaml")
    model, train = dict(changed.get("model", {})), dict(changed)
    train.pop("model", None)
    if cls is not GramModel:
        model = {}
    settings = dataclasses.replace(
        resolve(base, task, "gram", 0),
        model=dataclasses.replace(small(cls), **model),
        train=dataclasses.replace(plain.train, **train),
    )
    steps = settings.train.N_sup if settings.train.supervision == "all" else 1
    assert row_flops(settings) == steps * counted_flops(settings)


@pytest.mark.parametrize("gradient_loops", [None, 1, 4, 9])
def test_the_formula_knows_how_many_loops_carry_gradient(
    gradient_loops: int | None, plain: RunSettings
) -> None:
    model = dataclasses.replace(small(LoopedModel), gradient_loops=gradient_loops)
    settings = dataclasses.replace(plain, model=model)
    assert row_flops(settings) == counted_flops(settings)


def test_an_architecture_without_a_formula_is_counted(
    plain: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(plain, model=small(typing.get_args(ModelConfig)[0]))
    expected = row_flops(settings)
    monkeypatch.setattr(formula, "passes", lambda *_: None)
    assert row_flops(settings) == expected


def test_an_estimate_needs_no_torch() -> None:
    """Importing it takes longer than all else that an estimate does."""
    code = "import sys, gram.bench.__main__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr


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
