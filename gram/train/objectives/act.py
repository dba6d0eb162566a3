"""The objective of HRM and TRM: cross-entropy at every supervision step, and adaptive computation
time (ACT) as Q-learning.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gram.models.hrm import HRM
from gram.settings import TrainConfig
from gram.train import losses
from gram.train.objectives.base import Rows, Supervised, supervise


def continue_loss(halt: Tensor, following: Tensor, last: Tensor) -> Tensor:
    """Binary cross-entropy of q_continue with :func:`gram.train.losses.value_of_following`.

    Args:
        halt: logits of (halt, continue) at this step, [B, 2].
        following: those of the step after it, without gradient, [B, 2].
        last: whether this is the N_sup-th step of the row, bool [B].

    Returns:
        fp32 [B].
    """
    target = losses.value_of_following(following, last)
    return F.binary_cross_entropy_with_logits(halt[:, 1], target, reduction="none")


@supervise.register
def _(model: HRM, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    step = model(rows.state, rows.given)
    hits = step.logits.argmax(dim=-1) == rows.targets
    exact = hits.all(dim=-1)
    terms = {
        "cross_entropy": losses.cross_entropy(step.logits, rows.targets, config.cross_entropy),
        "halt_loss": losses.halt_loss(step.halt, exact),
        "exact": exact.float(),
    }
    weights = {"cross_entropy": 1.0, "halt_loss": config.halt_weight}
    if model.learns_continue and config.N_sup > 1:
        with (
            torch.no_grad()
        ):  # no target network and no replay: the step that follows, by the same weights
            following = model(step.state, rows.given).halt
        terms["continue_loss"] = continue_loss(step.halt, following, rows.last)
        weights["continue_loss"] = config.halt_weight
    return Supervised(step, hits, terms, weights)
