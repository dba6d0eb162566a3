"""A toy method: its section ``model``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.field import setting
from gram.settings.limits import HEADS, WIDTH


@dataclass(frozen=True)
class ToyModel:
    """Each token by itself, with some noise."""

    architecture: Literal["toy"] = setting("toy", "which network it is")
    D: int = setting(8, "width of a token", least=1, most=WIDTH)
    heads: int = setting(1, "no attention here; a network has heads", least=1, most=HEADS)
    noise: float = setting(0.01, "standard deviation of the noise", least=0, most=10)
