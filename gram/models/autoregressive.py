"""AR (Table 1): a causal transformer over the input's tokens and then the output's, sampled token
by token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gram.models.building import build, in_sequence, stack_of
from gram.models.layers import Cache, Embedding, Stack, linear
from gram.models.network import Given, Network, Read, Shape, State, Step, draw_tokens
from gram.settings import EvaluateConfig
from gram.settings.architectures.baselines import ArModel


class Autoregressive(Network):
    """p(y | x) = prod_i p(y_i | x, y_1 .. y_{i-1}); the last input token predicts y_1, and y_i
    predicts y_{i+1}.

    Args:
        outputs: tokens of the output, L_out. They have positions of their own, after all of the
            input's.
        D: width of a token.
        vocabulary: size of the vocabulary; input and output tokens have an embedding of their own.
        stack: causal blocks, with positions for L + L_out - 1 tokens.

    Attributes:
        temperature: of the draws, from the whole vocabulary; at 0 the most probable token is taken.
    """

    def __init__(
        self,
        *,
        outputs: int,
        D: int,
        vocabulary: int,
        stack: Stack,
    ) -> None:
        super().__init__()
        self.outputs = self.calls = outputs
        self.temperature = 1.0
        self.embedding = Embedding(vocabulary, D)
        self.output_embedding = Embedding(vocabulary, D)
        self.stack = stack
        self.head = linear(D, vocabulary)

    def answer_as(self, config: EvaluateConfig) -> None:
        self.temperature = config.temperature

    @property
    def samples(self) -> bool:
        return self.temperature > 0

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Step:
        """Teacher forcing: logits [B, L_out, vocabulary] of every output token, given the targets
        before it.
        """
        assert targets is not None, (
            "the next token depends on the targets before it; roll() draws them"
        )
        e_x = self.embedding(given.tokens)
        h = self.stack(torch.cat((e_x, self.output_embedding(targets[:, :-1])), dim=1))
        return self.step(state, self.head(h[:, e_x.shape[1] - 1 :]))

    def log_likelihood(self, given: Given, outputs: Tensor) -> Tensor:
        """log p(outputs | inputs) at temperature 1, in nats and exact: [B, L_out] int64 -> fp32
        [B].
        """
        logits = self(self.initial_state(len(outputs)), given, targets=outputs).logits
        return logits.float().log_softmax(dim=-1).gather(-1, outputs[..., None]).sum(dim=(1, 2))

    def roll(
        self, state: State, given: Given, *, noise: Tensor | None, generator: torch.Generator
    ) -> Read:
        """Draw the whole output, token by token; keys and values of earlier tokens are kept, not
        computed again.
        """
        caches = [Cache() for _ in self.stack.blocks]
        e = self.embedding(given.tokens)
        tokens = torch.empty(len(e), 0, dtype=torch.int64, device=e.device)
        for _ in range(self.outputs):
            logits = self.head(self.stack(e, caches)[:, -1:])
            token = self.answer(logits, generator)
            tokens = torch.cat((tokens, token), dim=1)
            e = self.output_embedding(token)
        return self.read(state, tokens)

    def answer(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Tokens at the temperature of this network: [B, ..., vocabulary] -> int64 [B, ...]."""
        if not self.samples:
            return super().answer(logits, generator)
        return draw_tokens(logits / self.temperature, generator)


@build.register
def _(config: ArModel, shape: Shape) -> Autoregressive:
    """AR."""
    return Autoregressive(
        outputs=shape.outputs,
        D=config.D,
        vocabulary=shape.vocabulary,
        stack=stack_of(config, in_sequence(shape.length + shape.outputs - 1), causal=True),
    )
