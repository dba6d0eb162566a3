"""One quick workflow with profiles/local, on a real Slurm, and on RunPod's stand-in: the same
weights and the same table.

Slurm and RunPod lose trainings on their way, so this is also what the workflow survives there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.runpod.standin import Pod, StandIn
from tests.slurm import cluster as slurm
from tests.slurm.cluster import Cluster

TASK = "coloring5"  # where also an untrained network's table is not all zeros
QUICK = [
    {"task": TASK, "methods": ["gram"], "seeds": [0, 1]},
    {
        "task": TASK,
        "methods": ["deterministic", "two-gpus"],
        "seeds": [0],
    },  # two-gpus is gram in two processes
]
CANCELLED, REQUEUED, PREEMPTED = "gram/seed0", "gram/seed1", "deterministic/seed0"
ONE_PROCESS, TWO_PROCESSES = "gram/seed0", "two-gpus/seed0"
RUNS = [
    f"{method}/seed{seed}"
    for entry in QUICK
    for method in entry["methods"]
    for seed in entry["seeds"]
]

# Without a target: `snakemake` builds what stands under `quick`.
LOCAL = ("--profile", "profiles/local", "--resources", "gpu=2", "--cores", "2")
# squeue, because this cluster has no database of finished jobs; and small jobs need not wait for
# the next look at the queue. device=cpu, because there are no GPUs here, and a profile for GPUs
# wants them.
NO_GPU = ("--config", "device=cpu")
SLURM = ("--profile", "profiles/slurm", "--slurm-status-command", "squeue", *NO_GPU)
SLURM_PACE = (
    "--slurm-init-seconds-before-status-checks",
    "1",
    "--seconds-between-status-checks",
    "1",
)
RUNPOD = ("--profile", "profiles/runpod", "--cores", "all", *NO_GPU)
RUNPOD_PACE = (
    "--runpod-beat",
    "0.5",
    "--runpod-stale",
    "60",
    "--seconds-between-status-checks",
    "0",
)

REMOTE = pytest.mark.parametrize("remote", ["on_slurm", "on_runpod"])


def quick_workflow(tiny: Any, folder: Path) -> Any:
    """The quick workflow of four runs, long enough to be cut after their first save."""
    workflow = tiny(folder / "gram")
    path = f"config/experiments/{TASK}.yaml"
    shutil.copy(workflow / "config/experiments/nqueens6.yaml", workflow / path)

    def change(experiment: dict[str, Any]) -> None:
        experiment["generator"] = {"train": 80, "test": 20, "edge_probability": 0.4}
        experiment["train"].update(steps=120, save_every=10, eval_every=60)
        experiment["methods"]["two-gpus"] = {"train": {"processes": 2}}

    workflow.edit(path, change)
    workflow.edit("config/config.yaml", lambda config: config.update(runs=QUICK, quick=QUICK))
    return workflow


def file_of(run: str, name: str) -> str:
    return f"results/runs/{TASK}/{run}/{name}"


def run_with_cuts(workflow: Any, cuts: dict[str, Callable[[], None]], *arguments: str) -> str:
    """What snakemake printed; each run of ``cuts`` was cut, by what is called there, once it had
    saved.
    """
    waiting = dict(cuts)
    process = workflow.start(*arguments)
    try:
        while waiting:
            assert process.poll() is None, process.communicate()
            for run in [
                run for run in waiting if (workflow / file_of(run, "resume.safetensors")).exists()
            ]:
                waiting.pop(run)()
            time.sleep(0.05)
        output, _ = process.communicate(timeout=400)
    finally:
        process.kill()
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def local(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The workflow after a run on this machine, uncut."""
    workflow = quick_workflow(tiny, tmp_path_factory.mktemp("local"))
    workflow.snakemake(*LOCAL)
    return workflow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Slurm on this machine, with two pretend GPUs."""
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.running_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def on_slurm(tiny: Any, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The workflow after a run through sbatch; one training was cancelled, another preempted."""
    workflow = quick_workflow(tiny, tmp_path_factory.mktemp("slurm"))

    def job_of(run: str) -> str:
        """The number of the running job that trains ``run``."""
        jobs = dict(
            line.split()
            for line in cluster("squeue", "--noheader", "--states=R", "--format=%k %i").splitlines()
        )
        return jobs[comment_of(run)]

    cuts = {
        CANCELLED: lambda: cluster("scancel", job_of(CANCELLED)),
        REQUEUED: lambda: cluster("scontrol", "requeue", job_of(REQUEUED)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        run_with_cuts(workflow, cuts, *SLURM, *SLURM_PACE)
    return workflow


def comment_of(run: str, rule: str = "train") -> str:
    """What Snakemake calls the Slurm job of a run."""
    return f"rule_{rule}_wildcards_{TASK}_{run.replace('/seed', '_')}"


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """RunPod's API, whose pods are processes of this machine; it is busy at times, and out of the
    preferred GPU.
    """
    api = StandIn(tmp_path_factory.mktemp("api") / "standin")
    api.answers = [("POST", 503), ("GET", 500), ("POST", 429), ("DELETE", 502)]
    api.without_capacity = {"NVIDIA L4"}
    yield api
    api.stop()


@pytest.fixture(scope="module")
def on_runpod(tiny: Any, standin: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The workflow after a run on pods; one that trained was taken away."""
    folder = tmp_path_factory.mktemp("runpod")
    workflow = quick_workflow(tiny, folder)
    named = {
        "image": "image",
        "volume-id": "volume",
        "mount-path": folder,
        "gpu-types": "NVIDIA L4, NVIDIA A40",
    }
    named["api-url"] = standin.url
    options = [word for name, value in named.items() for word in (f"--runpod-{name}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_KEY", standin.KEY)
        cuts = {PREEMPTED: lambda: standin.preempt(pod_of(standin, PREEMPTED))}
        run_with_cuts(workflow, cuts, *RUNPOD, *RUNPOD_PACE, *options)
    return workflow


def pod_of(standin: StandIn, run: str) -> Pod:
    """The pod that trains ``run``: its request names the folder of its job, where what the job says
    is written.
    """
    message = f"Train {run.replace('/seed', ' on ' + TASK + ', seed ')}"
    pods = list(standin.pods.values())
    return next(
        pod
        for pod in pods
        if message in Path(pod.command[-1], "log.txt").read_text(encoding="utf-8")
    )


def md5_of_weights(workflow: Any) -> dict[str, str]:
    return {
        run: hashlib.md5((workflow / file_of(run, "weights.safetensors")).read_bytes()).hexdigest()
        for run in RUNS
    }


@REMOTE
def test_the_weights_are_those_of_a_local_run(
    remote: str, local: Any, request: pytest.FixtureRequest
) -> None:
    assert md5_of_weights(request.getfixturevalue(remote)) == md5_of_weights(local)
    assert len(set(md5_of_weights(local).values())) == len(RUNS)


@REMOTE
def test_evaluations_tables_and_figures_are_those_of_a_local_run(
    remote: str, local: Any, request: pytest.FixtureRequest
) -> None:
    workflow = request.getfixturevalue(remote)
    for run in RUNS:
        evaluation = f"results/eval/{TASK}/{run}/test.json"
        assert workflow.json(evaluation)["metrics"] == local.json(evaluation)["metrics"]
    files = [file_of(run, "history.jsonl") for run in RUNS]
    files += [f"results/eval/{TASK}/{run}/test.samples.parquet" for run in RUNS]
    files += [f"results/tables/quick.{suffix}" for suffix in ("md", "csv", "tex", "html")]
    files += [
        f"results/figures/quick/{TASK}/{name}.png"
        for name in ("training", "elbo", "completions", "width")
    ]
    assert [
        name for name in files if (workflow / name).read_bytes() != (local / name).read_bytes()
    ] == []
    # Equal, and not because there is nothing in them.
    means = re.findall(
        rf"^{TASK},([^,]+),conflict_edges,,,([0-9.]+),",
        local.text("results/tables/quick.csv"),
        flags=re.MULTILINE,
    )
    assert (
        sorted(method for method, _ in means) == ["deterministic", "gram", "two-gpus"]
        and len(set(means)) == 3
    )
    assert all(float(value) > 0 for _, value in means)


def test_every_data_set_training_and_evaluation_went_through_sbatch(
    on_slurm: Any, cluster: Cluster
) -> None:
    jobs = Counter(
        cluster("squeue", "--noheader", "--states=all", "--format=%k %P %T").splitlines()
    )
    wanted = Counter(
        f"{comment_of(run, rule)} gpu COMPLETED" for run in RUNS for rule in ("train", "evaluate")
    )
    wanted[f"{comment_of(CANCELLED)} gpu CANCELLED"] += 1
    # Whatever takes a second stays outside.
    assert jobs - wanted == {f"rule_data_wildcards_{TASK} cpu COMPLETED": 1}
    assert wanted - jobs == {}


def test_every_training_and_evaluation_had_a_pod(on_runpod: Any, standin: StandIn) -> None:
    rules = Counter(pod.body["name"].split("-")[3] for pod in standin.all)
    assert rules == {"train": len(RUNS) + 1, "evaluate": len(RUNS)}  # one training had two
    assert standin.pods == {} and standin.answers == []
    assert {pod.body["gpu"]["id"] for pod in standin.all} == {"NVIDIA A40"}
    assert [
        pod.body["gpu"]["count"] for pod in standin.all if pod.body["name"].split("-")[3] == "train"
    ].count(2) == 1
    outcomes = [
        json.loads(line)["outcome"]
        for line in on_runpod.text("results/runpod/ledger.jsonl").splitlines()
    ]
    # The lost pod was seen before or after it had left the API's list.
    assert [outcome.startswith("pod ") for outcome in outcomes if outcome != "done"] == [True]
    assert len(outcomes) == len(standin.all)
    assert not any(
        standin.KEY.encode() in path.read_bytes()
        for path in on_runpod.folder.rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize(
    ("remote", "cut"), [("on_slurm", {CANCELLED, REQUEUED}), ("on_runpod", {PREEMPTED})]
)
def test_trainings_that_were_cut_went_on_where_they_had_saved(
    remote: str, cut: set[str], request: pytest.FixtureRequest
) -> None:
    workflow = request.getfixturevalue(remote)
    sessions = {run: workflow.json(file_of(run, "meta.json"))["sessions"] for run in RUNS}
    assert sessions == {run: 2 if run in cut else 1 for run in RUNS}


def history(workflow: Any, run: str) -> list[dict[str, float]]:
    """The losses of a run, a line each."""
    lines = [json.loads(line) for line in workflow.text(file_of(run, "history.jsonl")).splitlines()]
    return [line for line in lines if line.pop("event") == "losses"]


def test_a_training_on_two_gpus_is_one_job_with_both_and_has_the_losses_of_one_process(
    on_slurm: Any, cluster: Cluster
) -> None:
    assert [
        on_slurm.json(file_of(run, "meta.json"))["processes"]
        for run in (ONE_PROCESS, TWO_PROCESSES)
    ] == [1, 2]
    losses = history(on_slurm, TWO_PROCESSES)
    assert len(losses) == 12 and losses == [
        pytest.approx(line, rel=1e-3, abs=1e-4) for line in history(on_slurm, ONE_PROCESS)
    ]
    with_both = {step.job for step in cluster.steps() if step.gpus == "0,1"}
    comments = dict(
        line.split()
        for line in cluster("squeue", "--noheader", "--states=all", "--format=%i %k").splitlines()
    )
    assert [comments[job] for job in with_both] == [comment_of(TWO_PROCESSES)]


def test_no_two_jobs_share_a_gpu(on_slurm: Any, cluster: Cluster) -> None:
    steps = [step for step in cluster.steps() if step.gpus != "-"]
    assert {step.gpus for step in steps} == {"0", "1", "0,1"}
    at_once = [
        (one, other)
        for one, other in combinations(steps, 2)
        if one.job != other.job and one.start < other.end and other.start < one.end
    ]
    assert [
        (one, other)
        for one, other in at_once
        if set(one.gpus.split(",")) & set(other.gpus.split(","))
    ] == []
    assert at_once  # not because there was only one at a time


def test_logs_lie_where_the_documentation_says(on_slurm: Any) -> None:
    assert "120/120" in on_slurm.text(f"results/logs/train/{TASK}/{CANCELLED}.log")
    jobs = list((on_slurm / f"results/logs/slurm/rule_train/{TASK}_gram_0").glob("*.log"))
    assert len(jobs) == 2 and any("CANCELLED" in path.read_text(encoding="utf-8") for path in jobs)


def test_a_dry_run_on_runpod_needs_no_key(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    assert "Train gram on nqueens6, seed 0" in tiny(tmp_path / "dry").planned(*RUNPOD)
