"""The objective of the toy method: cross-entropy."""

from __future__ import annotations

from gram.models.toy import Toy

from gram.settings import TrainConfig
from gram.train import losses
from gram.train.objectives.base import Rows, Supervised, supervise


@supervise.register
def _(model: Toy, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    step = model(rows.state, rows.given, noise=rows.noise)
    terms = {"cross_entropy": losses.cross_entropy(step.logits, rows.targets, config.cross_entropy)}
    hits = step.logits.argmax(dim=-1) == rows.targets
    return Supervised(step, hits, terms, weights={"cross_entropy": 1.0})
