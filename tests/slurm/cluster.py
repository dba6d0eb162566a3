"""The cluster of start_slurm.sh for tests: its environment, its commands, and its record of job
steps.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

START = Path(__file__).with_name("start_slurm.sh")


def missing() -> str | None:
    """What to install before a cluster can start here, or None."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    if not all(
        shutil.which(program, path=path) for program in ("slurmctld", "slurmd", "munged", "sbatch")
    ):
        return "Slurm is not installed; on Debian: apt-get install slurm-wlm munge"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "the plugin is not installed; pip install -c envs/requirements.lock -e '.[slurm]'"
    return None


class Step(NamedTuple):
    """A job step, as Slurm ran it: its GPUs, and when it began and ended, in seconds."""

    job: str
    gpus: str
    start: float
    end: float


class Cluster(NamedTuple):
    """What tests need to know about the cluster."""

    environment: dict[str, str]

    def __call__(self, *command: str) -> str:
        """What a command of Slurm printed."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def steps(self) -> list[Step]:
        """All job steps that have ended."""
        begun, found = {}, []
        for line in Path(self.environment["SLURM_RECORD"]).read_text(encoding="utf-8").splitlines():
            event, job, *step, gpus, seconds = line.split(" ")
            if event == "start":
                begun[job, *step] = float(seconds)
            else:
                found.append(Step(job, gpus, begun.pop((job, *step)), float(seconds)))
        return found


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that ends with the tests, also when they are killed: the command inside it reads
    from a pipe.
    """
    inside = [
        "sh",
        "-c",
        'env -0 >"$1/part" && mv "$1/part" "$1/environment" && cat',
        "sh",
        str(folder),
    ]
    process = subprocess.Popen([START, *inside], stdin=subprocess.PIPE)
    while not (folder / "environment").exists():
        assert process.poll() is None
        time.sleep(0.1)
    variables = (folder / "environment").read_text(encoding="utf-8").rstrip("\0").split("\0")
    yield Cluster(dict(variable.split("=", 1) for variable in variables))
    process.communicate(timeout=60)
    assert process.returncode == 0
