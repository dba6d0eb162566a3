"""MDLM's objective: the simplified continuous-time bound on -log p (Sahoo et al. 2024), one time
per row.
"""

from __future__ import annotations

from gram.models.diffusion import MaskedDiffusion
from gram.settings import TrainConfig
from gram.train import losses
from gram.train.objectives.base import Rows, Supervised, check_softmax, supervise


@supervise.register
def _(model: MaskedDiffusion, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    check_softmax(model, config)
    assert rows.noise is not None
    step = model(rows.state, rows.given, targets=rows.targets, noise=rows.noise)
    hits = step.logits.argmax(dim=-1) == rows.targets
    # Tokens that are not masked are certain and cost nothing, so that the mean over all tokens is
    # the masked ones' share of it.
    cross_entropy = losses.cross_entropy(step.logits, rows.targets, config.cross_entropy)
    terms = {
        "bound": cross_entropy / rows.noise[:, 0],
        "cross_entropy": cross_entropy.detach(),
        "exact": hits.all(dim=-1).float(),
    }
    return Supervised(step, hits, terms, weights={"bound": 1.0})
