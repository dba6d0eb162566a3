"""The kit: prepared on one machine, run within a time on another, and taken home as if trained
there.
"""

from __future__ import annotations

import json
import shutil
import signal
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gram.evaluate import kit
from gram.evaluate.__main__ import main as evaluate_main
from gram.runs.checkpoint import read_tensors
from gram.settings import EvaluateConfig, RunSettings
from gram.settings.config import load_run
from gram.system import files
from gram.system.errors import GramError
from gram.system.shapes import read_meta
from gram.system.stopping import listening
from gram.system.timelimit import TimeLimit
from gram.tables.evaluations import read_evaluations
from gram.train.trainer import Trainer

CPU = torch.device("cpu")
PLACE = Path("nqueens5/gram/seed0")


@pytest.fixture(scope="module")
def prepared(settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit for the tiny run."""
    folder = tmp_path_factory.mktemp("prepared") / "kit"
    kit.prepare(settings, EvaluateConfig(depth=2, width=4), folder)
    return folder


@pytest.fixture
def slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that needs a thousand seconds for each step and none for anything else, by its own
    account.
    """

    def timed(work: Callable[[], None], times: int, device: torch.device) -> float:
        work()
        return 1000.0

    now = time.monotonic()
    monkeypatch.setattr(kit, "timed", timed)
    monkeypatch.setattr(kit, "time", SimpleNamespace(monotonic=lambda: now))


def ran(prepared: Path, output: Path, limit: float, reserve: float = 0.0) -> Path:
    """The packed file of a run of the kit."""
    with listening():
        return kit.run_kit(
            prepared, output, CPU, limit=limit, reserve=reserve, since=time.monotonic()
        )


def test_a_run_has_as_many_steps_as_fit_and_is_that_of_a_plain_training(
    prepared: Path,
    slow_machine: None,
    settings: RunSettings,
    data_folder: Path,
    train_run: Any,
    command: Any,
    tmp_path: Path,
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    packed = ran(prepared, there, limit=20_600, reserve=600)
    folder = kit.take(packed, here)
    taken = load_run(folder / "config.json")
    # 20,000 seconds without those of a first step, of which a twentieth is not planned.
    assert taken.train.steps == 18 < settings.train.steps
    plain = train_run(kit.with_steps(settings, taken.train.steps), data_folder, tmp_path / "plain")
    for name in ("weights.safetensors", "history.jsonl"):
        assert (folder / name).read_bytes() == (plain / name).read_bytes()
    commit = files.read_json(prepared / "kit.json")["commit"]
    assert read_meta(folder / "meta.json")["commit"] == commit
    # And its evaluation is that of gram.evaluate here, in the place where the tables look for it.
    found = here / "eval" / PLACE / "test.json"
    arguments = ("--run", folder, "--data", here / "data/nqueens5", "--device", "cpu")
    again = (*arguments, "--settings", "{depth: 2, width: 4}", "--output", tmp_path / "again.json")
    assert command(evaluate_main, *again).code == 0
    (read,) = read_evaluations([found])
    assert read["metrics"] == files.read_json(tmp_path / "again.json")["metrics"]
    assert (here / "eval" / PLACE / "test.samples.parquet").exists()
    with pytest.raises(GramError, match="holds a run already; move it away first"):
        kit.take(packed, here)
    # A second call goes on where the first was, and so does nothing but evaluate.
    assert files.md5(ran(prepared, there, limit=0)) and (there / "runs" / PLACE).exists()


def test_what_the_limit_cuts_is_kept_evaluated_and_marked(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(trainer: Trainer, *, limit: TimeLimit) -> None:
        for _ in range(10):
            trainer.train_step()
        with listening() as stops, stops.deferred():
            stops.handle(signal.SIGALRM, None)
        raise trainer.stopped(signal.SIGALRM)

    monkeypatch.setattr(kit, "train", cut)
    folder = kit.take(ran(prepared, tmp_path / "there", limit=600), tmp_path / "here")
    assert read_meta(folder / "meta.json")["unfinished"] == {"step": 10, "steps": 24}
    (read,) = read_evaluations([tmp_path / "here/eval" / PLACE / "test.json"])
    assert read["run"]["unfinished"] == {"step": 10, "steps": 24}
    assert read_tensors(folder / "weights.safetensors")[0]


def test_a_schedule_of_another_length_keeps_its_shares(settings: RunSettings, change: Any) -> None:
    start = change(settings, steps=1000, beta_initial=1.0, beta_decay_steps=800, warmup_steps=50)
    shorter = kit.with_steps(start, 250)
    assert shorter == change(start, steps=250, beta_decay_steps=200)
    assert kit.with_steps(change(start, carry_prior_from=100), 250).train.carry_prior_from == 25


def test_too_little_time_is_one_line(prepared: Path, slow_machine: None, tmp_path: Path) -> None:
    with pytest.raises(GramError, match=r"seconds are too short for a step .* longer --time-limit"):
        ran(prepared, tmp_path / "there", limit=600, reserve=599.5)
    assert not (tmp_path / "there/runs" / PLACE / "config.json").exists()


def test_a_kit_needs_what_training_imports_and_no_workflow(prepared: Path) -> None:
    lines = (prepared / "packages.txt").read_text().split("\n")
    names = {line.partition(">")[0] for line in lines}
    assert {"torch", "numpy", "pandas", "pyarrow", "safetensors", "pyyaml"} <= names
    assert not {"snakemake", "matplotlib", "pulp"} & names
    assert (prepared / "gram/train/__main__.py").exists()


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda kit: (kit / "config.json").write_text("{}"), "config.json: not as it was prepared"),
        (
            lambda kit: files.write_json(
                kit / "kit.json", {"commit": None, "dirty": None, "code_hash": "x", "files": {}}
            ),
            "prepared with code x, and this is .*; run the command in the kit's folder",
        ),
    ],
)
def test_a_kit_that_is_another_is_one_line(
    edit: Callable[[Path], Any], says: str, prepared: Path, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(prepared, tmp_path / "kit"))
    edit(copied)
    with pytest.raises(GramError, match=says):
        ran(copied, tmp_path / "there", limit=0)
    assert not (tmp_path / "there").exists()


