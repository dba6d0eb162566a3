"""Methods that are based on others: whose settings count, what is refused, and how it is shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gram.settings import config
from gram.settings.architectures.baselines import ArModel, DirectModel
from gram.settings.config import evaluate_settings, load_experiment, resolve
from gram.settings.lineage import DEEPEST
from gram.system.errors import GramError

METHODS = """
train: {steps: 7, beta: 0.5}
methods:
  last: {based_on: [middle, other], train: {N_sup: 9}}
  first: {model: {D: 32, T: 3}, train: {steps: 10, batch_size: 4}, evaluate: {depth: 3}}
  middle: {based_on: first, train: {steps: 20, beta_initial: null}}
  other: {train: {steps: 30, beta_initial: 2.0}, evaluate: {width: 5}}
  ar: {based_on: first, model: {architecture: ar, layers: 1}}
  direct: {model: {architecture: direct, layers: 3}}
  deep: {based_on: direct, model: {layers: 9}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """``write(text)``: an experiment file with this content."""

    def to_file(text: str) -> Path:
        path = tmp_path / "experiments/nqueens5.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def test_own_settings_count_most_then_the_last_base(write: Any) -> None:
    experiment = load_experiment(write(METHODS))
    last, middle = (resolve(experiment, "nqueens5", name, 0) for name in ("last", "middle"))
    assert (middle.train.steps, middle.train.batch_size, middle.train.beta) == (20, 4, 0.5)
    assert middle.model.D == 32 and evaluate_settings(experiment, "middle").depth == 3
    assert (last.train.steps, last.train.batch_size, last.train.N_sup) == (30, 4, 9)
    assert last.train.beta_initial == 2.0 and middle.train.beta_initial is None
    evaluated = evaluate_settings(experiment, "last")
    assert (evaluated.depth, evaluated.width) == (3, 5)
    assert list(experiment.methods) == "last first middle other ar direct deep".split()


def test_a_model_of_another_architecture_takes_nothing_of_the_model_below(write: Any) -> None:
    experiment = load_experiment(write(METHODS))
    assert resolve(experiment, "nqueens5", "ar", 0).model == ArModel(layers=1)
    assert resolve(experiment, "nqueens5", "ar", 0).train.batch_size == 4
    assert resolve(experiment, "nqueens5", "deep", 0).model == DirectModel(layers=9)


def test_overrides_count_as_if_they_stood_in_the_file(write: Any) -> None:
    path = write(METHODS)
    methods = {"first": {"train": {"steps": 1, "batch_size": 2}}, "deep": {"model": {"D": 64}}}
    experiment = load_experiment(path, {"methods": methods})
    middle = resolve(experiment, "nqueens5", "middle", 0).train
    assert (middle.steps, middle.batch_size) == (20, 2)
    assert resolve(experiment, "nqueens5", "deep", 0).model == DirectModel(layers=9, D=64)
    new = {"new": {"based_on": "middle", "train": {"steps": 3}}}
    added = resolve(load_experiment(path, {"methods": new}), "nqueens5", "new", 0)
    assert (added.train.steps, added.train.batch_size) == (3, 4)
    with pytest.raises(GramError) as error:
        load_experiment(path, {"methods": {"frist": {"train": {"steps": 3}}}})
    assert str(error.value) == (
        "overrides of nqueens5: methods: no 'frist'; did you mean 'first'? (a new one says what "
        "it is based_on)"
    )


def test_a_shared_file_without_a_name_is_refused(write: Any) -> None:
    with pytest.raises(GramError, match="shared: "):
        load_experiment(write("shared:\nmethods: {a: {}}"))


def test_a_method_of_a_shared_file_is_a_base_as_the_experiment_changes_it(
    write: Any, tmp_path: Path
) -> None:
    path = write("shared: small\nmethods: {a: {train: {steps: 3}}, c: {based_on: b}}")
    shared = tmp_path / "shared/small.yaml"
    shared.parent.mkdir()
    shared.write_text(
        "methods: {a: {train: {steps: 2, N_sup: 3}}, b: {based_on: a}}", encoding="utf-8"
    )
    experiment = load_experiment(path)
    for name in "abc":
        train = resolve(experiment, "nqueens5", name, 0).train
        assert (train.steps, train.N_sup) == (3, 3)
    assert experiment.ancestors("c") == ["c", "b", "a"]
    assert experiment.sources == (str(path), str(shared))


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("{a: {based_on: a}}", "methods: based_on: a circle: 'a' on 'a'; take one out"),
        ("{a: {based_on: b}, b: {based_on: c}, c: {based_on: [d, b]}, d: {}}",
         "a circle: 'b' on 'c' on 'b'"),
        ("{gram: {}, a: {based_on: grma}}",
         "methods: a: based_on: no 'grma'; did you mean 'gram'?"),
        ("{gram: {}, a: {based_on: [gram, xyz]}}",
         "methods: a: based_on: no 'xyz'; known ones: gram"),
        ("{gram: {}, a: {based_on: [gram, gram]}}",
         "name one method, or a list of several, each once"),
        ("{gram: {}, a: {based_on: []}}", "methods: a: based_on: []: name one method"),
        ("{gram: {}, a: {based_on: {gram: 1}}}", "methods: a: based_on: {'gram': 1} is no name"),
        ("{gram: {}, a: {based_on: 3}}", "methods: a: based_on: 3 is no name"),
        ("{gram: {}, a: {basedon: gram}}",
         "methods: a: unknown key 'basedon'; did you mean 'based_on'?"),
        ("{gram: {}, a: {train: {based_on: gram}}}", "train: unknown key 'based_on'"),
        ("{gram: {model: {heads: 2}}, a: {based_on: gram, model: {D: 6}}}",
         "D: 6 is not a multiple of 2 x heads (2)"),
    ],
)  # fmt: skip
def test_what_no_method_can_be_based_on(write: Any, methods: str, said: str) -> None:
    with pytest.raises(GramError, match=re.escape(said)) as error:
        load_experiment(write(f"methods: {methods}"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("falling", [False, True])
def test_a_chain_ends(write: Any, falling: bool) -> None:
    def chain(length: int) -> Path:
        lines = [f"  m{i}: {{based_on: m{i - 1}}}" for i in range(1, length)]
        lines.insert(0, "  m0: {train: {steps: 3}}")
        return write("\n".join(["methods:", *(reversed(lines) if falling else lines)]))

    last = f"m{DEEPEST - 1}"
    assert resolve(load_experiment(chain(DEEPEST)), "nqueens5", last, 0).train.steps == 3
    with pytest.raises(GramError, match=rf"m{DEEPEST}: based_on: a chain of more than {DEEPEST}"):
        load_experiment(chain(DEEPEST + 1))
    with pytest.raises(GramError, match=rf"based_on: a chain of more than {DEEPEST}"):
        load_experiment(chain(2000))


def test_the_command_shows_chains_and_where_each_value_was_written(
    write: Any, command: Any
) -> None:
    path = write(METHODS)
    shown = command(config.main, "--experiment", path, "--show")
    assert shown.out.splitlines()[:3] == [
        "last, based on middle (based on first) and other",
        "first",
        "middle, based on first",
    ]
    shown = command(config.main, "--experiment", path, "--show", "--method", "last")
    assert shown.code == 0 and "# last, based on middle" in shown.out
    for line in (
        "D: 32 # first",
        "steps: 30 # other",
        "N_sup: 9 # last",
        "beta: 0.5 # all methods",
        "depth: 3 # first",
        "heads: 8 # default",
    ):
        assert line in [" ".join(one.split()) for one in shown.out.splitlines()]
    assert (
        "no 'lst'; did you mean 'last'?"
        in command(config.main, "--experiment", path, "--show", "--method", "lst").err
    )
