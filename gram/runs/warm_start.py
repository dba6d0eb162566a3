"""Training that starts from the averaged weights of another run in the place of random ones
(``train.initial_weights``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from gram.runs import checkpoint, trained
from gram.runs.trained import META, WEIGHTS
from gram.system import files, shapes
from gram.system.errors import GramError

SPENT = (
    "steps",
    "training_examples",
    "supervision_steps",
    "seconds",
)  # what the meta of both runs has, and adds up


def load(path: Path, model: nn.Module, data_md5: dict[str, str]) -> dict[str, Any]:
    """Load the averaged weights of a run, trained here or kept, into ``model``; returns what making
    them took.

    Args:
        path: weights.safetensors, beside its meta.json.
        model: takes the weights, in its own precision.
        data_md5: MD5 of each split that is trained on or watched.

    Returns:
        The path, the file's MD5, the commit that trained it, and all of ``SPENT``.

    Raises:
        GramError: missing or broken files, another architecture, or a run of other splits: what
            that one was trained on may be what this one is tested on.
    """
    meta = shapes.read_meta(path.with_name(META))
    for split, md5 in data_md5.items():
        if (found := meta["data_md5"].get(split)) != md5:
            raise GramError(
                f"{path}: train: initial_weights: a run whose {split} split has MD5 {found}, and"
                f" here it has {md5}: it may have been trained on what is tested here; name a run"
                " of the same data set"
            )
    checkpoint.load_weights(path, model, "ema")
    md5 = (
        trained.check_file(path.parent, meta, WEIGHTS) if path.name == WEIGHTS else files.md5(path)
    )
    return {"path": str(path), "md5": md5, "commit": meta["commit"]} | {
        name: meta[name] for name in SPENT
    }


def added(spent: dict[str, float], initial: dict[str, Any] | None) -> dict[str, float]:
    """What a run spent, all of ``SPENT``, together with what making its initial weights took."""
    return {name: spent[name] + initial[name] for name in SPENT} if initial else spent
