"""Judges: what is counted where an input has more answers than can be listed, and where it has
one.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gram.data.splits import Split
from gram.evaluate import metrics, scoring
from gram.evaluate.judges import JUDGES, Chunk, Judge
from gram.evaluate.judges.base import in_bins
from gram.evaluate.pool import pool
from gram.evaluate.scoring import Drawn, score
from gram.evaluate.votes import majority, most_frequent
from gram.settings.tasks import FAMILIES
from gram.system import files, shapes
from gram.system.errors import GramError
from gram.tables.__main__ import write_table
from gram.tables.names import METRICS
from gram.tasks import PAD, Task, make_task
from gram.tasks.grids import BLANK
from tests import synthetic

ROOT = Path(__file__).parents[1]


def split_of(inputs: Any, completions: Any, offsets: Any, **facts: list[int]) -> Split:
    """A split of few rows."""
    inputs, completions = (np.array(tokens, dtype=np.uint8) for tokens in (inputs, completions))
    named = {name: np.array(values) for name, values in facts.items()}
    return Split(np.arange(len(inputs)), inputs, completions, np.array(offsets), "", named)


def drawn_of(tokens: Any, value: Any = None) -> Drawn:
    """Answers [N, W, L], with LPRM values [N, W]."""
    tokens = np.asarray(tokens, dtype=np.uint8)
    blank = np.zeros(tokens.shape[:2])
    values = blank if value is None else np.asarray(value)
    return Drawn(tokens, values.astype(np.float32), blank.astype(np.int64), blank.astype(bool))


def met(train: Split, split: Split, tokens: Any) -> Any:
    """Whether each answer stands in training as a completion of its input."""
    return JUDGES["validity"](train, {}).columns(Chunk(split, tokens))["known"]


def test_every_family_has_a_judge() -> None:
    assert {family.judge for family in FAMILIES.values()} <= set(JUDGES)


@pytest.mark.parametrize("name", JUDGES)
def test_a_judge_declares_what_it_measures(name: str) -> None:
    """What it says and what it counts are the same metrics, and a name means one thing."""
    judge = JUDGES[name]
    split = split_of([[1, 1], [1, 2]], [[5, 5], [6, 6]], [0, 1, 2])
    scored = metrics.Samples(
        np.ones(2, dtype=np.int64),
        np.zeros((2, 3), dtype=np.int64),
        {rule: np.zeros(2, dtype=np.int64) for rule in ("vote", "lprm")},
        columns=judge(split, {}).columns(Chunk(split, np.repeat(split.completions[:, None], 3, 1))),
    )
    found = judge(split, {}).sections(scored, independent=True)["metrics"]
    own = {metric for metric, one in judge.METRICS.items() if not one.path and one.always}
    assert own == {metric for metric in found if metric != "slices"}
    for one in (one for one in judge.METRICS.values() if one.always):
        place: Any = found
        for key in one.path:
            place = place[key]
    assert set(judge.HEADLINES) <= set(judge.METRICS) and "accuracy" in judge.HEADLINES
    for metric, one in judge.METRICS.items():
        if metric in METRICS:
            assert METRICS[metric].meaning.startswith(one.meaning)


# One right answer ---------------------------------------------------------------------------------


class Words:
    """Words of up to three letters, each with one right answer; a word of equal letters keeps the
    rules.
    """

    name = "words3"
    complete = False

    def is_valid(self, inputs: Any, outputs: Any) -> Any:
        return ((outputs == outputs[:, :1]) | (outputs == PAD)).all(axis=1)

    def canonical(self, inputs: Any, outputs: Any) -> Any:
        return outputs

    def violations(self, inputs: Any, outputs: Any) -> dict[str, Any]:
        return {}


A, B, C = [1, 1, 1], [2, 2, 2], [1, 2, 1]  # C breaks the rules
# To three inputs with the right answers A, A and B.
ANSWERS = [[A, B, B, C], [C, A, A, B], [A, C, A, C]]
VALUES = [[0, 3, 1, 2], [3, 1, 2, 0], [0, 0, 1, 0]]


def judged(judge: Judge, split: Split, answers: Any, values: Any) -> dict[str, Any]:
    """The sections of some answers to words."""
    task: Any = Words()
    return judge.sections(score(task, split, drawn_of(answers, values), judge), independent=True)


def numbers(found: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Numerators and denominators."""
    return {name: (one["numerator"], one["denominator"]) for name, one in found.items()}


def words(**facts: list[int]) -> Split:
    """The three inputs."""
    return split_of([[1, 2, 3], [2, 3, 4], [3, 4, 5]], [A, A, B], [0, 1, 2, 3], **facts)


