"""A tiny experiment, its data set and trained runs, shared by all tests; everything is
deterministic and on the CPU.
"""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from gram.data.splits import build
from gram.models.network import Given, Network, Shape
from gram.settings import RunSettings, TrainConfig
from gram.settings.config import Experiment, load_experiment, resolve
from gram.system import files
from gram.system.errors import run
from gram.system.provenance import seeded_generator
from gram.tasks import Examples, make_task
from gram.train.loop import train
from gram.train.objectives import Rows, Supervised, supervise
from gram.train.trainer import Trainer
from tests import synthetic

# 5x5 with one or two queens kept: 125 inputs, 25 of them with two completions.
EXPERIMENT = """
generator: {removed: [3, 4]}
split: {test_fraction: 0.2, valid_fraction: 0.1, stratify: true}
model:
  {D: 16, heads: 2, ffn_hidden: 16, layers: 1, K: 1, T: 2, puzzle_tokens: 1, guidance_hidden: 8,
   decoder_hidden: 8}
train:
  {steps: 24, N_sup: 3, batch_size: 8, learning_rate: 3.0e-3, warmup_steps: 4, ema_decay: 0.9,
   beta: 0.3, kl_tokens: mean, eval_every: 10, eval_inputs: 8, log_every: 5, save_every: 5}
evaluate: {depth: 3, width: 4}
methods:
  gram: {}
  deterministic: {model: {guidance: none}}
"""


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Training installs its own handlers; pytest keeps its own."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    torch.set_num_threads(1)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def experiment_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny experiment as ``nqueens5.yaml``."""
    path = tmp_path_factory.mktemp("experiments") / "nqueens5.yaml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def experiment(experiment_file: Path) -> Experiment:
    """The tiny experiment, read."""
    return load_experiment(experiment_file)


@pytest.fixture(scope="session")
def settings(experiment: Experiment) -> RunSettings:
    """The tiny GRAM run, seed 0."""
    return resolve(experiment, "nqueens5", "gram", 0)


