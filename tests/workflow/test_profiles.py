"""The profiles against the rules: each rule that computes on a GPU has its partition and time in profiles/slurm."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def rules(pattern: str) -> set[str]:
    """The names of the rules in which a line matches."""
    found, name = set(), ""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if begins := re.match(r" *rule (\w+):", line):
                name = begins[1]
            elif re.match(pattern, line):
                found.add(name)
    return found


def test_slurm_knows_the_gpu_rules() -> None:
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    on_gpus = rules(r" +gpu=")
    assert on_gpus == set(profile["set-resources"]) >= {"train", "evaluate"}
    for resources in profile["set-resources"].values():
        assert resources["slurm_partition"] == "gpu" and resources["runtime"].endswith("* attempt")
    # These choose their GPU by locks.
    assert on_gpus == rules(r' +"python -m gram.launch ')
