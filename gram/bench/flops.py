"""Matmul FLOPs of training, counted from the settings.

A product counts two per multiply-add; what carries gradient counts three times (forward, and two products backward).
Element-wise work, and recomputation inside attention's backward, are left out, as is usual for shares of a peak.
"""

from __future__ import annotations

from gram.settings import ModelConfig, RunSettings
from gram.tasks import make_task

NETWORKS = {"full": 2, "noise": 1, "mean": 1}  # SwiGLU networks in a guidance head


def swiglu_flops(inputs: int, hidden: int, outputs: int, *, forward_and_backward: bool = False, input_gradient: bool = True) -> int:
    """FLOPs of one SwiGLU network for one token.

    ``forward_and_backward`` counts both; without ``input_gradient`` the first product has one product backward, not two.
    """
    first, second = 2 * inputs * 2 * hidden, 2 * hidden * outputs
    return (2 + input_gradient) * first + 3 * second if forward_and_backward else first + second


def heads_flops(model: ModelConfig, *, prior: bool, posterior: bool, **backward: bool) -> int:
    """FLOPs of one transition's guidance heads for one token; ``backward`` as of :func:`swiglu_flops`."""
    D, hidden = model.D, model.guidance_hidden
    flops = swiglu_flops(D, hidden, D, **backward) if prior else 0
    if posterior:
        # Its input holds the target's embedding too, which always has a gradient.
        flops += swiglu_flops(2 * D, hidden, D, forward_and_backward=backward.get("forward_and_backward", False))
    return NETWORKS[model.guidance] * flops


def row_flops(settings: RunSettings) -> int:
    """FLOPs of one optimizer step for one row: a supervision step, or N_sup of them with ``supervision: all``."""
    model, train = settings.model, settings.train
    task = make_task(settings.task, settings.data.generator)
    D, tokens = model.D, model.puzzle_tokens + task.length
    attention = 2 * (4 * D * D + 2 * tokens * D)
    stack = model.layers * (attention + swiglu_flops(D, model.ffn_hidden, D))
    transition = tokens * (model.K + 1) * stack
    flops = (model.T - 1 + 3) * transition
    flops += task.length * swiglu_flops(D, model.decoder_hidden, task.vocabulary, forward_and_backward=True)
    if model.guidance != "none":
        flops += tokens * heads_flops(model, prior=True, posterior=True, forward_and_backward=True)
        if train.charged == "all":  # before the last transition u has no gradient
            earlier = heads_flops(model, prior=True, posterior=True, forward_and_backward=True, input_gradient=False)
        else:
            from_prior = train.uncharged_noise == "prior"
            earlier = heads_flops(model, prior=from_prior, posterior=not from_prior)
        flops += tokens * (model.T - 1) * earlier
    return flops * (train.N_sup if train.supervision == "all" else 1)


def run_flops(settings: RunSettings) -> int:
    """FLOPs of all optimizer steps of a run; watching it and evaluating it are not counted."""
    return settings.train.steps * settings.train.batch_size * row_flops(settings)
