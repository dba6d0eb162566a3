"""Builds the network of a run from its settings."""

from __future__ import annotations

import torch
from torch import nn

from gram.errors import GramError
from gram.models.gram import GRAM, State
from gram.models.guidance import Guidance
from gram.models.layers import Block, Embedding, Rotary, Stack, SwiGLU
from gram.settings import ModelConfig


def build_model(config: ModelConfig, *, length: int, vocabulary: int, seed: int) -> GRAM:
    """GRAM, its deterministic twin or another ablation of it, with initial weights that depend on ``seed`` alone.

    Args:
        config: the architecture.
        length: tokens of the input, L.
        vocabulary: size of the vocabulary.
        seed: seed of the initial weights and of z_0.

    Raises:
        GramError: D is not a multiple of twice the number of heads, or sigma_min leaves no room for sigma.
    """
    if config.D % (2 * config.heads):
        raise GramError(f"model: D: {config.D} is not a multiple of 2 x heads ({config.heads}), which RoPE needs")
    if not config.sigma_min < min(config.sigma_init, 1):  # 1 is the sigma of guidance by the mean alone
        raise GramError(f"model: sigma_min: {config.sigma_min} is not below sigma_init ({config.sigma_init}) and 1")
    with torch.random.fork_rng(devices=[]):  # initialisers know only the global generator; it is put back afterwards
        torch.manual_seed(seed)
        tokens = config.puzzle_tokens + length
        rotary = Rotary(tokens, config.D // config.heads, config.rope_theta)

        def stack() -> Stack:
            blocks = [
                Block(config.D, heads=config.heads, ffn_hidden=config.ffn_hidden, rotary=rotary, norm_eps=config.norm_eps)
                for _ in range(config.layers)
            ]
            return Stack(*blocks)

        z0_tokens = {"tokens": tokens, "vector": 1, "random": 0}[config.z0]
        z0 = State(torch.randn(z0_tokens, config.D), torch.randn(z0_tokens, config.D))
        low = stack() if config.hierarchy == "two" else None
        high = stack()
        guidance = None
        embedding = Embedding(vocabulary, config.D)
        decoder = SwiGLU(config.D, config.decoder_hidden, vocabulary)
        if config.guidance != "none":
            guidance = Guidance(
                D=config.D,
                vocabulary=vocabulary,
                hidden=config.guidance_hidden,
                kind=config.guidance,
                sigma_init=config.sigma_init,
                sigma_min=config.sigma_min,
                pooled=config.posterior == "pooled",
                shared=config.noise == "board",
            )
        return GRAM(
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
            sampled_decoding=config.decoding == "sample",
        )


def parameter_count(model: nn.Module) -> int:
    """Trained parameters; z_0 is not one."""
    return sum(p.numel() for p in model.parameters())
