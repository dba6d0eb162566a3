"""The network against a float64 reference written from the paper's equations, and what must not
leak, drift or be trained.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as reference_kl

from gram.models.building import in_place
from gram.models.factory import build_model, parameter_count
from gram.models.gram import GRAM
from gram.models.guidance import Gaussian, Head
from gram.models.network import Given, Shape
from gram.models.rollout import rollout
from gram.settings import GramModel, TrainConfig
from gram.settings.architectures.baselines import TrmModel
from gram.system.errors import GramError
from gram.tasks import make_task
from gram.train import losses

# Table 1 of the paper: parameters at D = 512, in millions.
PAPER_PARAMETERS = {"full": 10.5e6, "none": 7.3e6}

TINY = GramModel(
    D=8,
    heads=2,
    ffn_hidden=6,
    layers=2,
    K=2,
    T=3,
    puzzle_tokens=2,
    guidance_hidden=5,
    decoder_hidden=4,
    sigma_init=0.5,
)
LENGTH, VOCABULARY, BATCH = 6, 3, 4
TRAIN = TrainConfig(kl_tokens="mean")


def build(config: GramModel = TINY, *, seed: int = 0, scale: float | None = 0.4) -> GRAM:
    """A tiny model; with ``scale`` every weight is drawn anew, so that no zero-initialised part
    hides an error.
    """
    model = build_model(config, Shape(LENGTH, VOCABULARY), seed=seed)
    if scale is not None:
        generator = seeded(seed + 1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    generator = torch.Generator()
    generator.manual_seed(seed)
    return generator


def tokens(seed: int, batch: int = BATCH) -> Tensor:
    """Random tokens [B, L]."""
    return torch.randint(0, VOCABULARY, (batch, LENGTH), generator=seeded(seed))


# The reference ------------------------------------------------------------------------------------


class Reference:
    """The equations of gram-facts in float64, one by one, over the weights of a model."""

    def __init__(self, model: GRAM, config: GramModel) -> None:
        self.c = config
        self.w = {
            name: p.detach().double().requires_grad_() for name, p in model.named_parameters()
        }
        self.z0 = (model.z0_h.double(), model.z0_l.double())

    def swiglu(self, name: str, x: Tensor) -> Tensor:
        gate, up = (x @ self.w[f"{name}.gate_up.weight"].T).chunk(2, dim=-1)
        y = gate * torch.sigmoid(gate) * up @ self.w[f"{name}.down.weight"].T
        return y + self.w[f"{name}.down.bias"] if f"{name}.down.bias" in self.w else y

    def norm(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=-1, keepdim=True) + self.c.norm_eps).sqrt()

    def rope(self, x: Tensor) -> Tensor:
        """[B, L, d]: channels (2i, 2i + 1) at position p turn by the angle p * theta^(-2i/d)."""
        d = x.shape[-1]
        angle = torch.arange(x.shape[1]).double()[:, None] * self.c.rope_theta ** (
            -torch.arange(0, d, 2).double() / d
        )
        cos, sin = (
            f(angle).to(torch.float32).double() for f in (torch.cos, torch.sin)
        )  # the model keeps them in fp32
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = (even * cos - odd * sin, even * sin + odd * cos)
        return torch.stack(turned, dim=-1).flatten(-2)

    def attention(self, name: str, x: Tensor) -> Tensor:
        d = self.c.D // self.c.heads
        q, k, v = (x @ self.w[f"{name}.qkv.weight"].T).chunk(3, dim=-1)
        heads = []
        for i in range(self.c.heads):
            part = slice(i * d, (i + 1) * d)
            scores = self.rope(q[..., part]) @ self.rope(k[..., part]).transpose(1, 2) / d**0.5
            heads.append(scores.softmax(dim=-1) @ v[..., part])
        return torch.cat(heads, dim=-1) @ self.w[f"{name}.out.weight"].T

    def stack(self, name: str, x: Tensor) -> Tensor:
        for i in range(self.c.layers):
            mixer = f"{name}.blocks.{i}.mixer"
            if self.c.mixer == "sequence":
                mixed = self.swiglu(f"{mixer}.swiglu", x.transpose(1, 2)).transpose(1, 2)
            else:
                mixed = self.attention(mixer, x)
            x = self.norm(x + mixed)
            x = self.norm(x + self.swiglu(f"{name}.blocks.{i}.ffn", x))
        return x

    def head(self, name: str, x: Tensor) -> Normal:
        zeros = torch.zeros(*x.shape[:2], self.c.D).double()
        mu = zeros if self.c.guidance == "noise" else self.swiglu(f"{name}.mu", x)
        raw = zeros if self.c.guidance == "mean" else self.swiglu(f"{name}.sigma", x)
        if self.c.noise == "board":
            mu = mu.mean(dim=1, keepdim=True) * x.shape[1] ** 0.5
            raw = raw.mean(dim=1, keepdim=True)
        sigma = torch.log1p(raw.exp()) + self.c.sigma_min
        return Normal(mu, torch.ones_like(sigma) if self.c.guidance == "mean" else sigma)

    def embed(self, name: str, x: Tensor) -> Tensor:
        e = self.w[f"{name}.table.weight"][x] * self.c.D**0.5
        return torch.cat([torch.zeros(len(x), self.c.puzzle_tokens, self.c.D).double(), e], dim=1)

    def target(self, y: Tensor) -> Tensor:
        e_y = self.embed("guidance.target_embedding", y)
        if self.c.posterior == "pooled":
            e_y[:, self.c.puzzle_tokens :] = e_y[:, self.c.puzzle_tokens :].mean(
                dim=1, keepdim=True
            )
        return e_y

    def step(
        self,
        z: tuple[Tensor, Tensor],
        x: Tensor,
        y: Tensor | None,
        noise: Tensor,
        uncharged: str,
        charge_all: bool,
        carry: str = "posterior",
    ) -> tuple[tuple[Tensor, Tensor], Tensor, list[tuple[Normal, Normal]]]:
        """One supervision step: the state that goes on, logits and the charged (q, p)."""
        h, l = z  # noqa: E741
        charges = []
        for t in range(self.c.T):
            last = t == self.c.T - 1
            e_x = self.embed("front.embedding", x)
            for _ in range(self.c.K):
                if self.c.hierarchy == "flat":
                    h = self.stack("high", h + e_x)
                else:
                    l = self.stack("low", l + h + e_x)  # noqa: E741
            u = self.stack("high", h + (e_x if self.c.hierarchy == "flat" else l))
            if not last:
                u, l = u.detach(), l.detach()  # noqa: E741
            h = u
            if self.c.guidance != "none":
                eps = p = self.head("guidance.prior", u)
                if y is not None:
                    e_y = self.target(y)
                    seen = u + e_y if self.c.posterior == "added" else torch.cat([u, e_y], dim=-1)
                    q = self.head("guidance.posterior_head", seen)
                    draws = last or self.c.noise_in == "all"
                    charged = draws and (last or charge_all)
                    if charged:
                        charges.append((q, eps))
                    if charged or (draws and uncharged == "posterior"):
                        eps = q
                h = (0 * u if self.c.prediction == "direct" else u) + eps.loc
                if self.c.guidance != "mean" and (last or self.c.noise_in == "all"):
                    h = h + eps.scale * noise[:, -1 if last else t]
            if not last:
                h = h.detach()
        cells = h[:, self.c.puzzle_tokens :]
        if self.c.decoder == "linear":
            logits = cells @ self.w["back.head.weight"].T
        else:
            logits = self.swiglu("back.head", cells)
        if carry == "prior" and self.c.guidance != "none":
            h = (0 * u if self.c.prediction == "direct" else u) + p.loc
            h = h + (0 if self.c.guidance == "mean" else p.scale * noise[:, -1])
        return (h, l), logits, charges

    def loss(
        self, logits: Tensor, y: Tensor, charges: list[tuple[Normal, Normal]], beta: float
    ) -> Tensor:
        """Cross-entropy and the balanced KL as two terms with stopped gradients."""
        total = -torch.log_softmax(logits, dim=-1).gather(-1, y[..., None]).mean()
        for q, p in charges:
            stopped_q, stopped_p = (
                Normal(q.loc.detach(), q.scale.detach()),
                Normal(p.loc.detach(), p.scale.detach()),
            )
            kl = 0.8 * reference_kl(stopped_q, p) + 0.2 * reference_kl(q, stopped_p)
            total = total + beta * kl.sum(dim=(1, 2)).mean() / (self.c.puzzle_tokens + LENGTH)
        return total


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def draws(config: GramModel, seed: int, steps: int) -> list[Tensor]:
    """Standard normal noise for ``steps`` supervision steps.

    [B, T, L', D] each; [B, 1, ...] with noise in the last transition; [..., 1, D] where a board
    shares it.
    """
    transitions = config.T if config.noise_in == "all" else 1
    tokens = 1 if config.noise == "board" else config.puzzle_tokens + LENGTH
    generator = seeded(seed)
    shape = (BATCH, transitions, tokens, config.D)
    return [normal(*shape, generator=generator) for _ in range(steps)]


def close(a: Tensor | None, b: Tensor | None, tolerance: float = 1e-7) -> bool:
    """Equal, relative to the largest entry (0.2 as an fp32 constant is off by 1.5e-8); no gradient
    counts as zero.
    """
    a, b = (torch.zeros(1).double() if x is None else x.detach().double() for x in (a, b))
    return bool((a - b).abs().max() <= tolerance * max(float(b.abs().max()), 1e-3))


def charged_transitions(config: GramModel, charge_all: bool) -> int:
    """How many transitions of a supervision step have a KL that is charged."""
    if config.guidance == "none":
        return 0
    return config.T if charge_all and config.noise_in == "all" else 1


CASES = [
    *(
        {"uncharged": u, "charge_all": c}
        for u, c in itertools.product(("prior", "posterior"), (False, True))
    ),
    {"posterior": "pooled"},
    {"posterior": "added", "charge_all": True},
    {"decoder": "linear"},
    {"prediction": "direct", "carry": "prior"},
    {"prediction": "direct", "noise": "board"},
    {"guidance": "none"},
    *(
        {"guidance": g, "uncharged": "posterior", "charge_all": c}
        for g in ("noise", "mean")
        for c in (False, True)
    ),
    *({"hierarchy": "flat", "guidance": g} for g in ("full", "none")),
    {"guidance": "none", "z0": "random"},
    *({"noise": "board", "charge_all": c, "puzzle_tokens": k} for c, k in ((False, 0), (True, 2))),
    {"noise_in": "last"},
    {"noise_in": "last", "uncharged": "posterior", "charge_all": True},
    {"noise_in": "last", "guidance": "mean"},
    {"noise_in": "last", "noise": "board", "carry": "prior"},
    {"z0": "vector", "puzzle_tokens": 0},
    {"mixer": "sequence", "mixer_hidden": 5},
    *(
        {"carry": "prior", "guidance": g, "charge_all": c}
        for g, c in (("full", False), ("full", True), ("mean", False), ("none", False))
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: ",".join(map(str, case.values())))
def test_two_supervision_steps_and_their_gradients_equal_the_equations(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of both steps, and the gradient of the second: through its last transition only."""
    monkeypatch.setattr(
        Tensor, "float", Tensor.double
    )  # rounding grows along the recursion; float64 leaves only errors
    case = dict(case)
    uncharged, charge_all, carry = (
        case.pop("uncharged", "prior"),
        case.pop("charge_all", False),
        case.pop("carry", "posterior"),
    )
    config = dataclasses.replace(TINY, **case)
    model, x, y, beta = build(config).double(), tokens(1), tokens(2), 0.3
    reference, noise = Reference(model, config), draws(config, 5, steps=2)
    state: Any = model.initial_state(len(x), seeded(6))
    shape = (BATCH, config.puzzle_tokens + LENGTH, config.D)
    z: Any = (
        tuple(z0.expand(shape) for z0 in reference.z0)
        if config.z0 != "random"
        else normal(2, *shape, generator=seeded(6))
    )
    for n in range(2):
        given = noise[n] if config.guidance != "mean" else None
        out = model(
            state,
            Given(x),
            targets=y,
            noise=given,
            uncharged_noise=uncharged,
            charge_all=charge_all,
            carry=carry,
        )
        z, logits, charges = reference.step(z, x, y, noise[n], uncharged, charge_all, carry)
        assert (out.carried is None) == (carry == "posterior" or config.guidance == "none")
        if out.carried is not None:
            assert (
                close(out.carried, reference.swiglu("back.head", z[0][:, config.puzzle_tokens :]))
                and not out.carried.requires_grad
            )
            assert not close(out.carried, logits)
        assert close(out.logits, logits) and close(out.state.h, z[0]) and close(out.state.l, z[1])
        assert out.logits.shape == (BATCH, LENGTH, VOCABULARY)
        assert len(out.charges) == len(charges) == charged_transitions(config, charge_all)
        assert not out.state.h.requires_grad and not out.state.l.requires_grad
        assert close(out.summary, z[0][:, 0]) and not out.summary.requires_grad
        state, z = out.state, (z[0].detach(), z[1].detach())
    loss = losses.cross_entropy(out.logits, y, "softmax").mean()
    if out.charges:
        loss = loss + beta * losses.balanced_kl(out.charges, TRAIN)[0].mean()
    expected = reference.loss(logits, y, charges, beta)
    assert close(loss, expected)
    loss.backward()
    expected.backward()
    for name, parameter in model.named_parameters():
        assert close(parameter.grad, reference.w[name].grad), name
    learning = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    untouched = {"halt_head.weight", "halt_head.bias", "value_head.weight", "value_head.bias"}
    assert learning == {name for name, _ in model.named_parameters()} - untouched


def test_gradient_is_not_that_of_all_transitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail: without the stops, the reference's gradient is another one."""
    model, x, y = build(), tokens(1), tokens(2)
    noise = draws(TINY, 5, steps=1)[0]
    gradients = []
    for stops in (True, False):
        reference = Reference(model, TINY)
        if not stops:
            monkeypatch.setattr(Tensor, "detach", lambda tensor: tensor)
        z = tuple(z0.expand(BATCH, -1, -1) for z0 in reference.z0)
        _, logits, _ = reference.step(z, x, y, noise, "prior", False)
        (gradient,) = torch.autograd.grad(
            reference.loss(logits, y, [], 0.0), [reference.w["low.blocks.0.ffn.down.weight"]]
        )
        gradients.append(gradient)
    monkeypatch.undo()
    assert not close(*gradients, tolerance=0.02)


@pytest.mark.parametrize("noise", ["token", "board"])
def test_a_board_moves_as_one_where_it_shares_its_noise(noise: Any) -> None:
    config = dataclasses.replace(TINY, noise=noise, T=1)
    model, x = build(config), tokens(1)
    drawn = model.draw_noise(len(x), seeded(0))
    own = 1 if noise == "board" else config.puzzle_tokens + LENGTH
    assert drawn is not None and drawn.shape == (BATCH, 1, own, config.D)
    still, moved = (
        model.advance(model.initial_state(BATCH), Given(x), scale * drawn).h for scale in (0.0, 1.0)
    )
    across_tokens = (moved - still).std(dim=1)
    assert (across_tokens.max() < 1e-6) == (noise == "board")
    across_boards = (moved - still).std(dim=0)
    assert across_boards.min() > 1e-3


def test_noise_in_the_last_transition_is_all_that_differs_between_rollouts() -> None:
    """What the transitions before it give depends on the state alone; u of the last one shows
    it.
    """
    model, x = build(dataclasses.replace(TINY, noise_in="last", T=3)), tokens(1)
    state = model.initial_state(len(x))
    one, other = (model.draw_noise(len(x), seeded(seed)) for seed in (1, 2))
    assert one is not None and other is not None and one.shape[1] == 1
    after = [model.advance(state, Given(x), noise) for noise in (one, other)]
    assert torch.equal(after[0].l, after[1].l)  # l of the last transition saw no noise
    assert not torch.equal(after[0].h, after[1].h)
    everywhere = build(dataclasses.replace(TINY, T=3))
    assert everywhere.draw_noise(len(x), seeded(1)).shape[1] == 3


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"guidance": "none"},
        {"guidance": "mean"},
        {"hierarchy": "flat"},
        {"noise": "board", "noise_in": "last"},
    ],
    ids=lambda case: ",".join(map(str, case.values())) or "as it is",
)
def test_two_steps_of_a_rollout_equal_the_equations(
    case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    config = dataclasses.replace(TINY, **case)
    model, x = build(config).double(), tokens(1)
    reference, noise = Reference(model, config), draws(config, 5, steps=2)
    state, z = model.initial_state(BATCH), tuple(z0.expand(BATCH, -1, -1) for z0 in reference.z0)
    for n in range(2):
        drawn = None if config.guidance in ("none", "mean") else noise[n]
        read = model.roll(state, Given(x), noise=drawn, generator=seeded(0))
        z, logits, charges = reference.step(z, x, None, noise[n], "prior", False)
        assert close(read.state.h, z[0]) and close(read.state.l, z[1]) and not charges
        assert torch.equal(read.tokens, logits.argmax(dim=-1))
        assert close(read.value, model.value(z[0][:, 0]))
        state = read.state


def test_a_rollout_does_not_depend_on_the_posterior() -> None:
    model, x = build(), tokens(1)
    noise = model.draw_noise(BATCH, seeded(3))

    def rolled() -> list[Tensor]:
        read = model.roll(model.initial_state(BATCH), Given(x), noise=noise, generator=seeded(0))
        return [read.tokens, *read.state, read.value, read.halts]

    def trained() -> Tensor:
        logits: Tensor = model(
            model.initial_state(BATCH), Given(x), targets=tokens(2), noise=noise
        ).logits
        return logits

    before, before_posterior = rolled(), trained()
    with torch.no_grad():
        for name, parameter in model.guidance.named_parameters():  # type: ignore[union-attr]
            if not name.startswith("prior."):
                parameter.add_(1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, rolled(), strict=True))
    assert not torch.equal(before_posterior, trained())