def test_exact_by_hand() -> None:
    split = words()
    result = judged(JUDGES["exact"](split, {}), split, ANSWERS, VALUES)
    assert list(result) == ["metrics"]
    assert numbers(result["metrics"]) == {
        "accuracy": (3, 12),
        "accuracy_tokens": ((3 + 0 + 0 + 2) + (2 + 3 + 3 + 0) + (0 + 1 + 0 + 1), 36),
        "accuracy_vote": (1, 3),  # B, A and A
        "accuracy_vote2": (2, 3),  # B or A, A or C, and A or C
        "accuracy_lprm": (0, 3),  # B, C and A
        "accuracy_best": (2, 3),
        "accuracy_verified": (2, 3),  # the first word of equal letters: A, A and A
    }


def test_padding_is_no_token_of_an_answer() -> None:
    split = split_of([[1, 2, 3]], [[4, 0, 0]], [0, 1])
    result = judged(
        JUDGES["exact"](split, {}), split, [[[4, 0, 0], [4, 1, 0], [5, 0, 0]]], [[0] * 3]
    )
    assert numbers(result["metrics"])["accuracy_tokens"] == (2, 3)
    assert numbers(result["metrics"])["accuracy"] == (1, 3)


def test_exact_by_a_fact_of_the_input_and_pooled() -> None:
    bins = {"rating": {"hard": 10, "easy": 0, "none such": 99}}
    split = words(rating=[3, 10, 12], unasked=[0, 0, 0])
    judge = JUDGES["exact"](split, bins)
    rows = judged(judge, split, ANSWERS, VALUES)["by_fact"]
    assert [(row["bin"], row["least"], row["inputs"]) for row in rows] == [
        ("easy", 0, 1),
        ("hard", 10, 2),
        ("none such", 99, 0),
    ]
    assert [numbers({"": row["accuracy"]})[""] for row in rows] == [(1, 4), (2, 8), (0, 0)]
    run = synthetic.evaluation(folds=2, training_seconds=1.0)["run"] | {
        "checkpoint": "weights.safetensors",
        "checkpoint_md5": "d" * 32,
    }
    folds = [
        {"run": run | {"task": f"nqueens5-fold{fold}"}} | judged(judge, split, ANSWERS, VALUES)
        for fold in (0, 1)
    ]
    for fold in folds:
        assert not list(shapes._evaluation(("metrics", "by_fact")).iter_errors(fold))
    pooled = pool(folds)
    assert [row["bin"] for row in pooled["by_fact"]] == ["easy", "hard", "none such"]
    assert numbers({"": pooled["by_fact"][1]["accuracy_best"]}) == {"": (2, 4)}
    with pytest.raises(GramError, match="an input whose rating is 3 lies below all bins"):
        in_bins("rating", split.facts["rating"], {"a": 4, "b": 9})
    with pytest.raises(GramError, match="the inputs have no rating"):
        judged(JUDGES["exact"](split, bins), words(), ANSWERS, VALUES)


def test_several_right_answers_are_not_for_the_judge_exact() -> None:
    split = split_of([[1, 2, 3]], [A, B], [0, 2])
    with pytest.raises(GramError, match="input 0 has 2; use the judge completions"):
        judged(JUDGES["exact"](split, {}), split, [[A]], [[0]])


def test_parts_are_scored_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever number of inputs is scored at a time, the same comes out."""
    task: Task = make_task("sudoku4", {"puzzles": 40})
    examples = task.examples()
    split = split_of(examples.inputs, examples.completions, examples.offsets)
    split = split.of_inputs(slice(3, 33))  # offsets that begin at 0 again
    rng = np.random.default_rng(0)
    answers = np.repeat(split.completions[:, None], 5, axis=1)
    wrong = rng.random((30, 5)) < 0.5
    answers[wrong] = answers[wrong][:, ::-1]  # full boards, and mostly not of their puzzle
    drawn = drawn_of(answers, rng.random((30, 5)))
    judge = JUDGES["exact"](split, {})
    whole = score(task, split, drawn, judge)
    assert 0 < (whole.found == 0).sum() < whole.found.size
    for size in (1, 7, 30):
        monkeypatch.setattr(scoring, "CHUNK", size)
        part = score(task, split, drawn, judge)
        assert np.array_equal(part.found, whole.found)
        for group in ("answers", "columns"):
            ours, all_at_once = getattr(part, group), getattr(whole, group)
            assert ours.keys() == all_at_once.keys()
            assert all(np.array_equal(ours[name], all_at_once[name]) for name in ours)


def test_tables_show_what_a_task_with_one_right_answer_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The page and the summary say what its judge measures, and nothing of completions."""
    exact = dataclasses.replace(FAMILIES["sudoku"], judge="exact")
    monkeypatch.setitem(FAMILIES, "sudoku", exact)
    split = words()
    result = judged(JUDGES["exact"](split, {}), split, ANSWERS, VALUES)
    for method in ("gram", "deterministic"):
        content = synthetic.evaluation(task="sudoku4", method=method)
        kept = {key: content[key] for key in ("run", "overlap_with_training")}
        files.write_json(tmp_path / f"{method}.json", kept | result)
    paths = sorted(tmp_path.glob("*.json"))
    write_table("table1", paths, ROOT / "resources/reported.csv", tmp_path / "table1")
    page = (tmp_path / "table1.md").read_text(encoding="utf-8")
    section = page[page.index("## sudoku4") :]
    header = next(line for line in section.splitlines() if line.startswith("| method"))
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "method",
        *JUDGES["exact"].METRICS,
    ]
    assert "completions" not in section[: section.index("Compute")]
    summary = json.loads((tmp_path / "table1.summary.json").read_text(encoding="utf-8"))
    assert summary["tasks"]["sudoku4"]["sentences"] == [
        "Of the answers of GRAM, 25.0 % are right; a majority vote among the samples of an input is"
        " right on 33.3 %.",
        "Of the answers of the deterministic twin, 25.0 % are right; a majority vote among the"
        " samples of an input is right on 33.3 %.",
    ]


