"""MDLM (Table 1): masked diffusion over the output's tokens, conditioned on the input (Sahoo et al.
2024, arXiv:2406.07524).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gram.models.building import build, in_sequence, modulated_blocks
from gram.models.layers import Embedding, ModulatedBlock, Modulation, linear
from gram.models.network import Given, Network, Read, Shape, State, Step, draw_tokens
from gram.settings import EvaluateConfig
from gram.settings.architectures.baselines import MdlmModel


class TimeEmbedding(nn.Module):
    """A time in [0, 1] as a vector that modulates the blocks: sines and cosines, then two layers.

    Args:
        width: of the vector.
        features: sines and cosines, together.
    """

    frequencies: Tensor

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        steps = torch.arange(features // 2) / (features // 2)
        self.register_buffer(
            "frequencies", 1000.0 * 10000.0**-steps, persistent=False
        )  # as of the times 0..1000 of a DDPM
        self.inner = linear(features, width, bias=True)
        self.outer = linear(width, width, bias=True)

    def forward(self, t: Tensor) -> Tensor:
        """fp32 [B] -> [B, width]."""
        angles = t[:, None] * self.frequencies
        features = torch.cat((angles.cos(), angles.sin()), dim=-1)
        return F.silu(self.outer(F.silu(self.inner(features))))


class MaskedDiffusion(Network):
    """Every output token is masked by time t with probability t, the schedule alpha_t = 1 - t; the
    network restores them.

    The sequence is the input's tokens and then the output's, some of which are masked. The network
    is parametrised as SUBS: it never predicts the mask, and keeps every token that is not masked.

    Args:
        outputs: tokens of the output, L_out.
        D: width of a token.
        vocabulary: size of the vocabulary; the mask is one token more, of the noisy output only.
        blocks: bidirectional, with positions for L + L_out tokens.
        condition: width of the time embedding.
        conditioned: whether the network is told t; otherwise it is told 0, and the modulation is a
        learned constant.
        stratified: whether the times of a batch lie in equal parts of (0, 1], one in each;
        otherwise they are independent.
        least_time: the smallest t in training, which bounds the weight 1 / t.

    Attributes:
        calls: steps of ancestral sampling, from t = 1 to 0; as many as there are tokens where
            nothing else is said.
    """

    def __init__(
        self,
        *,
        outputs: int,
        D: int,
        vocabulary: int,
        blocks: list[ModulatedBlock],
        condition: int,
        conditioned: bool,
        stratified: bool,
        least_time: float,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        self.mask = vocabulary
        self.calls = outputs
        self.conditioned, self.stratified, self.least_time = conditioned, stratified, least_time
        self.embedding = Embedding(vocabulary, D)
        self.noisy_embedding = Embedding(vocabulary + 1, D)
        self.time = TimeEmbedding(condition)
        self.blocks = nn.ModuleList(blocks)
        self.modulation = Modulation(condition, D, parts=2)
        self.head = linear(D, vocabulary)

    @property
    def samples(self) -> bool:
        return True

    def answer_as(self, config: EvaluateConfig) -> None:
        self.calls = config.sampling_steps

    def training_noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """The time of every row, then a uniform number for each of its output tokens: fp32 [rows,
        1 + L_out].
        """
        noise = torch.rand(1 + self.outputs, rows, generator=generator, device=generator.device)
        if self.stratified:
            noise[0] = (noise[0] + torch.arange(rows, device=noise.device)) / rows
        noise[0] = self.least_time + (1 - self.least_time) * noise[0]
        return noise.T

    def corrupt(self, targets: Tensor, noise: Tensor) -> Tensor:
        """z_t, the targets with every token masked that ``noise`` says: [B, L_out], [B, 1 + L_out]
        -> int64 [B, L_out].
        """
        return torch.where(noise[:, 1:] < noise[:, :1], self.mask, targets)

    def denoise(self, given: Given, noisy: Tensor, t: Tensor) -> Tensor:
        """Logits of the clean output: [B, L_out] with masks, [B] -> [B, L_out, vocabulary].

        Where a token is not masked, it has all the probability.
        """
        condition = self.time(t if self.conditioned else torch.zeros_like(t))
        e_x = self.embedding(given.tokens)
        h = torch.cat((e_x, self.noisy_embedding(noisy)), dim=1)
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulation(condition)
        logits = self.head((1 + scale) * h[:, e_x.shape[1] :] + shift)
        kept = torch.where(F.one_hot(noisy, self.mask + 1)[..., :-1] > 0, 0.0, -math.inf)
        return torch.where((noisy == self.mask)[..., None], logits.float(), kept)

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
        return self.step(state, self.denoise(given, self.corrupt(targets, noise), noise[:, 0]))

    def roll(
        self, state: State, given: Given, *, noise: Tensor | None, generator: torch.Generator
    ) -> Read:
        """Ancestral sampling: from t to s a masked token is revealed with probability (t - s) / t,
        in the last step with 1.
        """
        rows, device = len(given.tokens), given.tokens.device
        tokens = torch.full((rows, self.outputs), self.mask, device=device)
        for left in range(self.calls, 0, -1):
            t = torch.full((rows,), left / self.calls, device=device)
            drawn = draw_tokens(self.denoise(given, tokens, t), generator)
            uniform = torch.rand(tokens.shape, generator=generator, device=generator.device)
            tokens = torch.where((tokens == self.mask) & (uniform < 1 / left), drawn, tokens)
        return self.read(state, tokens)


@build.register
def _(config: MdlmModel, shape: Shape) -> MaskedDiffusion:
    """MDLM."""
    blocks = modulated_blocks(config, in_sequence(shape.length + shape.outputs))
    return MaskedDiffusion(
        outputs=shape.outputs,
        D=config.D,
        vocabulary=shape.vocabulary,
        blocks=blocks,
        condition=config.condition,
        conditioned=config.conditioned,
        stratified=config.times == "stratified",
        least_time=config.least_time,
    )
