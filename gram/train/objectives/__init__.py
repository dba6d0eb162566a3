"""What each family of methods minimises: every module of this package registers its own with
:func:`supervise`.
"""

from __future__ import annotations

from gram.system.rooms import modules_of
from gram.train.objectives.base import Rolled, Rows, Supervised, objective_of, supervise

__all__ = ["Rolled", "Rows", "Supervised", "objective_of", "supervise"]

modules_of(__name__)
