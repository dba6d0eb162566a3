"""Symmetric forms of an input: answers to them are answers to the input, and vote together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gram.data.splits import Split
from gram.evaluate.evaluation import draw
from gram.evaluate.forms import draw_forms
from gram.evaluate.judges import JUDGES
from gram.evaluate.scoring import Drawn, score
from gram.models.network import Given, Read, State
from gram.settings import EvaluateConfig
from gram.system.errors import GramError
from gram.tasks import Task, make_task


@pytest.fixture(scope="module")
def task() -> Task:
    """Puzzles of 4x4."""
    return make_task("sudoku4", {"puzzles": 12})


@pytest.fixture(scope="module")
def split(task: Task) -> Split:
    """All of them."""
    found = task.examples()
    return Split(np.arange(12), found.inputs, found.completions, found.offsets, md5="")


class Solver:
    """Stands in for a network that solves what it is given, and notes it; ``wrong`` says which of
    its answers, counted from 0, is the input itself.
    """

    def __init__(self, task: Task, wrong: Any = (), *, samples: bool = True) -> None:
        self.task, self.wrong, self.samples = task, set(wrong), samples
        self.seen: list[bytes] = []

    def initial_state(self, rows: int, generator: torch.Generator) -> State:
        zeros = torch.zeros(rows, 1, 1)
        return State(zeros, zeros)

    def draw_noise(self, rows: int, generator: torch.Generator) -> None:
        return None

    def roll(self, state: State, given: Given, **_: Any) -> Read:
        rows = []
        for row in given.tokens.numpy().astype(np.uint8):
            number = len(self.seen)
            self.seen.append(row.tobytes())
            rows.append(row if number in self.wrong else self.task.completions(row)[0])
        tokens = torch.from_numpy(np.array(rows)).long()
        B = len(rows)
        return Read(state, tokens, torch.zeros(B), torch.zeros(B, dtype=torch.bool))


def drawn_by(model: Any, task: Task, split: Split, **config: Any) -> Drawn:
    """The answers of a model at depth 1, in batches that part the trajectories of an input."""
    settings = EvaluateConfig(**{"depth": 1, "width": 8, "forms": 4, "batch_size": 7} | config)
    return draw(model, split, settings, torch.Generator(), forms=draw_forms(task, settings))


def test_a_form_is_undone_exactly_and_has_its_own_answer(task: Task, split: Split) -> None:
    forms = draw_forms(task, EvaluateConfig(width=50, forms=50))
    assert forms is not None
    for number in range(50):
        form = np.full(12, number)
        puzzles = forms.changed(split.inputs, form)
        answers = forms.changed(split.completions, form)
        assert task.is_valid(puzzles, answers).all()
        assert np.array_equal(forms.undone(answers, form), split.completions)
        assert np.array_equal(puzzles, split.inputs) == (number == 0)


def test_answers_to_all_forms_are_answers_to_the_input(task: Task, split: Split) -> None:
    model = Solver(task)
    drawn = drawn_by(model, task, split)
    assert np.array_equal(drawn.tokens, np.repeat(split.completions[:, None], 8, axis=1))
    for number, row in enumerate(split.inputs):
        seen = model.seen[8 * number : 8 * number + 8]
        assert seen[:4] == seen[4:] and seen[0] == row.tobytes() and len(set(seen)) == 4


def test_a_deterministic_network_answers_each_form_once(task: Task, split: Split) -> None:
    model = Solver(task, wrong=range(2, 48, 4), samples=False)  # the third form of each input
    drawn = drawn_by(model, task, split)
    assert len(model.seen) == 48
    judge = JUDGES["exact"](split, {})
    result = judge.sections(score(task, split, drawn, judge), independent=True)["metrics"]
    assert result["accuracy"]["value"] == 0.75
    assert result["accuracy_vote"]["value"] == result["accuracy_best"]["value"] == 1


def test_without_forms_the_input_alone_is_answered(task: Task, split: Split) -> None:
    model = Solver(task)
    drawn_by(model, task, split, forms=1)
    assert model.seen == [row.tobytes() for row in np.repeat(split.inputs, 8, axis=0)]


def test_forms_that_cannot_be_are_refused(task: Task) -> None:
    for config, said in (
        ({"width": 8, "forms": 3}, "3 forms cannot share width: 8 trajectories"),
        ({"width": 8, "forms": 4, "sampler": "antithetic"}, "sampler: antithetic"),
    ):
        with pytest.raises(GramError, match=said):
            draw_forms(task, EvaluateConfig(**config))
    graphs = make_task("coloring5", {"train": 20, "test": 5})
    with pytest.raises(GramError, match="no symmetries of coloring5 are known"):
        draw_forms(graphs, EvaluateConfig(width=4, forms=4))
