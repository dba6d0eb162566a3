"""Samplers: each trajectory's own noise stays standard normal, and what they share does what its
closed form says.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gram.data.splits import Split, load_split
from gram.evaluate import evaluation
from gram.evaluate.scoring import Drawn
from gram.models.network import Given, Read, State
from gram.models.rollout import Rollout, Stop, rollouts
from gram.models.samplers import Sampler, make_sampler
from gram.models.samplers.antithetic import Antithetic
from gram.models.samplers.antithetic_reseed import AntitheticReseed
from gram.models.samplers.quasi import Quasi
from gram.models.samplers.repulsion import Repulsion
from gram.models.samplers.reseed import Reseed
from gram.settings import EvaluateConfig
from gram.settings.config import evaluate_settings, load_experiment
from gram.system.errors import GramError
from gram.system.provenance import seeded_generator

CPU = torch.device("cpu")
SAMPLERS = ("iid", "antithetic", "quasi", "repulsion", "reseed", "antithetic+reseed")


def seeded(*names: str | int) -> torch.Generator:
    return seeded_generator(CPU, 0, "test_samplers", *names)


class Urn:
    """Stands in for a model: the first step's noise picks one of ``m`` answers, each equally
    likely, and later ones keep it.

    Args:
        m: answers.
        shape: of one trajectory's noise in one transition.
        halts: the halting logit: above 0, every trajectory halts at once.
    """

    samples = True

    def __init__(self, m: int, shape: tuple[int, ...] = (1, 1), halts: float = -1.0) -> None:
        self.m, self.shape, self.halts = m, shape, halts
        self.rows = 0  # supervision steps, over all trajectories

    def initial_state(self, rows: int, generator: torch.Generator) -> State:
        zeros = torch.zeros(rows, 1, 1)
        return State(zeros, zeros)

    def draw_noise(self, rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn(rows, 2, *self.shape, generator=generator)

    def roll(
        self, state: State, given: Given, *, noise: Tensor, generator: torch.Generator
    ) -> Read:
        rows = len(given.tokens)
        self.rows += rows
        uniform = torch.special.ndtr(noise[:, 0].double()).view(rows, 1, 1)
        h = torch.where(state.h > 0, state.h, 1 + (uniform * self.m).floor().float())
        return Read(State(h, h), h[:, :, 0].long(), h[:, 0, 0], torch.full((rows,), self.halts > 0))


def answers(
    model: Urn, sampler: Sampler, N: int, W: int, *, depth: int = 1, act: bool = False
) -> tuple[np.ndarray, Rollout]:
    """The answers [N, W] to N inputs, and the rollout that they are from."""
    inputs = torch.zeros(N * W, 1, dtype=torch.int64)
    (read,) = rollouts(
        model, Given(inputs), stops=[Stop(depth, act)], generator=seeded(N, W), sampler=sampler
    )  # type: ignore[arg-type]
    return read.tokens.view(N, W).numpy(), read


def distinct(found: np.ndarray) -> np.ndarray:
    """Different answers per input: [N, W] -> [N]."""
    return np.array([len(set(row)) for row in found.tolist()])


# Noise --------------------------------------------------------------------------------------------


def kolmogorov_smirnov(values: Tensor) -> float:
    """sqrt(n) times the largest distance between the empirical distribution and N(0, 1); above 1.95
    for one in a thousand.
    """
    ordered = torch.special.ndtr(values.double().flatten().sort().values)
    n = len(ordered)
    above = torch.arange(1, n + 1) / n - ordered
    below = ordered - torch.arange(n) / n
    return float(torch.maximum(above, below).max() * math.sqrt(n))


def noise_of(sampler: Sampler, N: int, W: int) -> Tensor:
    """Noise by trajectory: [W, T, N, L', D]."""
    noise = sampler.noise(Urn(2, (5, 7)), N * W, seeded("noise", W))  # type: ignore[arg-type]
    assert noise is not None and noise.shape == (N * W, 2, 5, 7) and noise.dtype == torch.float32
    return noise.view(N, W, 2, 5, 7).permute(1, 2, 0, 3, 4)


@pytest.mark.parametrize("sampler", [Antithetic, Quasi])
@pytest.mark.parametrize("W", [1, 2, 5, 20])
def test_each_trajectory_alone_has_standard_normal_noise(sampler: Any, W: int) -> None:
    noise = noise_of(sampler(W), 200, W)
    for trajectory in noise:
        assert kolmogorov_smirnov(trajectory) < 1.95
        coordinates = trajectory.flatten(2).flatten(
            0, 1
        )  # [T * N, L' * D], which must not depend on each other
        correlation = torch.corrcoef(coordinates.T) - torch.eye(35)
        assert correlation.abs().max() < 5 / math.sqrt(len(coordinates))
        assert kolmogorov_smirnov(trajectory * 1.1) > 1.95  # a scale that is 10 % off would be seen


@pytest.mark.parametrize("W", [2, 5])
def test_antithetic_pairs_cancel(W: int) -> None:
    noise = noise_of(Antithetic(W), 3, W)
    for first, second in itertools.combinations(range(W), 2):
        partners = first % 2 == 0 and second == first + 1
        assert torch.equal(noise[first], -noise[second]) == partners
    assert len({float(value) for value in noise[0, 0, :, 0, 0]}) == 3  # each input has its own


@pytest.mark.parametrize("W", [2, 3, 20])
def test_quasi_noise_takes_every_interval_once(W: int) -> None:
    noise = noise_of(Quasi(W), 50, W)
    interval = (torch.special.ndtr(noise.double()) * W).floor()
    assert torch.equal(
        interval.sort(dim=0).values,
        torch.arange(W).view(W, 1, 1, 1, 1).expand_as(interval).double(),
    )
    # Every coordinate deals the intervals anew: two coordinates give a trajectory the same one with
    # probability 1 / W.
    same = (interval[..., 0] == interval[..., 1]).double().mean()
    assert abs(same - 1 / W) < 5 * math.sqrt(1 / W / interval[..., 0].numel())


def test_shared_noise_finds_what_independent_noise_may_miss() -> None:
    """One coordinate decides: opposite signs take both of two answers, and W intervals all of W
    answers.
    """
    for m, shared in ((2, Antithetic(2)), (2, Quasi(2)), (6, Quasi(6))):
        found, _ = answers(Urn(m), shared, 400, m)
        assert (distinct(found) == m).all()
        independent, _ = answers(Urn(m), Sampler(), 400, m)
        expected = m * (1 - (1 - 1 / m) ** m)
        assert abs(distinct(independent).mean() - expected) < 0.15 and expected < m - 0.4


# Reseeding ----------------------------------------------------------------------------------------


def expected_distinct(m: int, W: int, rounds: int) -> float:
    """Distinct answers when W uniform draws over m are followed by rounds in which all repetitions
    are drawn again.

    A draw that meets k answers finds another with probability (m - k) / m; the first with an answer
    keeps it.
    """
    share = {(0, W): 1.0}  # (distinct answers, draws left in this round) -> probability
    for _ in range(rounds + 1):
        while any(left for _, left in share):
            after: dict[tuple[int, int], float] = {}
            for (k, left), p in share.items():
                if not left:
                    after[k, 0] = after.get((k, 0), 0) + p
                    continue
                for more, chance in ((1, (m - k) / m), (0, k / m)):
                    after[k + more, left - 1] = after.get((k + more, left - 1), 0) + p * chance
            share = after
        share = {(k, W - k): p for (k, _), p in share.items()}
    return sum(k * p for (k, _), p in share.items())


@pytest.mark.parametrize(("m", "W", "depth", "rounds"), [(2, 2, 4, 1), (6, 4, 6, 2), (12, 8, 9, 3)])
def test_reseed_finds_what_its_closed_form_predicts(
    m: int, W: int, depth: int, rounds: int
) -> None:
    N = 3000
    assert expected_distinct(m, W, 0) == pytest.approx(m * (1 - (1 - 1 / m) ** W))
    model = Urn(m)
    found, read = answers(model, Reseed(W, 2, depth), N, W, depth=depth)
    counts = distinct(found)
    error = counts.std() / math.sqrt(N)
    expected = expected_distinct(m, W, rounds)
    assert abs(counts.mean() - expected) < 4 * error
    assert (
        expected - expected_distinct(m, W, rounds - 1) > 8 * error
    )  # one restart fewer would be seen
    # The compute of independent trajectories, and no restart that is too short.
    assert model.rows == N * W * depth
    assert (
        set(read.steps.tolist()) == {depth - 2 * done for done in range(rounds + 1)}
        and depth - 2 * rounds >= 2
    )


def test_opposite_noise_and_restarts_together() -> None:
    """Of two answers a pair takes both at once, so nothing is left to restart; of four, restarts
    add to what pairs find.
    """
    found, read = answers(Urn(2), AntitheticReseed(2, 2, 4), 400, 2, depth=4)
    assert (distinct(found) == 2).all() and (read.steps == 4).all()
    pairs, both = (
        distinct(answers(Urn(4), s, 3000, 4, depth=4)[0])
        for s in (Antithetic(4), AntitheticReseed(4, 2, 4))
    )
    # A pair takes an answer and its mirror image; the second repeats the first, both answers at
    # once, half the time.
    error = pairs.std() / math.sqrt(3000)
    assert set(pairs) == {2, 4} and abs(pairs.mean() - 3) < 4 * error
    # Repeated pairs start again as a pair, and again find the other two half the time.
    assert set(both) == {2, 4} and abs(both.mean() - 3.5) < 4 * error


def test_the_first_trajectory_with_an_answer_keeps_it() -> None:
    sampler = Reseed(4, 2, 6)
    tokens = torch.tensor([[5, 1], [5, 2], [5, 1], [5, 1], [5, 1], [5, 2], [5, 3], [5, 2]])
    assert sampler.restarts(2, tokens).tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
        False,
        True,
    ]  # type: ignore[union-attr]
    assert [sampler.restarts(step, tokens) is not None for step in range(1, 7)] == [
        False,
        True,
        False,
        True,
        False,
        False,
    ]


