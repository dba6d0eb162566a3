"""What evaluations write, made up without any network."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from gram.evaluate.compare_samplers import COMPARED, summarise
from gram.evaluate.metrics import ratio
from gram.figures.samplers import SIGNS
from gram.figures.scaling import CHOOSERS

NAMES = (
    "accuracy",
    "accuracy_paper",
    "exact_match",
    "accuracy_best",
    "accuracy_vote",
    "accuracy_lprm",
    "coverage_paper",
    "coverage_micro",
    "coverage_macro",
)
TEST_MD5, TRAIN_MD5, VALID_MD5 = "a" * 32, "b" * 32, "c" * 32  # of the splits


def meta(**facts: Any) -> dict[str, Any]:
    """A meta.json; ``facts`` replace what is made up."""
    made_up = {
        **{"task": "nqueens5", "method": "gram", "seed": 0, "steps": 10, "parameters": 1234},
        **{"training_examples": 160, "supervision_steps": 640, "seconds": 90.0, "settings": {}},
        **{"data_md5": {"train": TRAIN_MD5, "valid": VALID_MD5}, "processes": 1, "threads": 1},
        **{"peak_memory_bytes": 2**30, "code_hash": "0123456789ab", "commit": None, "dirty": None},
        **{"torch": "2.13.0", "python": "3.11.7", "device": "Some CPU"},
    }
    return made_up | facts


def metric(name: str, values: dict[str, float | None]) -> dict[str, float | None]:
    """A metric of an evaluation; see :func:`evaluation`."""
    value = values.get(name, 0.25)
    ceiling = {"ceiling": 0.9} if name.startswith("coverage") else {}
    return {
        "value": value,
        "numerator": (value or 0) * 40,
        "denominator": 0.0 if value is None else 40.0,
    } | ceiling


def metrics(names: Iterable[str], values: dict[str, float | None]) -> dict[str, Any]:
    """Several metrics, by name."""
    return {name: metric(name, values) for name in names}


def evaluation(
    *,
    values: dict[str, float | None] | None = None,
    several: dict[str, float | None] | None = None,
    code: str = "0123456789ab",
    **facts: Any,
) -> dict[str, Any]:
    """An evaluation's JSON.

    Metrics that ``values`` does not name are 0.25, ceilings 0.9; ``several`` are the values of that
    slice; further keywords replace facts of the run.
    """
    values, several = values or {}, several or {}
    run_facts = {
        **{
            "task": "nqueens5",
            "method": "gram",
            "seed": 0,
            "split": "test",
            "inputs": 10,
            "depth": 8,
            "width": 20,
            "draws": 20,
        },
        **{
            "act": False,
            "sampler": "iid",
            "noise_scale": 1.0,
            "weights": "ema",
            "parameters": 1234,
            "supervision_steps_seen": 640,
            "training_examples": 160,
        },
        **{
            "data_md5": {"test": TEST_MD5, "train": TRAIN_MD5},
            "trained_by": {"code_hash": code},
            "evaluated_by": {"code_hash": code},
        },
    }
    by_completions = ("accuracy", "coverage_macro")
    coverages = [name for name in NAMES if "coverage" in name]
    return {
        "run": run_facts | facts,
        "overlap_with_training": {
            "inputs": {"value": 0.0, "numerator": 0.0, "denominator": 10.0},
            "completions": {"value": 0.5, "numerator": 7.0, "denominator": 14.0},
        },
        "metrics": {
            **metrics(NAMES, values),
            "slices": {
                "baseline": {"inputs": 6} | metrics(NAMES, values),
                "several": {"inputs": 4} | metrics(NAMES, several),
            },
        },
        "by_completions": [
            {"n_completions": 1, "inputs": 6} | metrics(by_completions, values),
            {"n_completions": 2, "inputs": 4} | metrics(by_completions, several),
        ],
        "by_width": [{"width": width} | metrics(coverages, values) for width in (1, 2, 5, 20)],
    }


def scaling(method: str, seed: int) -> dict[str, Any]:
    """What gram.scaling writes, at depths 1 and 4 and widths 1 and 5; values that say where they
    stand.
    """
    rows = []
    for depth, width in itertools.product((1, 4), (1, 5)):
        row = {"depth": depth, "width": width, "accuracy": ratio(depth + seed, 10)}
        for place, metric in enumerate(CHOOSERS):
            row[metric] = ratio(depth + place + seed + (width > 1), 10)
        rows.append(row)
    steps = [
        {"step": step, "trajectories": ratio(here, 20), "accuracy": ratio(valid, here)}
        for step, here, valid in ((1, 8, 2), (2, 4, 4))
    ]
    halting = {"accuracy": ratio(9, 20), "never": ratio(8, 20), "steps": ratio(32, 20)}
    content = {"run": evaluation(method=method, seed=seed)["run"]}
    return content | {"by_depth_and_width": rows, "halting": halting, "by_halting_step": steps}


def comparison() -> dict[str, Any]:
    """What gram.compare_samplers writes: all samplers at two widths with two rollout seeds."""
    rows = []
    for place, sampler in enumerate(SIGNS):
        for width in (2, 5):
            for seed in (0, 1):
                value = ratio(place + width + 2 * seed, 20)
                values = {
                    name: value | ({"ceiling": 0.1 * width} if "coverage" in name else {})
                    for name in COMPARED
                }
                rows.append({"sampler": sampler, "width": width, "rollout_seed": seed} | values)
    return {"run": evaluation()["run"], "by_sampler": rows, "summary": summarise(rows)}
