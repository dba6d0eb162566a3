"""What training and evaluation need of a network, whatever the method: one supervision step, and
one step of a rollout.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gram.models.guidance import Gaussian
from gram.settings import EvaluateConfig
from gram.tasks import Task


class Shape(NamedTuple):
    """What a network has to know of its task."""

    length: int  # tokens of the input, L
    vocabulary: int
    answers: slice = slice(
        None
    )  # positions of the input at which the answer's L_out tokens are read
    coordinates: NDArray[np.int64] = np.zeros(
        (0, 1), dtype=np.int64
    )  # [L, axes], of the task; no rows: it has none

    @property
    def outputs(self) -> int:
        """Tokens of the answer, L_out."""
        return len(range(self.length)[self.answers])

    @classmethod
    def of(cls, task: Task) -> Shape:
        """The shape of a task."""
        return cls(task.length, task.vocabulary, task.answers, task.coordinates)


class Given(NamedTuple):
    """What a network is given of some rows. What a task has to say beside its tokens, such as which
    puzzle a row belongs to, comes in here.
    """

    tokens: Tensor  # [B, L] int64

    def part(self, rows: slice) -> Given:
        """Some of these rows."""
        return Given(self.tokens[rows])


class State(NamedTuple):
    """The latent state z = (h, l); both [B, L', D], of zero width where a network carries none."""

    h: Tensor
    l: Tensor  # noqa: E741 (the paper's symbol)

    def part(self, rows: slice) -> State:
        """That of some of the rows."""
        return State(self.h[rows], self.l[rows])


class Charge(NamedTuple):
    """Posterior and prior of one transition whose KL is charged."""

    q: Gaussian
    p: Gaussian
    tokens: int  # puzzle_tokens + L, whether each has its own noise or all share one vector


class Step(NamedTuple):
    """What one supervision step gives."""

    state: State  # detached: gradients do not cross supervision steps
    logits: Tensor  # [B, L_out, vocabulary], where the answer is read
    carried: (
        Tensor | None
    )  # the same, detached, read from ``state``, where that is not the state of ``logits``
    # [B, D], what the value head reads, detached; of several states one behind the other; [B, 0]
    # without such a head
    summary: Tensor
    halt: Tensor  # [B, 2], fp32 logits of (halt, continue); zeros without a halting head
    value: Tensor  # [B], LPRM value in (0, 1); zeros without a value head
    charges: list[Charge]  # of guidance that saw the targets; empty elsewhere


class Read(NamedTuple):
    """What one step of a rollout gives."""

    state: State
    tokens: Tensor  # [B, L_out] int64, the answer
    value: Tensor  # [B] fp32
    halts: Tensor  # [B] bool, whether the trajectory would halt here


def forward_in(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network runs on ``device``: its forward pass in "fp32" or "bf16"."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def multiply_in(matmul: str, device: torch.device) -> str:
    """How matrix products of fp32 numbers are made on ``device`` from now on.

    Args:
        matmul: "tf32", whose factors have 10 bits of mantissa, or "fp32".
        device: on a CPU this has no effect.

    Returns:
        How they are made.
    """
    if device.type != "cuda":
        return "fp32"
    torch.backends.cuda.matmul.allow_tf32 = matmul == "tf32"
    return matmul


def draw_tokens(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Each token drawn from its softmax at temperature 1: [B, L, vocabulary] -> int64 [B, L]."""
    p = logits.float().softmax(dim=-1)
    return torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(p.shape[:-1])


class Network(nn.Module):
    """A method's network.

    The defaults are those of a method that answers in one pass: without a state, noise, halting or
    a value.
    """

    calls = 1  # passes through the network that one step of a rollout takes
    has_value = False  # whether there is a value head, which reads summaries

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def samples(self) -> bool:
        """Whether two rollouts of the same input can differ."""
        return False

    def answer_as(self, config: EvaluateConfig) -> None:
        """Take over what the section ``evaluate`` says of how answers are drawn; the weights do not
        depend on it.
        """

    @property
    def reads(self) -> int:
        """How many states of a supervision step the value head can read."""
        return 1

    @property
    def signed(self) -> list[nn.Parameter]:
        """Parameters that AdamATan2 trains by the sign of their gradient alone."""
        return []

    def initial_state(self, rows: int, generator: torch.Generator | None = None) -> State:
        """z_0 for as many rows; from ``generator`` where every trajectory draws its own."""
        nothing = torch.zeros(rows, 0, 0, device=self.device)
        return State(nothing, nothing)

    def draw_noise(self, rows: int, generator: torch.Generator) -> Tensor | None:
        """Independent noise for one step of a rollout of as many rows: fp32 [rows, ...]; or None.

        Noise is an input of the network, so that whoever runs it decides how rows share it.
        """
        return None

    def training_noise(self, rows: int, generator: torch.Generator) -> Tensor | None:
        """The same for a supervision step in training."""
        return self.draw_noise(rows, generator)

    def value(self, summary: Tensor) -> Tensor:
        """LPRM value in (0, 1) of states summarised by their first token: [..., D] -> [...]; zeros
        without a value head.
        """
        return torch.zeros(summary.shape[:-1], device=summary.device)

    def halting(self, halt: Tensor) -> Tensor:
        """Whether a trajectory halts, from its logits of (halt, continue): [B, 2] -> bool [B]."""
        return halt[:, 0] > 0

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """One supervision step in training.

        Args:
            state: from :meth:`initial_state` or the previous step.
            given: the rows' inputs.
            targets: [B, L_out] int64 tokens; of no use to a method that does not see them.
            noise: from :meth:`training_noise`.
        """
        raise NotImplementedError

    def roll(
        self, state: State, given: Given, *, noise: Tensor | None, generator: torch.Generator
    ) -> Read:
        """One step of a rollout, which never sees a target; that of a method whose training does
        not see any either.

        Args:
            state, given: as of :meth:`forward`.
            noise: from :meth:`draw_noise`.
            generator: source of what else a method draws when it answers.
        """
        step = self(state, given, noise=noise)
        return Read(
            step.state, self.answer(step.logits, generator), step.value, self.halting(step.halt)
        )

    def answer(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """The tokens that a rollout answers: [B, L_out, vocabulary] -> int64 [B, L_out]; the most
        probable ones.
        """
        return logits.argmax(dim=-1)

    def step(self, state: State, logits: Tensor, *, halt: Tensor | None = None) -> Step:
        """A :class:`Step` of a network without guidance and value head."""
        nothing = torch.zeros(len(logits), 0, device=logits.device)
        halt = torch.zeros(len(logits), 2, device=logits.device) if halt is None else halt
        return Step(
            state,
            logits,
            carried=None,
            summary=nothing,
            halt=halt,
            value=self.value(nothing),
            charges=[],
        )

    def read(self, state: State, tokens: Tensor) -> Read:
        """A :class:`Read` of a network that neither halts nor values its answer."""
        nothing = torch.zeros(len(tokens), device=tokens.device)
        return Read(state, tokens, value=nothing, halts=nothing > 0)
