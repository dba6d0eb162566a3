"""Matmul FLOPs of training by formula: what :mod:`gram.bench.flops` counts, without a network and
without torch.

For example, a layer that maps 512 channels to 128 costs a token 2 x 512 x 128. A test holds every
formula against the count, to the last FLOP.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

from gram.settings import GramModel, RunSettings, TrainConfig
from gram.settings.architectures.baselines import (
    ArModel,
    DirectModel,
    HrmModel,
    InPlace,
    LoopedModel,
    MdlmModel,
    Transformer,
    TrmModel,
)
from gram.settings.architectures.d3pm import D3pmModel
from gram.tasks import make_task

# Products per layer: forward alone; with the gradient of its weights; with that of its input too.
FORWARD, WEIGHTS, BOTH = 1, 2, 3
TIME_FEATURES = 256  # of the time embedding of MDLM and D3PM


class Size(NamedTuple):
    """What the cost depends on of a task."""

    inputs: int  # tokens of the input
    outputs: int  # tokens of the answer
    vocabulary: int


def linear(inputs: int, outputs: int, tokens: int = 1) -> int:
    """FLOPs of a linear map of some tokens."""
    return 2 * inputs * outputs * tokens


def swiglu(inputs: int, hidden: int, outputs: int, tokens: int) -> int:
    """FLOPs of a SwiGLU, whose gate and up are one product."""
    return linear(inputs, 2 * hidden, tokens) + linear(hidden, outputs, tokens)


def stack(config: GramModel | Transformer, tokens: int) -> int:
    """FLOPs of the forward pass of all layers of a stack, for one row."""
    D = config.D
    if isinstance(config, GramModel | InPlace) and config.mixer == "sequence":
        mixer = swiglu(tokens, config.mixer_hidden, tokens, D)
    else:  # queries, keys, values and output; scores, and their product with the values
        mixer = linear(D, 4 * D, tokens) + 2 * linear(D, tokens, tokens)
    return config.layers * (mixer + swiglu(D, config.ffn_hidden, D, tokens))


@singledispatch
def passes(config: Any, train: TrainConfig, size: Size) -> int | None:
    """FLOPs of one supervision step of one row, forward and backward; None for an architecture
    without a formula, whose FLOPs are counted.

    Args:
        config: the architecture.
        train: the objective's settings.
        size: of the task.
    """
    return None


@passes.register
def _(config: GramModel, train: TrainConfig, size: Size) -> int:
    D, hidden = config.D, config.guidance_hidden
    tokens = config.puzzle_tokens + size.inputs
    total = (config.T - 1 + BOTH) * (config.K + 1) * stack(config, tokens)
    noisy = config.T if config.noise_in == "all" else 1
    networks = {"none": 0, "full": 2}.get(config.guidance, 1)  # of a head: mu, sigma, or both
    for left in range(config.T, 0, -1):  # transitions, this one included
        guided, last = left <= noisy, left == 1
        charged = guided and (last or train.charged == "all")
        steered = charged or (guided and train.uncharged_noise == "posterior")
        products = BOTH if charged else FORWARD
        if charged or not steered:
            prior = products * swiglu(D, hidden, D, tokens)
            if charged and not last:  # whose input has no gradient
                prior -= linear(D, 2 * hidden, tokens)
            total += networks * prior
        if steered:
            seen = D if config.posterior == "added" else 2 * D  # u and e_y
            total += networks * products * swiglu(seen, hidden, D, tokens)
    if config.decoder == "linear":
        decoder = linear(D, size.vocabulary, size.outputs)
    else:
        decoder = swiglu(D, config.decoder_hidden, size.vocabulary, size.outputs)
    carried = networks > 0 and train.carry_prior_from == 0
    total += (BOTH + carried) * decoder
    total += WEIGHTS * linear(D, 2) + FORWARD * linear(D, 1)  # halting and value
    if train.halt_loss == "regression":  # one step of a rollout more
        prior = networks * swiglu(D, hidden, D, tokens)
        total += config.T * ((config.K + 1) * stack(config, tokens) + prior) + linear(D, 2)
    return total


@passes.register(HrmModel)
@passes.register(TrmModel)
def _(config: HrmModel | TrmModel, train: TrainConfig, size: Size) -> int:
    hrm = isinstance(config, HrmModel)
    steps, learned = config.T * (config.K + 1), 1 + (1 if hrm else config.K)
    one = stack(config, config.puzzle_tokens + size.inputs)
    heads = linear(config.D, size.vocabulary, size.outputs) + linear(config.D, 2)
    total = (steps + (BOTH - 1) * learned) * one + BOTH * heads
    if hrm and train.N_sup > 1:  # the step that follows, which tells what continuing is worth
        total += FORWARD * (steps * one + heads)
    return total


@passes.register
def _(config: DirectModel, train: TrainConfig, size: Size) -> int:
    head = linear(config.D, size.vocabulary, size.outputs)
    return BOTH * (stack(config, size.inputs) + head)


@passes.register
def _(config: LoopedModel, train: TrainConfig, size: Size) -> int:
    cut = config.loops if config.gradient_loops is None else config.gradient_loops
    loops = config.loops + (BOTH - 1) * min(cut, config.loops)
    return loops * stack(config, size.inputs) + BOTH * linear(
        config.D, size.vocabulary, size.outputs
    )


@passes.register
def _(config: ArModel, train: TrainConfig, size: Size) -> int:
    head = linear(config.D, size.vocabulary, size.outputs)
    return BOTH * (stack(config, size.inputs + size.outputs - 1) + head)


@passes.register
def _(config: MdlmModel, train: TrainConfig, size: Size) -> int:
    return modulated(config, size.inputs + size.outputs, size)


@passes.register
def _(config: D3pmModel, train: TrainConfig, size: Size) -> int:
    return modulated(config, size.inputs, size)


def modulated(config: MdlmModel | D3pmModel, tokens: int, size: Size) -> int:
    """FLOPs of one pass of a network whose layers a time embedding modulates, with gradient."""
    D, width = config.D, config.condition
    network = stack(config, tokens) + linear(width, (6 * config.layers + 2) * D)
    network += linear(width, width) + linear(D, size.vocabulary, size.outputs)
    return BOTH * network + WEIGHTS * linear(TIME_FEATURES, width)


def row_flops(settings: RunSettings) -> int:
    """FLOPs of one optimizer step for one row: a supervision step, or N_sup of them with
    ``supervision: all``.
    """
    train, task = settings.train, make_task(settings.task, settings.data.generator)
    outputs = len(range(task.length)[task.answers])
    found = passes(settings.model, train, Size(task.length, outputs, task.vocabulary))
    if found is None:
        from gram.bench.flops import counted_flops  # which takes seconds, as torch does

        found = counted_flops(settings)
    return found * (train.N_sup if train.supervision == "all" else 1)


def run_flops(settings: RunSettings) -> int:
    """FLOPs of all optimizer steps of a run; watching it and evaluating it are not counted."""
    return settings.train.steps * settings.train.batch_size * row_flops(settings)