def test_reseed_compares_the_answers_that_are_kept() -> None:
    """With ACT every trajectory halts at once, and one that starts again may halt again."""
    W, depth = 4, 6
    free, _ = answers(Urn(6), Reseed(W, 2, depth), 200, W, depth=depth)
    halting, read = answers(Urn(6, halts=1.0), Reseed(W, 2, depth), 200, W, depth=depth, act=True)
    assert np.array_equal(free, halting) and read.halted.all() and (read.steps == 1).all()


# Repulsion ----------------------------------------------------------------------------------------


def states(N: int, W: int) -> State:
    """Random states of N inputs, W trajectories each: [N * W, 3, 4]."""
    h = torch.randn(N * W, 3, 4, generator=seeded("states"))
    return State(h, torch.zeros_like(h))


def test_repulsion_against_a_reference() -> None:
    N, W, strength = 2, 4, 0.3
    before = states(N, W)
    after = Repulsion(W, strength).move(before)
    h = before.h.double().view(N, W, -1).numpy()
    moved = h.copy()
    for n in range(N):
        apart = {
            (i, j): math.sqrt(((h[n, i] - h[n, j]) ** 2).mean()) for i in range(W) for j in range(W)
        }
        median = sorted(apart[pair] for pair in itertools.combinations(range(W), 2))[
            2
        ]  # the lower one of six
        for i, j in itertools.permutations(range(W), 2):
            kernel = W ** -((apart[i, j] / median) ** 2)
            moved[n, i] += strength * kernel * (h[n, i] - h[n, j]) / apart[i, j]
    assert np.allclose(after.h.view(N, W, -1).numpy(), moved, atol=1e-5)
    assert torch.equal(after.l, before.l)
    assert torch.allclose(
        after.h.view(N, W, -1).mean(1), before.h.view(N, W, -1).mean(1), atol=1e-6
    )  # the centre stays


