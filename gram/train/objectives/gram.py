"""GRAM's objective (section 2.3): cross-entropy, balanced KL and halting loss."""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.gram import GRAM
from gram.models.network import State, Step
from gram.settings import TrainConfig
from gram.train import losses, optim
from gram.train.objectives.base import Rolled, Rows, Supervised, supervise


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
        reads_all=config.lprm_reads == "transition",
    )
    posterior_hits = step.logits.argmax(dim=-1) == rows.targets
    hits = posterior_hits if step.carried is None else step.carried.argmax(dim=-1) == rows.targets
    carried_exact, rolled = hits.all(dim=-1), None
    if rows.rolled is not None:
        rolled, step, hits = on_the_prior(model, step, rows, rows.rolled)
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
    if config.halt_loss == "binary":
        terms["halt_loss"] = losses.halt_loss(step.halt, exact)
    else:
        following = next_halt(model, rolled or step.state, rows)
        terms["halt_loss"] = losses.halt_regression(step.halt, exact, following, rows.last)
    terms["posterior_exact"] = posterior_hits.all(dim=-1).float()
    if config.carry_prior_from is not None:
        terms["carried_exact"] = carried_exact.float()
    if rolled is not None:
        terms["rolled_exact"] = exact.float()
    weights["halt_loss"] = config.halt_weight
    return Supervised(step, hits, terms, weights, rolled)


def on_the_prior(model: GRAM, step: Step, rows: Rows, rolled: Rolled) -> tuple[State, Step, Tensor]:
    """A step of the rollout beside the rows, on which the heads learn instead of on the rows.

    Returns:
        Where it stands then; the step with what the heads read and say of it; and which tokens of
        its answer are those of the completion that it is nearest to: bool [B, L_out].
    """
    with torch.no_grad():
        state = model.advance(rolled.state, rows.given, rolled.noise)
        equal = model.back(state.h).argmax(dim=-1)[:, None] == rolled.completions
        nearest = equal.sum(dim=-1).argmax(dim=1)
        hits = equal[torch.arange(len(equal), device=equal.device), nearest]
    summary = state.h[:, 0]
    halt = model.halt_logits(summary)
    return state, step._replace(summary=summary, halt=halt, value=model.value(summary)), hits


@torch.no_grad()
def next_halt(model: GRAM, state: State, rows: Rows) -> Tensor:
    """Logits of (halt, continue) one supervision step on, which takes the prior's mean: [B, 2]."""
    noise = None if rows.noise is None else torch.zeros_like(rows.noise)
    after = model.advance(state, rows.given, noise)
    return model.halt_logits(after.h[:, 0])
