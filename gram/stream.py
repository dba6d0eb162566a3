"""The streaming carry: rows of a batch that live for N_sup supervision steps and are then replaced by fresh inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from gram.data import Split
from gram.models.gram import GRAM, State, Step
from gram.settings import TrainConfig


class Stream:
    """Training inputs and the carry, all on one device; advancing it needs no synchronisation with the host.

    Attributes:
        age: [B] supervision steps that each row has had, 0..N_sup - 1 while a step is taken.
        first: [B] age at which the row entered (above 0 only for the first rows of a staggered carry).
        state: latent state of each row.
        summaries: [B, N_sup, D] first tokens of h after each step of the row's trajectory, for the value loss.
    """

    def __init__(self, split: Split, model: GRAM, config: TrainConfig, generator: torch.Generator) -> None:
        device = generator.device
        self.config = config
        self.generator = generator
        self.model = model
        counts = torch.from_numpy(split.counts)
        self._inputs = torch.from_numpy(split.inputs).long().to(device)
        self._completions = torch.from_numpy(split.completions).long().to(device)
        self._counts = counts.to(device)
        self._offsets = torch.from_numpy(split.offsets[:-1]).to(device)
        self._owner = torch.repeat_interleave(torch.arange(len(counts)), counts).to(device)
        B, D = config.batch_size, model.z0_h.shape[-1]
        rows = torch.arange(B, device=device)
        self.age = rows % config.N_sup if config.stagger else torch.zeros_like(rows)
        self.first = self.age.clone()
        self.pair = self._draw()
        h, l = model.initial_state(self.inputs)  # noqa: E741
        self.state = State(h.clone(), l.clone())
        self.summaries = torch.zeros(B, config.N_sup, D, device=device)

    def _draw(self) -> Tensor:
        """A random (input, completion) pair for every row: [B] row numbers of the completions."""
        B, device = self.config.batch_size, self.generator.device
        if self.config.sampling == "pairs":
            return torch.randint(len(self._completions), (B,), generator=self.generator, device=device)
        index = torch.randint(len(self._inputs), (B,), generator=self.generator, device=device)
        uniform = torch.rand(B, generator=self.generator, device=device, dtype=torch.float64)
        return self._offsets[index] + (uniform * self._counts[index]).long()

    @property
    def inputs(self) -> Tensor:
        """[B, L] int64."""
        return self._inputs[self._owner[self.pair]]

    @property
    def targets(self) -> Tensor:
        """[B, L] int64."""
        return self._completions[self.pair]

    @property
    def finishing(self) -> Tensor:
        """Whether the present step is the row's last: bool [B]."""
        return self.age == self.config.N_sup - 1

    @property
    def visited(self) -> Tensor:
        """Steps of each row's trajectory that ``summaries`` holds: bool [B, N_sup]."""
        steps = torch.arange(self.config.N_sup, device=self.age.device)
        return (steps >= self.first[:, None]) & (steps <= self.age[:, None])

    def record(self, step: Step) -> None:
        """Keep what a step gave; call before :meth:`advance`."""
        self.state = step.state
        self.summaries.scatter_(1, self.age[:, None, None].expand(-1, 1, step.summary.shape[-1]), step.summary.float()[:, None])

    def advance(self) -> None:
        """Age every row, and replace those that have had N_sup steps by fresh inputs at z_0."""
        done = self.finishing
        self.pair = torch.where(done, self._draw(), self.pair)
        self.age = torch.where(done, 0, self.age + 1)
        self.first = torch.where(done, 0, self.first)
        z0 = self.model.initial_state(self.inputs)
        mask = done[:, None, None]
        self.state = State(*(torch.where(mask, start, now) for start, now in zip(z0, self.state, strict=True)))

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs."""
        return {
            "age": self.age,
            "first": self.first,
            "pair": self.pair,
            "h": self.state.h,
            "l": self.state.l,
            "summaries": self.summaries,
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave."""
        device = self.age.device
        moved = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.age, self.first, self.pair = moved["age"], moved["first"], moved["pair"]
        self.state = State(moved["h"], moved["l"])
        self.summaries = moved["summaries"]
