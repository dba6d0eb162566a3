"""The section ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.field import setting
from gram.settings.limits import REPEATS, ROWS, SEED
from gram.system.rooms import names_in

# The samplers are the modules of gram/models/samplers, whose names are read without importing
# torch; independent samples, the default, first.
_NAMES = [name.replace("_", "+") for name in names_in("gram.models.samplers") if name != "base"]
SAMPLERS = tuple(sorted(_NAMES, key=lambda name: (name != "iid", name)))


@dataclass(frozen=True)
class EvaluateConfig:
    """Test-time compute; always from the prior."""

    depth: int = setting(16, "supervision steps of a rollout", least=1, most=REPEATS)
    width: int = setting(
        20, "trajectories per input for models that sample (20 in the paper)", least=1, most=ROWS
    )
    act: bool = setting(
        False, "stop a trajectory when its halting probability passes 0.5", gap="Open for Table 1."
    )
    seed: int = setting(0, "seed of the rollouts' noise", least=0, most=SEED)
    weights: Literal["ema", "raw"] = setting("ema", "which weights are evaluated")
    precision: Literal["fp32", "bf16"] = setting(
        "fp32",
        "precision of the forward pass (guidance heads are apart from it); bf16 is quicker on GPUs,"
        " and on processors that multiply it",
    )
    batch_size: int = setting(512, "trajectories at a time", least=1, most=ROWS)
    sampler: str = setting(
        "iid",
        "how the trajectories of one input share noise and steps: independent; pairs with opposite"
        " noise; a Latin hypercube; states that push each other apart; repeated answers that start"
        " again; that with opposite noise (gram/models/samplers)",
        gap=(
            "The paper's samples are independent. The others are not in the paper; all spend the"
            " same supervision steps."
        ),
        choices=SAMPLERS,
    )
    noise_scale: float = setting(
        1.0,
        "factor of the prior's width in every draw of a rollout: below 1 a sample is valid more"
        " often, and samples differ less",
        gap="Not in the paper; 1, the default, draws from the prior as it was trained.",
        least=0,
        most=10,
    )
    decoding: Literal["argmax", "sample"] = setting(
        "argmax",
        "answer of a rollout: the most probable tokens, or each drawn from its softmax at"
        " temperature 1 (Table 3)",
        only=("gram",),
    )
    temperature: float = setting(
        1.0,
        "of the draws, from the whole vocabulary; 0 takes the most probable token",
        gap=(
            "Open. 1 is the model's own distribution, which can be checked against its exact"
            " likelihood. Accuracy is that of the same samples."
        ),
        least=0,
        most=100,
        only=("ar",),
    )
    sampling_steps: int = setting(
        128,
        "of ancestral sampling: network calls per answer",
        gap=(
            "Open. With few steps many tokens are drawn at once, without seeing each other; 128 is"
            " the default of MDLM's own code. While a training is watched it is as many as the"
            " answer has tokens."
        ),
        least=1,
        most=REPEATS,
        only=("mdlm", "d3pm"),
    )
    forms: int = setting(
        1,
        "symmetric forms of each input over which its trajectories are spread, equally many each;"
        " their answers are changed back, and a vote counts them together",
        gap="Not in the paper; 1, the default, gives a network the input itself.",
        least=1,
        most=REPEATS,
    )
    reseed_every: int = setting(
        4,
        "with reseed: supervision steps between two comparisons of answers, and the fewest after a"
        " restart",
        gap="Not in the paper.",
        least=1,
        most=REPEATS,
    )
    repulsion: float = setting(
        0.1,
        "with repulsion: how far two near-equal states move apart per supervision step, in units of"
        " the state's root mean square",
        gap="Not in the paper.",
        least=0,
        most=100,
    )
