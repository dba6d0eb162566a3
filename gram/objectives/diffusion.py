"""MDLM's objective: the simplified continuous-time bound on -log p (Sahoo et al. 2024), one time per row."""

from __future__ import annotations

from torch import Tensor

from gram import losses
from gram.models.diffusion import MaskedDiffusion
from gram.models.network import State
from gram.objectives.base import Supervised, check_softmax, supervise
from gram.settings import TrainConfig


@supervise.register
def _(
    model: MaskedDiffusion,
    config: TrainConfig,
    number: int,
    state: State,
    inputs: Tensor,
    targets: Tensor,
    noise: Tensor | None,
    last: Tensor,
) -> Supervised:
    check_softmax(model, config)
    assert noise is not None
    step = model(state, inputs, targets=targets, noise=noise)
    hits = step.logits.argmax(dim=-1) == targets
    # Tokens that are not masked are certain and cost nothing, so that the mean over all tokens is the masked ones' share of it.
    cross_entropy = losses.cross_entropy(step.logits, targets, config.cross_entropy)
    terms = {"bound": cross_entropy / noise[0], "cross_entropy": cross_entropy.detach(), "exact": hits.all(dim=-1).float()}
    return Supervised(step, hits, terms, weights={"bound": 1.0})