# More answers than can be listed ------------------------------------------------------------------


def test_validity_by_hand() -> None:
    """Of 8 samples 6 are valid: two answers three and two times, the second known, and one once."""
    found = np.array([[5, 5, 5, -1, 2, 2, 9, -1]])
    known = np.array([[False, False, False, True, True, True, False, False]])
    samples = metrics.Samples(
        np.array([3]), found, {}, {"wrong": np.array([[0, 0, 0, 4, 0, 0, 0, 2]])}
    )
    result = metrics.validity(samples, known)
    assert (result["accuracy"]["numerator"], result["accuracy"]["denominator"]) == (6, 8)
    assert (result["distinct"]["numerator"], result["distinct"]["denominator"]) == (3, 6)
    assert (result["seen"]["numerator"], result["seen"]["denominator"]) == (2, 6)
    assert (result["seen_answers"]["numerator"], result["seen_answers"]["denominator"]) == (1, 3)
    shares = (1 / 2, 1 / 3, 1 / 6)
    assert result["entropy"]["value"] == pytest.approx(-sum(p * math.log(p) for p in shares))
    assert result["wrong_mean"]["value"] == 6 / 8


def test_without_a_valid_sample_nothing_is_divided() -> None:
    samples = metrics.Samples(np.array([3]), np.full((1, 4), -1), {})
    result = metrics.validity(samples, np.zeros((1, 4), dtype=bool))
    assert result["accuracy"]["value"] == 0 and result["entropy"]["value"] == 0
    assert all(result[name]["value"] is None for name in ("distinct", "seen", "seen_answers"))


def test_valid_answers_that_no_list_has_are_told_apart() -> None:
    """Answers of 4x4 boards from nothing: listed ones by their number, others by their content,
    invalid ones as -1.
    """
    task = make_task("emptysudoku4", {"boards": 288})
    boards = task.examples().completions
    split = split_of([[BLANK] * 16], boards[:10], [0, 10])
    wrong = boards[0].copy()
    wrong[:2] = wrong[1::-1]
    tokens = np.stack([boards[3], boards[200], boards[100], boards[200], wrong])[None]
    drawn = drawn_of(tokens)
    scored = score(task, split, drawn)
    assert scored.found.tolist() == [[3, 11, 10, 11, -1]]
    assert scored.answers["vote"].tolist() == [1]
    train = split_of([[BLANK] * 16], boards[100:101], [0, 1])
    assert met(train, split, tokens).tolist() == [[False, False, True, False, False]]
    # Where the list is said to be complete, such an answer is a bug.
    task.complete = True
    with pytest.raises(GramError, match="the verifier and the list of completions disagree"):
        score(task, split, drawn)


def test_completions_of_another_input_are_not_met() -> None:
    train = split_of([[1, 1], [1, 2]], [[5, 5], [6, 6]], [0, 1, 2])
    split = split_of([[1, 2], [2, 2]], [[5, 5], [6, 6]], [0, 1, 2])
    tokens = np.array([[[5, 5], [6, 6]], [[5, 5], [6, 6]]], dtype=np.uint8)
    assert met(train, split, tokens).tolist() == [[False, True], [False, False]]


def test_the_second_of_a_vote_is_another_answer_if_there_is_one() -> None:
    answers = np.array([[3, 1, 1, 3, 2], [5, 5, 5, 5, 5], [4, 3, 2, 1, 0]])
    assert most_frequent(answers, 2).tolist() == [[0, 1], [0, 0], [0, 1]]


def test_a_majority_is_the_earliest_of_the_most_frequent() -> None:
    rng = np.random.default_rng(0)
    answers = rng.integers(0, 4, size=(200, 9))
    slow = [(row[:, None] == row[None]).sum(axis=1).argmax() for row in answers]
    assert majority(answers).tolist() == slow