def test_repulsion_of_a_pair_and_of_equal_states() -> None:
    before = states(1, 2)
    step = (Repulsion(2, 0.2).move(before).h - before.h).square().mean(dim=(1, 2)).sqrt()
    assert torch.allclose(
        step, torch.full((2,), 0.2 / 2)
    )  # two trajectories are at their median, where the kernel is 1 / W
    equal = State(before.h[:1].expand(2, 3, 4), before.l)
    assert torch.equal(Repulsion(2, 0.2).move(equal).h, equal.h)
    assert torch.equal(Repulsion(2, 0.0).move(before).h, before.h)


def test_states_that_are_not_there_cannot_be_pushed() -> None:
    nothing = torch.zeros(2, 0, 0)
    with pytest.raises(GramError, match="evaluate: sampler: this model carries no state"):
        Repulsion(2, 0.1).move(State(nothing, nothing))


# Of a run -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def subject(gram_run: Path, data_folder: Path) -> evaluation.Subject:
    """The tiny trained GRAM on its test split."""
    return evaluation.load_subject(gram_run, data_folder, "test", EvaluateConfig(), CPU)


def drawn(subject: evaluation.Subject, **config: Any) -> Drawn:
    settings = EvaluateConfig(**{"depth": 4, "width": 3, "reseed_every": 1} | config)
    return evaluation.draw(
        subject.model, subject.split, settings, subject.generator("evaluate", settings.seed)
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_samples(subject: evaluation.Subject, sampler: str) -> None:
    once, again, other = (drawn(subject, sampler=sampler, seed=seed) for seed in (0, 0, 1))
    for field, value in once._asdict().items():
        assert np.array_equal(value, getattr(again, field))
    assert not np.array_equal(once.value, other.value)
    if sampler != "iid":
        assert not np.array_equal(once.value, drawn(subject, sampler="iid").value)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_trajectory_is_independent_whatever_the_sampler(
    subject: evaluation.Subject, sampler: str
) -> None:
    assert np.array_equal(
        drawn(subject, sampler=sampler, width=1).value, drawn(subject, width=1).value
    )


def test_batches_hold_whole_inputs(data_folder: Path) -> None:
    """With a batch of 2 or 5 for three trajectories per input, intervals must still be dealt within
    an input.
    """
    split: Split = load_split(data_folder, "test")
    one = dataclasses.replace(split, inputs=np.zeros((len(split.inputs), 1), dtype=np.uint8))
    for batch_size in (1, 2, 5, 7):
        config = EvaluateConfig(depth=1, width=3, sampler="quasi", batch_size=batch_size)
        read = evaluation.draw(Urn(3), one, config, seeded("batches"))  # type: ignore[arg-type]
        assert (distinct(read.tokens[:, :, 0]) == 3).all()


def test_a_sampler_without_time_for_a_restart_is_refused() -> None:
    with pytest.raises(
        GramError,
        match="evaluate: reseed_every: 3 leaves no restart within depth 5; use at most half",
    ):
        make_sampler(EvaluateConfig(depth=5, sampler="reseed", reseed_every=3), 2)
    assert make_sampler(EvaluateConfig(depth=6, sampler="reseed", reseed_every=3), 2).group == 2


@pytest.mark.parametrize(
    "path",
    sorted((Path(__file__).parents[1] / "config/experiments").glob("*.yaml")),
    ids=lambda path: path.stem,
)
def test_every_committed_experiment_can_compare_all_samplers(path: Path) -> None:
    settings = evaluate_settings(load_experiment(path), "gram")
    for sampler in SAMPLERS:
        assert make_sampler(dataclasses.replace(settings, sampler=sampler), 2).group in (1, 2)


@pytest.mark.parametrize("sampler", ["antithetic", "quasi"])
def test_noise_that_is_not_drawn_cannot_be_shared(
    subject: evaluation.Subject, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(subject.model), "draw_noise", lambda *_: None)
    with pytest.raises(
        GramError, match="evaluate: sampler: this model draws no noise in its transitions"
    ):
        drawn(subject, sampler=sampler)


def test_widths_are_told_from_subsets_of_independent_samples_only(
    gram_run: Path, data_folder: Path
) -> None:
    for sampler in SAMPLERS:
        config = EvaluateConfig(depth=2, width=4, sampler=sampler, reseed_every=1)  # type: ignore[arg-type]
        subject = evaluation.load_subject(gram_run, data_folder, "test", config, CPU)
        content, _ = evaluation.evaluate(subject, config)
        assert content["run"]["sampler"] == sampler
        assert [row["width"] for row in content["by_width"]] == (
            [1, 2, 3] if sampler == "iid" else [4]
        )
