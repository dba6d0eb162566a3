"""The section ``model`` of every method: one dataclass per architecture, told apart by its field
``architecture``.

All modules of this package are read: an architecture is added by adding one, and edits no list. Its
network is built by a function that gram/models registers for the dataclass, and its objective by
one that gram/train/objectives registers for the network.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from typing import TYPE_CHECKING, Any

from gram.settings.architectures.baselines import (
    ArModel,
    DirectModel,
    HrmModel,
    LoopedModel,
    MdlmModel,
    TrmModel,
)
from gram.settings.architectures.gram import GramModel
from gram.system.rooms import modules_of

TAG = "architecture"  # the field that tells them apart


def _declared() -> list[type[Any]]:
    """All dataclasses of this package with the field :data:`TAG`; GRAM, the default, first."""
    found: dict[type[Any], None] = {GramModel: None}
    for module in modules_of(__name__):
        for one in vars(module).values():
            if dataclasses.is_dataclass(one) and isinstance(one, type) and hasattr(one, TAG):
                found[one] = None
    return list(found)


if TYPE_CHECKING:
    ModelConfig = GramModel | DirectModel | LoopedModel | HrmModel | TrmModel | ArModel | MdlmModel
else:
    ModelConfig = functools.reduce(operator.or_, _declared())
