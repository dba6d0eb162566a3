"""What one data set, and one training run, depend on."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from gram.settings.architectures import ModelConfig
from gram.settings.limits import SEED
from gram.settings.moved import without_moved
from gram.settings.parsing import parse
from gram.settings.split import SplitConfig
from gram.settings.train import TrainConfig


@dataclass(frozen=True)
class DataSettings:
    """Everything the content of ``results/data/{task}`` depends on."""

    task: str
    generator: dict[str, Any]
    split: SplitConfig


@dataclass(frozen=True)
class RunSettings:
    """Everything one training run depends on, but for the device; written to ``config.json`` beside
    its weights.

    Test-time compute is not part of it: a change of depth or width must not train anew.
    """

    task: str
    method: str
    seed: int = dataclasses.field(metadata={"least": 0, "most": SEED})
    data: DataSettings
    model: ModelConfig
    train: TrainConfig

    @classmethod
    def of(cls, values: Any, where: str) -> RunSettings:
        """From the mapping in a file, which may be of before a key moved to another section.

        Raises:
            GramError: settings that make no sense; begins with ``where``.
        """
        return parse(cls, without_moved(values), where)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, with lists for tuples: what JSON gives back."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    def without_execution(self) -> dict[str, Any]:
        """As :meth:`as_dict`, without the settings of the run's execution."""
        kept = self.as_dict()
        for field in dataclasses.fields(self.train):
            if field.metadata["execution"]:
                del kept["train"][field.name]
        return kept