def test_only_packed_runs_are_taken(tmp_path: Path) -> None:
    packed, results = tmp_path / "packed.tar", tmp_path / "results"
    with tarfile.open(packed, "w") as archive:
        archive.add(__file__, "../outside.py")
    with pytest.raises(GramError, match=r"holds '\.\./outside\.py': no file of `gram\.kit run`"):
        kit.take(packed, results)
    packed.write_text("nothing")
    with pytest.raises(GramError, match=r"packed\.tar: no file of `gram\.kit run` \("):
        kit.take(packed, results)
    assert not list(results.iterdir())


def test_the_three_commands(
    settings: RunSettings, command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = tmp_path / "nqueens5.yaml"
    sections = settings.as_dict()
    text = {
        "generator": sections["data"]["generator"],
        "split": sections["data"]["split"],
        "model": {key: sections["model"][key] for key in ("D", "heads", "K", "T", "layers")},
        "train": {"steps": 2, "batch_size": 8, "N_sup": 2, "eval_inputs": 4},
        "evaluate": {"depth": 2, "width": 2},
        "methods": {"gram": {}},
    }
    experiment.write_text(json.dumps(text))
    folder = tmp_path / "kit"
    outcome = command(
        kit.main, "prepare", "--experiment", experiment, "--method", "gram", "--output", folder
    )
    assert outcome.code == 0 and "python -m gram.kit run --time-limit" in outcome.out, outcome.err
    monkeypatch.chdir(folder)
    outcome = command(kit.main, "run", "--device", "cpu")
    assert outcome.code == 0 and outcome.out.startswith("results/packed.tar: bring it home")
    outcome = command(kit.main, "take", "results/packed.tar", "--results", tmp_path / "home")
    assert outcome.code == 0 and outcome.out.endswith("gram/seed0: trained to its end\n")
