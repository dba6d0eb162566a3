"""What networks are built with: positions and stacks; and :func:`build`, for which each network
registers itself.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from gram.models.layers import (
    Attention,
    Block,
    ModulatedBlock,
    Modulation,
    Rotary,
    SequenceMixer,
    Stack,
    SwiGLU,
)
from gram.models.network import Network, Shape
from gram.settings import GramModel
from gram.settings.agreement import check_axes
from gram.settings.architectures.baselines import InPlace, MdlmModel, Transformer
from gram.settings.architectures.d3pm import D3pmModel


@singledispatch
def build(config: Any, shape: Shape) -> Network:
    """The network of an architecture, dispatched on the dataclass of its section ``model``.

    Args:
        config: the architecture.
        shape: of the task.
    """
    raise TypeError(f"{type(config).__name__} has no network; register one in gram/models")


def in_sequence(tokens: int) -> Tensor:
    """The positions of ``tokens`` tokens one after another: int64 [tokens, 1]."""
    return torch.arange(tokens)[:, None]


def in_place(config: GramModel | InPlace, shape: Shape, puzzle_tokens: int = 0) -> Tensor:
    """The positions of a network that answers at its input's own tokens: int64 [puzzle_tokens + L,
    axes].

    Puzzle tokens lie before the origin of the task, on both coordinates alike. All cells of a
    diagonal have the same sum, or the same difference, of their coordinates.

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


def mixer_of(
    config: GramModel | Transformer, positions: Tensor, rotary: Rotary, *, causal: bool = False
) -> Attention | SequenceMixer:
    """What brings tokens at ``positions`` [L, axes] together in a layer of ``config``."""
    if isinstance(config, GramModel | InPlace) and config.mixer == "sequence":
        return SequenceMixer(len(positions), config.mixer_hidden)
    return Attention(config.D, heads=config.heads, rotary=rotary, causal=causal)


def modulated_blocks(config: MdlmModel | D3pmModel, positions: Tensor) -> list[ModulatedBlock]:
    """The layers of ``config`` for tokens at ``positions`` [L, axes], modulated by the time."""
    rotary = Rotary(positions, config.D // config.heads, config.rope_theta)
    return [
        ModulatedBlock(
            mixer_of(config, positions, rotary),
            SwiGLU(config.D, config.ffn_hidden, config.D),
            Modulation(config.condition, config.D, parts=6),
            norm_eps=config.norm_eps,
        )
        for _ in range(config.layers)
    ]


def stack_of(
    config: GramModel | Transformer,
    positions: Tensor,
    *,
    causal: bool = False,
    halves: bool = False,
) -> Stack:
    """The layers of ``config`` for tokens at ``positions`` [L, axes], with the mixer that it says;
    ``halves`` as of :class:`gram.models.layers.Rotary`.
    """
    rotary = Rotary(positions, config.D // config.heads, config.rope_theta, halves=halves)
    blocks = [
        Block(
            mixer_of(config, positions, rotary, causal=causal),
            SwiGLU(config.D, config.ffn_hidden, config.D),
            norm_eps=config.norm_eps,
        )
        for _ in range(config.layers)
    ]
    return Stack(*blocks)
