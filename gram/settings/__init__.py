"""What can be set: a file and a dataclass per section; each field carries its default, its meaning
and, for a GAP, what is open.

``reports/GAP_DEFAULTS.md`` is generated from the ``gap`` notes, so a default is written only here.
"""

from __future__ import annotations

from typing import Any

from gram.settings.architectures import ModelConfig
from gram.settings.architectures.gram import GramModel
from gram.settings.evaluate import EvaluateConfig
from gram.settings.run import DataSettings, RunSettings
from gram.settings.split import SplitConfig
from gram.settings.train import TrainConfig

SECTIONS: dict[str, Any] = {  # the section model is a union
    "split": SplitConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
}

__all__ = [
    "SECTIONS",
    "DataSettings",
    "EvaluateConfig",
    "GramModel",
    "ModelConfig",
    "RunSettings",
    "SplitConfig",
    "TrainConfig",
]