@pytest.fixture(scope="session")
def data_folder(settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of the tiny experiment; tests that change files copy it first."""
    folder = tmp_path_factory.mktemp("data")
    build(settings.data, folder)
    return folder


@pytest.fixture(scope="session")
def change() -> Callable[..., RunSettings]:
    """``change(settings, steps=3)``: the settings with other values, wherever those keys are."""

    def apply(settings: RunSettings, **values: Any) -> RunSettings:
        for key, value in values.items():
            owner = next(
                (name for name in ("model", "train") if hasattr(getattr(settings, name), key)), None
            )
            if owner is None:
                settings = dataclasses.replace(settings, **{key: value})
            else:
                section = dataclasses.replace(getattr(settings, owner), **{key: value})
                settings = dataclasses.replace(settings, **{owner: section})
        return settings

    return apply


@pytest.fixture(scope="session")
def train_run() -> Callable[[RunSettings, Path, Path], Path]:
    """``train_run(settings, data, folder)``: train in this process; the folder then holds a
    complete run.
    """

    def run_in(settings: RunSettings, data: Path, folder: Path) -> Path:
        files.write_json(folder / "config.json", settings.as_dict())
        train(Trainer(settings, data, folder, torch.device("cpu")))
        return folder

    return run_in


@pytest.fixture(scope="session")
def gram_run(
    settings: RunSettings,
    data_folder: Path,
    train_run: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A trained tiny GRAM, seed 0; not to be changed."""
    return train_run(settings, data_folder, tmp_path_factory.mktemp("runs") / "gram")


@pytest.fixture(scope="session")
def deterministic_run(
    experiment: Experiment,
    data_folder: Path,
    train_run: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A trained tiny deterministic twin, seed 0; not to be changed."""
    settings = resolve(experiment, "nqueens5", "deterministic", 0)
    return train_run(settings, data_folder, tmp_path_factory.mktemp("runs") / "deterministic")


@pytest.fixture(scope="session")
def enumeration8() -> Examples:
    """Every input of the paper's 8x8 task with its completions."""
    return make_task("nqueens8", {"removed": [5, 6, 7]}).examples()


@pytest.fixture(scope="session")
def enumeration10() -> Examples:
    """Every input of the paper's 10x10 task with its completions."""
    return make_task("nqueens10", {"removed": [7, 8, 9]}).examples()


@pytest.fixture(scope="session")
def chi_square() -> Callable[..., float]:
    """``chi_square(observed, expected)``: the p-value of counts against the counts that a known
    distribution predicts.

    Cells in which fewer than five are expected are taken together.
    """

    def p_value(observed: Tensor, expected: Tensor) -> float:
        assert abs(float(observed.sum() - expected.sum())) < 1e-6 * float(expected.sum()), (
            "both are counts of the same draws"
        )
        observed, expected = observed.double().flatten(), expected.double().flatten()
        rare = expected < 5
        if rare.any():
            observed, expected = (
                torch.cat((x[~rare], x[rare].sum()[None])) for x in (observed, expected)
            )
        if expected[-1] < 1e-9:  # what cannot occur
            if observed[-1] > 0:
                return 0.0
            observed, expected = observed[:-1], expected[:-1]
        statistic = ((observed - expected).square() / expected).sum()
        freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
        return float(torch.special.gammaincc(freedom, statistic / 2))

    return p_value


class Toy(NamedTuple):
    """A task small enough to enumerate every output, with targets of known probability."""

    shape: Shape  # one edge token and two vertex tokens, at which the answer is read
    inputs: Tensor  # [2, 3]: without the edge and with it
    outputs: Tensor  # [vocabulary^2, 2], all of them
    p: Tensor  # [2, vocabulary^2], probability of each output as a target


@pytest.fixture(scope="session")
def toy() -> Toy:
    """Two vertices; with an edge their colours depend on each other, so that no independent draws
    of the two fit.
    """
    vocabulary = 4
    outputs = torch.cartesian_prod(torch.arange(vocabulary), torch.arange(vocabulary))
    p = torch.zeros(2, vocabulary, vocabulary)
    p[0, 1, 1], p[0, 1, 2], p[0, 2, 2] = 0.5, 0.3, 0.2
    p[1, 1, 2], p[1, 2, 1], p[1, 2, 3] = 0.5, 0.3, 0.2
    return Toy(
        Shape(3, vocabulary, slice(1, 3)),
        torch.tensor([[1, 0, 0], [2, 0, 0]]),
        outputs,
        p.flatten(1),
    )


@pytest.fixture(scope="session")
def supervise_fresh() -> Callable[..., Supervised]:
    """``supervise_fresh(model, inputs, targets, noise)``: the one supervision step of rows that
    stay for one, from z_0.
    """

    def once(
        model: Network,
        inputs: Tensor,
        targets: Tensor,
        noise: Tensor | None = None,
        config: TrainConfig | None = None,
    ) -> Supervised:
        config = config or TrainConfig(N_sup=1)
        age = torch.zeros(len(inputs), dtype=torch.int64)
        rows = Rows(
            model.initial_state(len(inputs)), Given(inputs), targets, noise, last=age == 0, age=age
        )
        return supervise(model, config, 0, rows)

    return once


@pytest.fixture(scope="session")
def fit_toy(
    toy: Toy, supervise_fresh: Callable[..., Supervised]
) -> Callable[[Network, int], Network]:
    """``fit_toy(model, steps)``: trained by its own objective on targets drawn as the toy says."""

    def fit(model: Network, steps: int) -> Network:
        generator = seeded_generator(torch.device("cpu"), 0, "toy")
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        inputs = toy.inputs.repeat_interleave(64, dim=0)
        for _ in range(steps):
            targets = toy.outputs[
                torch.multinomial(toy.p, 64, replacement=True, generator=generator)
            ].flatten(0, 1)
            noise = model.training_noise(len(inputs), generator)
            done = supervise_fresh(model, inputs, targets, noise)
            optimizer.zero_grad()
            sum(
                weight * done.terms[name].mean() for name, weight in done.weights.items()
            ).backward()
            optimizer.step()
        return model.requires_grad_(False)

    return fit


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """``command(main, "--flag", value)``: a command line as ``python -m`` would run it, in this
    process.
    """

    def call(main: Callable[[], None], *arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            run(main)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def synthetic_evaluation() -> Callable[..., dict[str, Any]]:
    """``synthetic_evaluation(method="gram", values={"accuracy": 0.5})``: see
    :func:`tests.synthetic.evaluation`.
    """
    return synthetic.evaluation


@pytest.fixture
def scalings() -> list[dict[str, Any]]:
    """Two seeds of GRAM and one of its twin, over depth and width."""
    return [
        synthetic.scaling("gram", 0),
        synthetic.scaling("gram", 2),
        synthetic.scaling("deterministic", 0),
    ]


@pytest.fixture
def comparison() -> dict[str, Any]:
    """All samplers, compared on one run."""
    return synthetic.comparison()
