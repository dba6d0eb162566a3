"""Copies of the repository in which real snakemake commands run, with networks of a few neurons."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.workflow.browser import Browser, why_no_browser
from tests.workflow.warm import Warm, warm

ROOT = Path(__file__).parents[2]
WORKFLOW = ("Snakefile", "workflow", "profiles", "resources", "config", "envs", "gram")

TINY = {
    "model": {
        "D": 16,
        "heads": 2,
        "ffn_hidden": 16,
        "K": 1,
        "T": 1,
        "puzzle_tokens": 0,
        "guidance_hidden": 8,
        "decoder_hidden": 8,
    },
    "train": {
        "steps": 20,
        "N_sup": 2,
        "batch_size": 8,
        "warmup_steps": 2,
        "eval_every": 10,
        "eval_inputs": 4,
        "log_every": 10,
    },
    "evaluate": {"depth": 2, "width": 2},
    "methods": {"gram": {}, "deterministic": {"model": {"guidance": "none"}}},
}
# One experiment with folds and one without, so that both ways to an evaluation are taken.
EXPERIMENTS = {
    "nqueens5": {"generator": {"removed": [3, 4]}, "split": {"folds": 2, "stratify": True}, **TINY},
    "nqueens6": {"generator": {"removed": [4, 5]}, **TINY},
}
CONFIG = {
    "runs": [
        {"task": "nqueens5", "methods": ["gram", "deterministic"], "seeds": [0]},
        {"task": "nqueens6", "methods": ["gram"], "seeds": [0]},
    ],
    "quick": None,
    "ablations": [{"task": "nqueens6", "methods": ["gram", "deterministic"], "seeds": [0]}],
    "device": "cpu",
    "long_trainings": "refuse",
    "reference_runs": None,
    "overrides": {
        "nqueens6": {"train": {"weight_decay": 0.5, "beta": 0.5}, "model": {"rope_theta": 100.0}}
    },
}


def copy_file(source: str, target: str) -> None:
    """Copy a file; of the kept runs, which are many and large and which nothing writes into, make a
    second name.
    """
    if "reference_runs" in Path(source).parts:
        with suppress(OSError):  # another disk
            os.link(source, target)
            return
    shutil.copy2(source, target)


def copy_folder(source: Path, target: Path) -> Path:
    """Copy a folder, links as links."""
    skipped = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source, target, symlinks=True, ignore=skipped, copy_function=copy_file)
    return target


class Workflow:
    """A folder with the workflow in it.

    Args:
        folder: the folder.
        server: what runs Snakemake and its jobs without importing everything each time.
    """

    def __init__(self, folder: Path, server: Warm) -> None:
        self.folder, self.server = folder, server

    def __truediv__(self, path: str) -> Path:
        return self.folder / path

    def copied(self, folder: Path) -> Workflow:
        """A copy in a folder that is not there yet, with its times and Snakemake's records."""
        return Workflow(copy_folder(self.folder, folder), self.server)

    def text(self, path: str) -> str:
        """The content of a text file."""
        return (self.folder / path).read_text(encoding="utf-8")

    def json(self, path: str) -> Any:
        """The content of a JSON file."""
        return json.loads(self.text(path))

    def edit(self, path: str, change: Callable[[Any], None]) -> None:
        """Change the content of a YAML file."""
        content = yaml.safe_load(self.text(path))
        change(content)
        self.write(path, content)

    def write(self, path: str, content: Any, comment: str = "") -> None:
        """Write a YAML file, keys in the given order."""
        (self.folder / path).write_text(
            comment + yaml.safe_dump(content, sort_keys=False), encoding="utf-8"
        )

    def python(self, *arguments: str) -> None:
        """Run a module of the package."""
        environment = self.server.environment(self.folder)
        command = [sys.executable, "-m", *arguments]
        subprocess.run(command, cwd=self.folder, env=environment, check=True)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start snakemake, with this interpreter for the jobs as well."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(self.folder)}
        streams: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=environment,
            **streams,
        )

    def snakemake(self, *arguments: str, fails: bool = False, own_code: bool = False) -> str:
        """What a snakemake command printed; it must succeed, or fail if ``fails``.

        Args:
            arguments: of the command.
            fails: whether it must fail.
            own_code: whether it is started with the gram/ of this folder, which a test has edited;
                otherwise with that of the repository, which has been imported before.
        """
        if own_code:
            process = self.start(*arguments)
            output, _ = process.communicate(timeout=600)
            code = process.returncode
        else:
            code, output = self.server.snakemake(self.folder, *arguments)
        assert (code != 0) == fails, output
        return output

    def jobs(self, *arguments: str, **options: bool) -> set[str]:
        """The jobs that a snakemake command ran, as their messages say them."""
        said = self.snakemake(*arguments, **options)
        found = re.findall(r"^Job \d+: (.*)$", said, flags=re.MULTILINE)
        return {message.partition(";")[0] for message in found}

    def planned(self, *arguments: str, **options: bool) -> set[str]:
        """The jobs that it would run."""
        return self.jobs("--dry-run", *arguments, **options)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """What runs Snakemake and its jobs; one for all tests of a process."""
    with warm(tmp_path_factory.mktemp("w")) as running:
        yield running


@pytest.fixture(scope="session")
def committed(server: Warm) -> Callable[[Path], Workflow]:
    """``committed(folder)``: the repository as it is, without its results."""

    def copy(folder: Path) -> Workflow:
        folder.mkdir()
        for name in WORKFLOW:
            if (ROOT / name).is_dir():
                copy_folder(ROOT / name, folder / name)
            else:
                shutil.copy2(ROOT / name, folder / name)
        return Workflow(folder, server)

    return copy


@pytest.fixture(scope="session")
def tiny(committed: Callable[[Path], Workflow]) -> Callable[[Path], Workflow]:
    """``tiny(folder)``: the workflow with two tiny experiments, and no sums listed."""

    def copy(folder: Path) -> Workflow:
        workflow = committed(folder)
        shutil.rmtree(workflow / "config/experiments")
        (workflow / "config/experiments").mkdir()
        for name, content in EXPERIMENTS.items():
            workflow.write(f"config/experiments/{name}.yaml", content)
        workflow.write("config/config.yaml", CONFIG)
        (workflow / "resources/checksums.tsv").write_text(
            "dataset\tsplit\trows\tmd5\n", encoding="utf-8"
        )
        return workflow

    return copy


@pytest.fixture
def browse() -> Callable[[Path, int, int], Browser]:
    """``with browse(path, width, height) as browser``: a page in a browser, with a window of so
    many pixels.
    """
    if reason := why_no_browser():
        pytest.skip(reason)
    return Browser
