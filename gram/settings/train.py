"""The section ``train``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.field import setting
from gram.settings.limits import REPEATS, ROWS, STEPS, WEIGHT

GUIDED = ("gram",)  # architectures with a prior, a posterior and a value head
HALTING = ("gram", "hrm", "trm")  # those with a head for halting


@dataclass(frozen=True)
class TrainConfig:
    """Objective, optimizer and what is logged (sections 2.3 and B.1)."""

    steps: int = setting(28000, "optimizer steps", least=1, most=STEPS)
    N_sup: int = setting(
        16, "supervision steps that an input stays in the carry", least=1, most=REPEATS
    )
    supervision: Literal["streaming", "all"] = setting(
        "streaming",
        "what an optimizer step holds: one supervision step of every row of a carry, in which"
        " finished rows are replaced (the paper's, C.1.1); or the mean over all N_sup supervision"
        " steps of a fresh batch",
    )
    batch_size: int = setting(768, "rows in the carry, over all processes", least=1, most=ROWS)
    micro_batch: int | None = setting(
        None,
        "rows of one forward and backward pass; a step sums as many as it needs, in less memory;"
        " null or 0: all rows of a process",
        least=0,
        execution=True,
        most=ROWS,
    )
    optimizer: Literal["adamw", "adam_atan2"] = setting(
        "adamw",
        "AdamW, or AdamATan2, with which HRM and TRM are trained, and with it SignSGD for their"
        " puzzle vector",
    )
    learning_rate: float = setting(1e-4, "peak learning rate", least=0, most=10)
    weight_decay: float = setting(1.0, "decoupled weight decay", least=0, most=100)
    decay: Literal["all", "matrices"] = setting(
        "all",
        "what decays: all weights, or those of two dimensions and more, embeddings included and"
        " biases not",
        gap=(
            "Open. HRM and TRM decay every weight; sparing the biases is the usual other choice."
            " The biases of the guidance heads hold log sigma at the start, which decay moves"
            " towards sigma = softplus(0) = 0.69."
        ),
    )
    beta1: float = setting(
        0.9,
        "decay of the gradient's mean in the optimizer",
        gap="Open; as in HRM and TRM.",
        least=0,
        below=1,
    )
    beta2: float = setting(
        0.95,
        "decay of the squared gradient's mean in the optimizer",
        gap="Open; as in HRM and TRM.",
        least=0,
        below=1,
    )
    warmup_steps: int = setting(
        2000,
        "linear warm-up of the learning rate",
        gap="Open; as in HRM and TRM.",
        least=0,
        most=STEPS,
    )
    schedule: Literal["constant", "cosine"] = setting(
        "constant", "learning rate after the warm-up", gap="Open; as in TRM."
    )
    final_learning_rate: float = setting(
        0.1,
        "with cosine: the last learning rate as a share of the peak",
        gap="Open.",
        least=0,
        most=1,
    )
    final_weight_decay: float = setting(
        1.0,
        "with cosine: the last weight decay as a share of the first",
        gap="Not in the paper; 1, the default, changes nothing.",
        least=0,
        most=100,
    )
    grad_clip: float = setting(1.0, "largest norm of the gradient; 0: any", least=0, most=WEIGHT)
    ema_decay: float = setting(
        0.9999,
        "decay of the weights' exponential moving average, which is evaluated; 0: the weights"
        " themselves",
        least=0,
        below=1,
    )
    ema_correction: bool = setting(
        False,
        "whether the initial weights have no part in the average; otherwise they have one of"
        " ema_decay^steps: of 0.9999, 61 % after 5,000 steps",
        gap=(
            "Not in the paper; off by default. An average that is watched early then looks like"
            " one of a run that learns nothing."
        ),
    )
    cross_entropy: Literal["softmax", "stablemax"] = setting(
        "softmax",
        "normaliser of the cross-entropy",
        gap="Open. TRM uses stablemax in float64; softmax needs no float64.",
    )
    beta: float = setting(
        0.07,
        "weight of the KL (8x8: 0.07)",
        least=0,
        most=WEIGHT,
        only=GUIDED,
    )
    beta_initial: float | None = setting(
        None,
        "with a value: beta moves linearly from here to beta within beta_decay_steps",
        gap="Not in the paper; off by default.",
        least=0,
        most=WEIGHT,
        only=GUIDED,
    )
    beta_decay_steps: int = setting(
        0,
        "see beta_initial",
        gap="Not in the paper; off by default.",
        least=0,
        most=STEPS,
        only=GUIDED,
    )
    beta_factors: tuple[float, ...] = setting(
        (1.0,),
        "factors of beta in the first, second, ... supervision step of a trajectory; the last one "
        "holds for all later steps",
        gap=(
            "Not in the paper; 1, the default, changes nothing. In its first step a network cannot "
            "solve a board yet, and the target's help is worth much even where there is nothing to "
            "choose; a rollout has no such help. A dearer first step lets it compute first."
        ),
        least=0,
        most=WEIGHT,
        only=GUIDED,
    )
    beta_factors_initial: tuple[float, ...] | None = setting(
        None,
        "with values, as many as beta_factors: the factors move linearly from these to "
        "beta_factors within beta_decay_steps",
        gap="Not in the paper; off by default.",
        least=0,
        most=WEIGHT,
        only=GUIDED,
    )
    kl_balance: float = setting(
        0.8,
        "share of KL(sg(q) || p); the rest is KL(q || sg(p)) (Dreamer-V2)",
        least=0,
        most=1,
        only=GUIDED,
    )
    kl_channels: Literal["sum", "mean"] = setting(
        "sum",
        "reduction of the KL over channels",
        gap="Open, and it decides what beta means; a mean is ~500 times too weak.",
        only=GUIDED,
    )
    kl_tokens: Literal["sum", "mean"] = setting(
        "sum",
        "reduction of the KL over tokens; the cross-entropy is a mean over tokens",
        gap=(
            "Open. beta times the number of tokens is 4.0 to 4.5 for the paper's four constraint"
            " tasks, which speaks for a sum. mean divides by the number of tokens of the board,"
            " also where all share one noise vector: with beta = 1 it is the plain ELBO of one"
            " supervision step."
        ),
        only=GUIDED,
    )
    free_nats: float = setting(
        0.0,
        "KL per row and supervision step that costs the posterior nothing",
        gap="Not in the paper; off by default.",
        least=0,
        most=WEIGHT,
        only=GUIDED,
    )
    charged: Literal["last", "all"] = setting(
        "last",
        "transitions whose KL is charged: the last (the paper's, Eq. 14), or all (the heads re-run"
        " on the detached proposal u)",
        only=GUIDED,
    )
    uncharged_noise: Literal["prior", "posterior"] = setting(
        "prior",
        "source of the noise in transitions whose KL is not charged; the paper's is the posterior"
        " (Eq. 12), and why ours is not says reports/DEVIATIONS.md",
        only=GUIDED,
    )
    carry_prior_from: int | None = setting(
        None,
        "with a value: from this optimizer step on, the state that goes on to the next supervision"
        " step has the prior's noise in the place of the posterior's, and a row whose answer then"
        " is another completion of its input has that one as target",
        gap=(
            "Not in the paper; off by default. The posterior carries states that the target has"
            " steered, and a rollout of the prior soon leaves them; with the prior, every"
            " supervision step learns from states as a rollout meets them."
        ),
        least=0,
        most=STEPS,
        only=GUIDED,
    )
    halt_weight: float = setting(
        0.5,
        "weight of the halting loss; no gradient into the core",
        gap="Open; as in TRM.",
        least=0,
        most=WEIGHT,
        only=HALTING,
    )
    halt_loss: Literal["binary", "regression"] = setting(
        "binary",
        "binary: cross-entropy of q_halt with whether the answer is right; q_continue is not"
        " used. regression: squared errors of both values, sigmoid(q), of q_continue with the"
        " greater value after the next supervision step (the paper's, Eq. 15)",
        gap=(
            "The authors' own code halts on q_halt alone, so binary teaches nothing else. Of the"
            " paper's regression it is open on which noise the next step stands: here it is the"
            " prior's mean."
        ),
        only=GUIDED,
    )
    lprm_weight: float = setting(
        0.5,
        "weight of the value (LPRM) loss; no gradient into the core",
        gap="Open; only scales the head's own gradient.",
        least=0,
        most=WEIGHT,
        only=GUIDED,
    )
    lprm_reads: Literal["step", "transition"] = setting(
        "step",
        "states whose value is regressed: that after each supervision step, or after each"
        " transition (the paper's, Eq. 16, a sum over them)",
        only=GUIDED,
    )
    heads_on: Literal["posterior", "prior"] = setting(
        "posterior",
        "trajectories on which the heads for halting and value learn: those of the training, which"
        " the posterior steers, or rollouts of the prior beside them, on the same inputs, where any"
        " completion of the input is right",
        gap=(
            "Open. The heads are used on rollouts of the prior. Those of the posterior's halt after"
            " one or two steps, with many wrong answers; prior costs one more pass, without"
            " gradient, for each step."
        ),
        only=GUIDED,
    )
    lprm_reward: Literal["exact", "tokens"] = setting(
        "exact",
        "r of the value loss: 1 for an exact final prediction, or its share of correct tokens",
        gap=(
            "The paper says accuracy in [0, 1]. Nearly all tokens of a wrong board are right, so"
            " exact separates better."
        ),
        only=GUIDED,
    )
    auxiliary_weight: float = setting(
        0.01,
        "weight of the cross-entropy of x_0 beside the bound",
        gap="Open; D3PM's own for text (its lambda).",
        least=0,
        most=WEIGHT,
        only=("d3pm",),
    )
    sampling: Literal["pairs", "inputs"] = setting(
        "pairs",
        "how inputs are drawn: by their (input, target) pairs, or uniformly; the target is a random"
        " completion either way",
        gap=(
            "Open. The data set's rows are pairs, so an input with m completions is seen m times as"
            " often."
        ),
    )
    reveal: float = setting(
        0.0,
        "share of the trajectories whose input shows more of the target than any input of the data"
        " set does: all but 1 to m - 1 open positions, uniformly, where m is the fewest that a"
        " training input leaves open",
        gap=(
            "Not in the paper; 0, the default, changes nothing. Such inputs follow from the"
            " constraints alone, are made of the training pairs, and are in no split."
        ),
        least=0,
        most=1,
    )
    symmetries: int = setting(
        0,
        "how many random symmetries of the task there are, one of which is drawn for each"
        " trajectory and changes its input and target alike; 0: none",
        gap=(
            "The paper augments Sudoku-Extreme by 1,000 symmetries of each of 1,000 puzzles; here"
            " every puzzle has the same ones, drawn by the run's seed."
        ),
        least=0,
        most=1_000_000,
    )
    stagger: bool = setting(
        True,
        "start the rows of the carry at different supervision steps, so that each batch holds all"
        " of them",
        gap=(
            "Open; without halting, HRM's carry would move in lockstep. A fresh batch (supervision:"
            " all) is never staggered."
        ),
    )
    halt: Literal["none", "q"] = setting(
        "none",
        "when a row of the carry is replaced: after N_sup supervision steps, or as soon as its"
        " halting probability exceeds 0.5 (of HRM: that of continuing)",
        gap=(
            "Open. HRM and TRM train with q, and the paper contrasts Looped TF with all others in"
            " that it has no adaptive halting (C.1.1), which hints that GRAM does too; none gives"
            " every input the same number of steps."
        ),
        only=HALTING,
    )
    halt_exploration: float = setting(
        0.1,
        "with halt: q, the probability that a row may only halt after a random number of steps,"
        " uniform in 2..N_sup; drawn anew at every step",
        gap="Open; as in HRM and TRM.",
        least=0,
        most=1,
        only=HALTING,
    )
    initial_weights: str | None = setting(
        None,
        "with a path: training starts from the averaged weights of that run's weights.safetensors,"
        " beside its meta.json, and not from random ones, and what making them took is counted;"
        " {task} and {seed} in the path stand for the run's own",
        gap="Not in the paper; off by default.",
    )
    precision: Literal["fp32", "bf16"] = setting(
        "fp32", "dtype of the forward pass; weights, losses and KL stay in fp32"
    )
    matmul: Literal["tf32", "fp32"] = setting(
        "tf32",
        "on GPUs: matrix products of fp32 numbers as TF32, eight times as fast there and with"
        " factors of 10 bits, or in full, in training and when the run is evaluated; sums are fp32,"
        " and on a CPU this has no effect",
        execution=True,
    )
    compile: Literal["none", "default", "graphs"] = setting(
        "none",
        "torch.compile of the network: not, as it is, or with CUDA graphs (on the CPU as default)",
        execution=True,
    )
    threads: int = setting(
        1,
        "CPU threads of a training process; the last bits of a CPU result depend on it",
        least=1,
        execution=True,
        most=256,
    )
    processes: int = setting(
        1,
        "processes under torchrun, each on its own GPU, between which the rows of a batch are"
        " split",
        least=1,
        execution=True,
        most=256,
    )
    eval_every: int = setting(
        500, "steps between prior rollouts on training and validation inputs", least=1, most=STEPS
    )
    eval_inputs: int = setting(
        128, "training and validation inputs that are rolled out at most", least=0, most=ROWS
    )
    log_every: int = setting(50, "steps between lines of the history", least=1, most=STEPS)
    save_every: int = setting(500, "steps between saves of the resume state", least=1, most=STEPS)
