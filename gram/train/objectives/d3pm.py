"""D3PM's objective: the bound on -log p and, with a small weight, the cross-entropy of x_0
(Austin et al. 2021, section 3.4).
"""

from __future__ import annotations

from gram.models.d3pm import DiscreteDiffusion
from gram.settings import TrainConfig
from gram.train import losses
from gram.train.objectives.base import Rows, Supervised, check_softmax, supervise


@supervise.register
def _(model: DiscreteDiffusion, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    check_softmax(model, config)
    assert rows.noise is not None
    noisy, t = model.corrupt(rows.targets, rows.noise)
    step = model(rows.state, rows.given, targets=rows.targets, noise=rows.noise)
    hits = step.logits.argmax(dim=-1) == rows.targets
    terms = {
        "bound": model.bound(step.logits, rows.targets, noisy, t),
        "cross_entropy": losses.cross_entropy(step.logits, rows.targets, config.cross_entropy),
        "exact": hits.all(dim=-1).float(),
    }
    weights = {"bound": 1.0, "cross_entropy": config.auxiliary_weight}
    return Supervised(step, hits, terms, weights)
