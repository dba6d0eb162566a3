"""The objective of methods that answer in one pass: the cross-entropy of the target, nothing
else.
"""

from __future__ import annotations

from gram.models.autoregressive import Autoregressive
from gram.models.direct import Direct
from gram.settings import TrainConfig
from gram.train import losses
from gram.train.objectives.base import Rows, Supervised, check_softmax, supervise


@supervise.register(Direct)  # and Looped, whose loss comes after its last loop
@supervise.register(Autoregressive)
def _(model: Direct | Autoregressive, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    if isinstance(model, Autoregressive):
        check_softmax(model, config)
    step = model(rows.state, rows.given, targets=rows.targets)
    hits = step.logits.argmax(dim=-1) == rows.targets
    terms = {
        "cross_entropy": losses.cross_entropy(step.logits, rows.targets, config.cross_entropy),
        "exact": hits.all(dim=-1).float(),
    }
    return Supervised(step, hits, terms, weights={"cross_entropy": 1.0})
