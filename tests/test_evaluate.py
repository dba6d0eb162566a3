"""Evaluation: models whose answers are known, the prior only, the same numbers twice, and the JSON
that later work reads.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from gram.data.splits import Split, build, load_split, write_table
from gram.evaluate import evaluation
from gram.evaluate.__main__ import main as evaluate_main
from gram.evaluate.evaluation import draw, load_subject, samples_table
from gram.evaluate.scoring import score
from gram.models.network import Given, Read, State
from gram.runs.checkpoint import read_tensors, write_tensors
from gram.settings import DataSettings, EvaluateConfig, RunSettings
from gram.system import files
from gram.system.code_version import present_code
from gram.system.errors import GramError
from gram.tasks import Task, make_task
from tests.damage import note_anew

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def split(data_folder: Path) -> Split:
    """The tiny test split."""
    return load_split(data_folder, "test")


@pytest.fixture(scope="module")
def task(settings: RunSettings) -> Task:
    """The tiny task."""
    return make_task("nqueens5", settings.data.generator)


class Scripted:
    """Stands in for a model: its answer to an input is the next of a list, and its value the
    answer's place in it.
    """

    def __init__(self, answers: dict[bytes, list[np.ndarray]], *, samples: bool = True) -> None:
        self.answers = answers
        self.samples = samples
        self.asked: dict[bytes, int] = dict.fromkeys(answers, 0)

    def initial_state(self, rows: int, generator: torch.Generator) -> State:
        zeros = torch.zeros(rows, 1, 1)
        return State(zeros, zeros)

    def draw_noise(self, rows: int, generator: torch.Generator) -> None:
        return None

    def roll(self, state: State, given: Given, *, noise: None, generator: torch.Generator) -> Read:
        boards = [row.tobytes() for row in given.tokens.numpy().astype(np.uint8)]
        rows, values = [], []
        for board in boards:
            place = self.asked[board] % len(self.answers[board])
            rows.append(self.answers[board][place])
            values.append(float(place))
            self.asked[board] += 1
        tokens = torch.from_numpy(np.array(rows)).long()
        return Read(state, tokens, torch.tensor(values), torch.zeros(len(rows), dtype=torch.bool))


def evaluated(model: Any, task: Task, split: Split, **config: Any) -> dict[str, Any]:
    """All metrics of a scripted model at depth 1."""
    settings = EvaluateConfig(**{"depth": 1, "width": 6} | config)
    drawn = draw(model, split, settings, torch.Generator())
    return evaluation.metrics.slices(score(task, split, drawn))


def of(split: Split, chosen: Any) -> dict[bytes, list[np.ndarray]]:
    """``chosen(i)`` as the list of answers to input i."""
    return {board.tobytes(): chosen(i) for i, board in enumerate(split.inputs)}


def test_split_has_inputs_of_both_kinds(split: Split) -> None:
    assert (
        (split.counts == 1).sum() >= 15
        and (split.counts == 2).sum() >= 3
        and split.counts.max() == 2
    )


def test_all_completions_in_turn_are_found_exactly(task: Task, split: Split) -> None:
    result = evaluated(Scripted(of(split, lambda i: list(split.of(i)))), task, split)
    for name in ("accuracy", "accuracy_paper", "accuracy_vote", "accuracy_lprm", "accuracy_best"):
        assert result[name]["value"] == 1.0
    for name in ("coverage_paper", "coverage_micro", "coverage_macro"):
        assert (
            result[name]["value"] == pytest.approx(1.0)
            and result[name]["value"] > result[name]["ceiling"]
        )
    assert result["coverage_micro"]["numerator"] == pytest.approx(split.counts.sum())
    assert result["exact_match"]["value"] == pytest.approx(len(split.inputs) / split.counts.sum())


def test_first_completion_only(task: Task, split: Split) -> None:
    result = evaluated(Scripted(of(split, lambda i: [split.of(i)[0]])), task, split)
    N, M = len(split.inputs), int(split.counts.sum())
    assert result["accuracy"]["value"] == 1.0
    assert result["coverage_micro"]["value"] == pytest.approx(N / M)
    assert result["coverage_paper"]["value"] == pytest.approx(M / (split.counts**2).sum())
    assert result["coverage_macro"]["value"] == pytest.approx((1 / split.counts).mean())
    several, baseline = result["slices"]["several"], result["slices"]["baseline"]
    assert several["coverage_micro"]["value"] == pytest.approx(0.5) and baseline["coverage_micro"][
        "value"
    ] == pytest.approx(1.0)


def test_vote_and_value_choose_their_own_answers(task: Task, split: Split) -> None:
    """Two of three draws are the input itself, which is no answer; the third has the highest
    value.
    """
    result = evaluated(
        Scripted(of(split, lambda i: [split.inputs[i], split.inputs[i], split.of(i)[0]])),
        task,
        split,
    )
    assert result["accuracy"]["value"] == pytest.approx(1 / 3)
    assert result["accuracy_vote"]["value"] == 0.0
    assert result["accuracy_lprm"]["value"] == result["accuracy_best"]["value"] == 1.0


def test_completion_of_another_input_counts_for_nothing(task: Task, split: Split) -> None:
    boards = np.unique(split.completions, axis=0)

    def foreign(i: int) -> list[np.ndarray]:
        own = {completion.tobytes() for completion in split.of(i)}
        return [next(board for board in boards if board.tobytes() not in own)]

    result = evaluated(Scripted(of(split, foreign)), task, split)
    assert (
        result["accuracy"]["numerator"]
        == result["exact_match"]["numerator"]
        == result["coverage_micro"]["numerator"]
        == 0
    )


def test_deterministic_model_is_asked_once(task: Task, split: Split) -> None:
    model = Scripted(of(split, lambda i: list(split.of(i))), samples=False)
    result = evaluated(model, task, split)
    assert set(model.asked.values()) == {1}
    assert result["accuracy"]["value"] == 1.0 and result["accuracy"]["denominator"] == 6 * len(
        split.inputs
    )
    assert result["slices"]["several"]["coverage_micro"]["value"] == pytest.approx(0.5)


def test_verifier_and_list_of_completions_must_agree(
    task: Task, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(task), "is_valid", lambda _self, inputs, _outputs: np.ones(len(inputs), dtype=bool)
    )
    with pytest.raises(
        GramError, match="nqueens5: the verifier and the list of completions disagree"
    ):
        evaluated(Scripted(of(split, lambda i: [split.inputs[i]])), task, split)


def test_samples_table_says_which_completion_each_sample_is(task: Task, split: Split) -> None:
    model = Scripted(of(split, lambda i: [*split.of(i)[::-1], split.inputs[i]]))
    drawn = draw(model, split, EvaluateConfig(depth=1, width=3), torch.Generator())  # type: ignore[arg-type]
    table = samples_table(split, drawn, score(task, split, drawn)).to_pandas()
    assert len(table) == 3 * len(split.inputs)
    for i, (input_id, rows) in enumerate(table.groupby("input_id", sort=False)):
        assert input_id == split.input_ids[i] and rows["sample"].tolist() == [0, 1, 2]
        m = int(split.counts[i])
        assert rows["completion_id"].tolist() == ([1, 0, -1] if m == 2 else [0, -1, 0])
        for tokens, completion in zip(rows["tokens"], rows["completion_id"], strict=True):
            assert (
                tokens == (split.of(i)[completion] if completion >= 0 else split.inputs[i])
            ).all()


def test_samples_are_written_as_pandas_would_write_them(
    task: Task, split: Split, tmp_path: Path
) -> None:
    """The same bytes, which an evaluation notes the MD5 of, without an object for every row."""
    model: Any = Scripted(of(split, lambda i: [*split.of(i), split.inputs[i]]))
    drawn = draw(model, split, EvaluateConfig(depth=1, width=3), torch.Generator())
    table = samples_table(split, drawn, score(task, split, drawn))
    frame = table.to_pandas()
    assert list(frame.columns) == [
        "input_id",
        "sample",
        "tokens",
        "completion_id",
        "value",
        "steps",
    ]
    for name, one in (("arrow", table), ("pandas", frame)):
        write_table(tmp_path / name, one)
    assert (tmp_path / "arrow").read_bytes() == (tmp_path / "pandas").read_bytes()


# Of a run -----------------------------------------------------------------------------------------


def evaluated_run(*arguments: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """JSON content and samples."""
    content, table = evaluation.evaluate(*arguments)
    return content, table.to_pandas()


def run_evaluation(run: Path, data: Path, **config: Any) -> tuple[dict[str, Any], pd.DataFrame]:
    """JSON content and samples of a run on the test split."""
    settings = EvaluateConfig(**{"depth": 3, "width": 4} | config)
    return evaluated_run(load_subject(run, data, "test", settings, CPU), settings)


def same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Whether two tables of samples are equal bit for bit."""
    tokens = np.array_equal(np.stack(a["tokens"].to_list()), np.stack(b["tokens"].to_list()))
    return tokens and a.drop(columns="tokens").equals(b.drop(columns="tokens"))


