"""The bound of the whole rollout beside the surrogate that training minimises (section 2.3; the
paper's Figure 8), in nats.

Gradients, and by default the KL, reach one transition of one supervision step at a time. What such
a step minimises is therefore no bound on -log p(y | x); whether it moves together with the bound is
an empirical question, which these numbers answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gram.data.splits import Split, spread_rows
from gram.models.gram import GRAM
from gram.models.guidance import Source, kl_divergence
from gram.models.network import Given, Network
from gram.settings import TrainConfig
from gram.system.progress import progress_of_part
from gram.train import losses

Bounds = dict[str, dict[str, float]]  # {full, surrogate} -> {cross_entropy, kl}
# Groups of inputs by their number of completions: the least and the most of each.
GROUPS = {"1": (1, 1), "2 to 3": (2, 3), "4 to 6": (4, 6), "7 and more": (7, None)}


def watched_pairs(split: Split, limit: int, device: torch.device) -> tuple[Given, Tensor]:
    """At most ``limit`` (input, target) pairs, spread evenly over a split: inputs, and targets
    int64 [B, L_out].
    """
    return pairs_at(split, spread_rows(len(split.completions), limit), device)


def pairs_at(split: Split, rows: NDArray[np.int64], device: torch.device) -> tuple[Given, Tensor]:
    """The pairs of a split whose completions stand at ``rows`` [B]: inputs, and targets int64 [B,
    L_out].
    """
    owners = np.searchsorted(split.offsets, rows, side="right") - 1
    inputs, targets = (
        torch.from_numpy(tokens).long().to(device)
        for tokens in (split.inputs[owners], split.completions[rows])
    )
    return Given(inputs), targets


@torch.no_grad()
def supervised_pass(
    model: GRAM,
    given: Given,
    targets: Tensor,
    config: TrainConfig,
    generator: torch.Generator,
    *,
    uncharged_noise: Source,
    charge_all: bool,
) -> tuple[Tensor, Tensor] | None:
    """N_sup chained supervision steps from z_0 that see the targets, each as in training.

    Args:
        model: the network.
        given: the rows' inputs.
        targets: [B, L_out] int64.
        config: N_sup and the normaliser of the cross-entropy.
        generator: source of the noise, on the device of the model.
        uncharged_noise, charge_all: as of :meth:`gram.models.gram.GRAM.forward`.

    Returns:
        -log p(y | z) summed over tokens, and KL(q || p) summed over tokens, channels and the step's
        charged transitions; both fp32 [N_sup, B], in nats per board. None for a model without a KL.
    """
    state = model.initial_state(len(targets), generator)
    cross_entropy, kl = [], []
    for _ in progress_of_part(iterable=range(config.N_sup), desc="bounds", unit="step"):
        noise = model.draw_noise(len(targets), generator)
        step = model(
            state,
            given,
            targets=targets,
            noise=noise,
            uncharged_noise=uncharged_noise,
            charge_all=charge_all,
        )
        if not step.charges:
            return None
        state = step.state
        # The loss is a mean over tokens; a board's log-probability is their sum.
        cross_entropy.append(
            targets.shape[1] * losses.cross_entropy(step.logits, targets, config.cross_entropy)
        )
        kl.append(
            torch.stack(
                [kl_divergence(charge.q, charge.p).sum(dim=(1, 2)) for charge in step.charges]
            ).sum(dim=0)
        )
    return torch.stack(cross_entropy), torch.stack(kl)


def pass_as_trained(
    model: GRAM, given: Given, targets: Tensor, config: TrainConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor] | None:
    """:func:`supervised_pass` with noise and charges as the run's settings say."""
    return supervised_pass(
        model,
        given,
        targets,
        config,
        generator,
        uncharged_noise=config.uncharged_noise,
        charge_all=config.charged == "all",
    )


