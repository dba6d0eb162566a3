"""Settings that exclude each other: each is fine by itself, and together they cannot be trained or
evaluated.

Checked when an experiment is read, and again where a network, a batch or a sampler is built of
settings that came another way.
"""

from __future__ import annotations

from typing import Any

from gram.settings import EvaluateConfig, GramModel, ModelConfig, RunSettings, TrainConfig
from gram.settings.architectures.baselines import ArModel, InPlace, MdlmModel
from gram.system.errors import GramError

AXES = {"sequence": 1, "axial": 2, "diagonal": 4}  # every task has two coordinates or more


def check_model(model: ModelConfig) -> None:
    """Refuse a width that RoPE cannot rotate, and a noise that cannot be as small as it starts.

    Raises:
        GramError: names the keys.
    """
    if model.D % (2 * model.heads):
        raise GramError(
            f"model: D: {model.D} is not a multiple of 2 x heads ({model.heads}), which RoPE needs"
        )
    if isinstance(model, GramModel | InPlace):
        check_axes(model, AXES[model.rope])
    # 1 is the sigma of guidance by the mean alone.
    if isinstance(model, GramModel) and not model.sigma_min < min(model.sigma_init, 1):
        raise GramError(
            f"model: sigma_min: {model.sigma_min} is not below sigma_init ({model.sigma_init})"
            " and 1"
        )


def check_axes(model: GramModel | InPlace, axes: int) -> None:
    """Refuse heads that are too narrow for as many axes of RoPE.

    Raises:
        GramError: names the keys.
    """
    head_dim = model.D // model.heads
    if head_dim % (2 * axes):
        raise GramError(
            f"model: rope: {model.rope}: D / heads is {head_dim}, not a multiple of 2 x {axes}, for"
            " as many axes"
        )


def check_halting(train: TrainConfig) -> None:
    """Refuse rows that are replaced early where every row takes all supervision steps.

    Raises:
        GramError: names both keys.
    """
    if train.halt == "q" and train.supervision == "all":
        raise GramError(
            "train: halt: q replaces rows early, but supervision: all runs every row to N_sup;"
            " change one of them"
        )


def check_rows(batch_size: int, processes: int) -> None:
    """Refuse a batch that cannot be split evenly.

    Raises:
        GramError: names the key.
    """
    if batch_size % processes:
        raise GramError(
            f"train: batch_size: {batch_size} is not a multiple of the {processes} processes;"
            " change one of them"
        )


def check_softmax(train: TrainConfig, network: str) -> None:
    """Refuse another cross-entropy for a network that draws its tokens from a softmax.

    Args:
        train: its settings.
        network: what it is called, for the message.

    Raises:
        GramError: the cross-entropy is another.
    """
    if train.cross_entropy != "softmax":
        raise GramError(
            f"train: cross_entropy: {train.cross_entropy}: {network} draws its tokens from a"
            " softmax; use softmax"
        )


def check_restarts(evaluate: EvaluateConfig) -> None:
    """Refuse a sampler that starts again within fewer steps than it compares answers.

    Raises:
        GramError: names both keys.
    """
    if "reseed" in evaluate.sampler and evaluate.depth < 2 * evaluate.reseed_every:
        raise GramError(
            f"evaluate: reseed_every: {evaluate.reseed_every} leaves no restart within depth"
            f" {evaluate.depth}; use at most half the depth"
        )


def check_forms(evaluate: EvaluateConfig) -> None:
    """Refuse more forms of an input than can have equally many of its trajectories.

    Raises:
        GramError: names both keys.
    """
    if evaluate.width % evaluate.forms:
        raise GramError(
            f"evaluate: forms: {evaluate.forms} forms cannot share width: {evaluate.width}"
            " trajectories equally; use a divisor of the width"
        )
    if evaluate.forms > 1 and evaluate.sampler != "iid":
        raise GramError(
            f"evaluate: forms: {evaluate.forms}, but with sampler: {evaluate.sampler} the"
            " trajectories of one input know of each other; use iid, or forms: 1"
        )


def check_run(settings: RunSettings) -> None:
    """Refuse settings of a run that exclude each other.

    Raises:
        GramError: names both keys and what to write.
    """
    model, train = settings.model, settings.train
    check_model(model)
    check_halting(train)
    check_rows(train.batch_size, train.processes)
    if isinstance(model, ArModel | MdlmModel):
        check_softmax(train, model.architecture)
    _check_beta_factors(train)
    for key, without in (("reveal", 0), ("carry_prior_from", None)):
        if train.symmetries and getattr(train, key) != without:
            raise GramError(
                f"train: symmetries: {train.symmetries}: inputs and answers are compared as the"
                f" data set has them; write symmetries: 0, or leave {key} out"
            )
    if train.heads_on == "prior" and train.lprm_reads == "transition":
        raise GramError(
            "train: lprm_reads: transition: a rollout of the prior is read after each supervision"
            " step; write lprm_reads: step, or heads_on: posterior"
        )
    if train.heads_on == "prior" and train.reveal:
        raise GramError(
            "train: heads_on: prior: an input that shows more of its target has fewer completions"
            " than the data set lists; write reveal: 0, or heads_on: posterior"
        )
    if isinstance(model, GramModel) and model.noise_in == "last":
        for key, needed in (("charged", "last"), ("uncharged_noise", "prior")):
            if (value := getattr(train, key)) != needed:
                raise GramError(
                    f"train: {key}: {value}: with model: noise_in: last no other transition "
                    f"draws noise; write {key}: {needed}, or noise_in: all"
                )


def _check_beta_factors(train: TrainConfig) -> None:
    factors, initial = train.beta_factors, train.beta_factors_initial
    if initial is not None and len(initial) != len(factors):
        raise GramError(
            f"train: beta_factors_initial: {len(initial)} values, and beta_factors has "
            f"{len(factors)}; give as many"
        )


def check_at(check: Any, settings: Any, where: str) -> None:
    """Call a check of this module; what it says begins with ``where``.

    Raises:
        GramError: as the check's.
    """
    try:
        check(settings)
    except GramError as error:
        raise GramError(f"{where}: {error}") from error
