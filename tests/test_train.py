"""Training: bit for bit the same whenever it should be, another when it should be, and how it
stops.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.data.splits import build, load_split
from gram.models.network import Given
from gram.runs.checkpoint import read_tensors
from gram.settings import RunSettings
from gram.settings.config import Experiment, resolve
from gram.system import files, provenance
from gram.system.code_version import code_hash
from gram.system.errors import GramError, Interrupted
from gram.train import loop
from gram.train.__main__ import main as train_main
from gram.train.trainer import Trainer

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")


def weights(folder: Path) -> bytes:
    """The bytes of a run's weights."""
    return (folder / "weights.safetensors").read_bytes()


def history_bytes(folder: Path) -> bytes:
    """The bytes of a run's history."""
    return (folder / "history.jsonl").read_bytes()


def history(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's history."""
    return [json.loads(line) for line in history_bytes(folder).splitlines()]


@pytest.fixture
def run_changed(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any, train_run: Any
) -> Any:
    """``run_changed(steps=3)``: train the tiny run with other settings; returns its folder."""

    def start(**values: Any) -> Path:
        name = "-".join(f"{key}{value}" for key, value in values.items()) or "same"
        return train_run(change(settings, **values), data_folder, tmp_path / name)

    return start


# The same and not the same ------------------------------------------------------------------------


def test_same_seed_gives_the_same_bytes_and_another_does_not(
    gram_run: Path, run_changed: Any
) -> None:
    again, other = run_changed(), run_changed(seed=1)
    assert weights(again) == weights(gram_run) and history_bytes(again) == history_bytes(gram_run)
    assert weights(other) != weights(gram_run)
    a, b = (read_tensors(folder / "weights.safetensors")[0] for folder in (gram_run, other))
    same = {name for name in a if torch.equal(a[name], b[name])}
    assert same == set()


def test_threads_of_the_machine_do_not_matter(gram_run: Path, run_changed: Any) -> None:
    torch.set_num_threads(2)  # a run sets its own
    assert weights(run_changed()) == weights(gram_run)


def test_watching_and_saving_do_not_change_the_run(gram_run: Path, run_changed: Any) -> None:
    folders = [
        run_changed(eval_every=5),
        run_changed(eval_every=50, eval_inputs=3),
        run_changed(log_every=1, save_every=50),
    ]
    for folder in folders:
        assert weights(folder) == weights(gram_run)
    assert [line["step"] for line in history(folders[0]) if line["event"] == "rollout"] == [
        0,
        5,
        10,
        15,
        20,
        24,
    ]
    assert [line["step"] for line in history(folders[1]) if line["event"] == "rollout"] == [0, 24]


@pytest.mark.parametrize(
    "changed",
    [
        {"learning_rate": 2e-3},
        {"beta": 0.6},
        {"kl_balance": 0.5},
        {"kl_tokens": "sum"},
        {"charged": "all"},
        {"uncharged_noise": "posterior"},
        {"cross_entropy": "stablemax"},
        {"sampling": "inputs"},
        {"stagger": False},
        {"precision": "bf16"},
        {"halt_weight": 0.0},
        {"lprm_weight": 0.0},
        {"lprm_reward": "tokens"},
        {"grad_clip": 0.01},
        {"posterior": "pooled"},
        {"weight_decay": 0.0},
        {"decay": "matrices"},
        {"supervision": "all"},
        {"reveal": 0.5},
        {"carry_prior_from": 8},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_switch_reaches_the_run(
    gram_run: Path, run_changed: Any, changed: dict[str, Any]
) -> None:
    folder = run_changed(**changed)
    a, b = (read_tensors(path / "weights.safetensors")[0] for path in (gram_run, folder))
    assert any(a[name].shape == b[name].shape and not torch.equal(a[name], b[name]) for name in a)
    assert all(torch.isfinite(tensor).all() for tensor in b.values())


# What a run writes --------------------------------------------------------------------------------


def test_history_begins_before_the_first_step_and_ends_with_the_last(
    gram_run: Path, data_folder: Path
) -> None:
    lines = history(gram_run)
    rollouts = [line for line in lines if line["event"] == "rollout"]
    assert lines[0] == rollouts[0] and lines[0]["step"] == 0 and rollouts[-1]["step"] == 24
    assert [line["step"] for line in lines if line["event"] == "losses"] == [5, 10, 15, 20, 24]
    assert rollouts[0]["raw"] == {name: rollouts[0][name] for name in ("train", "valid")}
    for line in (*rollouts, *(line["raw"] for line in rollouts)):
        for name in ("train", "valid"):
            counts = line[name]
            total = counts["one"]["inputs"] + counts["several"]["inputs"]
            assert total == min(8, len(load_split(data_folder, name).inputs))
            assert all(0 <= part["valid"] <= part["inputs"] for part in counts.values())
    assert "test" not in rollouts[0]


def test_history_lines_are_means_over_the_steps_since_the_line_before(
    gram_run: Path, run_changed: Any
) -> None:
    lines = {line["step"]: line for line in history(gram_run) if line["event"] == "losses"}
    single = {
        line["step"]: line
        for line in history(run_changed(log_every=1))
        if line["event"] == "losses"
    }
    assert sorted(single) == list(range(1, 25))
    for last, first in ((5, 1), (10, 6), (24, 21)):
        for name in (
            "loss",
            "cross_entropy",
            "kl_nats",
            "halt_loss",
            "value_loss",
            "grad_norm",
            "posterior_exact",
        ):
            mean = sum(single[step][name] for step in range(first, last + 1)) / (last - first + 1)
            assert lines[last][name] == pytest.approx(mean, rel=1e-5, abs=1e-7), name
    assert single[1]["learning_rate"] == pytest.approx(3e-3 / 4) and single[24][
        "learning_rate"
    ] == pytest.approx(3e-3)


def test_loss_is_the_weighted_sum_of_its_terms(run_changed: Any) -> None:
    for line in history(run_changed(log_every=1, beta=0.25, halt_weight=0.5, lprm_weight=2.0)):
        if line["event"] == "losses":
            kl = (
                line["kl_nats"] / 26
            )  # the tiny run averages the KL over 25 tokens and a puzzle token
            parts = (
                line["cross_entropy"]
                + 0.25 * kl
                + 0.5 * line["halt_loss"]
                + 2.0 * line["value_loss"]
            )
            assert line["loss"] == pytest.approx(parts, rel=1e-5)


def test_training_learns(run_changed: Any) -> None:
    losses = [
        line["cross_entropy"]
        for line in history(run_changed(steps=120, log_every=20))
        if line["event"] == "losses"
    ]
    assert losses[-1] < 0.7 * losses[0] and losses[0] > 0.4


# The modules that a training of GRAM on N-Queens has of its own.
OF_GRAM = [
    "gram.models.gram",
    "gram.settings.architectures.gram",
    "gram.settings.tasks.nqueens",
    "gram.tasks.nqueens",
    "gram.train.__main__",
    "gram.train.objectives.gram",
]


def test_meta_says_what_the_weights_are(
    gram_run: Path, settings: RunSettings, data_folder: Path
) -> None:
    meta = files.read_json(gram_run / "meta.json")
    tensors, _ = read_tensors(gram_run / "weights.safetensors")
    count = sum(
        tensor.numel()
        for name, tensor in tensors.items()
        if name.startswith("ema/") and "z0" not in name
    )
    expected = {
        "task": "nqueens5",
        "method": "gram",
        "seed": 0,
        "steps": 24,
        "parameters": count,
        "supervision_steps": 24 * 8,
        "training_examples": 24 * 8 // 3,
        "settings": settings.as_dict(),
        "data_md5": {name: load_split(data_folder, name).md5 for name in ("train", "valid")},
        "code_hash": code_hash(tuple(OF_GRAM)),
        "code_of": OF_GRAM,
        "torch": str(torch.__version__),
        "device_type": "cpu",
        "threads": 1,
        "sessions": 1,
    }
    assert {key: meta[key] for key in expected} == expected
    assert {
        "commit",
        "dirty",
        "device",
        "processor",
        "python",
        "numpy",
        "seconds",
        "peak_memory_bytes",
    } <= meta.keys()


def test_deterministic_twin_pays_no_kl(deterministic_run: Path) -> None:
    lines = [line for line in history(deterministic_run) if line["event"] == "losses"]
    assert lines and not any("kl_nats" in line for line in lines)
    tensors, _ = read_tensors(deterministic_run / "weights.safetensors")
    assert not any("guidance" in name for name in tensors)


def test_value_loss_teaches_all_states_of_finished_trajectories(
    settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    """Against a loop over rows and steps, with the summaries that this test kept itself."""
    trainer = Trainer(settings, data_folder, tmp_path, CPU)
    with torch.no_grad():
        trainer.model.value_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    kept: list[list[torch.Tensor]] = [[] for _ in range(8)]
    compared = 0
    for _ in range(7):
        stream = trainer.stream
        noise = trainer.model.draw_noise(len(stream.inputs), trainer.noise)
        step = trainer.model(
            stream.state, Given(stream.inputs), targets=stream.targets, noise=noise
        )
        stream.record(step, slice(None))
        for row in range(8):
            kept[row].append(step.summary[row])
        done = stream.finishing
        exact = torch.arange(8) % 2 == 0
        errors = []
        for row in range(8):
            if done[row]:
                errors += [
                    (trainer.model.value(summary) - float(exact[row])) ** 2 for summary in kept[row]
                ]
                kept[row] = []
        expected = torch.stack(errors).mean() if errors else torch.zeros(())
        assert torch.allclose(trainer._value_loss(exact.float()), expected, atol=1e-6)
        compared += len(errors)
        stream.advance()
    assert compared > 8


# Stopping and going on ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_between_two_steps_and_the_next_call_goes_on(
    number: signal.Signals,
    gram_run: Path,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = Trainer(settings, data_folder, tmp_path, CPU)
    step = trainer.train_step

    def interrupted() -> None:
        if trainer.step == 6:
            os.kill(os.getpid(), number)
        step()

    monkeypatch.setattr(trainer, "train_step", interrupted)
    with pytest.raises(Interrupted) as stop:
        loop.train(trainer)
    assert stop.value.exit_code == 128 + number
    assert (
        str(stop.value)
        == f"{tmp_path}: {number.name}: state saved at step 7; run the same command again to go on"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["resume.safetensors"]
    assert (
        read_tensors(tmp_path / "resume.safetensors")[1]["step"] == 7
    )  # between two lines of the history
    resumed = Trainer(settings, data_folder, tmp_path, CPU)
    loop.train(resumed)
    assert weights(tmp_path) == weights(gram_run) and history_bytes(tmp_path) == history_bytes(
        gram_run
    )
    assert files.read_json(tmp_path / "meta.json")["sessions"] == 2
    assert not (tmp_path / "resume.safetensors").exists()


def start(settings_file: Path, data: Path, output: Path) -> subprocess.Popen[str]:
    """``python -m gram.train`` as a user starts it."""
    command = [
        sys.executable,
        "-m",
        "gram.train",
        "--device",
        "cpu",
        "--config",
        settings_file,
        "--data",
        data,
        "--output",
        output,
    ]
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_killed_runs_end_with_the_same_bytes(
    settings: RunSettings, data_folder: Path, tmp_path: Path, change: Any, train_run: Any
) -> None:
    """Two processes, ended by SIGTERM and by SIGKILL just after a save, and this one for the rest;
    some inputs are revealed, and the prior carries from a step between or after the stops.
    """
    long = change(
        settings,
        steps=500,
        T=1,
        save_every=15,
        log_every=50,
        eval_every=150,
        reveal=0.5,
        carry_prior_from=40,
    )
    whole = train_run(long, data_folder, tmp_path / "whole")
    output, resume = tmp_path / "killed", tmp_path / "killed" / "resume.safetensors"
    files.write_json(output / "config.json", long.as_dict())
    steps = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = start(output / "config.json", data_folder, output)
        before = resume.stat().st_mtime_ns if resume.exists() else 0
        while process.poll() is None and (
            not resume.exists() or resume.stat().st_mtime_ns == before
        ):
            time.sleep(0.002)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        steps.append(read_tensors(resume)[1]["step"])
        if number == signal.SIGTERM:
            assert process.returncode == 143
            assert err.strip().splitlines()[-1] == (
                f"error: {output}: SIGTERM: state saved at step {steps[0]}; run the same command "
                f"again to go on"
            )
            assert (
                f"parameters on cpu, forward in {long.train.precision}, weights and losses in fp32,"
                " products of fp32 in fp32" in err
            )
            assert "Traceback" not in err
        else:
            assert process.returncode == -signal.SIGKILL
    assert 0 < steps[0] < steps[1] < 500
    train_run(long, data_folder, output)
    assert weights(output) == weights(whole) and history_bytes(output) == history_bytes(whole)


@pytest.fixture
def interrupted_run(settings: RunSettings, data_folder: Path, tmp_path: Path) -> Path:
    """A run that was stopped after seven steps."""
    trainer = Trainer(settings, data_folder, tmp_path / "run", CPU)
    for _ in range(7):
        trainer.train_step()
    trainer.save_resume_state()
    return tmp_path / "run"


def test_resume_state_of_other_settings_is_not_used(
    interrupted_run: Path,
    settings: RunSettings,
    data_folder: Path,
    change: Any,
    run_changed: Any,
    capsys: Any,
) -> None:
    assert Trainer(settings, data_folder, interrupted_run, CPU).restore()
    for changed in ({"beta": 0.31}, {"seed": 1}, {"K": 2}):
        other = Trainer(change(settings, **changed), data_folder, interrupted_run, CPU)
        capsys.readouterr()
        assert not other.restore() and other.step == 0
        assert (
            "resume.safetensors: saved for other settings or data; starting from step 0"
            in capsys.readouterr().err
        )
    loop.train(Trainer(change(settings, beta=0.31), data_folder, interrupted_run, CPU))
    assert weights(interrupted_run) == weights(run_changed(beta=0.31))


def test_resume_state_of_other_data_is_not_used(
    interrupted_run: Path, settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(data_folder, tmp_path / "data")
    split = type(settings.data.split)(test_fraction=0.2, valid_fraction=0.2, stratify=True)
    card = build(type(settings.data)("nqueens5", {"removed": [3, 4]}, split), tmp_path / "data")
    # The settings are still the old ones, so only the content differs.
    files.write_json(tmp_path / "data/card.json", card | {"settings": settings.as_dict()["data"]})
    assert not Trainer(settings, tmp_path / "data", interrupted_run, CPU).restore()


def test_broken_resume_state_is_named(
    interrupted_run: Path, settings: RunSettings, data_folder: Path
) -> None:
    path = interrupted_run / "resume.safetensors"
    content = path.read_bytes()
    for place in (-100, -5000, -20000):
        for damaged in (content[:place], content[:place] + b"?" + content[place + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(GramError) as error:
                Trainer(settings, data_folder, interrupted_run, CPU).restore()
            assert str(path) in str(error.value)
            assert "delete it to start from step 0" in str(error.value)


# Failures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "log_every"), [("weight", 5), ("gradient", 1000), ("one gradient", 1000)]
)
def test_nan_stops_with_the_step_and_keeps_the_last_good_state(
    where: str,
    log_every: int,
    gram_run: Path,
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Found when the history is written, or else before the next save."""
    settings = change(settings, log_every=log_every)
    trainer = Trainer(settings, data_folder, tmp_path, CPU)
    step, bad = trainer.train_step, trainer.model.back.head.down.weight

    def poisoned() -> None:
        if trainer.step == 12 and where == "weight":
            bad.data[0, 0] = torch.nan
        if trainer.step == 12 and where == "gradient":
            bad.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
        if where == "one gradient":
            bad.register_hook(lambda gradient: gradient * (torch.nan if trainer.step == 12 else 1))
        step()

    monkeypatch.setattr(trainer, "train_step", poisoned)
    with pytest.raises(GramError) as error:
        loop.train(trainer)
    message = str(error.value)
    assert (
        "NaN or infinite at step 12;" in message and str(tmp_path / "resume.safetensors") in message
    )
    assert "learning_rate" in message
    tensors, facts = read_tensors(tmp_path / "resume.safetensors")
    assert facts["step"] == 10 and all(
        torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["resume.safetensors"]
    loop.train(Trainer(settings, data_folder, tmp_path, CPU))
    assert weights(tmp_path) == weights(gram_run)


def test_nan_in_the_last_step_is_not_written(
    settings: RunSettings,
    data_folder: Path,
    tmp_path: Path,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = Trainer(change(settings, steps=3), data_folder, tmp_path / "run", CPU)
    step = trainer.train_step

    def poisoned() -> None:
        if trainer.step == 2:
            trainer.model.back.head.down.weight.data[0, 0] = torch.nan
        step()

    monkeypatch.setattr(trainer, "train_step", poisoned)
    with pytest.raises(GramError, match="at step 2; nothing was saved yet"):
        loop.train(trainer)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def run_folder(settings: RunSettings, tmp_path: Path) -> Path:
    """A folder with the tiny run's config.json."""
    files.write_json(tmp_path / "run" / "config.json", settings.as_dict())
    return tmp_path / "run"


def arguments(run: Path, data: Path, device: str = "cpu") -> list[object]:
    """The command line of the run in ``run``."""
    return ["--config", run / "config.json", "--data", data, "--output", run, "--device", device]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_cuda_without_a_gpu(run_folder: Path, data_folder: Path, command: Any) -> None:
    outcome = command(train_main, *arguments(run_folder, data_folder, "cuda"))
    assert outcome.code == 2
    assert outcome.err.startswith("error: --device cuda: torch ") and outcome.err.count("\n") == 1
    assert "has no GPU that works (" in outcome.err and "docs/CLUSTERS.md" in outcome.err
    assert not list(run_folder.glob("resume*"))


OLD_DRIVER = (  # torch 2.13, c10/cuda/CUDAFunctions.cpp
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: "
    "http://www.nvidia.com/Download/index.aspx"
)
BROKEN = (
    "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronously"
)


@pytest.mark.parametrize(
    ("at", "error", "says"),
    [
        (
            "init",
            AssertionError("Torch not compiled with CUDA enabled"),
            "compiled with CUDA enabled",
        ),
        ("init", RuntimeError(OLD_DRIVER), "is too old (found version 11040)"),
        ("try_out", RuntimeError(BROKEN), "CUDA error: uncorrectable ECC error encountered"),
    ],
    ids=["no CUDA", "old driver", "broken card"],
)
def test_a_gpu_that_does_not_work_is_one_line_and_no_training_on_the_cpu(
    at: str, error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the driver shows a card."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda if at == "init" else provenance, at, fails)
    with pytest.raises(GramError) as refusal:
        provenance.choose_device("cuda")
    line = str(refusal.value)
    assert f"{says}); wheels for older drivers: docs/CLUSTERS.md" in line and "\n" not in line
    assert "to compute on the CPU: --device cpu, for the workflow --config device=cpu" in line


def test_unknown_device(run_folder: Path, data_folder: Path, command: Any) -> None:
    outcome = command(train_main, *arguments(run_folder, data_folder, "gpu"))
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and "--device gpu" in outcome.err


def test_truncated_data_is_one_line_and_no_traceback(
    run_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    """Through the real command, since a traceback could come from outside ``main``."""
    shutil.copytree(data_folder, tmp_path / "data")
    path = tmp_path / "data" / "train.parquet"
    path.write_bytes(path.read_bytes()[:-200])
    process = start(run_folder / "config.json", tmp_path / "data", run_folder)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        err == f"error: {path}: not a readable Parquet file (truncated?); delete it and build it "
        f"again\n"
    )
    assert [file.name for file in run_folder.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("section", "meant"),
    [("train", "did you mean 'steps'?"), ("model", "known keys: architecture, D, ")],
)
def test_unknown_key_in_config_json(
    run_folder: Path, data_folder: Path, section: str, meant: str, command: Any
) -> None:
    values = files.read_json(run_folder / "config.json")
    values[section]["stepz"] = 3
    files.write_json(run_folder / "config.json", values)
    outcome = command(train_main, *arguments(run_folder, data_folder))
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert f"{run_folder / 'config.json'}: {section}: unknown key 'stepz'; {meant}" in outcome.err


def test_missing_files_are_named(run_folder: Path, tmp_path: Path, command: Any) -> None:
    outcome = command(train_main, *arguments(run_folder, tmp_path / "nowhere"))
    assert (
        outcome.code == 2 and f"{tmp_path / 'nowhere' / 'card.json'}: no such file" in outcome.err
    )
    (run_folder / "config.json").unlink()
    outcome = command(train_main, *arguments(run_folder, tmp_path / "nowhere"))
    assert outcome.code == 2 and f"{run_folder / 'config.json'}: no such file" in outcome.err


def test_finished_run_is_trained_anew_only_on_request(
    experiment: Experiment, data_folder: Path, tmp_path: Path, change: Any, train_run: Any
) -> None:
    """A rerun of the same command gives the same bytes again, since nothing of the first run is
    left to resume from.
    """
    settings = change(resolve(experiment, "nqueens5", "deterministic", 2), steps=4)
    first = weights(train_run(settings, data_folder, tmp_path))
    assert weights(train_run(settings, data_folder, tmp_path)) == first
