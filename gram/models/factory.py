"""Builds the network of a run from its settings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gram.models.autoregressive import Autoregressive
from gram.models.diffusion import MaskedDiffusion
from gram.models.direct import Direct
from gram.models.gram import GRAM
from gram.models.guidance import Guidance
from gram.models.hrm import HRM
from gram.models.layers import Block, Embedding, ModulatedBlock, Rotary, Stack, SwiGLU
from gram.models.looped import Looped
from gram.models.network import Network, Shape, State
from gram.settings import GramModel, ModelConfig
from gram.settings.agreement import check_axes, check_model
from gram.settings.baselines import (
    ArModel,
    DirectModel,
    HrmModel,
    InPlace,
    LoopedModel,
    MdlmModel,
    Transformer,
    TrmModel,
)


def build_model(config: ModelConfig, shape: Shape, seed: int) -> Network:
    """The network of a method, with initial weights that depend on ``seed`` alone.

    Args:
        config: the architecture.
        shape: of the task.
        seed: seed of the initial weights and of a fixed z_0.

    Raises:
        GramError: settings of the architecture that exclude each other.
    """
    check_model(config)
    with torch.random.fork_rng(
        devices=[]
    ):  # initialisers know only the global generator; it is put back afterwards
        torch.manual_seed(seed)
        return BUILDERS[type(config)](config, shape)


def in_sequence(tokens: int) -> Tensor:
    """The positions of ``tokens`` tokens one after another: int64 [tokens, 1]."""
    return torch.arange(tokens)[:, None]


def in_place(config: GramModel | InPlace, shape: Shape, puzzle_tokens: int = 0) -> Tensor:
    """The positions of a network that answers at its input's own tokens: int64 [puzzle_tokens + L, axes].

    Puzzle tokens lie before the origin of the task, on both coordinates alike. All cells of a diagonal have the same sum, or the
    same difference, of their coordinates.

    Raises:
        GramError: heads too narrow for as many axes.
    """
    if config.rope == "sequence":
        return in_sequence(puzzle_tokens + shape.length)
    # Not from_numpy, which would leave the device that the rest of the network is built on.
    coordinates = torch.tensor(shape.coordinates)
    front = torch.arange(-puzzle_tokens, 0)[:, None].expand(-1, coordinates.shape[1])
    positions = torch.cat([front, coordinates])
    if config.rope == "diagonal":
        one, other = positions.T[:2]  # the rows and columns of a task that has more
        positions = torch.stack([one, other, one + other, one - other], dim=1)
    check_axes(config, positions.shape[1])
    return positions


def plain_stack(
    config: GramModel | Transformer,
    positions: Tensor,
    *,
    causal: bool = False,
    halves: bool = False,
) -> Stack:
    """The layers of ``config`` for tokens at ``positions`` [L, axes]; ``halves`` as of :class:`gram.models.layers.Rotary`."""
    rotary = Rotary(positions, config.D // config.heads, config.rope_theta, halves=halves)
    blocks = [
        Block(
            config.D,
            heads=config.heads,
            ffn_hidden=config.ffn_hidden,
            rotary=rotary,
            norm_eps=config.norm_eps,
            causal=causal,
        )
        for _ in range(config.layers)
    ]
    return Stack(*blocks)


def build_gram(config: GramModel, shape: Shape) -> GRAM:
    """GRAM, its deterministic twin or another ablation of it."""
    positions = in_place(config, shape, config.puzzle_tokens)
    tokens = len(positions)
    z0_tokens = {"tokens": tokens, "vector": 1, "random": 0}[config.z0]
    z0 = State(*(nn.init.normal_(torch.empty(z0_tokens, config.D)) for _ in range(2)))
    low = plain_stack(config, positions) if config.hierarchy == "two" else None
    high = plain_stack(config, positions)
    guidance = None
    embedding = Embedding(shape.vocabulary, config.D)
    decoder = SwiGLU(config.D, config.decoder_hidden, shape.vocabulary)
    if config.guidance != "none":
        guidance = Guidance(
            D=config.D,
            vocabulary=shape.vocabulary,
            hidden=config.guidance_hidden,
            kind=config.guidance,
            sigma_init=config.sigma_init,
            sigma_min=config.sigma_min,
            pooled=config.posterior == "pooled",
            shared=config.noise == "board",
        )
    return GRAM(
        answers=shape.answers,
        D=config.D,
        K=config.K,
        T=config.T,
        puzzle_tokens=config.puzzle_tokens,
        z0=z0,
        embedding=embedding,
        low=low,
        high=high,
        decoder=decoder,
        guidance=guidance,
        noisy_transitions=config.T if config.noise_in == "all" else 1,
        sampled_decoding=config.decoding == "sample",
    )


def build_direct(config: DirectModel, shape: Shape) -> Direct:
    """Direct Pred."""
    return Direct(
        answers=shape.answers,
        D=config.D,
        vocabulary=shape.vocabulary,
        stack=plain_stack(config, in_place(config, shape)),
    )


def build_looped(config: LoopedModel, shape: Shape) -> Looped:
    """Looped TF."""
    return Looped(
        answers=shape.answers,
        D=config.D,
        vocabulary=shape.vocabulary,
        stack=plain_stack(config, in_place(config, shape)),
        loops=config.loops,
        gradient_loops=config.gradient_loops,
    )


def build_autoregressive(config: ArModel, shape: Shape) -> Autoregressive:
    """AR."""
    return Autoregressive(
        answers=shape.answers,
        outputs=shape.outputs,
        D=config.D,
        vocabulary=shape.vocabulary,
        stack=plain_stack(config, in_sequence(shape.length + shape.outputs - 1), causal=True),
        temperature=config.temperature,
    )


def build_masked_diffusion(config: MdlmModel, shape: Shape) -> MaskedDiffusion:
    """MDLM."""
    rotary = Rotary(
        in_sequence(shape.length + shape.outputs), config.D // config.heads, config.rope_theta
    )
    blocks = [
        ModulatedBlock(
            config.D,
            condition=config.condition,
            heads=config.heads,
            ffn_hidden=config.ffn_hidden,
            rotary=rotary,
            norm_eps=config.norm_eps,
        )
        for _ in range(config.layers)
    ]
    return MaskedDiffusion(
        answers=shape.answers,
        outputs=shape.outputs,
        D=config.D,
        vocabulary=shape.vocabulary,
        blocks=blocks,
        condition=config.condition,
        conditioned=config.conditioned,
        steps=config.sampling_steps,
        stratified=config.times == "stratified",
        least_time=config.least_time,
    )


def build_hrm(config: HrmModel | TrmModel, shape: Shape) -> HRM:
    """HRM or TRM."""
    hrm = isinstance(config, HrmModel)
    positions = in_place(config, shape, config.puzzle_tokens)
    low = plain_stack(config, positions, halves=True) if hrm else None
    high = plain_stack(config, positions, halves=True)
    return HRM(
        answers=shape.answers,
        D=config.D,
        vocabulary=shape.vocabulary,
        K=config.K,
        T=config.T,
        gradient_updates=1 if hrm else config.K,
        learns_continue=hrm,
        puzzle_tokens=config.puzzle_tokens,
        low=low,
        high=high,
    )


BUILDERS: dict[type, Callable[..., Network]] = {
    GramModel: build_gram,
    DirectModel: build_direct,
    LoopedModel: build_looped,
    HrmModel: build_hrm,
    TrmModel: build_hrm,
    ArModel: build_autoregressive,
    MdlmModel: build_masked_diffusion,
}


def parameter_count(model: nn.Module) -> int:
    """Trained parameters; z_0 is not one."""
    return sum(p.numel() for p in model.parameters())