def test_same_numbers_twice_and_others_with_another_seed(gram_run: Path, data_folder: Path) -> None:
    content, table = run_evaluation(gram_run, data_folder)
    again, same_table = run_evaluation(gram_run, data_folder)
    assert json.dumps(again) == json.dumps(content) and same(same_table, table)
    for change in ({"seed": 1}, {"weights": "raw"}, {"depth": 2}):
        assert not same(run_evaluation(gram_run, data_folder, **change)[1], table)


def test_bf16_is_another_forward_pass_and_says_so(gram_run: Path, data_folder: Path) -> None:
    _, table = run_evaluation(gram_run, data_folder)
    content, other = run_evaluation(gram_run, data_folder, precision="bf16")
    assert content["run"]["precision"] == "bf16"
    assert not other["value"].equals(table["value"])
    assert np.allclose(other["value"], table["value"], atol=0.2)


class Interrupted(Exception):
    """Stands for whatever ends an evaluation on the way."""


def interrupted_at(batch: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the rollouts of that batch, counted from 0, fail; returns the sizes of all that were
    asked for.
    """
    whole, sizes = evaluation.rollouts, []

    def rollouts(model: Any, given: Given, **arguments: Any) -> Any:
        sizes.append(len(given.tokens))
        if len(sizes) == batch + 1:
            raise Interrupted
        return whole(model, given, **arguments)

    monkeypatch.setattr(evaluation, "rollouts", rollouts)
    return sizes


def test_an_interrupted_evaluation_goes_on_to_the_same_bytes(
    gram_run: Path, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluateConfig(depth=3, width=4, batch_size=8)
    subject = load_subject(gram_run, data_folder, "test", EvaluateConfig(), CPU)
    expected, table = evaluated_run(subject, config)

    def once(config: EvaluateConfig) -> tuple[dict[str, Any], pd.DataFrame]:
        partial = subject.partial(tmp_path / "test.json", config)
        partial.every = 0.0
        return evaluated_run(subject, config, partial)

    with monkeypatch.context() as patched:
        interrupted_at(2, patched)
        with pytest.raises(Interrupted):
            once(config)
    drawn = tmp_path / ".test.drawn.safetensors"
    first_two = drawn.read_bytes()
    with monkeypatch.context() as patched:
        sizes = interrupted_at(-1, patched)
        content, samples = once(config)
    assert sum(sizes) == len(table) - 16  # what the first two batches drew is not drawn again
    assert json.dumps(content) == json.dumps(expected) and same(samples, table)

    # What another call drew, or what is damaged, is as good as none.
    for damaged in (first_two, first_two[:-9], b""):
        drawn.write_bytes(damaged)
        other = dataclasses.replace(config, depth=2)
        content, samples = once(other)
        assert content["run"]["depth"] == 2
        assert same(samples, run_evaluation(gram_run, data_folder, depth=2, batch_size=8)[1])
    subject.partial(tmp_path / "test.json", config).remove()
    assert list(tmp_path.iterdir()) == []


def changed_weights(run: Path, folder: Path, *parts: str) -> Path:
    """A copy of the run in which every tensor whose name holds one of ``parts`` is another."""
    shutil.copytree(run, folder)
    path = folder / "weights.safetensors"
    tensors, _ = read_tensors(path)
    chosen = list(filter(re.compile("|".join(parts)).search, tensors))
    assert chosen
    write_tensors(path, tensors | {name: tensors[name] * -3 + 1 for name in chosen})
    note_anew(folder)
    return folder


def test_only_the_prior_is_evaluated(gram_run: Path, data_folder: Path, tmp_path: Path) -> None:
    content, table = run_evaluation(gram_run, data_folder)
    posterior = changed_weights(
        gram_run, tmp_path / "a", "guidance.posterior_head", "guidance.target_embedding", "raw/"
    )
    other, other_table = run_evaluation(posterior, data_folder)
    assert other["metrics"] == content["metrics"] and same(other_table, table)
    assert other["run"]["checkpoint_md5"] != content["run"]["checkpoint_md5"]
    prior = changed_weights(gram_run, tmp_path / "b", "guidance.prior")
    assert not same(run_evaluation(prior, data_folder)[1], table)


def test_depth_and_width(gram_run: Path, data_folder: Path, split: Split) -> None:
    for depth, width in ((1, 1), (5, 3)):
        content, table = run_evaluation(gram_run, data_folder, depth=depth, width=width)
        assert (table["steps"] == depth).all() and len(table) == width * len(split.inputs)
        assert (
            content["run"]["depth"] == depth
            and content["run"]["width"] == content["run"]["draws"] == width
        )
        assert content["metrics"]["accuracy"]["denominator"] == width * len(split.inputs)
        ceiling = evaluation.metrics.iid_ceiling(split.counts, width).sum() / split.counts.sum()
        assert content["metrics"]["coverage_micro"]["ceiling"] == pytest.approx(ceiling)
        assert [row["width"] for row in content["by_width"]] == [w for w in (1, 2, 3) if w <= width]


def test_deterministic_run_counts_one_draw_and_no_batch_matters(
    deterministic_run: Path, data_folder: Path
) -> None:
    content, table = run_evaluation(deterministic_run, data_folder)
    assert content["run"]["draws"] == 1 and content["run"]["width"] == 4
    for _, rows in table.groupby("input_id"):
        assert (
            len(rows) == 4
            and len({tokens.tobytes() for tokens in rows["tokens"]}) == 1
            and rows["value"].nunique() == 1
        )
    # One forward pass per input, and neither the seed nor the other rows of a batch play a part.
    other = run_evaluation(deterministic_run, data_folder, batch_size=7, seed=5)[1]
    assert np.array_equal(np.stack(other["tokens"].to_list()), np.stack(table["tokens"].to_list()))
    assert np.allclose(other["value"], table["value"], atol=1e-5)


def test_samples_reproduce_the_metrics(
    gram_run: Path, data_folder: Path, split: Split, task: Task
) -> None:
    """The JSON's accuracy, from the samples by the verifier alone."""
    content, table = run_evaluation(gram_run, data_folder, depth=6)
    inputs = dict(zip(split.input_ids, split.inputs, strict=True))
    given = np.stack([inputs[number] for number in table["input_id"]])
    valid = task.is_valid(given, np.stack(table["tokens"].to_list()))
    assert (
        content["metrics"]["accuracy"]["numerator"]
        == valid.sum()
        == (table["completion_id"] >= 0).sum()
    )


def test_data_that_the_run_was_not_trained_on_is_refused(
    gram_run: Path, settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    split = dataclasses.replace(settings.data.split, test_fraction=0.3)
    card = build(DataSettings("nqueens5", settings.data.generator, split), tmp_path)
    # The settings are those of the run, so only the content differs.
    files.write_json(tmp_path / "card.json", card | {"settings": settings.as_dict()["data"]})
    trained = files.read_json(data_folder / "card.json")["tables"]["train"]["md5"]
    with pytest.raises(GramError) as error:
        run_evaluation(gram_run, tmp_path)
    assert all(
        text in str(error.value)
        for text in (str(gram_run), str(tmp_path), trained, card["tables"]["train"]["md5"])
    )


def test_weights_of_another_method_are_refused(
    gram_run: Path, deterministic_run: Path, data_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(gram_run, tmp_path / "run")
    shutil.copy(deterministic_run / "weights.safetensors", tmp_path / "run")
    with pytest.raises(GramError, match=r"weights\.safetensors: MD5 \w+, but its meta\.json says"):
        run_evaluation(tmp_path / "run", data_folder)
    note_anew(tmp_path / "run")
    with pytest.raises(
        GramError, match=r"weights\.safetensors: weights of another architecture: guidance\."
    ):
        run_evaluation(tmp_path / "run", data_folder)


# The command and its JSON -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(
    gram_run: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """An evaluation as it is written."""
    path = tmp_path_factory.mktemp("eval") / "test.json"
    files.write_json(path, run_evaluation(gram_run, data_folder)[0])
    return files.read_json(path)


def test_json_holds_what_later_work_relies_on(written: dict[str, Any], split: Split) -> None:
    assert set(written) >= {"run", "metrics", "by_completions"}
    sizes = {"baseline": int((split.counts == 1).sum()), "several": int((split.counts > 1).sum())}
    assert set(written["metrics"]["slices"]) == set(sizes)
    for part in (written["metrics"], *written["metrics"]["slices"].values()):
        for name in (
            "accuracy",
            "exact_match",
            "coverage_paper",
            "coverage_micro",
            "coverage_macro",
        ):
            metric = part[name]
            assert set(metric) == {"value", "numerator", "denominator"} | (
                {"ceiling"} if "coverage" in name else set()
            )
            assert metric["value"] == pytest.approx(metric["numerator"] / metric["denominator"])
            assert 0 <= metric["value"] <= 1 and 0 < metric.get("ceiling", 1) <= 1
    for name, inputs in sizes.items():
        assert written["metrics"]["slices"][name]["inputs"] == inputs
    rows = [(row["n_completions"], row["inputs"]) for row in written["by_completions"]]
    assert rows == [(1, sizes["baseline"]), (2, sizes["several"])]
    assert written["run"]["inputs"] == sum(sizes.values())


def test_json_says_how_it_was_made(written: dict[str, Any], gram_run: Path, split: Split) -> None:
    meta = files.read_json(gram_run / "meta.json")
    expected = {
        "task": "nqueens5",
        "method": "gram",
        "split": "test",
        "seed": 0,
        "ema": True,
        "act": False,
        "depth": 3,
        "width": 4,
        "parameters": meta["parameters"],
        "training_examples": meta["training_examples"],
        "supervision_steps_seen": meta["supervision_steps"],
        "checkpoint": str(gram_run / "weights.safetensors"),
        "data_md5": {"test": split.md5, "train": meta["data_md5"]["train"]},
    }
    assert {key: written["run"][key] for key in expected} == expected
    trained, evaluated = written["run"]["trained_by"], written["run"]["evaluated_by"]
    assert {key: trained[key] for key in ("code_hash", "code_of")} == {
        key: meta[key] for key in ("code_hash", "code_of")
    }
    assert set(evaluated["code_of"]) - set(trained["code_of"]) == {
        "gram.evaluate.__main__",
        "gram.evaluate.judges.completions",
        "gram.models.samplers.base",
    }
    assert present_code(evaluated) == evaluated["code_hash"]


def test_seed_is_that_of_the_training_run(
    data_folder: Path, settings: RunSettings, change: Any, train_run: Any, tmp_path: Path
) -> None:
    """Two seeds in the settings: the run's names the result, the evaluation's only moves the
    noise.
    """
    run = train_run(change(settings, seed=3, steps=2), data_folder, tmp_path)
    facts = run_evaluation(run, data_folder, seed=7)[0]["run"]
    assert (facts["seed"], facts["rollout_seed"]) == (3, 7)


def test_command_line(gram_run: Path, data_folder: Path, tmp_path: Path, command: Any) -> None:
    output, samples = tmp_path / "eval" / "test.json", tmp_path / "eval" / "test.parquet"
    arguments = (
        "--run",
        gram_run,
        "--data",
        data_folder,
        "--output",
        output,
        "--samples",
        samples,
        "--device",
        "cpu",
    )
    outcome = command(
        evaluate_main, *arguments, "--settings", "{depth: 9, width: 4, seed: 2}", "--depth", 2
    )
    assert outcome.code == 0, outcome.err
    content, table = run_evaluation(gram_run, data_folder, depth=2, seed=2)
    content["run"]["samples_md5"] = files.md5(samples)
    assert files.read_json(output) == json.loads(json.dumps(content))
    assert same(pd.read_parquet(samples), table)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--width", 0), "evaluate: width: 0 is less than 1"),
        (("--depth", -1), "evaluate: depth: -1 is less than 1"),
        (("--settings", "{batch_size: 0}"), "evaluate: batch_size: 0 is less than 1"),
        (("--settings", "{dept: 3}"), "evaluate: unknown key 'dept'; did you mean 'depth'?"),
        (("--settings", "{depth: deep}"), "evaluate: depth: 'deep' is not of type int"),
        (("--run", "/nowhere"), "/nowhere/config.json: no such file"),
        (("--device", "gpu"), "--device gpu: no such device"),
    ],
)
def test_bad_input_is_one_line(
    gram_run: Path,
    data_folder: Path,
    tmp_path: Path,
    command: Any,
    more: tuple[object, ...],
    message: str,
) -> None:
    arguments = (
        "--run",
        gram_run,
        "--data",
        data_folder,
        "--output",
        tmp_path / "test.json",
        "--device",
        "cpu",
    )
    outcome = command(evaluate_main, *arguments, *more)
    assert outcome.code == 2 and outcome.err.count("\n") == 1 and message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_overlap_with_training_is_counted_by_content(data_folder: Path, split: Split) -> None:
    train = load_split(data_folder, "train")
    boards = {tuple(board) for board in train.completions.tolist()}
    expected = sum(tuple(board) in boards for board in split.completions.tolist())
    found = evaluation.overlap(train, split)
    assert found["inputs"]["numerator"] == 0 and found["inputs"]["denominator"] == len(split.inputs)
    assert found["completions"]["numerator"] == expected > 0
    assert found["completions"]["denominator"] == len(split.completions)
    # A test input that leaked into training shows.
    leaked = dataclasses.replace(train, inputs=np.concatenate([train.inputs, split.inputs[:2]]))
    assert evaluation.overlap(leaked, split)["inputs"]["numerator"] == 2
    assert evaluation.overlap(train, train)["completions"]["value"] == 1
