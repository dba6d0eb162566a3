"""What can be set: one dataclass per section, where each field carries its default, its meaning and, for a GAP, what is open.

``reports/GAP_DEFAULTS.md`` is generated from the ``gap`` notes, so a default is written only here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal


def setting(default: Any, doc: str, gap: str = "", *, least: float | None = None) -> Any:
    """A dataclass field with its meaning and, where the paper leaves the choice open, why this default (``gap``).

    ``least`` is the smallest value that makes sense.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "gap": gap, "least": least})


@dataclass(frozen=True)
class SplitConfig:
    """How the unique inputs of a task are split into train, valid and test."""

    test_fraction: float = setting(0.15, "share of the unique inputs in the test split; unused with folds (B.2: 85:15)", least=0)
    folds: int = setting(
        1,
        "with k > 1 the task becomes k tasks {task}-fold0.., each testing 1/k of the inputs; their evaluations are pooled",
        least=1,
    )
    valid_fraction: float = setting(
        0.05,
        "share of the remaining inputs that is kept out of training to watch the run",
        gap="The paper names no validation split. One is taken from the training inputs so that the test split is "
        "never looked at before the final evaluation.",
        least=0,
    )
    stratify: bool = setting(
        False,
        "split within groups of equal number of given cells",
        gap="The paper says only 85:15 by unique input; small boards are stratified, because a fold could otherwise "
        "hold nearly all inputs with several completions.",
    )


@dataclass(frozen=True)
class ModelConfig:
    """The architecture (sections 2 and B.1); symbols are the paper's."""

    D: int = setting(512, "width of the latent state, per token", least=1)
    heads: int = setting(8, "attention heads", least=1)
    ffn_hidden: int = setting(512, "inner width of the SwiGLU in f_L and f_H", least=1)
    layers: int = setting(2, "layers in f_L, and in f_H", least=1)
    K: int = setting(4, "low-level updates per transition", least=1)
    T: int = setting(3, "transitions per supervision step; gradients flow through the last one only", least=1)
    puzzle_tokens: int = setting(
        16,
        "zero tokens in front of the input; heads for halting and value read the first token",
        gap="Stated for ARC; whether the constraint tasks use all 16 is open. 0 on the CPU boards, where 16 of 41 "
        "tokens would be padding.",
        least=0,
    )
    guidance: Literal["full", "none"] = setting("full", "full: stochastic guidance; none: the deterministic twin")
    guidance_hidden: int = setting(
        384,
        "inner width of the four guidance heads",
        gap="With a posterior that sees [u, e_y] (2D wide), 384 gives the four heads the 3.15M parameters by which GRAM "
        "(10.5M) exceeds its deterministic core (7.3M).",
        least=1,
    )
    decoder_hidden: int = setting(
        128,
        "inner width of the SwiGLU decoder",
        gap="The paper calls the decoder a SwiGLU head without a width; 128 keeps the counts at 7.3M and 10.5M.",
        least=1,
    )
    posterior: Literal["token", "pooled"] = setting(
        "token",
        "how the posterior sees the target: its embedding at every token, or averaged over tokens",
        gap="Open in the paper. Per token keeps positions; averaging throws them away.",
    )
    sigma_init: float = setting(
        0.1,
        "standard deviation of the noise before training",
        gap="Open. Small noise keeps the untrained state close to the deterministic one (0.69 = softplus(0) is the other choice).",
        least=0,
    )
    sigma_min: float = setting(1e-3, "added to softplus(raw): the least standard deviation", gap="Open; bounds the KL.", least=0)
    z0: Literal["tokens", "vector"] = setting(
        "tokens",
        "shape of the fixed initial state: its own N(0, I) draw per token, or one vector for all",
        gap="The paper draws z_0 from N(0, I) with z of shape [L, D]; HRM and TRM use one vector for all tokens.",
    )
    rope_theta: float = setting(10000.0, "base of the rotary position embedding", gap="Open; the usual value.", least=0)
    norm_eps: float = setting(
        1e-5, "epsilon of the gainless post-norm RMSNorm", gap="Norm style is open; as in HRM and TRM.", least=0
    )