def test_auxiliary_heads_send_no_gradient_into_the_core() -> None:
    model, x = build(), tokens(1)
    out = model(
        model.initial_state(len(x)),
        Given(x),
        targets=tokens(2),
        noise=model.draw_noise(len(x), seeded(0)),
    )
    (out.halt.sum() + out.value.sum()).backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"halt_head.weight", "halt_head.bias", "value_head.weight", "value_head.bias"}
    expected = torch.sigmoid(
        out.summary @ model.value_head.weight.T + model.value_head.bias
    ).squeeze(-1)
    assert torch.allclose(out.value, expected) and torch.allclose(
        model.value(out.summary), expected
    )


# Sizes and initial weights ------------------------------------------------------------------------


@pytest.mark.parametrize("guidance", ["full", "none"])
@pytest.mark.parametrize("n", [8, 10])
def test_parameters_at_paper_size(guidance: Any, n: int) -> None:
    model = build_model(GramModel(guidance=guidance), Shape(n * n, 3), seed=0)
    count = parameter_count(model)
    assert count == sum(
        tensor.numel() for name, tensor in model.state_dict().items() if not name.startswith("z0_")
    )
    assert abs(count / PAPER_PARAMETERS[guidance] - 1) < 0.05


@pytest.mark.parametrize(
    "config", [TINY, TrmModel(D=8, heads=2, puzzle_tokens=2)], ids=["gram", "trm"]
)
def test_rope_counts_tokens_or_the_axes_of_the_task(config: GramModel | TrmModel) -> None:
    shape = Shape.of(make_task("nqueens4", {"removed": [3]}))
    assert in_place(config, shape, 2).tolist() == [[i] for i in range(18)]
    axial, diagonal = (
        dataclasses.replace(config, D=16, rope=rope) for rope in ("axial", "diagonal")
    )
    places = [(-2, -2), (-1, -1), *((row, column) for row in range(4) for column in range(4))]
    assert in_place(axial, shape, 2).tolist() == [[row, column] for row, column in places]
    assert in_place(diagonal, shape, 2).tolist() == [
        [row, column, row + column, row - column] for row, column in places
    ]
    x = torch.randint(1, 3, (1, 16), generator=seeded(0))
    answers = []
    for each in (dataclasses.replace(config, D=16), axial, diagonal):
        model = build_model(each, shape, seed=0)
        state, noise = model.initial_state(len(x)), model.draw_noise(len(x), seeded(0))
        answers.append(model.roll(state, Given(x), noise=noise, generator=seeded(0)).state.h)
    assert all(
        not torch.allclose(one, other, atol=1e-3)
        for one, other in itertools.combinations(answers, 2)
    )


