"""GRAM's objective (section 2.3): cross-entropy, balanced KL and halting loss."""

from __future__ import annotations

import torch

from gram.models.gram import GRAM
from gram.settings import TrainConfig
from gram.train import losses, optim
from gram.train.objectives.base import Rows, Supervised, supervise


@supervise.register
def _(model: GRAM, config: TrainConfig, number: int, rows: Rows) -> Supervised:
    step = model(
        rows.state,
        rows.given,
        targets=rows.targets,
        noise=rows.noise,
        uncharged_noise=config.uncharged_noise,
        charge_all=config.charged == "all",
        carry=(
            "posterior"
            if config.carry_prior_from is None or number < config.carry_prior_from
            else "prior"
        ),
    )
    posterior_hits = step.logits.argmax(dim=-1) == rows.targets
    hits = posterior_hits if step.carried is None else step.carried.argmax(dim=-1) == rows.targets
    exact = hits.all(dim=-1)
    terms = {"cross_entropy": losses.cross_entropy(step.logits, rows.targets, config.cross_entropy)}
    weights = {"cross_entropy": 1.0}
    if step.charges:
        terms["kl"], terms["kl_nats"] = losses.balanced_kl(step.charges, config)
        *earlier, factor = optim.beta_factors(number, config)
        factors = torch.full_like(terms["kl"], factor)
        for age, factor in enumerate(earlier):  # no tensor from a list, for which a GPU would wait
            factors = torch.where(rows.age == age, factor, factors)
        terms["kl"] = terms["kl"] * factors
        weights["kl"] = optim.beta(number, config)
    terms["halt_loss"] = losses.halt_loss(step.halt, exact)
    terms["posterior_exact"] = posterior_hits.all(dim=-1).float()
    if config.carry_prior_from is not None:
        terms["carried_exact"] = exact.float()
    weights["halt_loss"] = config.halt_weight
    return Supervised(step, hits, terms, weights)
