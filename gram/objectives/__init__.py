"""What each family of methods minimises: importing this package registers all of them with :func:`supervise`."""

from gram.objectives import act, diffusion, gram, one_pass
from gram.objectives.base import Supervised, supervise

__all__ = ["Supervised", "act", "diffusion", "gram", "one_pass", "supervise"]
