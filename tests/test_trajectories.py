"""gram.trajectories: the states of a rollout, their principal components and what is read there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gram.evaluate import trajectories
from gram.evaluate.evaluation import load_subject
from gram.models.network import Given
from gram.settings import EvaluateConfig
from gram.system import files

CPU = torch.device("cpu")


def test_principal_components_are_those_of_the_covariance() -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(40, 3)) @ np.array([[3.0, 0, 1], [0, 1, 0], [0, 0, 0.1]])
    found, shares = trajectories.principal(points)
    values, vectors = np.linalg.eigh(np.cov(points.T))
    expected = (points - points.mean(axis=0)) @ vectors[:, ::-1][:, :2]
    for n in range(2):
        assert np.allclose(np.abs(found[:, n]), np.abs(expected[:, n]))
        assert found[np.abs(found[:, n]).argmax(), n] > 0
    assert shares == pytest.approx(values[::-1][:2] / values.sum())
    still, nothing = trajectories.principal(np.ones((4, 3)))
    assert not still.any() and not nothing.any()


def test_command_line_follows_the_rollout(
    gram_run: Path, data_folder: Path, command: Any, tmp_path: Path
) -> None:
    output = tmp_path / "trajectories.json"
    outcome = command(
        *(trajectories.main, "--run", gram_run, "--data", data_folder, "--output", output),
        *("--device", "cpu", "--input", 1, "--trajectories", 3, "--settings", "{depth: 4}"),
    )
    assert outcome.code == 0, outcome.err
    content = files.read_json(output)
    found = content[trajectories.SECTION]
    rows = found["steps"]
    assert [(row["step"], row["sample"]) for row in rows] == [
        (step, sample) for step in (1, 2, 3, 4) for sample in (0, 1, 2)
    ]
    # The same draws by hand.
    subject = load_subject(gram_run, data_folder, "test", EvaluateConfig(depth=4), CPU)
    model, generator = subject.model, subject.generator("trajectories", 0, 1)
    given = Given(torch.from_numpy(subject.split.inputs[1:2]).long().expand(3, -1))
    state = model.initial_state(3, generator)
    states = []
    known = subject.split.of(1)
    for step in range(4):
        noise = model.draw_noise(3, generator)
        read = model.roll(state, given, noise=noise, generator=generator)
        state = read.state
        states.append(state.h.flatten(1))
        for sample in range(3):
            row = rows[3 * step + sample]
            assert row["tokens"] == read.tokens[sample].tolist()
            agree = [(np.array(row["tokens"]) == one).mean() for one in known]
            assert row["right"] == pytest.approx(max(agree))
            assert row["valid"] == (max(agree) == 1)
    points = np.array([[row["x"], row["y"]] for row in rows])
    shown = np.square(points - points.mean(axis=0)).sum(axis=0)
    everything = torch.cat(states).double()
    total = float((everything - everything.mean(dim=0)).square().sum())
    assert shown / total == pytest.approx(found["explained"], rel=1e-4)


def test_bad_input_is_one_line(
    gram_run: Path, deterministic_run: Path, data_folder: Path, command: Any, tmp_path: Path
) -> None:
    output = tmp_path / "trajectories.json"
    for more, said in (
        (("--input", 99999), "--input 99999: the split test has"),
        (("--trajectories", 0), "--trajectories 0: with depth 16 give 1 to 1250"),
    ):
        outcome = command(
            *(trajectories.main, "--run", gram_run, "--data", data_folder, "--output", output),
            *more,
        )
        assert outcome.code == 2 and said in outcome.err and outcome.err.count("\n") == 1
        assert not output.exists()
    outcome = command(
        *(trajectories.main, "--run", deterministic_run, "--data", data_folder),
        *("--output", output, "--settings", "{depth: 2}"),
    )
    assert outcome.code == 0  # one trajectory, of one point per step
    assert len(files.read_json(output)[trajectories.SECTION]["steps"]) == 2
