"""What an evaluation says of its run, under ``run``: every fact once, with what it is asked for.

Who pools folds, averages seeds, compares with a kept run or asks a network anew takes the names of
the facts from here, so that a new setting of test time is one field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Among which evaluations a fact has to be the same, so that a mean, a sum or a difference of them
# means something: the folds of one task, the seeds of one method, all of one task, and those that
# are compared with a kept one.
Among = Literal["folds", "seeds", "task", "kept"]
# What becomes of a fact where folds are pooled: that of the first, the sum, or one for each fold.
Pooled = Literal["first", "sum", "each"]


def fact(
    *same: Among,
    setting: str = "",
    pooled: Pooled = "first",
    default: Any = dataclasses.MISSING,
    omitted: bool = False,
) -> Any:
    """A field of :class:`RunFacts`.

    Args:
        same: among which evaluations it has to be the same.
        setting: what the section ``evaluate`` calls it.
        pooled: what becomes of it where folds are pooled.
        default: its value in an evaluation that does not have it, because it was made before the
            fact was noted. None of a setting that other architectures do not have: what an
            evaluation without it was made with is not known.
        omitted: whether a file leaves it out where it has its default.
    """
    metadata = {"same": same, "setting": setting, "pooled": pooled, "omitted": omitted}
    return dataclasses.field(default=default, metadata=metadata)


def tested(name: str, **more: Any) -> Any:
    """A field for a setting of test time that says which answers are drawn, and from how many."""
    return fact("folds", "seeds", "kept", setting=name, **more)


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """The facts of a run in an evaluation, in the order of the file."""

    task: str = fact()
    method: str = fact("folds")
    seed: int = fact("folds")
    split: str = fact("folds")
    inputs: int = fact("task", "kept", pooled="sum")
    folds: int = fact(default=1)  # how many there are to pool
    depth: int = tested("depth")
    width: int = tested("width")
    act: bool = tested("act")
    sampler: str = tested("sampler")
    noise_scale: float = tested("noise_scale", default=1.0)
    decoding: str | None = tested("decoding", default=None, omitted=True)
    temperature: float | None = tested("temperature", default=None, omitted=True)
    sampling_steps: int | None = tested("sampling_steps", default=None, omitted=True)
    weights: str = tested("weights")
    precision: str = fact(setting="precision", default="fp32")
    matmul: str | None = fact(default=None, omitted=True)  # how CUDA multiplied fp32 numbers
    weights_dtype: str = fact(default="float32")
    rollout_seed: int = fact(setting="seed", default=0)
    draws: int = fact("seeds", "kept")
    forms: int = tested("forms", default=1, omitted=True)
    calls: int = fact(default=1)
    ema: bool = fact(default=True)
    parameters: int = fact("seeds")
    supervision_steps_seen: int = fact("seeds", pooled="sum")
    training_examples: int = fact(pooled="sum")
    training_seconds: float = fact(pooled="sum", default=0.0)
    data_md5: dict[str, Any] = fact("task", "kept", pooled="each")
    checkpoint: str | dict[str, str] = fact(pooled="each", default="")
    checkpoint_md5: str | dict[str, str] = fact(pooled="each", default="")
    trained_by: dict[str, Any] = fact()
    evaluated_by: dict[str, Any] = fact()
    # How far training had come, of weights that were exported before its end.
    unfinished: dict[str, Any] | None = fact(default=None, omitted=True)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)
            if not (one.metadata["omitted"] and getattr(self, one.name) == one.default)
        }


def same_among(among: Among) -> tuple[str, ...]:
    """The facts that have to be the same among such evaluations."""
    return tuple(one.name for one in dataclasses.fields(RunFacts) if among in one.metadata["same"])


def pooled_by(how: Pooled) -> tuple[str, ...]:
    """The facts of which this becomes where folds are pooled."""
    return tuple(one.name for one in dataclasses.fields(RunFacts) if one.metadata["pooled"] == how)


def settings_noted() -> dict[str, str]:
    """The settings of the section ``evaluate`` that an evaluation notes, each with what the fact is
    called: ``{"seed": "rollout_seed"}`` among them.
    """
    return {
        one.metadata["setting"]: one.name
        for one in dataclasses.fields(RunFacts)
        if one.metadata["setting"]
    }


def differ(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    """Whether a fact of two runs, as they stand in files, is not the same.

    Raises:
        KeyError: it is not noted, and it should be.
    """
    default = RunFacts.__dataclass_fields__[name].default
    if default is None and not (name in one and name in other):
        return False
    there, here = (
        run[name] if default is dataclasses.MISSING else run.get(name, default)
        for run in (one, other)
    )
    return bool(there != here)