def test_heads_too_narrow_for_the_axes_are_refused() -> None:
    shape = Shape.of(make_task("nqueens4", {"removed": [3]}))
    with pytest.raises(
        GramError,
        match=r"model: rope: axial: D / heads is 6, not a multiple of 2 x 2, for as many axes",
    ):
        build_model(GramModel(D=12, heads=2, rope="axial"), shape, seed=0)


def test_sixteen_puzzle_tokens_by_default() -> None:
    assert GramModel().puzzle_tokens == 16
    config = dataclasses.replace(GramModel(), D=8, heads=2)
    model = build_model(config, Shape(LENGTH, VOCABULARY), seed=0)
    state, noise = model.initial_state(BATCH), model.draw_noise(BATCH, seeded(0))
    assert state.h.shape == (BATCH, 16 + LENGTH, 8)
    read = model.roll(state, Given(tokens(1)), noise=noise, generator=seeded(0))
    assert read.tokens.shape == (BATCH, LENGTH)


def test_same_seed_same_weights_and_the_twin_starts_from_the_same_core() -> None:
    before = torch.random.get_rng_state()
    a, b, c = build(scale=None), build(scale=None), build(scale=None, seed=1)
    twin = build(dataclasses.replace(TINY, guidance="none"), scale=None)
    assert torch.equal(before, torch.random.get_rng_state())  # the global generator is left alone
    weights = a.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in b.state_dict().items())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in twin.state_dict().items())
    assert weights.keys() - twin.state_dict().keys() == {
        name for name in weights if name.startswith("guidance.")
    }
    differ = {
        name for name, tensor in c.state_dict().items() if not torch.equal(tensor, weights[name])
    }
    assert {
        "z0_h",
        "z0_l",
        "front.embedding.table.weight",
        "low.blocks.0.ffn.down.weight",
    } <= differ