@dataclass(frozen=True)
class TrainConfig:
    """Objective, optimizer and what is logged (sections 2.3 and B.1)."""

    steps: int = setting(28000, "optimizer steps; one is taken per supervision step", least=1)
    N_sup: int = setting(16, "supervision steps that an input stays in the carry", least=1)
    batch_size: int = setting(768, "rows in the streaming carry", least=1)
    learning_rate: float = setting(1e-4, "peak learning rate of AdamW", least=0)
    weight_decay: float = setting(1.0, "decoupled weight decay, on all weights", least=0)
    beta1: float = setting(0.9, "AdamW", gap="Open; as in HRM and TRM.", least=0)
    beta2: float = setting(0.95, "AdamW", gap="Open; as in HRM and TRM.", least=0)
    warmup_steps: int = setting(2000, "linear warm-up of the learning rate", gap="Open; as in HRM and TRM.", least=0)
    schedule: Literal["constant", "cosine"] = setting("constant", "learning rate after the warm-up", gap="Open; as in TRM.")
    final_learning_rate: float = setting(0.1, "with cosine: the last learning rate as a share of the peak", gap="Open.", least=0)
    grad_clip: float = setting(1.0, "largest norm of the gradient", least=0)
    ema_decay: float = setting(0.9999, "decay of the weights' exponential moving average, which is evaluated", least=0)
    cross_entropy: Literal["softmax", "stablemax"] = setting(
        "softmax", "normaliser of the cross-entropy", gap="Open. TRM uses stablemax in float64; softmax needs no float64."
    )
    beta: float = setting(0.07, "weight of the KL (8x8: 0.07)", least=0)
    beta_initial: float | None = setting(
        None,
        "with a value: beta falls linearly from here to beta within beta_decay_steps",
        gap="Not in the paper; off by default.",
    )
    beta_decay_steps: int = setting(0, "see beta_initial", gap="Not in the paper; off by default.", least=0)
    kl_balance: float = setting(0.8, "share of KL(sg(q) || p); the rest is KL(q || sg(p)) (Dreamer-V2)", least=0)
    kl_channels: Literal["sum", "mean"] = setting(
        "sum", "reduction of the KL over channels", gap="Open, and it decides what beta means; a mean is ~500 times too weak."
    )
    kl_tokens: Literal["sum", "mean"] = setting(
        "sum",
        "reduction of the KL over tokens; the cross-entropy is a mean over tokens",
        gap="Open. beta times the number of tokens is 4.0 to 4.5 for the paper's four constraint tasks, which speaks for a "
        "sum. mean with beta = 1 is the plain ELBO of one supervision step.",
    )
    free_nats: float = setting(
        0.0, "KL per row and supervision step that costs the posterior nothing", gap="Not in the paper; off by default.", least=0
    )
    charged: Literal["last", "all"] = setting(
        "last",
        "transitions whose KL is charged: the last, or all (the heads re-run on the detached proposal u)",
        gap="Open; see uncharged_noise.",
    )
    uncharged_noise: Literal["prior", "posterior"] = setting(
        "prior",
        "source of the noise in transitions whose KL is not charged",
        gap="Open. With the posterior, the target reaches the decoder through noise that nobody charges for, and the "
        "prior learns nothing; see reports/DEVIATIONS.md.",
    )
    halt_weight: float = setting(0.5, "weight of the halting loss; no gradient into the core", gap="Open; as in TRM.", least=0)
    lprm_weight: float = setting(
        0.5, "weight of the value (LPRM) loss; no gradient into the core", gap="Open; only scales the head's own gradient.", least=0
    )
    lprm_reward: Literal["exact", "tokens"] = setting(
        "exact",
        "r of the value loss: 1 for an exact final prediction, or its share of correct tokens",
        gap="The paper says accuracy in [0, 1]. Nearly all tokens of a wrong board are right, so exact separates better.",
    )
    sampling: Literal["pairs", "inputs"] = setting(
        "pairs",
        "how inputs are drawn: by their (input, target) pairs, or uniformly; the target is a random completion either way",
        gap="Open. The data set's rows are pairs, so an input with m completions is seen m times as often.",
    )
    stagger: bool = setting(
        True,
        "start the rows of the carry at different supervision steps, so that each batch holds all of them",
        gap="Open; without halting, HRM's carry would move in lockstep.",
    )
    precision: Literal["fp32", "bf16"] = setting("fp32", "dtype of the forward pass; weights, losses and KL stay in fp32")
    threads: int = setting(1, "CPU threads of one training; the last bits of a CPU result depend on it", least=1)
    eval_every: int = setting(500, "steps between prior rollouts on training and validation inputs", least=1)
    eval_inputs: int = setting(128, "training and validation inputs that are rolled out at most", least=0)
    log_every: int = setting(50, "steps between lines of the history", least=1)
    save_every: int = setting(500, "steps between saves of the resume state", least=1)


@dataclass(frozen=True)
class EvaluateConfig:
    """Test-time compute; always from the prior."""

    depth: int = setting(16, "supervision steps of a rollout", least=1)
    width: int = setting(20, "trajectories per input for models that sample (20 in the paper)", least=1)
    act: bool = setting(False, "stop a trajectory when its halting probability passes 0.5", gap="Open for Table 1.")
    seed: int = setting(0, "seed of the rollouts' noise")
    weights: Literal["ema", "raw"] = setting("ema", "which weights are evaluated")
    batch_size: int = setting(512, "trajectories at a time", least=1)


SECTIONS: dict[str, type] = {
    "split": SplitConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
}


@dataclass(frozen=True)
class DataSettings:
    """Everything the content of ``results/data/{task}`` depends on."""

    task: str
    generator: dict[str, Any]
    split: SplitConfig


@dataclass(frozen=True)
class RunSettings:
    """Everything one training run depends on, but for the device; written to ``config.json`` beside its weights.

    Test-time compute is not part of it: a change of depth or width must not train anew.
    """

    task: str
    method: str
    seed: int
    data: DataSettings
    model: ModelConfig
    train: TrainConfig

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)
