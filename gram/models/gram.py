"""GRAM (section 2): hierarchical latent recursion with stochastic guidance; with less of either,
its ablations (Table 3).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gram.models.building import build, in_place, stack_of
from gram.models.ends import Answer, Cells
from gram.models.guidance import Guidance, Source
from gram.models.layers import Stack, SwiGLU, linear
from gram.models.network import Charge, Given, Network, Read, Shape, State, Step, draw_tokens
from gram.settings import EvaluateConfig, GramModel


class GRAM(Network):
    """The recursive model.

    Args:
        D: width of the latent state.
        K: low-level updates per transition; of a flat state, updates before the one that gives u.
        T: transitions per supervision step.
        z0: fixed initial state (h, l), stored and never trained; [1, D] or [L', D] each, or [0, D]
            where every trajectory draws its own.
        front: input -> e_x, one latent token [D] for each of its L' tokens; the heads for halting
            and value read what becomes of the first.
        low: f_L, or None for a flat state: h alone is looped through f_H, and l stays as it is.
        high: f_H.
        back: h -> logits.
        guidance: the noise model, or None for the deterministic twin.
        direct: whether the noise takes the place of the proposal.
        noisy_transitions: how many transitions of a supervision step draw noise: its last ones. The
            transitions before them take the prior's mean.

    Attributes:
        sampled_decoding: whether answers are drawn from the softmax of the logits instead of taken
            at its maximum.
    """

    has_value = True
    z0_h: Tensor
    z0_l: Tensor

    def __init__(
        self,
        *,
        D: int,
        K: int,
        T: int,
        z0: State,
        front: Cells,
        low: Stack | None,
        high: Stack,
        back: Answer,
        guidance: Guidance | None,
        direct: bool,
        noisy_transitions: int,
    ) -> None:
        super().__init__()
        self.K, self.T = K, T
        self.register_buffer("z0_h", z0.h)
        self.register_buffer("z0_l", z0.l)
        self.front = front
        self.low = low
        self.high = high
        self.back = back
        self.guidance = guidance
        self.direct = direct
        self.noisy_transitions = noisy_transitions
        self.sampled_decoding = False
        self.draws_z0 = len(z0.h) == 0
        self.halt_head = linear(D, 2, scale=0.0, bias=True)
        self.value_head = linear(D, 1, scale=0.0, bias=True)

    def answer_as(self, config: EvaluateConfig) -> None:
        self.sampled_decoding = config.decoding == "sample"

    @property
    def samples(self) -> bool:
        """Whether two rollouts of the same input can differ."""
        return (
            self.draws_z0
            or self.sampled_decoding
            or (self.guidance is not None and self.guidance.draws)
        )

    @property
    def reads(self) -> int:
        """How many states of a supervision step the value head can read."""
        return self.T

    def draw_noise(self, rows: int, generator: torch.Generator) -> Tensor | None:
        """Independent N(0, I) for one supervision step of as many rows.

        fp32 [rows, noisy_transitions, L', D], or [rows, noisy_transitions, 1, D] if all tokens
        share one vector; None where guidance draws nothing. Noise is an input of the network, so
        that whoever runs it decides how rows share it.
        """
        if self.guidance is None or not self.guidance.draws:
            return None
        tokens = 1 if self.guidance.shared else self.front.tokens
        # Drawn transition by transition, so that those of one lie together in memory.
        shape = (self.noisy_transitions, rows, tokens, self.z0_h.shape[-1])
        noise = torch.randn(
            shape, generator=generator, device=generator.device, dtype=self.z0_h.dtype
        )
        return noise.transpose(0, 1)

    def initial_state(self, rows: int, generator: torch.Generator | None = None) -> State:
        """z_0 for as many rows; from ``generator``, N(0, I), where every trajectory draws its
        own.
        """
        shape = (rows, self.front.tokens, self.z0_h.shape[-1])
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

    def moved(self, u: Tensor, eps: Tensor) -> Tensor:
        """The new h from the proposal [B, L', D] and the noise, of which all tokens may share one
        vector.
        """
        return eps.expand_as(u) if self.direct else u + eps

    def drawn(self, noise: Tensor | None, t: int) -> Tensor | None:
        """What transition t of a supervision step draws of its ``noise``; None where it takes the
        mean.
        """
        assert noise is not None or self.guidance is None or not self.guidance.draws, (
            "a model whose guidance draws needs noise"
        )
        draw = t - (self.T - self.noisy_transitions)
        return None if noise is None or draw < 0 else noise[:, draw]

    def value(self, summary: Tensor) -> Tensor:
        """LPRM value in (0, 1) of states summarised by their first token: [..., D] -> [...]."""
        return self.value_head(summary).squeeze(-1).float().sigmoid()

    def halt_logits(self, summary: Tensor) -> Tensor:
        """Logits of (halt, continue) of states summarised by their first token: [B, D] -> fp32 [B,
        2].
        """
        logits: Tensor = self.halt_head(summary).float()
        return logits

    def answer(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """The tokens that a rollout answers: [B, L_out, vocabulary] -> int64 [B, L_out]; sampled
        decoding uses ``generator``.
        """
        if not self.sampled_decoding:
            return super().answer(logits, generator)
        return draw_tokens(logits, generator)

    def advance(self, state: State, given: Given, noise: Tensor | None) -> State:
        """One supervision step that sees no target: T transitions h = u + eps, eps from the prior
        p(eps | u) (section 2.2).

        Args:
            state: from :meth:`initial_state` or the previous step.
            given: the rows' inputs.
            noise: from :meth:`draw_noise`.
        """
        e_x = self.front(given)
        for t in range(self.T):
            l, u = self.transition(state, e_x)  # noqa: E741
            h = u
            if self.guidance is not None:
                h = self.moved(u, self.guidance.prior(u).sample(self.drawn(noise, t)))
            state = State(h, l)
        return state

    def roll(
        self, state: State, given: Given, *, noise: Tensor | None, generator: torch.Generator
    ) -> Read:
        """One step of a rollout from the prior; arguments as of :meth:`advance`.

        Args:
            generator: source of what sampled decoding draws.
        """
        state = self.advance(state, given, noise)
        summary = state.h[:, 0]
        return Read(
            state,
            self.answer(self.back(state.h), generator),
            self.value(summary),
            self.halting(self.halt_logits(summary)),
        )

    def forward(
        self,
        state: State,
        given: Given,
        *,
        targets: Tensor | None = None,
        noise: Tensor | None = None,
        uncharged_noise: Source = "prior",
        charge_all: bool = False,
        carry: Source = "posterior",
        reads_all: bool = False,
    ) -> Step:
        """One supervision step in training (section 2.3): the charged noise comes from the
        posterior, which sees the targets, and gradients flow through the last transition only.

        Args:
            state, given, noise: as of :meth:`advance`.
            targets: [B, L_out] int64 tokens.
            uncharged_noise: source of the noise in transitions whose KL is not charged.
            charge_all: charge every transition that draws noise, not only the last.
            carry: the source of the last noise in the state that goes on to the next supervision
                step, and that the heads for halting and value read; the logits are always those of
                the posterior.
            reads_all: whether the summary holds the first token after every transition, one behind
                the other: [B, T D]; else after the last alone.
        """
        assert targets is not None, "a training step sees targets; roll() sees none"
        training = torch.is_grad_enabled()
        guidance = self.guidance
        e_x = self.front(given)
        e_y = None if guidance is None else self.front.place(guidance.embed_target(targets))
        charges: list[Charge] = []
        p = q = drawn = None
        summaries = []
        for t in range(self.T):
            last = t == self.T - 1
            with torch.set_grad_enabled(training and last):
                l, u = self.transition(state, e_x)  # noqa: E741
            h = u
            if guidance is not None and e_y is not None:
                drawn = self.drawn(noise, t)
                guided = t >= self.T - self.noisy_transitions
                charged = guided and (last or charge_all)
                steered = charged or (guided and uncharged_noise == "posterior")
                # u has no gradient before the last transition: there the heads alone learn from the
                # charge.
                with torch.set_grad_enabled(training and (last or charged)):
                    p = guidance.prior(u) if charged or not steered else None
                    q = guidance.posterior(u, e_y) if steered else None
                if charged and p is not None and q is not None:
                    charges.append(Charge(q, p, tokens=u.shape[1]))
                source = q if q is not None else p
                assert source is not None
                h = self.moved(u, (source if last else source.detach()).sample(drawn))
            state = State(h, l)
            summaries.append(h[:, 0].detach())
        logits = self.back(state.h)
        going_on = State(state.h.detach(), state.l.detach())
        carried = None
        if carry == "prior" and q is not None and p is not None:
            with torch.no_grad():
                going_on = State(self.moved(u, p.sample(drawn)), going_on.l)
                carried = self.back(going_on.h)
        summary = going_on.h[:, 0]
        return Step(
            state=going_on,
            logits=logits,
            carried=carried,
            summary=torch.cat((*summaries[:-1], summary), dim=-1) if reads_all else summary,
            halt=self.halt_logits(summary),
            value=self.value(summary),
            charges=charges,
        )


@build.register
def _(config: GramModel, shape: Shape) -> GRAM:
    """GRAM, its deterministic twin or another ablation of it."""
    positions = in_place(config, shape, config.puzzle_tokens)
    z0_tokens = {"tokens": len(positions), "vector": 1, "random": 0}[config.z0]
    z0 = State(*(nn.init.normal_(torch.empty(z0_tokens, config.D)) for _ in range(2)))
    low = stack_of(config, positions) if config.hierarchy == "two" else None
    high = stack_of(config, positions)
    front = Cells(shape, config.D, config.puzzle_tokens)
    decoder = (
        linear(config.D, shape.vocabulary)
        if config.decoder == "linear"
        else SwiGLU(config.D, config.decoder_hidden, shape.vocabulary)
    )
    guidance = None
    if config.guidance != "none":
        guidance = Guidance(
            D=config.D,
            vocabulary=shape.vocabulary,
            hidden=config.guidance_hidden,
            kind=config.guidance,
            sigma_init=config.sigma_init,
            sigma_min=config.sigma_min,
            pooled=config.posterior == "pooled",
            added=config.posterior == "added",
            shared=config.noise == "board",
            rounded=config.guidance_products == "bf16",
        )
    return GRAM(
        D=config.D,
        K=config.K,
        T=config.T,
        z0=z0,
        front=front,
        low=low,
        high=high,
        back=Answer(shape, decoder, config.puzzle_tokens),
        guidance=guidance,
        direct=config.prediction == "direct",
        noisy_transitions=config.T if config.noise_in == "all" else 1,
    )
