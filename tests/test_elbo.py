"""The full bound and the surrogate against float64, against a closed form, and against an estimate
of what they bound.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gram.data.splits import load_split
from gram.models.factory import build_model
from gram.models.gram import GRAM
from gram.models.guidance import Head
from gram.models.network import Given, Shape
from gram.settings import GramModel, TrainConfig
from gram.system.provenance import seeded_generator
from gram.train import elbo
from gram.train.trainer import Trainer

CPU = torch.device("cpu")
LENGTH, VOCABULARY, BATCH = 5, 3, 4
CONFIG = GramModel(
    D=8,
    heads=2,
    ffn_hidden=6,
    layers=1,
    K=1,
    T=2,
    puzzle_tokens=1,
    guidance_hidden=5,
    decoder_hidden=4,
    sigma_init=0.5,
)
TRAIN = TrainConfig(N_sup=3, beta=0.07)


def build(scale: float | None = 0.4) -> GRAM:
    """A tiny model; with ``scale`` every weight is drawn anew, so that prior and posterior
    differ.
    """
    model = build_model(CONFIG, Shape(LENGTH, VOCABULARY), seed=0)
    if scale is not None:
        generator = seeded_generator(CPU, 1)
        for parameter in model.parameters():
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return model


def some_pairs(batch: int = BATCH) -> tuple[Tensor, Tensor]:
    """Random inputs and targets [B, L]."""
    inputs, targets = torch.randint(
        0, VOCABULARY, (2, batch, LENGTH), generator=seeded_generator(CPU, 2)
    )
    return inputs, targets


class Float64:
    """The definitions written out for one pair at a time; the guidance heads, the noise's chain, KL
    and sums in float64.
    """

    def __init__(self, model: GRAM) -> None:
        self.model = model.double()

    def swiglu(self, net: Any, x: Tensor) -> Tensor:
        gate, up = (net.gate_up.weight @ x[:, :, None]).squeeze(-1).chunk(2, dim=-1)
        return (gate * gate.sigmoid() * up) @ net.down.weight.T + net.down.bias

    def head(self, head: Head, x: Tensor) -> Normal:
        return Normal(
            self.swiglu(head.mu, x), self.swiglu(head.sigma, x).exp().log1p() + CONFIG.sigma_min
        )

    def pass_through(
        self, x: Tensor, y: Tensor, noise: Tensor, uncharged: str
    ) -> tuple[list[Tensor], list[list[Tensor]]]:
        """-log p(y | z) after each step, and the KL of every transition of every step; noise is
        [N_sup, T, L', D].
        """
        model = self.model
        h, l = model.z0_h, model.z0_l  # noqa: E741
        padded = torch.zeros(1, CONFIG.D, dtype=torch.float64)
        e_x = torch.cat([padded, model.front.embedding.table.weight[x] * CONFIG.D**0.5])
        assert model.guidance is not None
        e_y = torch.cat([padded, model.guidance.target_embedding.table.weight[y] * CONFIG.D**0.5])
        nll: list[Tensor] = []
        kls: list[list[Tensor]] = []
        for of_step in noise:
            kls.append([])
            for t, draw in enumerate(of_step):
                l = model.low((l + h + e_x)[None])[0]  # noqa: E741
                u = model.high((h + l)[None])[0]
                p = self.head(model.guidance.prior, u)
                q = self.head(model.guidance.posterior_head, torch.cat([u, e_y], dim=-1))
                kls[-1].append(kl_divergence(q, p).sum())
                last = t == len(of_step) - 1
                source = q if last or uncharged == "posterior" else p
                h = u + source.mean + source.stddev * draw
            logits = model.back.head(h[CONFIG.puzzle_tokens :])
            nll.append(-logits.log_softmax(dim=-1)[torch.arange(LENGTH), y].sum())
        return nll, kls


@pytest.mark.parametrize(
    ("charged", "uncharged_noise"),
    [("last", "prior"), ("last", "posterior"), ("all", "prior")],
    ids=lambda value: str(value),
)
def test_bounds_agree_with_float64(charged: Any, uncharged_noise: Any) -> None:
    config = TrainConfig(N_sup=3, charged=charged, uncharged_noise=uncharged_noise)
    inputs, targets = some_pairs()
    found = elbo.bounds(build(), Given(inputs), targets, config, seeded_generator(CPU, 3))
    assert found is not None
    draws = seeded_generator(CPU, 3)
    shape = (CONFIG.T, BATCH, CONFIG.puzzle_tokens + LENGTH, CONFIG.D)
    noise = torch.stack([torch.randn(shape, generator=draws) for _ in range(config.N_sup)]).double()
    reference = Float64(build())
    full: dict[str, list[Tensor]] = {"cross_entropy": [], "kl": []}
    surrogate: dict[str, list[Tensor]] = {"cross_entropy": [], "kl": []}
    with torch.no_grad():
        for row in range(BATCH):
            nll, kls = reference.pass_through(
                inputs[row], targets[row], noise[:, :, row], "posterior"
            )
            full["cross_entropy"].append(nll[-1])
            full["kl"].append(sum(kl for step in kls for kl in step))  # type: ignore[arg-type]
            source = "posterior" if charged == "all" else uncharged_noise
            nll, kls = reference.pass_through(inputs[row], targets[row], noise[:, :, row], source)
            charges = [step if charged == "all" else step[-1:] for step in kls]
            surrogate["cross_entropy"].append(torch.stack(nll).mean())
            surrogate["kl"].append(
                torch.stack([torch.stack(step).sum() for step in charges]).mean()
            )
    for name, expected in (("full", full), ("surrogate", surrogate)):
        for term, values in expected.items():
            assert found[name][term] == pytest.approx(
                float(torch.stack(values).mean()), rel=1e-4
            ), (name, term)
    assert found["full"]["kl"] > found["surrogate"]["kl"] > 0.1


def test_an_untrained_posterior_is_the_prior() -> None:
    """Their output weights start at zero, so the KL is exactly zero and the bound is the
    cross-entropy alone.
    """
    inputs, targets = some_pairs()
    found = elbo.bounds(build(scale=None), Given(inputs), targets, TRAIN, seeded_generator(CPU, 0))
    assert found is not None and found["full"]["kl"] == found["surrogate"]["kl"] == 0
    # An untrained decoder knows little: about ln(vocabulary) per token.
    assert found["full"]["cross_entropy"] == pytest.approx(
        LENGTH * torch.log(torch.tensor(VOCABULARY)), rel=0.5
    )


def test_the_full_bound_lies_above_the_negative_log_likelihood() -> None:
    """-log p(y | x) is estimated by averaging p(y | z) over rollouts of the prior."""
    model, config = build(), TrainConfig(N_sup=2)
    inputs, targets = some_pairs(batch=1)
    many = 4000
    found = elbo.bounds(
        model,
        Given(inputs.expand(many, -1)),
        targets.expand(many, -1),
        config,
        seeded_generator(CPU, 5),
    )
    assert found is not None
    state = model.initial_state(many)
    generator = seeded_generator(CPU, 6)
    with torch.no_grad():
        for _ in range(config.N_sup):
            state = model.advance(
                state, Given(inputs.expand(many, -1)), model.draw_noise(many, generator)
            )
        logits = model.back(state.h)
    log_p = (
        logits.double()
        .log_softmax(dim=-1)
        .gather(-1, targets.expand(many, -1)[..., None])
        .sum(dim=(1, 2))
    )
    likelihood = float(log_p.logsumexp(dim=0) - torch.tensor(float(many)).log())
    assert found["full"]["cross_entropy"] + found["full"]["kl"] > -likelihood
    # The surrogate of one step leaves out all other KLs, so it is no bound of its own.
    assert sum(found["surrogate"].values()) < sum(found["full"].values())


def test_a_model_without_a_kl_has_no_bound() -> None:
    twin = build_model(
        GramModel(**{**vars(CONFIG), "guidance": "none"}), Shape(LENGTH, VOCABULARY), seed=0
    )
    inputs, targets = some_pairs()
    assert elbo.bounds(twin, Given(inputs), targets, TRAIN, seeded_generator(CPU, 0)) is None


def test_watched_pairs_are_pairs_of_the_split(data_folder: Path) -> None:
    split = load_split(data_folder, "train")
    given, targets = elbo.watched_pairs(split, 10_000, CPU)
    owners = [index for index, count in enumerate(split.counts) for _ in range(count)]
    assert torch.equal(given.tokens, torch.from_numpy(split.inputs[owners]).long())
    assert torch.equal(targets, torch.from_numpy(split.completions).long())
    (inputs,), targets = elbo.watched_pairs(split, 7, CPU)
    assert len(inputs) == len(targets) == 7 and len(torch.unique(inputs, dim=0)) == 7
    for x, y in zip(inputs, targets, strict=True):
        index = (split.inputs == x.numpy()).all(axis=1).argmax()
        assert (split.of(int(index)) == y.numpy()).all(axis=1).any()
    (inputs,), targets = elbo.watched_pairs(split, 0, CPU)
    assert len(inputs) == len(targets) == 0


def test_what_each_supervision_step_pays_adds_up_to_the_surrogate(data_folder: Path) -> None:
    """Group by group: the mean over steps is the surrogate of the group's pairs."""
    split = load_split(data_folder, "train")
    model = build_model(CONFIG, Shape(split.inputs.shape[1], int(split.inputs.max()) + 1), seed=0)
    assert isinstance(model, GRAM)
    for parameter in model.parameters():
        parameter.data = 0.4 * torch.randn(
            parameter.shape, generator=seeded_generator(CPU, parameter.numel())
        )
    found = elbo.by_supervision_step(model, split, TRAIN, seeded_generator(CPU, 4), pairs=8)
    assert found is not None and set(found) <= set(elbo.GROUPS)
    of_row = split.counts.repeat(split.counts)
    assert set(found) == {"1", "2 to 3"} and set(of_row) == {1, 2}  # what 5x5 has
    generator = seeded_generator(CPU, 4)
    for name, members in (("1", of_row == 1), ("2 to 3", of_row == 2)):
        group = found[name]
        assert group["pairs"] == 2 and len(group["kl"]) == len(group["cross_entropy"]) == 3
        assert group["log_m"] == pytest.approx(0.0 if name == "1" else math.log(2))
        rows = np.flatnonzero(members)
        rows = rows[[0, len(rows) // 2]]
        pairs = elbo.pairs_at(split, rows, CPU)
        state = generator.get_state()
        bound = elbo.bounds(model, *pairs, TRAIN, generator)
        assert bound is not None
        for term in ("kl", "cross_entropy"):
            mean = sum(group[term]) / TRAIN.N_sup
            assert mean == pytest.approx(bound["surrogate"][term], rel=1e-5)
        generator.set_state(state)
        elbo.by_supervision_step(model, split, TRAIN, generator, pairs=0)  # draws nothing
        assert torch.equal(generator.get_state(), state)
        elbo.supervised_pass(
            model, *pairs, TRAIN, generator, uncharged_noise="prior", charge_all=False
        )


def test_a_model_without_a_kl_pays_nothing_by_step(data_folder: Path) -> None:
    split = load_split(data_folder, "train")
    shape = Shape(split.inputs.shape[1], int(split.inputs.max()) + 1)
    twin = build_model(GramModel(**{**vars(CONFIG), "guidance": "none"}), shape, seed=0)
    generator = seeded_generator(CPU, 0)
    assert elbo.by_supervision_step(twin, split, TRAIN, generator, pairs=8) is None


def test_a_run_watches_its_bounds(
    gram_run: Path, deterministic_run: Path, settings: Any, data_folder: Path
) -> None:
    lines = [
        json.loads(line)
        for line in (gram_run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    rollouts = [line for line in lines if line["event"] == "rollout"]
    assert rollouts and all(set(line["elbo"]) == {"full", "surrogate"} for line in rollouts)
    for line in rollouts:
        assert line["steps"] and all(
            len(group["kl"]) == settings.train.N_sup for group in line["steps"].values()
        )
    # Before the first step the average is the initial weights, whose bounds do not depend on
    # training.
    trainer = Trainer(settings, data_folder, Path("unused"), CPU)
    pairs = elbo.watched_pairs(trainer.splits["valid"], settings.train.eval_inputs, CPU)
    generator = seeded_generator(CPU, settings.seed, "elbo", 0)
    assert rollouts[0]["elbo"] == elbo.bounds(trainer.ema.model, *pairs, settings.train, generator)
    text = (deterministic_run / "history.jsonl").read_text(encoding="utf-8")
    assert "elbo" not in text and "steps" not in text


def test_without_watched_inputs_there_is_no_bound(
    settings: Any, data_folder: Path, change: Any
) -> None:
    trainer = Trainer(change(settings, eval_inputs=0), data_folder, Path("unused"), CPU)
    assert "elbo" not in trainer.log_rollouts()