def bounds(
    model: GRAM, given: Given, targets: Tensor, config: TrainConfig, generator: torch.Generator
) -> Bounds | None:
    """The full negative ELBO and the surrogate of some pairs; one sample of the noise each, the
    same for both.

    full: all T x N_sup transitions draw from the posterior. cross_entropy is -log p(y | z) after
        the last supervision step, kl the KL(q || p) summed over all transitions. Their sum bounds
        -log p(y | x) from above, in expectation over the noise (but with ``guidance: mean``, which
        draws none and charges a distance in the KL's place).
    surrogate: noise and charges as the run's settings say. cross_entropy and kl are those of one
        supervision step, with the KL of its charged transitions, averaged over the N_sup steps, as
        a staggered batch averages them. Both have weight 1 here, whatever ``beta`` and the
        reductions of the loss are, so that all four numbers share one unit.

    Args:
        model: the network.
        given: the rows' inputs, at least one.
        targets: [B, L_out] int64.
        config: the run's settings.
        generator: source of the noise, on the device of the model.

    Returns:
        {full, surrogate} -> {cross_entropy, kl} in nats per board, means over the batch; None for a
        model without a KL.
    """
    start = generator.get_state()
    full = supervised_pass(
        model, given, targets, config, generator, uncharged_noise="posterior", charge_all=True
    )
    generator.set_state(start)
    as_trained = pass_as_trained(model, given, targets, config, generator)
    if full is None or as_trained is None:
        return None
    cross_entropy, kl = full
    return {
        "full": {
            "cross_entropy": float(cross_entropy[-1].mean()),
            "kl": float(kl.sum(dim=0).mean()),
        },
        "surrogate": {
            name: float(term.mean())
            for name, term in zip(("cross_entropy", "kl"), as_trained, strict=True)
        },
    }


def watched_bounds(
    model: Network, split: Split, config: TrainConfig, generator: torch.Generator
) -> Bounds | None:
    """:func:`bounds` of at most ``eval_inputs`` pairs of a split; None without any, or for a model
    without a KL.
    """
    if not isinstance(model, GRAM):
        return None
    given, targets = watched_pairs(split, config.eval_inputs, generator.device)
    return bounds(model, given, targets, config, generator) if len(targets) else None


def by_supervision_step(
    model: Network, split: Split, config: TrainConfig, generator: torch.Generator, pairs: int
) -> dict[str, dict[str, Any]] | None:
    """What each supervision step pays along trajectories that the posterior steers.

    An input with m completions leaves a choice worth log m. If it is carried on, the KL is paid in
    the first step or two and is near 0 after them; if it stays near log m to the last step, what
    was chosen is forgotten and decided anew each time, and a rollout has no posterior to decide it.

    Args:
        model: the network.
        split: the pairs; as many of each group of :data:`GROUPS` as there are, up to its share.
        config: of the run: N_sup supervision steps, with noise and charges as in training.
        generator: source of the noise, on the device of the model.
        pairs: how many in all, an equal share for each group.

    Returns:
        A group's name -> pairs (how many), log_m (mean of log m), kl and cross_entropy (of every
        step, means over the pairs), in nats per board; groups without pairs are left out. None for
        a model without a KL.
    """
    if not isinstance(model, GRAM):
        return None
    of_row = np.repeat(split.counts, split.counts)  # how many completions each row's input has
    found: dict[str, dict[str, Any]] = {}
    for name, (least, most) in GROUPS.items():
        within = np.flatnonzero((of_row >= least) & (of_row <= (most or of_row.max())))
        rows = within[spread_rows(len(within), pairs // len(GROUPS))]
        if not len(rows):
            continue
        paid = pass_as_trained(model, *pairs_at(split, rows, generator.device), config, generator)
        if paid is None:
            return None
        cross_entropy, kl = paid
        found[name] = {
            "pairs": len(rows),
            "log_m": float(np.log(of_row[rows]).mean()),
            "kl": kl.mean(dim=1).tolist(),
            "cross_entropy": cross_entropy.mean(dim=1).tolist(),
        }
    return found
