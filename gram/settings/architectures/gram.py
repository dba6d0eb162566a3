"""The section ``model`` of GRAM, its deterministic twin and its ablations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.field import setting
from gram.settings.limits import BASE, HEADS, LAYERS, REPEATS, TOKENS, WIDTH

ROPE = (
    "what RoPE counts: the tokens before a token; the coordinates that the task gives it (row and"
    " column of a board, the two vertices of an edge), each with an equal share of the channels; or"
    " those, their sum and their difference"
)

MIXER = (
    "what brings tokens together in a layer: attention, or a SwiGLU over the sequence, which the"
    " paper has for Sudoku"
)


@dataclass(frozen=True)
class GramModel:
    """The architecture (sections 2 and B.1); symbols are the paper's."""

    architecture: Literal["gram"] = setting("gram", "which network it is")

    D: int = setting(512, "width of the latent state, per token", least=1, most=WIDTH)
    heads: int = setting(8, "attention heads", least=1, most=HEADS)
    ffn_hidden: int = setting(512, "inner width of the SwiGLU in f_L and f_H", least=1, most=WIDTH)
    layers: int = setting(2, "layers in f_L, and in f_H", least=1, most=LAYERS)
    K: int = setting(4, "low-level updates per transition", least=1, most=REPEATS)
    T: int = setting(
        3,
        "transitions per supervision step; gradients flow through the last one only",
        gap=(
            "What carries gradient without deep supervision (Table 3: N_sup = 1, and T the"
            " transitions of all N_sup steps) is open. Here it is the last transition as everywhere"
            " else, so that memory does not grow with the depth."
        ),
        least=1,
        most=REPEATS,
    )
    puzzle_tokens: int = setting(
        16,
        "zero tokens in front of the input, 16 in the paper (B.1, C.2.1); heads for halting and"
        " value read the first token",
        least=0,
        most=TOKENS,
    )
    hierarchy: Literal["two", "flat"] = setting(
        "two",
        "two: h and l; flat: h alone, through K + 1 applications of one stack per transition"
        " (Table 3)",
        gap=(
            "What the paper's ablation without hierarchical recursion loops is open. flat keeps the"
            " depth of a transition and the injection of the input, and has one stack less."
        ),
    )
    guidance: Literal["full", "none", "noise", "mean"] = setting(
        "full",
        "full: stochastic guidance; none: the deterministic twin; noise: eps ~ N(0, sigma^2); mean:"
        " eps = mu (Table 3)",
        gap=(
            "How the paper trains its ablation N(mu, 0) is open: between widths of zero the KL is"
            " infinite or nothing. Here it is taken between unit widths, half the squared distance"
            " of the means."
        ),
    )
    prediction: Literal["residual", "direct"] = setting(
        "residual",
        "what a transition ends with: the proposal and the noise, h = u + eps, or the noise alone,"
        " h = eps (Table 3, with direct prediction)",
        gap="What the paper's direct prediction is it does not say; this is the likely reading.",
    )
    guidance_hidden: int = setting(
        384,
        "inner width of the four guidance heads",
        gap=(
            "With a posterior that sees [u, e_y] (2D wide), 384 gives the four heads the 3.15M"
            " parameters by which GRAM (10.5M) exceeds its deterministic core (7.3M). With one that"
            " sees u + e_y (posterior: added), 512 does."
        ),
        least=1,
        most=WIDTH,
    )
    guidance_products: Literal["fp32", "bf16"] = setting(
        "fp32",
        "matrix products in the guidance heads: of fp32 numbers, on GPUs as matmul says, or of"
        " factors rounded to bf16, with sums in fp32; KL, noise and losses are fp32 either way",
    )
    decoder: Literal["swiglu", "linear"] = setting(
        "swiglu",
        "what reads the logits from h: a SwiGLU, or a linear map",
        gap=(
            "The paper's text says a SwiGLU head; its Table 4, as others read it, a linear map."
            " With that and posterior: added at an inner width of 512 the count is 10.49M, the"
            " paper's 10.5M."
        ),
    )
    decoder_hidden: int = setting(
        128,
        "inner width of the SwiGLU decoder",
        gap=(
            "The paper calls the decoder a SwiGLU head without a width; 128 keeps the counts at"
            " 7.3M and 10.5M."
        ),
        least=1,
        most=WIDTH,
    )
    posterior: Literal["token", "added", "pooled"] = setting(
        "token",
        "how the posterior sees the target: its embedding beside u at every token, added to u, or"
        " averaged over tokens",
        gap=(
            "Open in the paper; added fits its parameter counts with the other widths that it"
            " states. Per token keeps positions. Averaging throws them away, and since"
            " the embedding carries no position, all boards with the same number of queens have the"
            " same average: on N-Queens it tells the posterior nothing."
        ),
    )
    noise: Literal["token", "board"] = setting(
        "token",
        "whether every token draws its own noise, or all tokens of a board share one vector, on"
        " which they vote",
        gap=(
            "board is a deviation: the paper draws noise per token. Which completion it will be is"
            " one decision of the board, and a shared vector cannot hint at the answer cell by"
            " cell, which closes the posterior's short-cut."
        ),
    )
    noise_in: Literal["all", "last"] = setting(
        "all",
        "transitions of a supervision step that draw noise: all T, or the last alone, where the "
        "others take the prior's mean",
        gap=(
            "last is a deviation: in the paper every transition draws. Training steers a"
            " supervision step to its target in the last transition. If the transitions before it"
            " draw from the prior, which does not know the target, they choose some completion anew"
            " each time, so that the network learns to forget what was chosen; with last, a choice"
            " is made once and carried."
        ),
    )
    sigma_init: float = setting(
        0.1,
        "standard deviation of the noise before training",
        gap=(
            "Open. Small noise keeps the untrained state close to the deterministic one (0.69 ="
            " softplus(0) is the other choice)."
        ),
        least=0,
        most=10,
    )
    sigma_min: float = setting(
        1e-3,
        "added to softplus(raw): the least standard deviation",
        gap="Open; bounds the KL.",
        least=0,
        below=1,
    )
    z0: Literal["tokens", "vector", "random"] = setting(
        "tokens",
        "initial state: a fixed N(0, I) draw per token, a fixed vector for all tokens, or a new"
        " draw per trajectory (Table 3)",
        gap=(
            "The paper draws z_0 from N(0, I) with z of shape [L, D]; HRM and TRM use one vector"
            " for all tokens."
        ),
    )
    mixer: Literal["attention", "sequence"] = setting(
        "attention",
        MIXER,
    )
    mixer_hidden: int = setting(
        512,
        "with mixer: sequence: inner width of that SwiGLU",
        gap=(
            "Open. TRM's is 8/3 of the sequence, rounded up to a multiple of 256: 512 for 81 + 16"
            " tokens."
        ),
        least=1,
        most=WIDTH,
    )
    rope: Literal["sequence", "axial", "diagonal"] = setting(
        "sequence",
        ROPE,
        gap=(
            "Open. The paper says RoPE; HRM and TRM count tokens. A cell and the one below it are"
            " then n tokens apart, which a network has to learn."
        ),
    )
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
