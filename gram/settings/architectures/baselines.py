"""The section ``model`` of the baselines of Table 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.architectures.gram import MIXER, ROPE
from gram.settings.field import setting
from gram.settings.limits import BASE, HEADS, LAYERS, REPEATS, TOKENS, WIDTH


@dataclass(frozen=True)
class Transformer:
    """What the plain transformers share; their blocks are those of GRAM (section B.1)."""

    D: int = setting(512, "width of a token", least=1, most=WIDTH)
    heads: int = setting(8, "attention heads", least=1, most=HEADS)
    ffn_hidden: int = setting(
        1536,
        "inner width of the SwiGLU",
        gap=(
            "HRM's and TRM's width. Eight layers have 27.3M parameters (paper: 27M), two have 6.8M"
            " (7M). 32 layers have 109M where the paper says 100M: with equal layers, no width fits"
            " both 27M at 8 and 100M at 32, so that is taken as rounded."
        ),
        least=1,
        most=WIDTH,
    )
    layers: int = setting(8, "layers", least=1, most=LAYERS)
    rope_theta: float = setting(
        10000.0,
        "base of the rotary position embedding",
        gap="Open; the usual value.",
        least=1,
        most=BASE,
    )
    norm_eps: float = setting(
        1e-5,
        "epsilon of the gainless post-norm RMSNorm",
        gap="Norm style is open; as in HRM and TRM.",
        least=0,
        most=1,
    )


@dataclass(frozen=True)
class InPlace(Transformer):
    """What those share that read the answer at the input's own tokens."""

    rope: Literal["sequence", "axial", "diagonal"] = setting("sequence", ROPE, gap="See GRAM.")
    mixer: Literal["attention", "sequence"] = setting(
        "attention",
        MIXER,
    )
    mixer_hidden: int = setting(
        512,
        "with mixer: sequence: inner width of that SwiGLU",
        gap="See GRAM.",
        least=1,
        most=WIDTH,
    )


@dataclass(frozen=True)
class DirectModel(InPlace):
    """Direct Pred (27M with 8 layers, 100M with 32): one pass through plain blocks."""

    architecture: Literal["direct"] = setting("direct", "which network it is")


@dataclass(frozen=True)
class LoopedModel(InPlace):
    """Looped TF (7M): one flat stack, looped with the input added again before every loop; the loss
    comes after the last.
    """

    architecture: Literal["looped"] = setting("looped", "which network it is")
    layers: int = setting(2, "layers of the stack that is looped", least=1, most=LAYERS)
    loops: int = setting(
        16,
        "applications of the stack, in training and at test time",
        gap="Open. As many as the others' supervision steps.",
        least=1,
        most=REPEATS,
    )
    gradient_loops: int | None = setting(
        None,
        "the last loops, through which the loss is propagated back; null: through all",
        gap=(
            "Open. Without supervision in between, only gradient through all loops tells the first"
            " ones anything. Yang et al. (arXiv:2311.12424) cut it, but add a loss at every loop"
            " that is left."
        ),
        least=1,
        most=REPEATS,
    )


@dataclass(frozen=True)
class HrmModel(InPlace):
    """HRM (27M), as in its repository: f_L and f_H, gradient through the last application of
    each.
    """

    architecture: Literal["hrm"] = setting("hrm", "which network it is")
    ffn_hidden: int = setting(
        1536,
        "inner width of the SwiGLU: 8/3 D, rounded up to a multiple of 256",
        least=1,
        most=WIDTH,
    )
    layers: int = setting(4, "layers in f_L, and in f_H", least=1, most=LAYERS)
    K: int = setting(2, "low-level updates per cycle", least=1, most=REPEATS)
    T: int = setting(2, "cycles per supervision step", least=1, most=REPEATS)
    puzzle_tokens: int = setting(
        1,
        "tokens in front of the input: a learned vector, which the halting head reads, then zeros",
        gap=(
            "Open for these tasks. HRM has one, TRM 16, in their repositories for every task; a"
            " task here is one puzzle."
        ),
        least=1,
        most=TOKENS,
    )


@dataclass(frozen=True)
class TrmModel(InPlace):
    """TRM (7M), as in its repository: one stack for both levels, gradient through the whole last
    cycle.
    """

    architecture: Literal["trm"] = setting("trm", "which network it is")
    ffn_hidden: int = setting(
        1536,
        "inner width of the SwiGLU: 8/3 D, rounded up to a multiple of 256",
        least=1,
        most=WIDTH,
    )
    layers: int = setting(2, "layers of the one stack", least=1, most=LAYERS)
    K: int = setting(6, "low-level updates per cycle", least=1, most=REPEATS)
    T: int = setting(
        3,
        "cycles per supervision step; gradients flow through the last one only",
        least=1,
        most=REPEATS,
    )
    puzzle_tokens: int = setting(
        16,
        "tokens in front of the input: a learned vector, which the halting head reads, then zeros",
        gap="See HRM.",
        least=1,
        most=TOKENS,
    )


@dataclass(frozen=True)
class ArModel(Transformer):
    """AR (10.6M): a causal transformer over the input's tokens, then the output's."""

    architecture: Literal["ar"] = setting("ar", "which network it is")
    D: int = setting(
        384,
        "width of a token",
        gap=(
            "Open. Six layers of width 384 with 12 D^2 weights each are 10.6M, the paper's count,"
            " and with MDLM's time modulation of width 128 they are 12.5M (12.6M): one shape fits"
            " both."
        ),
        least=1,
        most=WIDTH,
    )
    heads: int = setting(
        6, "attention heads", gap="Open; 64 channels each, as everywhere.", least=1, most=HEADS
    )
    ffn_hidden: int = setting(
        1024,
        "inner width of the SwiGLU",
        gap="See D; as many weights as a plain MLP of 4 D.",
        least=1,
        most=WIDTH,
    )
    layers: int = setting(6, "layers", gap="See D.", least=1, most=LAYERS)


@dataclass(frozen=True)
class MdlmModel(Transformer):
    """MDLM (12.6M): masked diffusion over the output's tokens, which follow the input's (Sahoo et
    al. 2024).
    """

    architecture: Literal["mdlm"] = setting("mdlm", "which network it is")
    D: int = setting(384, "width of a token", gap="See the D of AR.", least=1, most=WIDTH)
    heads: int = setting(
        6, "attention heads", gap="Open; 64 channels each, as everywhere.", least=1, most=HEADS
    )
    ffn_hidden: int = setting(
        1024, "inner width of the SwiGLU", gap="See the D of AR.", least=1, most=WIDTH
    )
    layers: int = setting(6, "layers", gap="See the D of AR.", least=1, most=LAYERS)
    condition: int = setting(
        128,
        "width of the time embedding that modulates the blocks",
        gap="Open; as in MDLM's own code.",
        least=1,
        most=WIDTH,
    )
    conditioned: bool = setting(
        False,
        "whether the network is told the time; otherwise it is told 0, and the modulation is a"
        " learned constant",
        gap=(
            "Open. What a masked token is does not depend on the time once the other tokens are"
            " seen; MDLM's own code leaves it out too."
        ),
    )
    times: Literal["stratified", "independent"] = setting(
        "stratified",
        "times of a batch: one in each of B equal parts of (0, 1], or independent",
        gap=(
            "Open. Stratified, as in MDLM's own code, makes the loss less noisy and leaves its"
            " mean."
        ),
    )
    least_time: float = setting(
        1e-3,
        "smallest time in training; the weight of a time is 1 / t",
        gap="Open; as in MDLM's own code.",
        least=1e-6,
        below=1,
    )
