"""The section ``model`` of D3PM, the paper's baseline for boards from nothing (Table 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.architectures.baselines import InPlace
from gram.settings.field import setting
from gram.settings.limits import LAYERS, REPEATS, WIDTH


@dataclass(frozen=True)
class D3pmModel(InPlace):
    """D3PM (15.9M; big: 55.1M with D 768, 12 heads, ffn_hidden 2048, 5 layers, condition 768):
    discrete diffusion in the place of the answer, with DiT blocks (Austin et al. 2021).
    """

    architecture: Literal["d3pm"] = setting("d3pm", "which network it is")
    layers: int = setting(3, "layers", least=1, most=LAYERS)
    ffn_hidden: int = setting(
        1536,
        "inner width of the SwiGLU",
        gap=(
            "Open. 8/3 D, rounded up to a multiple of 256, gives both of the paper's counts, 15.9M"
            " and 55.1M, with a time embedding as wide as a token."
        ),
        least=1,
        most=WIDTH,
    )
    condition: int = setting(
        512,
        "width of the time embedding that modulates the blocks (adaLN-zero)",
        gap="See ffn_hidden.",
        least=1,
        most=WIDTH,
    )
    corruption: Literal["uniform", "absorbing"] = setting(
        "uniform",
        "what a token becomes: any token, all alike; or a mask, for good",
    )
    diffusion_steps: int = setting(
        1000, "steps of the chain that corrupts an answer, T", least=1, most=REPEATS
    )
    alphas: Literal["cosine", "linear"] = setting(
        "cosine",
        "the share of tokens that are left as they were after step t: cos^2, or 1 - t / T",
        gap=(
            "Open. D3PM has the cosine of Nichol and Dhariwal for uniform corruption, and the line"
            " for absorbing."
        ),
    )
