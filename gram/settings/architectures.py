"""The section ``model`` of every method: one dataclass per architecture, told apart by its field ``architecture``."""

from __future__ import annotations

from gram.settings.baselines import ArModel, DirectModel, HrmModel, LoopedModel, MdlmModel, TrmModel
from gram.settings.model import GramModel

ModelConfig = GramModel | DirectModel | LoopedModel | HrmModel | TrmModel | ArModel | MdlmModel
