"""Builds the network of a run from its settings."""

from __future__ import annotations

import torch
from torch import nn

from gram.models.building import build
from gram.models.network import Network, Shape
from gram.settings import ModelConfig
from gram.settings.agreement import check_model
from gram.system.rooms import modules_of

modules_of("gram.models")  # all of them register what they build


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
        return build(config, shape)


def parameter_count(model: nn.Module) -> int:
    """Trained parameters; z_0 is not one."""
    return sum(p.numel() for p in model.parameters())
