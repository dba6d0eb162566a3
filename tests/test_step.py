"""The training step in parts: micro-batches, all supervision steps in one, halting; against the
whole, and against loops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gram.models.network import Given, multiply_in
from gram.runs.checkpoint import read_tensors
from gram.settings import RunSettings
from gram.system import files
from gram.system.provenance import seeded_generator
from gram.train import loop, losses
from gram.train.objectives import Rows, supervise
from gram.train.trainer import Trainer

CPU = torch.device("cpu")
STEPS = 6


def trained(settings: RunSettings, data: Path, folder: Path) -> Trainer:
    """A trainer after a few steps, with a history line for each; its heads tell rows apart from the
    start.
    """
    trainer = Trainer(settings, data, folder, CPU)
    with torch.no_grad():
        for seed, head in enumerate((trainer.model.halt_head, trainer.model.value_head)):
            head.weight.normal_(generator=torch.Generator().manual_seed(seed))
    for _ in range(STEPS):
        trainer.train_step()
        trainer.log_losses()
    return trainer


def assert_close(one: Trainer, other: Trainer) -> None:
    """Both had the same losses and have the same weights and carry, but for rounding."""
    for a, b in zip(map(dict, one.history), map(dict, other.history), strict=True):
        assert b.pop("event") == a.pop("event") and b == pytest.approx(a, rel=1e-4, abs=1e-6)
    for name, tensor in one.model.state_dict().items():
        assert torch.allclose(other.model.state_dict()[name], tensor, atol=2e-5), name
    for name, tensor in one.stream.tensors().items():
        assert torch.allclose(other.stream.tensors()[name].float(), tensor.float(), atol=1e-3), name


VARIANTS: list[dict[str, Any]] = [
    {},
    {"charged": "all", "free_nats": 0.01},
    {"guidance": "none"},
    {"supervision": "all"},
    {"halt": "q", "halt_exploration": 0.5},
    {"lprm_reward": "tokens", "sampling": "inputs"},
    {"carry_prior_from": STEPS // 2, "reveal": 0.5},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_micro_batches_give_the_same_losses_and_weights(
    variant: dict[str, Any], settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    settings = change(settings, **variant)
    whole = trained(settings, data_folder, tmp_path)
    rows, ends = settings.train.batch_size, int(whole.stream.finished.sum())
    assert (
        rows * STEPS // 3 < ends < rows * STEPS
        if settings.train.halt == "q"
        else ends >= rows * STEPS // 3
    )
    for rows in (3, 1):  # 3 does not divide the batch of 8
        assert_close(whole, trained(change(settings, micro_batch=rows), data_folder, tmp_path))
    as_many, zero = (
        trained(change(settings, micro_batch=rows), data_folder, tmp_path) for rows in (8, 0)
    )
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(as_many.model.state_dict()[name], tensor) and torch.equal(
            zero.model.state_dict()[name], tensor
        )


def test_run_goes_on_with_another_micro_batch(
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    gram_run: Path,
    train_run: Any,
) -> None:
    first = Trainer(change(settings, micro_batch=3), data_folder, tmp_path, CPU)
    for _ in range(7):
        first.train_step()
    first.save_resume_state()
    other = Trainer(change(settings, micro_batch=4, threads=2), data_folder, tmp_path, CPU)
    assert other.restore() and other.step == 7
    train_run(change(settings, micro_batch=4), data_folder, tmp_path)
    ours, theirs = (
        read_tensors(folder / "weights.safetensors")[0] for folder in (tmp_path, gram_run)
    )
    assert files.read_json(tmp_path / "meta.json")["sessions"] == 2
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-3


def test_supervision_all_is_the_mean_over_the_steps_of_a_fresh_batch(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    """Against one backward pass through a loop over the supervision steps."""
    config = change(settings, supervision="all", grad_clip=1e9, beta=0.4)
    trainer, other = (Trainer(config, data_folder, tmp_path, CPU) for _ in range(2))
    for each in (trainer, other):
        with torch.no_grad():
            each.model.value_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    model, stream, tc = other.model, other.stream, config.train
    assert stream.age.eq(0).all()
    for _ in range(2):
        inputs, targets = stream.inputs, stream.targets
        state = model.initial_state(len(inputs))
        total, summaries = torch.zeros(()), []
        for _ in range(tc.N_sup):
            out = model(
                state,
                Given(inputs),
                targets=targets,
                noise=model.draw_noise(len(inputs), other.noise),
            )
            state = out.state
            exact = (out.logits.argmax(-1) == targets).all(-1)
            cross_entropy = losses.cross_entropy(out.logits, targets, "softmax")
            kl, _ = losses.balanced_kl(out.charges, tc)
            total = (
                total + (cross_entropy + 0.4 * kl + 0.5 * losses.halt_loss(out.halt, exact)).mean()
            )
            summaries.append(out.summary)
        values = torch.stack([model.value(summary) for summary in summaries])
        loss = total / tc.N_sup + 0.5 * (values - exact.float()).square().mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        trainer.train_step()
        for parameter, gradient in zip(trainer.model.parameters(), gradients, strict=True):
            assert parameter.grad is not None and torch.allclose(
                parameter.grad, gradient, atol=1e-6
            )
        trainer.log_losses()
        assert trainer.history[-1]["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
        model.load_state_dict(trainer.model.state_dict())
        for _ in range(tc.N_sup):  # a row's next input is the draw after its last step
            stream.advance()
        assert torch.equal(stream.pair, trainer.stream.pair) and trainer.stream.age.eq(0).all()


@pytest.mark.parametrize(
    ("supervision", "examples", "supervised"),
    # Streaming rows start at the ages 0, 1, 2, 0, 1, 2, 0, 1; within four steps, those that start
    # at 2 end twice.
    [("all", 4 * 8, 4 * 8 * 3), ("streaming", 6 * 1 + 2 * 2, 4 * 8)],
)
def test_meta_counts_trajectories_that_ended(
    supervision: str,
    examples: int,
    supervised: int,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
) -> None:
    loop.train(
        Trainer(change(settings, supervision=supervision, steps=4), data_folder, tmp_path, CPU)
    )
    meta = files.read_json(tmp_path / "meta.json")
    assert (meta["training_examples"], meta["supervision_steps"]) == (examples, supervised)


class HostReads(TorchDispatchMode):
    """Collects operations whose result the host must wait for."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "equal", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        indexed_by_mask = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ())
        )
        if name in self.WAITING or indexed_by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("variant", [*VARIANTS, {"micro_batch": 3}], ids=str)
