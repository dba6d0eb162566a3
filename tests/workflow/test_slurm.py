"""The workflow on a real Slurm of this one machine, and what it survives there. One run of it is cut twice on its way."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import pytest

START = Path(__file__).parents[1] / "slurm/start_slurm.sh"
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
pytestmark = [
    pytest.mark.skipif(
        not all(shutil.which(program, path=PATH) for program in ("slurmctld", "slurmd", "munged", "sbatch")),
        reason="Slurm is not installed; on Debian: apt-get install slurm-wlm munge",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("snakemake_executor_plugin_slurm") is None,
        reason="the plugin is not installed; pip install -c envs/requirements.lock -e '.[slurm]'",
    ),
]

# squeue, because this cluster has no database of finished jobs; and small jobs need not wait for the next look at the queue.
SLURM = ("--profile", "profiles/slurm", "--slurm-status-command", "squeue")
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
CANCELLED, REQUEUED, LEFT_ALONE = "gram/seed0", "gram/seed1", "deterministic/seed0"
RUNS = (CANCELLED, REQUEUED, LEFT_ALONE)


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
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout

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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that ends with these tests, also when they are killed: the command inside it reads from a pipe."""
    folder = tmp_path_factory.mktemp("cluster")
    inside = ["sh", "-c", 'env -0 >"$1/part" && mv "$1/part" "$1/environment" && cat', "sh", str(folder)]
    process = subprocess.Popen([START, *inside], stdin=subprocess.PIPE)
    while not (folder / "environment").exists():
        assert process.poll() is None
        time.sleep(0.1)
    variables = (folder / "environment").read_text(encoding="utf-8").rstrip("\0").split("\0")
    yield Cluster(dict(variable.split("=", 1) for variable in variables))
    process.communicate(timeout=60)
    assert process.returncode == 0


def quick_workflow(tiny: Any, folder: Path) -> Any:
    """A whole workflow of three runs, long enough to be cut after their first save."""
    workflow = tiny(folder / "gram")
    (workflow / "config/experiments/nqueens5.yaml").unlink()
    steps = {"steps": 300, "save_every": 20, "eval_every": 100}
    workflow.edit("config/experiments/nqueens6.yaml", lambda experiment: experiment["train"].update(steps))
    runs = [
        {"task": "nqueens6", "methods": ["gram"], "seeds": [0, 1]},
        {"task": "nqueens6", "methods": ["deterministic"], "seeds": [0]},
    ]
    workflow.edit("config/config.yaml", lambda config: config.update(runs=runs))
    return workflow


def file_of(run: str, name: str) -> str:
    return f"results/runs/nqueens6/{run}/{name}"


@pytest.fixture(scope="module")
def finished(tiny: Any, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The workflow after a run through sbatch, with what snakemake printed; one training was cancelled, another preempted."""
    workflow = quick_workflow(tiny, tmp_path_factory.mktemp("slurm"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        process = workflow.start("all", *SLURM, *QUICK)
    try:
        cuts = {CANCELLED: ["scancel"], REQUEUED: ["scontrol", "requeue"]}
        while cuts:
            assert process.poll() is None, process.communicate()
            for run in [run for run in cuts if (workflow / file_of(run, "resume.safetensors")).exists()]:
                cluster(*cuts.pop(run), job_of(cluster, run))
            time.sleep(0.1)
        output, _ = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return workflow, output


def job_of(cluster: Cluster, run: str) -> str:
    """The number of the running job that trains ``run``."""
    comment = f"rule_train_wildcards_nqueens6_{run.replace('/seed', '_')}"
    jobs = dict(line.split() for line in cluster("squeue", "--noheader", "--states=R", "--format=%k %i").splitlines())
    return jobs[comment]


@pytest.fixture(scope="module")
def local(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same evaluations without Slurm."""
    workflow = quick_workflow(tiny, tmp_path_factory.mktemp("local"))
    workflow.snakemake(*(f"results/eval/nqueens6/{run}/test.json" for run in RUNS))
    return workflow


def test_the_whole_workflow_runs_through_sbatch(finished: Any, cluster: Cluster) -> None:
    workflow, output = finished
    assert (workflow / "results/tables/table1.md").exists() and list((workflow / "results/figures").rglob("training.svg"))
    partitions = cluster("squeue", "--noheader", "--states=all", "--format=%P %T").splitlines()
    # One data set; three trainings, of which one was submitted again; three evaluations. Whatever takes a second stays outside.
    assert sorted(partitions) == ["cpu COMPLETED", "gpu CANCELLED", *["gpu COMPLETED"] * 6]
    assert len(re.findall("has been submitted with SLURM jobid", output)) == 8


def test_weights_and_evaluations_are_those_of_a_local_run(finished: Any, local: Any) -> None:
    workflow, _ = finished
    names = [file_of(run, name) for run in RUNS for name in ("weights.safetensors", "history.jsonl")]
    names += [f"results/eval/nqueens6/{run}/test.samples.parquet" for run in RUNS]
    assert [name for name in names if (workflow / name).read_bytes() != (local / name).read_bytes()] == []


def test_cancelled_and_preempted_trainings_went_on_where_they_had_saved(finished: Any) -> None:
    workflow, _ = finished
    sessions = {run: workflow.json(file_of(run, "meta.json"))["sessions"] for run in RUNS}
    assert sessions == {CANCELLED: 2, REQUEUED: 2, LEFT_ALONE: 1}


def test_no_two_jobs_share_a_gpu(finished: Any, cluster: Cluster) -> None:
    steps = [step for step in cluster.steps() if step.gpus != "-"]
    assert {step.gpus for step in steps} == {"0", "1"}
    for one, other in combinations(steps, 2):
        if one.job != other.job and one.gpus == other.gpus:
            assert one.end <= other.start or other.end <= one.start, (one, other)
    # Not because there was only one at a time.
    assert [
        1 for one, other in combinations(steps, 2) if one.gpus != other.gpus and one.start < other.end and other.start < one.end
    ]


def test_logs_lie_where_the_documentation_says(finished: Any) -> None:
    workflow, _ = finished
    assert "300/300" in workflow.text(f"results/logs/train/nqueens6/{CANCELLED}.log")
    jobs = list((workflow / "results/logs/slurm/rule_train/nqueens6_gram_0").glob("*.log"))
    assert len(jobs) == 2 and any("CANCELLED" in path.read_text(encoding="utf-8") for path in jobs)