def test_initial_noise_has_the_configured_size_and_no_mean() -> None:
    model = build(scale=None)
    assert model.guidance is not None
    prior = model.guidance.prior(torch.randn(5, 7, TINY.D, generator=seeded(0)))
    assert torch.allclose(prior.sigma, torch.full_like(prior.sigma, TINY.sigma_init), atol=1e-6)
    assert not prior.mu.any()


def test_z0_is_a_standard_normal_draw_that_is_saved_but_not_trained() -> None:
    config = dataclasses.replace(TINY, D=64, heads=4)
    model = build_model(config, Shape(64, VOCABULARY), seed=0)
    names = {name for name, _ in model.named_parameters()}
    assert not names & {"z0_h", "z0_l"} and {"z0_h", "z0_l"} <= model.state_dict().keys()
    assert not torch.equal(model.z0_h, model.z0_l)
    for z0 in (model.z0_h, model.z0_l):
        assert z0.shape == (66, 64) and not z0.requires_grad
        assert abs(float(z0.mean())) < 0.06 and abs(float(z0.std()) - 1) < 0.05
    vector = build_model(dataclasses.replace(config, z0="vector"), Shape(64, VOCABULARY), seed=0)
    assert vector.z0_h.shape == (1, 64)
    state = vector.initial_state(3)
    assert state.h.shape == (3, 66, 64) and torch.equal(state.h[2, 65], vector.z0_h[0])


