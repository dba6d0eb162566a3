"""What all samplers offer, and what those share in which the trajectories of one input know of each
other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.network import Network, State
from gram.settings import EvaluateConfig
from gram.system.errors import GramError


class Sampler:
    """How the trajectories of one input share noise and steps; the hooks do what independent ones
    do.

    A sampler is a module of this package with a class ``SAMPLER``; it is called as the module is,
    with + for _.

    Attributes:
        group: rows in a batch that belong together: the trajectories of one input, or 1 where rows
            ignore each other. Rows of a group follow one another, and a batch holds whole groups.
    """

    group = 1

    @classmethod
    def of(cls, config: EvaluateConfig, width: int) -> Sampler:
        """The sampler with the settings of ``config``, for ``width`` trajectories per input.

        Raises:
            GramError: settings that leave it nothing to do.
        """
        return cls()

    def noise(self, model: Network, rows: int, generator: torch.Generator) -> Tensor | None:
        """The noise of one supervision step of as many rows, shaped as ``model.draw_noise`` does:
        [rows, ...].
        """
        return model.draw_noise(rows, generator)

    def move(self, state: State) -> State:
        """The state [B, L', D] from which the next supervision step starts."""
        return state

    def restarts(self, step: int, tokens: Tensor) -> Tensor | None:
        """Which trajectories start again from z_0 after supervision step ``step``: bool [B], or
        None for none.

        Args:
            step: supervision steps done, from 1.
            tokens: [B, L] the answer of each trajectory.
        """
        return None


class Grouped(Sampler):
    """What the samplers share in which the trajectories of one input know of each other.

    Args:
        width: trajectories per input, W.
    """

    def __init__(self, width: int) -> None:
        self.group = width

    @classmethod
    def of(cls, config: EvaluateConfig, width: int) -> Sampler:
        return cls(width)

    def by_input(self, rows: Tensor) -> Tensor:
        """The rows of a batch as a table of inputs and trajectories: [B, ...] -> [N, W, ...]."""
        return rows.reshape(-1, self.group, *rows.shape[1:])

    def draw(self, model: Network, inputs: int, generator: torch.Generator, each: int) -> Tensor:
        """Independent noise for ``each`` trajectories of every one of the inputs: [inputs, each,
        ...].

        Raises:
            GramError: a model whose trajectories differ for another reason than noise in its
                transitions.
        """
        noise = model.draw_noise(inputs * each, generator)
        if noise is None:
            raise GramError(
                "evaluate: sampler: this model draws no noise in its transitions that could be"
                " shared; use iid"
            )
        return noise.view(inputs, each, *noise.shape[1:])
