"""What torch.compile is given: every step in training is one graph, and nothing in it is left to
slow kernels of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gram.models.factory import build_model
from gram.models.layers import Rotary
from gram.models.network import Shape
from gram.settings import GramModel, ModelConfig, TrainConfig
from gram.settings.architectures.baselines import (
    ArModel,
    DirectModel,
    HrmModel,
    LoopedModel,
    MdlmModel,
    TrmModel,
)
from gram.settings.architectures.d3pm import D3pmModel
from gram.system.provenance import seeded_generator
from gram.tasks import make_task
from gram.train.objectives import Supervised

SMALL: dict[str, Any] = {"D": 16, "heads": 2, "ffn_hidden": 8, "layers": 1}
GRAM: dict[str, Any] = SMALL | {"K": 2, "T": 2, "guidance_hidden": 8, "decoder_hidden": 8}
NETWORKS: dict[str, tuple[ModelConfig, dict[str, Any]]] = {
    "direct": (DirectModel(**SMALL), {}),
    "direct, diagonal": (DirectModel(**SMALL, rope="diagonal"), {}),
    "direct, sequence mixer": (DirectModel(**SMALL, mixer="sequence", mixer_hidden=8), {}),
    "looped": (LoopedModel(**SMALL, loops=3, gradient_loops=2), {}),
    "hrm": (HrmModel(**SMALL, K=2, T=2), {"N_sup": 2, "cross_entropy": "stablemax"}),
    "trm": (TrmModel(**SMALL, K=2, T=2, puzzle_tokens=2), {"N_sup": 2}),
    "ar": (ArModel(**SMALL), {}),
    "mdlm": (MdlmModel(**SMALL, condition=8), {}),
    "d3pm, uniform": (D3pmModel(**SMALL, condition=8), {}),
    "d3pm, absorbing": (D3pmModel(**SMALL, condition=8, corruption="absorbing"), {}),
    "gram": (GramModel(**GRAM), {}),
    "gram, axial": (GramModel(**GRAM, rope="axial"), {}),
    "gram, all charged": (GramModel(**GRAM), {"charged": "all"}),
    "gram, carried": (GramModel(**GRAM), {"carry_prior_from": 0}),
    "gram, posterior throughout": (GramModel(**GRAM), {"uncharged_noise": "posterior"}),
    "gram, board, last": (GramModel(**GRAM, noise="board", noise_in="last"), {}),
    "gram, flat": (GramModel(**GRAM, hierarchy="flat"), {}),
    "gram, without guidance": (GramModel(**GRAM, guidance="none"), {}),
    "gram, means": (GramModel(**GRAM, guidance="mean"), {}),
    "gram, rounded heads": (GramModel(**GRAM, guidance_products="bf16"), {}),
    "gram, sums": (GramModel(**GRAM, posterior="added", decoder="linear"), {"charged": "all"}),
    "gram, direct": (GramModel(**GRAM, prediction="direct"), {"lprm_reads": "transition"}),
}


def refuse_complex(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """A compiler that runs the graph as it is, and refuses complex numbers in it."""
    for node in graph.graph.nodes:
        value = node.meta.get("example_value")
        if isinstance(value, Tensor) and value.is_complex():
            raise TypeError(f"complex: {node.name}")
    forward: Callable[..., Any] = graph.forward
    return forward


def supervised(
    name: str, supervise_fresh: Callable[..., Supervised], *, whole: bool
) -> dict[str, Tensor]:
    """The losses of a step of that network on three rows of nqueens4, and its gradients."""
    config, train = NETWORKS[name]
    task = make_task("nqueens4", {"removed": [3]})
    shape = Shape.of(task)
    model = build_model(config, shape, seed=0)
    if whole:
        model.compile(backend=refuse_complex, fullgraph=True, dynamic=False)
    generator = seeded_generator(torch.device("cpu"), 0, "compiled")
    tokens = torch.randint(1, 3, (3, shape.length), generator=generator)
    noise = model.training_noise(3, generator)
    done = supervise_fresh(model, tokens, tokens, noise, TrainConfig(**{"N_sup": 1} | train))
    terms = [weight * done.terms[name].mean() for name, weight in done.weights.items()]
    torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
    return dict(done.terms) | gradients


@pytest.fixture(autouse=True)
def forgotten() -> None:
    """Nothing compiled by another test counts here."""
    torch.compiler.reset()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_training_step_is_one_graph_of_real_numbers(
    name: str, supervise_fresh: Callable[..., Supervised]
) -> None:
    whole = supervised(name, supervise_fresh, whole=True)
    plain = supervised(name, supervise_fresh, whole=False)
    assert whole.keys() == plain.keys()
    for key, tensor in plain.items():
        assert torch.allclose(whole[key], tensor, atol=1e-5), key


def test_complex_numbers_in_a_graph_are_seen(
    supervise_fresh: Callable[..., Supervised], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: RoPE as it is where nothing is compiled."""

    def product(self: Rotary, x: Tensor, start: int = 0) -> Tensor:
        pairs = torch.view_as_complex(x.float().view(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * self.rotation).flatten(-2)

    monkeypatch.setattr(Rotary, "forward", product)
    with pytest.raises(Exception, match="complex"):
        supervised("gram", supervise_fresh, whole=True)