def test_impossible_sizes_name_the_key() -> None:
    with pytest.raises(GramError, match=r"D: 12 is not a multiple of 2 x heads \(4\)"):
        build(dataclasses.replace(TINY, D=12, heads=4))
    with pytest.raises(GramError, match=r"sigma_min: 0.5 is not below sigma_init \(0.5\)"):
        build(dataclasses.replace(TINY, sigma_min=0.5))


# States and noise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.02, 0.4, 4.0])
def test_state_stays_bounded_over_two_hundred_steps(scale: float) -> None:
    """Also with weights ten times too large: nothing but the noise goes round the norm."""
    model, x, generator = build(), tokens(1, batch=2), seeded(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("guidance."):
                parameter.mul_(scale / 0.4)
        for name, parameter in model.named_parameters():
            if name.startswith("guidance."):
                parameter.mul_(0.25)
        state: Any = model.initial_state(len(x))
        for _ in range(200):
            state = model.advance(state, Given(x), model.draw_noise(len(x), generator))
        logits = model.back(state.h)
    assert torch.isfinite(logits).all()
    assert float(state.l.square().mean()) == pytest.approx(1, abs=1e-2)
    assert 0.8 < float(state.h.square().mean().sqrt()) < 3


def test_gaussian_samples_have_its_mean_and_deviation() -> None:
    mu, sigma = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([0.1, 1.0, 3.0])
    sample = Gaussian(mu.expand(20000, 3), sigma.expand(20000, 3)).sample(
        torch.randn(20000, 3, generator=seeded(0))
    )
    assert ((sample.mean(dim=0) - mu).abs() < 5 * sigma / 20000**0.5).all()
    assert ((sample.std(dim=0) / sigma - 1).abs() < 0.03).all()


def test_guidance_is_computed_in_fp32_under_autocast() -> None:
    model, x, y = build(), tokens(1), tokens(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(
            model.initial_state(len(x)),
            Given(x),
            targets=y,
            noise=model.draw_noise(len(x), seeded(0)),
        )
    assert out.logits.dtype == torch.bfloat16
    for gaussian in (out.charges[0].q, out.charges[0].p):
        assert gaussian.mu.dtype == gaussian.sigma.dtype == torch.float32
    head = Head(4, 3, 4, sigma_init=0.1, sigma_min=1e-3)
    u = torch.randn(2, 5, 4, generator=seeded(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(u).sigma, head(u.float()).sigma)


# Rollouts -----------------------------------------------------------------------------------------


@pytest.fixture
def repeated() -> Tensor:
    """One input, eight times."""
    return tokens(1, batch=1).expand(8, LENGTH)


def test_deterministic_twin_answers_alike_and_gram_does_not(repeated: Tensor) -> None:
    twin, gram = build(dataclasses.replace(TINY, guidance="none")), build()
    assert not twin.samples and gram.samples

    def values(model: GRAM, seed: int) -> Tensor:
        return rollout(model, Given(repeated), depth=3, generator=seeded(seed)).value

    assert torch.equal(values(twin, 0), values(twin, 1)) and len(set(values(twin, 0).tolist())) == 1
    assert torch.equal(values(gram, 0), values(gram, 0))
    assert (
        not torch.equal(values(gram, 0), values(gram, 1))
        and len(set(values(gram, 0).tolist())) == 8
    )


def test_rollout_chains_supervision_steps(repeated: Tensor) -> None:
    model, generator = build(), seeded(4)
    state: Any = model.initial_state(len(repeated))
    for depth in range(1, 4):
        noise = model.draw_noise(len(repeated), generator)
        read = model.roll(state, Given(repeated), noise=noise, generator=generator)
        state = read.state
        result = rollout(model, Given(repeated), depth=depth, generator=seeded(4))
        assert torch.equal(result.tokens, read.tokens) and torch.equal(result.value, read.value)
        assert result.steps.tolist() == [depth] * 8


def test_act_keeps_the_answer_of_the_first_step_that_halts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = build(), tokens(1)
    halts = torch.tensor(
        [[1.0, -1, -1, 1], [1, -1, 1, -1], [-1, 1, 1, -1]]
    )  # [step, row]: above 0 the trajectory would halt
    reads = []
    roll: Callable[..., Any] = model.roll

    def scripted(*args: Any, **more: Any) -> Any:
        reads.append(roll(*args, **more)._replace(halts=halts[len(reads)] > 0))
        return reads[-1]

    monkeypatch.setattr(model, "roll", scripted)
    result = rollout(model, Given(x), depth=3, generator=seeded(0), act=True)
    assert result.steps.tolist() == [1, 3, 2, 1]
    for row, step in enumerate(result.steps.tolist()):
        assert torch.equal(result.tokens[row], reads[step - 1].tokens[row])
        assert result.value[row] == reads[step - 1].value[row]
    assert len({float(read.value[0]) for read in reads}) == 3  # so the steps can be told apart


def test_the_papers_count_is_that_of_a_linear_decoder_and_a_posterior_that_sees_a_sum() -> None:
    """4 layers of 7 D^2 weights, four heads of 3 D^2, embeddings and small heads: 10.49M."""
    config = GramModel(posterior="added", guidance_hidden=512, decoder="linear")
    network = build_model(config, Shape(64, 3), seed=0)
    core = 4 * 7 * 512**2
    heads = 4 * 3 * 512**2
    assert parameter_count(network) == pytest.approx(core + heads, rel=1e-3)
    assert round(parameter_count(network) / 1e6, 2) == 10.49
    assert round(core / 1e6, 2) == 7.34