def test_a_step_reads_nothing_back_to_the_host(
    variant: dict[str, Any], settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    trainer = Trainer(change(settings, **variant), data_folder, tmp_path, CPU)
    with HostReads() as reads:
        trainer.train_step()
        assert reads.found == []
        trainer.check_finite()
    assert reads.found == ["_local_scalar_dense"]  # that the instrument works


def test_the_first_supervision_step_pays_its_factor_of_the_kl(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    """Against the plain KL of the same rows: the history shows what is minimised."""
    plain, dear = (
        Trainer(change(settings, beta_factors=factors), data_folder, tmp_path, CPU)
        for factors in ((1.0,), (3.0, 1.0))
    )
    model, stream, config = plain.model, plain.stream, plain.config
    noise = model.training_noise(len(stream.inputs), seeded_generator(CPU, settings.seed, "noise"))
    rows = Rows(stream.state, Given(stream.inputs), stream.targets, noise, stream.last, stream.age)
    with torch.no_grad():
        for parameters in zip(model.parameters(), dear.model.parameters(), strict=True):
            parameters[0].normal_(std=0.3, generator=torch.Generator().manual_seed(1))
            parameters[1].copy_(parameters[0])
        each = supervise(model, config, 0, rows).terms["kl"]
    first = stream.age == 0
    assert 0 < first.sum() < len(first) and (each > 0).all()
    for trainer in (plain, dear):
        trainer.train_step()
    assert float(plain.sums["kl"]) == pytest.approx(float(each.mean()), rel=1e-5)
    expected = torch.where(first, 3 * each, each).mean()
    assert float(dear.sums["kl"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(dear.sums["kl_nats"]) == float(plain.sums["kl_nats"])


def test_the_prior_carries_from_the_step_that_says_so(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    """Until then everything is as without; then the state is the prior's, while the loss still is
    the posterior's.
    """
    plain, prior = (
        Trainer(change(settings, carry_prior_from=first), data_folder, tmp_path, CPU)
        for first in (None, 2)
    )
    for step in range(4):
        before = prior.stream.state.h.clone()
        for trainer in (plain, prior):
            trainer.train_step()
            trainer.log_losses()
        a, b = (dict(trainer.history[-1]) for trainer in (plain, prior))
        carried = b.pop("carried_exact")
        same = torch.equal(plain.stream.state.h, prior.stream.state.h)
        assert same == (step < 2) and not torch.equal(prior.stream.state.h, before)
        if step < 2:
            assert a == b and carried == b["posterior_exact"]
        elif step == 2:
            assert a["cross_entropy"] == b["cross_entropy"] and a["kl"] == b["kl"]
        else:
            assert a["cross_entropy"] != b["cross_entropy"]


def test_compiled_steps_give_the_same_losses_and_the_same_names(
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the CPU, where "graphs" is compiled as "default" is."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    settings = change(settings, T=1, guidance="none")  # little to compile
    eager, compiled = (
        trained(change(settings, compile=mode), data_folder, tmp_path)
        for mode in ("none", "graphs")
    )
    assert_close(eager, compiled)
    assert any(
        not torch.equal(a, b)
        for a, b in zip(eager.model.parameters(), compiled.model.parameters(), strict=True)
    )
    assert (
        list(compiled.model.state_dict())
        == list(compiled.ema.model.state_dict())
        == list(eager.model.state_dict())
    )


def test_heads_with_rounded_products_start_alike_and_learn(
    settings: RunSettings, data_folder: Path, change: Any
) -> None:
    """The same weights at the start; after ten steps near those of full products, and not equal."""
    plain, rounded = (
        Trainer(change(settings, guidance_products=kind), data_folder, Path("unused"), CPU)
        for kind in ("fp32", "bf16")
    )
    start = plain.model.state_dict()
    assert all(torch.equal(start[name], one) for name, one in rounded.model.state_dict().items())
    for trainer in (plain, rounded):
        for _ in range(10):
            trainer.train_step()
    a, b = (
        trainer.model.state_dict()["guidance.prior.mu.down.weight"] for trainer in (plain, rounded)
    )
    assert not torch.equal(a, b) and (a - b).norm() < 0.2 * a.norm()


def test_products_of_fp32_are_made_as_asked_on_a_gpu_and_in_full_on_a_cpu(
    settings: RunSettings, data_folder: Path
) -> None:
    flags = torch.backends.cuda.matmul
    before = flags.allow_tf32
    try:
        for kind, allowed in (("tf32", True), ("fp32", False)):
            assert multiply_in(kind, torch.device("cuda")) == kind
            assert flags.allow_tf32 is allowed
            assert multiply_in("tf32", CPU) == "fp32" and flags.allow_tf32 is allowed
    finally:
        flags.allow_tf32 = before
    assert Trainer(settings, data_folder, Path("unused"), CPU).matmul == "fp32"


def heads_after(trainer: Trainer, steps: int) -> dict[str, torch.Tensor]:
    """The weights after some steps."""
    for _ in range(steps):
        trainer.train_step()
    return trainer.model.state_dict()


def test_the_value_of_every_transition_is_regressed(
    settings: RunSettings, data_folder: Path, change: Any
) -> None:
    """Eq. 16, in one step against a loop; and nothing but the value head learns otherwise."""
    settings = change(settings, lprm_reads="transition", stagger=False, N_sup=1, T=3, grad_clip=0)
    trainer = Trainer(settings, data_folder, Path("unused"), CPU)
    heads = trainer.model.value_head
    trainer.train_step()
    D = settings.model.D
    read = trainer.stream.summaries
    assert read.shape == (8, 1, 3 * D) and not torch.equal(read[..., :D], read[..., D : 2 * D])
    reward = torch.linspace(0, 1, 8)
    trainer.stream.age.zero_()
    trainer.stream.first.zero_()
    expected = (
        torch.stack(
            [
                (torch.sigmoid(heads(read[row, 0, t * D : (t + 1) * D]))[0] - reward[row]) ** 2
                for row in range(8)
                for t in range(3)
            ]
        ).sum()
        / 8
    )  # a sum over transitions, a mean over the states of supervision steps
    torch.testing.assert_close(trainer._value_loss(reward), expected)


def test_heads_taught_on_rollouts_of_the_prior_leave_the_rest_alone(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any
) -> None:
    """Halting and value learn otherwise; what they do not teach takes the same first step, and a
    resumed training goes on to the same weights.
    """
    plain, beside = (
        Trainer(change(settings, heads_on=on, grad_clip=0), data_folder, tmp_path / on, CPU)
        for on in ("posterior", "prior")
    )
    a, b = heads_after(plain, 1), heads_after(beside, 1)
    differing = {name for name in a if not torch.equal(a[name], b[name])}
    assert differing and all(name.startswith(("halt_head", "value_head")) for name in differing)
    heads_after(beside, 3)
    beside.save_resume_state()
    resumed = Trainer(beside.settings, data_folder, tmp_path / "prior", CPU)
    assert resumed.restore()
    a, b = heads_after(beside, 3), heads_after(resumed, 3)
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("on", ["posterior", "prior"])
def test_the_halting_regression_trains_both_values(
    on: str, settings: RunSettings, data_folder: Path, change: Any
) -> None:
    changed = change(settings, halt_loss="regression", heads_on=on)
    trainer = Trainer(changed, data_folder, Path("unused"), CPU)
    before = trainer.model.halt_head.weight.clone()
    after = heads_after(trainer, 3)["halt_head.weight"]
    assert (before != after).any(dim=1).all() and torch.isfinite(after).all()
