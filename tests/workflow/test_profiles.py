"""The profiles against the rules, and against our own estimate of what the long configurations
take.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gram.bench import estimate

ROOT = Path(__file__).parents[2]
HOUR = 3600


def profile_of(name: str) -> Any:
    """The content of a profile."""
    return yaml.safe_load((ROOT / f"profiles/{name}/config.yaml").read_text(encoding="utf-8"))


def minutes(expression: str | int, attempt: int) -> int:
    """A runtime of a profile at an attempt, as Snakemake evaluates it."""
    return int(eval(str(expression), {"attempt": attempt}))


def rules(pattern: str) -> set[str]:
    """The names of the rules in which a line matches, and of those that inherit from one."""
    found, name = set(), ""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if begins := re.match(r" *rule (\w+):", line):
                name = begins[1]
            elif inherits := re.match(r"use rule (\w+) as (\w+) with:", line):
                name = inherits[2]
                found |= {name} if inherits[1] in found else set()
            elif re.match(pattern, line):
                found.add(name)
    return found


def test_slurm_knows_the_gpu_rules() -> None:
    profile = profile_of("slurm")
    on_gpus = rules(r" +gpu=")
    assert on_gpus == set(profile["set-resources"]) >= {"train", "evaluate"}
    for resources in profile["set-resources"].values():
        assert resources["slurm_partition"] == "gpu"
    # These choose their GPU by locks.
    assert on_gpus == rules(r' +"python -m gram.launch ')
    # More of it after an attempt that ran out of it.
    assert on_gpus <= rules(r" +mem_mb=lambda wildcards, attempt: 8000")


def test_no_attempt_asks_slurm_for_more_than_the_partition_allows() -> None:
    """Slurm refuses a job that does, and each refusal would cost a retry."""
    profile = profile_of("slurm")
    found = [resources["runtime"] for resources in profile["set-resources"].values()]
    found += [
        entry.partition("=")[2]
        for entry in profile["default-resources"]
        if entry.startswith("runtime=")
    ]
    assert len(found) == len(profile["set-resources"]) + 1
    for expression in found:
        times = [minutes(expression, attempt) for attempt in range(1, profile["retries"] + 2)]
        assert times == sorted(times) and times[0] < times[1] and times[-1] <= 1440, expression


@pytest.fixture(scope="module")
def longest() -> float:
    """Hours of a training of direct32 on nqueens10, the longest of the two long configurations by
    our estimate.
    """
    config = estimate.workflow_config(ROOT / "config/single_gpu.yaml", ROOT)
    rate = estimate.rate_of(
        config["estimate"]["gpu"], share=None, dollars=None, precision="bf16", root=ROOT
    )
    (planned,) = estimate.planned(config, ["nqueens10/direct32/seed0"], ROOT)
    return estimate.estimate(*planned).flops / rate.flops_per_second / HOUR


def test_the_limits_allow_what_we_estimate(longest: float) -> None:
    assert longest > 24  # or a day would do
    runpod, slurm = profile_of("runpod"), profile_of("slurm")
    assert minutes(runpod["set-resources"]["train"]["runtime"], 1) / 60 > 1.2 * longest
    runtime, attempts = slurm["set-resources"]["train"]["runtime"], slurm["retries"] + 1
    in_all = sum(minutes(runtime, attempt) - 10 for attempt in range(1, attempts + 1)) / 60
    # And attempts are left for what fails otherwise.
    assert in_all - 2 * minutes(runtime, attempts) / 60 > 1.2 * longest


def test_a_bought_gpu_is_used_or_missed() -> None:
    for name in ("slurm", "runpod"):
        assert profile_of(name)["config"] == ["device=cuda"], name


def test_what_the_jobs_of_a_cluster_are_told(tiny: Any, tmp_path: Path) -> None:
    """The time limit goes with the runtime, and a cluster that wants --gres has its processes."""
    workflow = tiny(tmp_path / "gram")
    workflow.edit(
        "config/experiments/nqueens6.yaml",
        lambda content: content["methods"]["deterministic"].update(train={"processes": 2}),
    )

    named = ["train:gpu=0", "train:gres='gpu:2'", "train:runtime=720"]
    run = "results/runs/nqueens6/deterministic/seed0/weights.safetensors"
    slurm = ("--profile", "profiles/slurm", "--dry-run", "--printshellcmds")
    output = workflow.snakemake(run, *slurm, "--set-resources", *named)
    (command,) = [line for line in output.splitlines() if " gram.train " in line]
    for told in ("--processes 2", "--time-limit 42600", "--device cuda"):
        assert told in command
