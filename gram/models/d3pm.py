"""D3PM (Table 9): discrete diffusion of the answer's tokens, uniform or absorbing, in the places of
the input (Austin et al. 2021, arXiv:2107.03006).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from gram.models.building import build, in_place, modulated_blocks
from gram.models.diffusion import TimeEmbedding
from gram.models.ends import Cells
from gram.models.layers import Embedding, ModulatedBlock, Modulation, linear
from gram.models.network import Given, Network, Read, Shape, State, Step, draw_tokens
from gram.settings import EvaluateConfig
from gram.settings.architectures.d3pm import D3pmModel


def shares_left(steps: int, kind: str) -> Tensor:
    """alpha-bar_t, the probability that a token is as it was after t of ``steps`` steps: fp32
    [steps + 1], from 1 to 0.
    """
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    if kind == "linear":
        return (1 - t).float()
    offset = 0.008  # Nichol and Dhariwal 2021, so that the first steps change something
    curve = ((t + offset) / (1 + offset) * math.pi / 2).cos().square()
    return (curve / curve[0]).clamp(min=0).float()


class DiscreteDiffusion(Network):
    """The chain q(x_t | x_0) = alpha-bar_t [x_t = x_0] + (1 - alpha-bar_t) pi(x_t), and a network
    that says what x_0 was.

    With pi uniform over the vocabulary or all on a mask, both corruptions of D3PM are this one
    chain. A step back from t to s < t has

        p(x_s | x_t) = sum over x_0 of q(x_s | x_t, x_0) p(x_0 | x_t),

    which needs no sum over pairs of tokens, since a step of the chain, too, either leaves a token
    or draws from pi.

    Args:
        front: the input at its places.
        answer: positions of the input at which the answer stands.
        outputs: tokens of the answer, L_out.
        vocabulary: tokens that an answer may have.
        D: width of a token.
        blocks: bidirectional, modulated by the time.
        condition: width of the time embedding.
        left: alpha-bar_0 .. alpha-bar_T, fp32 [T + 1].
        absorbing: whether pi is all on a mask, which is one token more; else it is uniform.

    Attributes:
        calls: steps of a rollout, from x_T to x_0; T where nothing else is said.
    """

    left: Tensor
    pi: Tensor

    def __init__(
        self,
        *,
        front: Cells,
        answer: slice,
        outputs: int,
        vocabulary: int,
        D: int,
        blocks: list[ModulatedBlock],
        condition: int,
        left: Tensor,
        absorbing: bool,
    ) -> None:
        super().__init__()
        self.vocabulary, self.absorbing = vocabulary, absorbing
        self.states = vocabulary + absorbing
        self.positions, self.outputs = answer, outputs
        pi = torch.full((self.states,), 0.0 if absorbing else 1 / vocabulary)
        if absorbing:
            pi[-1] = 1
        self.register_buffer("pi", pi, persistent=False)
        self.register_buffer("left", left, persistent=False)
        self.calls = len(left) - 1
        self.front = front
        self.noisy_embedding = Embedding(self.states, D)
        self.time = TimeEmbedding(condition)
        self.blocks = nn.ModuleList(blocks)
        self.modulation = Modulation(condition, D, parts=2)
        self.head = linear(D, vocabulary)

    @property
    def T(self) -> int:
        """Steps of the chain."""
        return len(self.left) - 1

    @property
    def samples(self) -> bool:
        return True

    def answer_as(self, config: EvaluateConfig) -> None:
        self.calls = min(config.sampling_steps, self.T)

    def training_noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """A uniform number for the time of every row, then one for each of its output tokens: fp32
        [rows, 1 + L_out].
        """
        return torch.rand(rows, 1 + self.outputs, generator=generator, device=generator.device)

    def corrupt(self, targets: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """x_t and t: [B, L_out] int64, [B, 1 + L_out] of :meth:`training_noise` -> int64 [B, L_out]
        and int64 [B], t from 1 to T.
        """
        t = 1 + (noise[:, 0] * self.T).long().clamp(max=self.T - 1)
        left = self.left[t][:, None]
        rest = (noise[:, 1:] - left) / (1 - left)  # uniform in [0, 1) where the token is not left
        if self.absorbing:
            drawn = torch.full_like(targets, self.vocabulary)
        else:
            drawn = (rest * self.vocabulary).long().clamp(0, self.vocabulary - 1)
        return torch.where(rest < 0, targets, drawn), t

    def predict(self, given: Given, noisy: Tensor, t: Tensor) -> Tensor:
        """Logits of x_0: [B, L_out] int64, [B] int64 -> fp32 [B, L_out, states].

        Where a token cannot have come from pi it is x_0, and has all the probability; the mask has
        none.
        """
        condition = self.time(t.float() / self.T)
        e = self.front(given)
        h = e + self.front.place(self.noisy_embedding(noisy))
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition)
        logits = self.head((1 + scale) * h[:, self.positions] + shift).float()
        if not self.absorbing:
            return logits
        logits = torch.cat((logits, logits.new_full((*noisy.shape, 1), -math.inf)), dim=-1)
        here = nn.functional.one_hot(noisy, self.states) > 0
        certain = torch.where(here, 0.0, -math.inf)
        return torch.where((noisy == self.vocabulary)[..., None], logits, certain)

    def back(self, noisy: Tensor, p: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """p(x_s | x_t) for what is believed of x_0.

        Args:
            noisy: x_t, int64 [B, L_out].
            p: probabilities of x_0, fp32 [B, L_out, states]; a one-hot x_0 gives q(x_s | x_t, x_0).
            t, s: int64 [B], 0 <= s < t <= T.

        Returns:
            fp32 [B, L_out, states].
        """
        left_t, left_s = (self.left[step][:, None, None] for step in (t, s))
        stays = left_t / left_s  # of a token from s to t
        here = nn.functional.one_hot(noisy, self.states).float()
        pi_here = self.pi[noisy][..., None]
        # p(x_0) / q(x_t | x_0), 0 where x_0 cannot have become x_t, and is not believed.
        reached = left_t * here + (1 - left_t) * pi_here
        weight = torch.where(reached > 0, p / reached.clamp(min=1e-30), 0.0)
        before = left_s * weight + (1 - left_s) * self.pi * weight.sum(dim=-1, keepdim=True)
        joint = (stays * here + (1 - stays) * pi_here) * before
        return joint / joint.sum(dim=-1, keepdim=True)

    def bound(self, logits: Tensor, targets: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """One term of the bound on -log p(x_0), T times, so that its mean over t is their sum.

        KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)), for t = 1 -log p(x_0 | x_1).

        Args:
            logits: of :meth:`predict`.
            targets: x_0, int64 [B, L_out].
            noisy, t: of :meth:`corrupt`.

        Returns:
            fp32 [B], nats per token.
        """
        sure = nn.functional.one_hot(targets, self.states).float()
        q = self.back(noisy, sure, t, t - 1)
        p = self.back(noisy, logits.softmax(dim=-1), t, t - 1)
        log_ratio = q.clamp(min=1e-30).log() - p.clamp(min=1e-30).log()
        return self.T * (q * log_ratio).sum(dim=-1).mean(dim=-1)

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """Logits of the targets, from what ``noise`` leaves of them."""
        assert targets is not None and noise is not None, (
            "a training pass restores targets; roll() draws an answer"
        )
        noisy, t = self.corrupt(targets, noise)
        return self.step(state, self.predict(given, noisy, t))

    def roll(
        self, state: State, given: Given, *, noise: Tensor | None, generator: torch.Generator
    ) -> Read:
        """Ancestral sampling from x_T ~ pi in :attr:`calls` equal steps."""
        rows, device = len(given.tokens), given.tokens.device
        tokens = draw_tokens(self.pi.log().expand(rows, self.outputs, -1), generator)
        times = [round(self.T * n / self.calls) for n in range(self.calls + 1)]
        for s, t in reversed(list(itertools.pairwise(times))):
            now, then = (torch.full((rows,), step, device=device) for step in (t, s))
            p = self.predict(given, tokens, now).softmax(dim=-1)
            tokens = draw_tokens(self.back(tokens, p, now, then).log(), generator)
        return self.read(state, tokens)


@build.register
def _(config: D3pmModel, shape: Shape) -> DiscreteDiffusion:
    """D3PM."""
    blocks = modulated_blocks(config, in_place(config, shape))
    return DiscreteDiffusion(
        front=Cells(shape, config.D),
        answer=shape.answers,
        outputs=shape.outputs,
        vocabulary=shape.vocabulary,
        D=config.D,
        blocks=blocks,
        condition=config.condition,
        left=shares_left(config.diffusion_steps, config.alphas),
        absorbing=config.corruption == "absorbing",
    )
