"""What each family of methods minimises: importing this package registers all of them with :func:`supervise`."""

from gram.train.objectives import act, diffusion, gram, one_pass
from gram.train.objectives.base import Rows, Supervised, supervise

__all__ = ["Rows", "Supervised", "act", "diffusion", "gram", "one_pass", "supervise"]
