"""The facts of a run: what is written, read, pooled and compared are the same ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from gram.evaluate.evaluation import load_subject
from gram.runs.facts import RunFacts, differ, pooled_by, same_among, settings_noted
from gram.settings import EvaluateConfig
from gram.system import files, shapes

# Settings of test time that an evaluation does not note: the samples are as many in batches of
# another size, and what only one sampler reads stands in the configuration.
NOT_NOTED = {"batch_size", "reseed_every", "repulsion"}


def test_every_setting_of_test_time_is_noted() -> None:
    names = {field.name for field in dataclasses.fields(EvaluateConfig)}
    assert set(settings_noted()) == names - NOT_NOTED


def test_what_a_file_must_have_is_a_fact() -> None:
    known = {field.name for field in dataclasses.fields(RunFacts)} | {shapes.SAMPLES_MD5}
    assert set(shapes.RUN["required"]) <= set(shapes.RUN["properties"]) <= known
    # Of one that files may lack, it is known what holds without it.
    for field in dataclasses.fields(RunFacts):
        if field.name not in shapes.RUN["required"]:
            assert field.default is not dataclasses.MISSING


def test_an_evaluation_states_them_in_their_order(gram_run: Path, data_folder: Path) -> None:
    config = EvaluateConfig(depth=2, width=4)
    subject = load_subject(gram_run, data_folder, "test", config, torch.device("cpu"))
    facts = subject.facts(config)
    order = [field.name for field in dataclasses.fields(RunFacts) if field.name in facts]
    assert list(facts) == order
    assert "forms" not in facts and "temperature" not in facts  # of AR
    assert facts["decoding"] == "argmax" and facts["rollout_seed"] == 0
    assert subject.facts(dataclasses.replace(config, forms=2))["forms"] == 2
    assert RunFacts(**facts).as_dict() == facts


@pytest.mark.parametrize(
    ("one", "other", "name", "expected"),
    [
        ({"depth": 3}, {"depth": 4}, "depth", True),
        ({"depth": 3}, {"depth": 3}, "depth", False),
        ({}, {"noise_scale": 1.0}, "noise_scale", False),  # before it was a setting
        ({}, {"noise_scale": 0.5}, "noise_scale", True),
        ({"forms": 4}, {}, "forms", True),
        ({"temperature": 0.5}, {}, "temperature", False),  # with which it was made is not known
        ({"temperature": 0.5}, {"temperature": 1.0}, "temperature", True),
    ],
)
def test_what_differs(
    one: dict[str, float], other: dict[str, float], name: str, expected: bool
) -> None:
    assert differ(one, other, name) == differ(other, one, name) == expected
    assert name in same_among("seeds") and name in same_among("kept")


def test_kept_evaluations_have_what_is_compared() -> None:
    """Of every kind that is kept, the first one."""
    for folder in sorted(Path(__file__).parents[1].glob("resources/reference_runs/*/eval")):
        run = files.read_json(next(folder.glob("*/*/seed*/test.json")))["run"]
        names = {*same_among("task"), *same_among("seeds"), *pooled_by("sum")}
        assert not any(differ(run, run, name) for name in names)
