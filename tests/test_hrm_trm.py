"""HRM and TRM against their equations, written out in float64: forward pass, what carries gradient,
halting and its targets.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gram.models.building import in_sequence
from gram.models.factory import build_model, parameter_count
from gram.models.hrm import HRM
from gram.models.layers import TRUNCATED_STD, Attention, Rotary
from gram.models.network import Given, Shape, State
from gram.settings import RunSettings, TrainConfig
from gram.settings.architectures.baselines import HrmModel, TrmModel
from gram.train.objectives import Rows, supervise
from gram.train.objectives.act import continue_loss
from gram.train.trainer import Trainer

Config = HrmModel | TrmModel

SMALL: dict[str, Any] = {"D": 16, "heads": 2, "ffn_hidden": 24}
HRM_SMALL = HrmModel(**SMALL, layers=2, K=3, T=2, puzzle_tokens=1)
TRM_SMALL = TrmModel(**SMALL, layers=1, K=2, T=3, puzzle_tokens=4)
BOTH = pytest.mark.parametrize("config", [HRM_SMALL, TRM_SMALL], ids=["hrm", "trm"])
SHAPE = Shape(6, 5, slice(2, 6))  # the answer is read at the last four tokens
BATCH = 3
AGE = torch.zeros(BATCH, dtype=torch.int64)  # these objectives do not look at it


def seeded(seed: int) -> torch.Generator:
    """A CPU generator."""
    return torch.Generator().manual_seed(seed)


def build(config: Config, shape: Shape = SHAPE) -> HRM:
    """A small model whose parts that start at zero are drawn too, so that they hide no error."""
    model = build_model(config, shape, seed=0)
    assert isinstance(model, HRM)
    with torch.no_grad():
        for p in (model.front.puzzle, model.halt_head.weight):
            p.copy_(0.3 * torch.randn(p.shape, generator=seeded(1)))
    return model


def tokens(seed: int, rows: int = BATCH, shape: Shape = SHAPE) -> Tensor:
    """Random inputs."""
    return torch.randint(shape.vocabulary, (rows, shape.length), generator=seeded(seed))


def carried(config: Config, seed: int) -> State:
    """A state as of somewhere in a trajectory."""
    shape = (2, BATCH, config.puzzle_tokens + SHAPE.length, config.D)
    return State(*torch.randn(shape, generator=seeded(seed)))


class Reference:
    """The recursion, equation by equation, in float64."""

    def __init__(self, model: HRM, config: Config) -> None:
        self.c = config
        self.w = {
            name: p.detach().double().requires_grad_() for name, p in model.named_parameters()
        }

    @staticmethod
    def normalise(x: Tensor) -> Tensor:
        return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()

    def rotated(self, x: Tensor) -> Tensor:
        """[heads, L, d]: x cos + rotate_half(x) sin, rotate_half(x) = (-second half, first
        half).
        """
        _, length, d = x.shape
        inverse = torch.tensor(
            [10000.0 ** (-2 * i / d) for i in range(d // 2)], dtype=torch.float64
        )
        angle = torch.arange(length)[:, None] * torch.cat([inverse, inverse])
        half = torch.cat([-x[..., d // 2 :], x[..., : d // 2]], dim=-1)
        return x * angle.cos() + half * angle.sin()

    def attention(self, x: Tensor, name: str) -> Tensor:
        """One sequence, [L, D]."""
        heads, D = self.c.heads, self.c.D
        rows = (
            (self.w[f"{name}.qkv.weight"] @ x.T).view(3 * heads, D // heads, -1).transpose(1, 2)
        )  # q's heads, k's, v's
        q, k, v = (
            self.rotated(rows[:heads]),
            self.rotated(rows[heads : 2 * heads]),
            rows[2 * heads :],
        )
        p = (q @ k.transpose(1, 2) / math.sqrt(D // heads)).softmax(dim=-1)
        return torch.cat(list(p @ v), dim=-1) @ self.w[f"{name}.out.weight"].T

    def network(self, x: Tensor, name: str) -> Tensor:
        """A stack on [B, L, D]."""
        for i in range(self.c.layers):
            block = f"{name}.blocks.{i}"
            x = self.normalise(
                x + torch.stack([self.attention(row, f"{block}.mixer") for row in x])
            )
            y = x @ self.w[f"{block}.ffn.gate_up.weight"].T
            gate, up = y[..., : self.c.ffn_hidden], y[..., self.c.ffn_hidden :]
            x = self.normalise(
                x + (gate * gate.sigmoid() * up) @ self.w[f"{block}.ffn.down.weight"].T
            )
        return x

    def step(
        self, state: State, inputs: Tensor, *, cut: bool = True
    ) -> tuple[State, Tensor, Tensor]:
        """State, logits and halting logits; ``cut`` detaches what carries no gradient."""
        prefix = torch.zeros(len(inputs), self.c.puzzle_tokens, self.c.D, dtype=torch.float64)
        prefix[:, 0] = self.w["front.puzzle"]
        e_x = math.sqrt(self.c.D) * torch.cat(
            [prefix, self.w["front.embedding.table.weight"][inputs]], dim=1
        )
        hrm = isinstance(self.c, HrmModel)
        f_L, f_H = ("low" if hrm else "high"), "high"
        h, l = state.h.double(), state.l.double()  # noqa: E741
        calls = [call for _ in range(self.c.T) for call in "l" * self.c.K + "h"]
        kept = 2 if hrm else self.c.K + 1  # calls with gradient, counted from the end
        for n, call in enumerate(calls):
            if cut and n <= len(calls) - kept:
                h, l = h.detach(), l.detach()  # noqa: E741
            if call == "l":
                l = self.network(l + (h + e_x), f_L)  # noqa: E741
            else:
                h = self.network(h + l, f_H)
        logits = h[:, self.c.puzzle_tokens :][:, SHAPE.answers] @ self.w["back.head.weight"].T
        return (
            State(h, l),
            logits,
            h[:, 0] @ self.w["halt_head.weight"].T + self.w["halt_head.bias"],
        )


def scalar(logits: Tensor, halt: Tensor) -> Tensor:
    """Something that every output moves."""
    return (
        logits * torch.randn(logits.shape, generator=seeded(5), dtype=torch.float64)
    ).sum() + halt.double().square().sum()


@BOTH
def test_three_supervision_steps_follow_the_equations(config: Config) -> None:
    model, inputs = build(config), tokens(2)
    state = reference_state = model.initial_state(len(inputs))
    reference = Reference(model, config)
    for _ in range(3):
        step = model(state, Given(inputs))
        reference_state, logits, halt = reference.step(reference_state, inputs)
        for found, expected in [
            *zip(step.state, reference_state, strict=True),
            (step.logits, logits),
            (step.halt, halt),
        ]:
            assert found.shape == expected.shape
            assert torch.allclose(found.double(), expected, atol=5e-5)
        state = step.state
        assert (
            not state.h.requires_grad
            and step.halt.dtype == torch.float32
            and step.summary.shape == (BATCH, 0)
        )


@BOTH
def test_gradient_reaches_exactly_the_calls_that_it_should(config: Config) -> None:
    model, inputs, state = build(config), tokens(2), carried(config, 3)
    step = model(state, Given(inputs))
    scalar(step.logits, step.halt).backward()
    found = {name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None}
    gradients = {}
    for cut in (True, False):
        reference = Reference(model, config)
        _, logits, halt = reference.step(state, inputs, cut=cut)
        scalar(logits, halt).backward()
        gradients[cut] = {name: w.grad for name, w in reference.w.items()}
    for name, expected in gradients[True].items():
        size = float(expected.abs().max())
        assert size > 0, f"{name} has no gradient"
        assert torch.allclose(found[name], expected, atol=1e-4 * size), name
    recursive = [
        name for name in found if "blocks" in name or name in ("puzzle", "embedding.table.weight")
    ]
    assert all(
        not torch.allclose(found[name], gradients[False][name], rtol=1e-2) for name in recursive
    )  # the test can fail


@BOTH
def test_bf16_loses_no_gradient_of_the_calls_that_follow_those_without(config: Config) -> None:
    model = build(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step = model(carried(config, 3), Given(tokens(2)))
    (step.logits.float().square().sum() + step.halt.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_rope_of_halves_is_that_of_neighbours_with_the_channels_in_another_order() -> None:
    length, D, heads = 7, 24, 2
    d = D // heads
    order = [
        i // 2 + (i % 2) * (d // 2) for i in range(d)
    ]  # channel of halves that is channel i of neighbours
    x = torch.randn(3, length, d, generator=seeded(0))
    halves, neighbours = (
        Rotary(in_sequence(length), d, 100.0, halves=True),
        Rotary(in_sequence(length), d, 100.0),
    )
    assert torch.allclose(halves(x)[..., order], neighbours(x[..., order]), atol=1e-6)
    assert not torch.allclose(halves(x), neighbours(x), atol=1e-2)
    rotation = Reference(build(HRM_SMALL), HRM_SMALL).rotated(x.double())
    assert torch.allclose(
        Rotary(in_sequence(length), d, 10000.0, halves=True)(x).double(), rotation, atol=1e-6
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, other = (Attention(D, heads=heads, rotary=rotary) for rotary in (halves, neighbours))
    with torch.no_grad():
        weight = one.qkv.weight.view(3, heads, d, D)
        other.qkv.weight.copy_(torch.cat([weight[:2, :, order], weight[2:]]).reshape(3 * D, D))
        other.out.weight.copy_(one.out.weight)
        y = torch.randn(2, length, D, generator=seeded(1))
        assert torch.allclose(one(y), other(y), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "paper", "exact"),
    [(HrmModel(), 27e6, 27_267_586), (TrmModel(), 7e6, 6_820_354)],
    ids=["hrm", "trm"],
)
def test_parameters_at_paper_size(config: Config, paper: float, exact: int) -> None:
    model = build_model(config, Shape(64, 3), seed=0)
    assert parameter_count(model) == exact and abs(exact / paper - 1) < 0.05
    saved = {name: tensor.numel() for name, tensor in model.state_dict().items()}
    assert saved.pop("z0_h") == saved.pop("z0_l") == 512 and sum(saved.values()) == exact


@BOTH
def test_initial_weights(config: Config) -> None:
    model = build_model(dataclasses.replace(config, D=128, ffn_hidden=192), Shape(6, 400), seed=0)
    assert isinstance(model, HRM)
    assert torch.equal(model.front.puzzle, torch.zeros(128)) and torch.equal(
        model.halt_head.weight, torch.zeros(2, 128)
    )
    assert torch.equal(model.halt_head.bias, torch.full((2,), -5.0))
    block = model.high.blocks[0]
    matrices = [
        model.back.head.weight,
        block.mixer.qkv.weight,
        block.ffn.gate_up.weight,
        block.ffn.down.weight,
    ]
    for weight in (
        *matrices,
        model.front.embedding.table.weight,
    ):  # 1 / sqrt of the width of what each one reads; of D for the table
        unit = weight.detach() * math.sqrt(weight.shape[1])
        assert (
            abs(float(unit.std()) - 1) < 0.02
            and float(unit.abs().max()) <= 2 / TRUNCATED_STD + 1e-5
        )
    normal = torch.randn(10**6, generator=seeded(0), dtype=torch.float64)
    assert abs(TRUNCATED_STD - float(normal[normal.abs() <= 2].std())) < 2e-3
    assert (
        not torch.equal(model.z0_h, model.z0_l)
        and abs(float(torch.cat([model.z0_h, model.z0_l]).std()) - 1) < 0.15
    )
    state = model.initial_state(3)
    assert torch.equal(state.h[2, 5], model.z0_h) and torch.equal(state.l[0, 0], model.z0_l)


def test_only_hrm_compares_halting_with_continuing() -> None:
    halt = torch.tensor([[2.0, 3.0], [-3.0, -4.0], [1.0, -1.0], [-1.0, 0.0], [0.0, 0.0]])
    assert build(HRM_SMALL).halting(halt).tolist() == [False, True, True, False, False]
    assert build(TRM_SMALL).halting(halt).tolist() == [True, False, True, False, False]


def test_value_of_continuing_is_bootstrapped_from_the_next_step() -> None:
    halt = torch.tensor([[9.0, 0.5]] * 3, requires_grad=True)
    following = torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, -2.0]])
    last = torch.tensor([False, True, False])
    value = 1 / (1 + math.exp(-0.5))
    targets = [
        1 / (1 + math.exp(-q)) for q in (2.0, 1.0, 3.0)
    ]  # the greater one; at the last step that of halting; the greater
    expected = [-(t * math.log(value) + (1 - t) * math.log(1 - value)) for t in targets]
    loss = continue_loss(halt, following, last)
    assert loss.tolist() == pytest.approx(expected, rel=1e-5)
    loss.sum().backward()
    assert halt.grad is not None and halt.grad[:, 0].tolist() == [0, 0, 0]
    assert halt.grad[:, 1].tolist() == pytest.approx([value - t for t in targets], rel=1e-5)


@BOTH
def test_objective_is_stablemax_cross_entropy_and_half_the_halting_losses(config: Config) -> None:
    model, inputs, state = build(config), tokens(2), carried(config, 3)
    with torch.no_grad():
        targets = model(state, Given(inputs)).logits.argmax(
            dim=-1
        )  # rows 0 and 2 are exact, row 1 is not
        targets[1, 0] = (targets[1, 0] + 1) % SHAPE.vocabulary
    last = torch.tensor([False, False, True])
    train = TrainConfig(N_sup=4, cross_entropy="stablemax", halt_weight=0.5)
    done = supervise(model, train, 0, Rows(state, Given(inputs), targets, None, last, AGE))
    total = sum(weight * done.terms[name] for name, weight in done.weights.items())

    reference = Reference(model, config)
    following, logits, halt = reference.step(state, inputs)
    _, _, next_halt = reference.step(State(*(z.detach() for z in following)), inputs)
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits.clamp(max=0)))
    log_p = (s / s.sum(dim=-1, keepdim=True)).log()
    expected = -log_p.gather(-1, targets[..., None]).squeeze(-1).mean(dim=-1)
    exact = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    expected = expected + 0.5 * F.binary_cross_entropy(
        halt[:, 0].sigmoid(), exact, reduction="none"
    )
    if isinstance(config, HrmModel):
        goal = (
            torch.where(last, next_halt[:, 0], torch.maximum(next_halt[:, 0], next_halt[:, 1]))
            .sigmoid()
            .detach()
        )
        expected = expected + 0.5 * F.binary_cross_entropy(
            halt[:, 1].sigmoid(), goal, reduction="none"
        )
    assert torch.is_tensor(total) and torch.allclose(total.double(), expected, atol=1e-4)
    assert done.hits.all(dim=-1).tolist() == [True, False, True] and done.terms[
        "exact"
    ].tolist() == [1, 0, 1]

    total.mean().backward()
    expected.mean().backward()
    for name, p in model.named_parameters():
        grad = reference.w[name].grad
        if grad is not None and grad.abs().max() > 0:
            assert p.grad is not None and torch.allclose(
                p.grad.double(), grad, atol=1e-3 * float(grad.abs().max())
            ), name


def test_without_deep_supervision_nothing_continues() -> None:
    model = build(HRM_SMALL)
    inputs = tokens(2)
    last = torch.ones(BATCH, dtype=torch.bool)
    targets = inputs[:, SHAPE.answers]
    rows = Rows(model.initial_state(len(inputs)), Given(inputs), targets, None, last, AGE)
    done = supervise(model, TrainConfig(N_sup=1), 0, rows)
    assert set(done.weights) == {"cross_entropy", "halt_loss"}


@BOTH
def test_rollouts_are_deterministic_and_need_no_noise(config: Config) -> None:
    model, inputs = build(config), tokens(4)
    assert (
        not model.samples
        and model.draw_noise(len(inputs), seeded(0)) is None
        and not model.has_value
    )
    with torch.no_grad():
        state = model.initial_state(len(inputs))
        for _ in range(3):
            step = model(state, Given(inputs))
            state = step.state
    for seed in (0, 1):
        state = model.initial_state(len(inputs))
        with torch.no_grad():
            for _ in range(3):
                read = model.roll(state, Given(inputs), noise=None, generator=seeded(seed))
                state = read.state
        assert torch.equal(read.tokens, step.logits.argmax(dim=-1)) and torch.equal(
            read.halts, model.halting(step.halt)
        )


@BOTH
def test_resumed_training_ends_with_the_same_bits(
    config: Config, settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    settings = change(settings, model=config)
    settings = change(
        settings, optimizer="adam_atan2", cross_entropy="stablemax", halt="q", halt_exploration=0.5
    )
    settings = change(settings, stagger=False, grad_clip=0.0, ema_decay=0.0)

    def trainer() -> Trainer:
        return Trainer(settings, data_folder, tmp_path, torch.device("cpu"))

    whole = trainer()
    for n in range(8):
        if n == 4:
            whole.save_resume_state()
        whole.train_step()
    resumed = trainer()
    assert resumed.restore() and resumed.step == 4
    for _ in range(4):
        resumed.train_step()
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    )
    assert all(
        torch.equal(tensor, resumed.stream.tensors()[name])
        for name, tensor in whole.stream.tensors().items()
    )
    # Without an average, what is evaluated is the trained weights themselves.
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.ema.model.parameters(), whole.model.parameters(), strict=True)
    )


def test_rows_restart_from_z0_and_the_others_carry_their_state_on(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    settings = change(settings, model=HRM_SMALL)
    settings = change(settings, halt="q", halt_exploration=0.5, stagger=False, learning_rate=0.0)
    trainer = Trainer(settings, data_folder, tmp_path, torch.device("cpu"))
    model, stream = trainer.model, trainer.stream
    with torch.no_grad():
        model.halt_head.weight.normal_(generator=seeded(0))
    ends = 0
    for _ in range(10):
        age, least, inputs, state = (
            stream.age,
            stream.least,
            stream.inputs,
            State(*(z.clone() for z in stream.state)),
        )
        with torch.no_grad():
            after = model(state, Given(inputs))
        trainer.train_step()
        early = (
            (after.halt[:, 0] > after.halt[:, 1])
            & (age + 1 >= least)
            & (age + 1 < settings.train.N_sup)
        )
        done = early | (age + 1 == settings.train.N_sup)
        assert torch.equal(stream.age, torch.where(done, 0, age + 1))
        assert torch.equal(stream.inputs[~done], inputs[~done])
        for found, start, on in zip(
            stream.state, model.initial_state(len(inputs)), after.state, strict=True
        ):
            assert torch.allclose(found, torch.where(done[:, None, None], start, on), atol=1e-5)
        ends += int(early.sum())
    assert ends > 0
