"""GRAM (section 2): hierarchical latent recursion with stochastic guidance; with less of either,
its ablations (Table 3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gram.models.building import build, in_place, plain_stack
from gram.models.guidance import Guidance, Source
from gram.models.layers import Embedding, Stack, SwiGLU, linear
from gram.models.network import Charge, Network, Shape, State, Step, draw_tokens
from gram.settings import GramModel


class GRAM(Network):
    """The recursive model.

    Args:
        answers: positions of the input at which the answer is decoded.
        D: width of the latent state.
        K: low-level updates per transition; of a flat state, updates before the one that gives u.
        T: transitions per supervision step.
        puzzle_tokens: zero tokens in front of the input.
        z0: fixed initial state (h, l), stored and never trained; [1, D] or [puzzle_tokens + L, D]
            each, or [0, D] where every trajectory draws its own.
        embedding: tokens -> e_x.
        low: f_L, or None for a flat state: h alone is looped through f_H, and l stays as it is.
        high: f_H.
        decoder: h -> logits, per token.
        guidance: the noise model, or None for the deterministic twin.
        noisy_transitions: how many transitions of a supervision step draw noise: its last ones. The
            transitions before them take the prior's mean.
        sampled_decoding: whether answers are drawn from the softmax of the logits instead of taken
            at its maximum.
    """

    has_value = True
    z0_h: Tensor
    z0_l: Tensor

    def __init__(
        self,
        *,
        answers: slice,
        D: int,
        K: int,
        T: int,
        puzzle_tokens: int,
        z0: State,
        embedding: Embedding,
        low: Stack | None,
        high: Stack,
        decoder: SwiGLU,
        guidance: Guidance | None,
        noisy_transitions: int,
        sampled_decoding: bool,
    ) -> None:
        super().__init__(answers=answers)
        self.K, self.T, self.puzzle_tokens = K, T, puzzle_tokens
        self.register_buffer("z0_h", z0.h)
        self.register_buffer("z0_l", z0.l)
        self.embedding = embedding
        self.low = low
        self.high = high
        self.decoder = decoder
        self.guidance = guidance
        self.noisy_transitions = noisy_transitions
        self.sampled_decoding = sampled_decoding
        self.draws_z0 = len(z0.h) == 0
        self.halt_head = linear(D, 2, scale=0.0, bias=True)
        self.value_head = linear(D, 1, scale=0.0, bias=True)

    @property
    def samples(self) -> bool:
        """Whether two rollouts of the same input can differ."""
        return (
            self.draws_z0
            or self.sampled_decoding
            or (self.guidance is not None and self.guidance.draws)
        )

    def draw_noise(self, inputs: Tensor, generator: torch.Generator) -> Tensor | None:
        """Independent N(0, I) for one supervision step of ``inputs`` [B, L].

        fp32 [noisy_transitions, B, puzzle_tokens + L, D], or [noisy_transitions, B, 1, D] if all
        tokens share one vector; None where guidance draws nothing. Noise is an input of the
        network, so that whoever runs it decides how rows share it.
        """
        if self.guidance is None or not self.guidance.draws:
            return None
        B, L = inputs.shape
        tokens = 1 if self.guidance.shared else self.puzzle_tokens + L
        shape = (self.noisy_transitions, B, tokens, self.z0_h.shape[-1])
        return torch.randn(
            shape, generator=generator, device=generator.device, dtype=self.z0_h.dtype
        )

    def initial_state(self, inputs: Tensor, generator: torch.Generator | None = None) -> State:
        """z_0 for every row of ``inputs`` [B, L]; from ``generator``, N(0, I), where every
        trajectory draws its own.
        """
        B, L = inputs.shape
        shape = (B, self.puzzle_tokens + L, self.z0_h.shape[-1])
        if self.draws_z0:
            assert generator is not None, "a model that draws z_0 needs a generator"
            return State(
                *torch.randn(
                    (2, *shape), generator=generator, device=generator.device, dtype=self.z0_h.dtype
                )
            )
        return State(self.z0_h.expand(shape), self.z0_l.expand(shape))

    def transition(self, state: State, e_x: Tensor) -> tuple[Tensor, Tensor]:
        """K low-level updates with h frozen, then the proposal: returns (l, u), both [B, L', D].

        A flat state has as many updates, K + 1, of h alone.
        """
        h, l = state  # noqa: E741
        if self.low is None:
            for _ in range(self.K + 1):
                h = self.high(h + e_x)
            return l, h
        injected = h + e_x
        for _ in range(self.K):
            l = self.low(l + injected)  # noqa: E741
        return l, self.high(h + l)

    def decode(self, state: State) -> Tensor:
        """Logits at the answer's positions: [B, L_out, vocabulary]."""
        return self.decoder(state.h[:, self.puzzle_tokens :][:, self.answers])

    def value(self, summary: Tensor) -> Tensor:
        """LPRM value in (0, 1) of states summarised by their first token: [..., D] -> [...]."""
        return self.value_head(summary).squeeze(-1).float().sigmoid()

    def answer(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """The tokens that a rollout answers: [B, L_out, vocabulary] -> int64 [B, L_out]; sampled
        decoding uses ``generator``.
        """
        if not self.sampled_decoding:
            return super().answer(logits, generator)
        return draw_tokens(logits, generator)

    def forward(
        self,
        state: State,
        inputs: Tensor,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
        uncharged_noise: Source = "prior",
        charge_all: bool = False,
        carry: Source = "posterior",
    ) -> Step:
        """One supervision step: T transitions, gradient through the last, then decode.

        Args:
            state: from :meth:`initial_state` or the previous step.
            inputs: [B, L] int64 tokens.
            targets: [B, L_out] int64 tokens; with them the charged noise comes from the posterior,
                without them all noise comes from the prior.
            noise: from :meth:`draw_noise`.
            uncharged_noise: source of the noise in transitions whose KL is not charged.
            charge_all: charge every transition that draws noise, not only the last.
            carry: with targets, the source of the last noise in the state that goes on to the next
                supervision step, and that the heads for halting and value read; the logits are
                always those of the posterior.
        """
        e_x = F.pad(self.embedding(inputs), (0, 0, self.puzzle_tokens, 0))
        e_y = None
        if self.guidance is not None and targets is not None:
            start, stop, _ = self.answers.indices(inputs.shape[1])
            e_y = self.guidance.embed_target(
                targets, self.puzzle_tokens + start, inputs.shape[1] - stop
            )
        charges: list[Charge] = []
        p = q = drawn = None
        for t in range(self.T):
            last = t == self.T - 1
            draw = t - self.T + self.noisy_transitions  # below 0: this transition draws nothing
            guided = e_y is not None and draw >= 0
            charged = guided and (last or charge_all)
            with torch.set_grad_enabled(last and torch.is_grad_enabled()):
                l, u = self.transition(state, e_x)  # noqa: E741
            h = u
            if self.guidance is not None:
                use_posterior = charged or (guided and uncharged_noise == "posterior")
                with torch.set_grad_enabled((last or charged) and torch.is_grad_enabled()):
                    # u has no gradient before the last transition: there the heads alone learn from
                    # the charge.
                    p = self.guidance.prior(u) if charged or not use_posterior else None
                    q = (
                        self.guidance.posterior(u, e_y)
                        if use_posterior and e_y is not None
                        else None
                    )
                if charged and p is not None and q is not None:
                    charges.append(Charge(q, p, tokens=u.shape[1]))
                source = q if q is not None else p
                assert source is not None
                assert noise is not None or not self.guidance.draws, (
                    "a model whose guidance draws needs noise"
                )
                drawn = None if noise is None or draw < 0 else noise[draw]
                h = u + (source if last else source.detach()).sample(drawn)
            state = State(h, l)
        logits = self.decode(state)
        going_on = State(state.h.detach(), state.l.detach())
        carried = None
        if carry == "prior" and q is not None and p is not None:
            with torch.no_grad():
                going_on = State(u + p.sample(drawn), going_on.l)
                carried = self.decode(going_on)
        summary = going_on.h[:, 0]
        return Step(
            state=going_on,
            logits=logits,
            carried=carried,
            summary=summary,
            halt=self.halt_head(summary).float(),
            value=self.value(summary),
            charges=charges,
        )


@build.register
def _(config: GramModel, shape: Shape) -> GRAM:
    """GRAM, its deterministic twin or another ablation of it."""
    positions = in_place(config, shape, config.puzzle_tokens)
    tokens = len(positions)
    z0_tokens = {"tokens": tokens, "vector": 1, "random": 0}[config.z0]
    z0 = State(*(nn.init.normal_(torch.empty(z0_tokens, config.D)) for _ in range(2)))
    low = plain_stack(config, positions) if config.hierarchy == "two" else None
    high = plain_stack(config, positions)
    guidance = None
    embedding = Embedding(shape.vocabulary, config.D)
    decoder = SwiGLU(config.D, config.decoder_hidden, shape.vocabulary)
    if config.guidance != "none":
        guidance = Guidance(
            D=config.D,
            vocabulary=shape.vocabulary,
            hidden=config.guidance_hidden,
            kind=config.guidance,
            sigma_init=config.sigma_init,
            sigma_min=config.sigma_min,
            pooled=config.posterior == "pooled",
            shared=config.noise == "board",
        )
    return GRAM(
        answers=shape.answers,
        D=config.D,
        K=config.K,
        T=config.T,
        puzzle_tokens=config.puzzle_tokens,
        z0=z0,
        embedding=embedding,
        low=low,
        high=high,
        decoder=decoder,
        guidance=guidance,
        noisy_transitions=config.T if config.noise_in == "all" else 1,
        sampled_decoding=config.decoding == "sample",
    )
