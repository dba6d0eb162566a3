"""Settings: what is refused and how it is said, how files, overrides and methods are merged, and
the way to JSON and back.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest

from gram.settings import (
    SECTIONS,
    EvaluateConfig,
    GramModel,
    RunSettings,
    SplitConfig,
    TrainConfig,
    config,
)
from gram.settings.architectures.baselines import ArModel
from gram.settings.config import (
    Experiment,
    check_card,
    evaluate_settings,
    load_experiment,
    load_run,
    method_section,
    resolve,
    split_fold,
)
from gram.settings.parsing import merge, parse, tags
from gram.system import files
from gram.system.errors import GramError

EXPERIMENTS = sorted((Path(__file__).parents[1] / "config" / "experiments").glob("*.yaml"))


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """``write(text)``: an experiment file with this content."""

    def to_file(text: str) -> Path:
        path = tmp_path / "nqueens5.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def misspelt(name: str) -> set[str]:
    """The name with one letter doubled, left out, or in the place of its neighbour; and in the
    other case.
    """
    found = {name.swapcase()}
    for i in range(len(name)):
        found |= {name[:i] + name[i] + name[i:], name[:i] + name[i + 1 :]}
        found.add(name[:i] + name[i : i + 2][::-1] + name[i + 2 :])
    return found


@pytest.mark.parametrize(
    ("section", "cls"),
    [("model", cls) for cls in tags(SECTIONS["model"]).values()]
    + [(name, cls) for name, cls in SECTIONS.items() if name != "model"],
)
def test_a_misspelt_key_of_any_section_is_refused_with_the_key_that_was_meant(
    section: str, cls: Any
) -> None:
    keys = [field.name for field in dataclasses.fields(cls)]
    tag = {"architecture": cls.architecture} if section == "model" else {}
    for key in keys:
        for wrong in misspelt(key) - {"", *keys}:
            with pytest.raises(GramError) as error:
                parse(SECTIONS[section], tag | {wrong: 1}, f"file: {section}")
            message = str(error.value)
            assert message.startswith(f"file: {section}: unknown key {wrong!r}; ")
            # Of a key of one or two letters, too little is left.
            assert f"{key!r}" in message or len(key) < 3, message
            assert len(message) < 250


@pytest.mark.parametrize("section", SECTIONS)
def test_a_key_like_no_other_is_refused_with_some_that_are_known(write: Any, section: str) -> None:
    path = write(f"{section}: {{qqqqq: 1}}\nmethods: {{gram: {{}}}}")
    with pytest.raises(GramError) as error:
        load_experiment(path)
    message, cls = str(error.value), GramModel if section == "model" else SECTIONS[section]
    assert f"{path}: gram: {section}: " in message or f"{path}: {section}: " in message
    names = [field.name for field in dataclasses.fields(cls)]
    assert f"unknown key 'qqqqq'; known keys: {', '.join(names[:12])}" in message
    file = {"model": "gram/settings/architectures/gram.py"}.get(
        section, f"gram/settings/{section}.py"
    )
    many = f"and {len(names) - 12} more; all are described in {file}"
    assert (many in message) == (len(names) > 12)
    assert (Path(__file__).parents[1] / file).exists()


def test_a_long_value_is_cut() -> None:
    with pytest.raises(GramError) as error:
        parse(TrainConfig, {"steps": "9" * 5000}, "train")
    assert str(error.value).startswith("train: steps: '999") and len(str(error.value)) < 150


def test_a_method_of_another_architecture_shares_no_model_settings(write: Any) -> None:
    methods = (
        "{gram: {}, twin: {model: {guidance: none}}, ar: {model: {architecture: ar, layers: 3}}}"
    )
    experiment = load_experiment(
        write(f"model: {{D: 64, T: 2}}\ntrain: {{steps: 7}}\nmethods: {methods}")
    )
    gram, twin, ar = (
        resolve(experiment, "nqueens5", method, 0) for method in ("gram", "twin", "ar")
    )
    assert gram.model == GramModel(D=64, T=2) and twin.model == GramModel(
        D=64, T=2, guidance="none"
    )
    assert ar.model == ArModel(layers=3) and ar.train.steps == 7
    assert parse(RunSettings, json.loads(json.dumps(ar.as_dict())), "run") == ar


def test_architectures_have_tags_of_their_own_and_unknown_ones_are_refused(write: Any) -> None:
    known = tags(SECTIONS["model"])
    assert (
        len(known) == len(typing.get_args(SECTIONS["model"]))
        and next(iter(known.values())) is GramModel
    )
    with pytest.raises(GramError, match=r"ar: model: architecture: 'rnn' is none of 'gram', "):
        load_experiment(write("methods: {ar: {model: {architecture: rnn}}}"))
    with pytest.raises(GramError, match=r"ar: model: unknown key 'K'; known keys: .*layers"):
        load_experiment(write("methods: {ar: {model: {architecture: ar, K: 2}}}"))


def test_an_experiment_is_laid_over_the_shared_file_that_it_names(tmp_path: Path) -> None:
    files.write_text(
        tmp_path / "shared/small.yaml",
        "train: {steps: 7, beta: 2}\nmethods: {gram: {train: {N_sup: 3}}, twin: {}}",
    )
    path = tmp_path / "experiments/nqueens5.yaml"
    files.write_text(
        path,
        "shared: small\ngenerator: {removed: [3]}\ntrain: {steps: 9, N_sup: 5}\nmethods: {twin:"
        " {train: {beta: 1}}}",
    )
    experiment = load_experiment(path, {"train": {"batch_size": 4}})
    gram, twin = (resolve(experiment, "nqueens5", method, 0).train for method in ("gram", "twin"))
    assert gram == TrainConfig(
        steps=9, beta=2, N_sup=3, batch_size=4
    )  # a method's own settings count most
    assert twin == TrainConfig(steps=9, beta=1, N_sup=5, batch_size=4)
    files.write_text(path, "shared: large\nmethods: {gram: {}}")
    with pytest.raises(GramError, match=r"shared/large.yaml: no such file; known ones: small"):
        load_experiment(path)
    files.write_text(tmp_path / "shared/large.yaml", "shared: small")
    with pytest.raises(GramError, match=r"shared/large.yaml: unknown key 'shared'"):
        load_experiment(path)


def test_unknown_section_unknown_method_key_and_unknown_override(write: Any) -> None:
    with pytest.raises(
        GramError,
        match=(
            r"unknown key 'optimiser'; known keys: shared, generator, methods, split, model, train,"
            r" evaluate"
        ),
    ):
        load_experiment(write("optimiser: {}\nmethods: {gram: {}}"))
    with pytest.raises(
        GramError, match=r"gram: unknown key 'split'; known keys: model, train, evaluate"
    ):
        load_experiment(write("methods: {gram: {split: {}}}"))
    with pytest.raises(GramError, match=r"overrides of nqueens5: unknown key 'trian'"):
        load_experiment(write("methods: {gram: {}}"), {"trian": {"steps": 3}})
    with pytest.raises(GramError, match=r"train: unknown key 'step'"):
        load_experiment(write("methods: {gram: {}}"), {"train": {"step": 3}})


def test_unknown_method_names_the_one_that_was_meant(experiment: Experiment) -> None:
    with pytest.raises(GramError, match=r"no 'grma'; did you mean 'gram'\?"):
        resolve(experiment, "nqueens5", "grma", 0)


def test_missing_experiment_names_the_one_that_was_meant(experiment_file: Path) -> None:
    with pytest.raises(GramError, match=r"nqueens6.yaml: no such file; did you mean 'nqueens5'\?"):
        load_experiment(experiment_file.with_name("nqueens6.yaml"))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "steps", "many"),
        ("train", "steps", 2.5),
        ("train", "steps", True),
        ("train", "steps", None),
        ("train", "steps", [100]),
        ("train", "learning_rate", "fast"),
        ("train", "learning_rate", False),
        ("train", "beta_initial", "high"),
        ("train", "stagger", 1),
        ("train", "sampling", "pair"),
        ("train", "precision", 16),
        ("model", "z0", ["tokens"]),
        ("model", "guidance", None),
        ("evaluate", "width", "20"),
        ("split", "stratify", "yes"),
    ],
)
def test_value_of_the_wrong_type_is_refused_with_its_key(
    section: str, key: str, value: Any
) -> None:
    with pytest.raises(GramError) as error:
        parse(SECTIONS[section], {key: value}, f"file: {section}")
    assert f"file: {section}: {key}: {value!r}" in str(error.value)


def test_choice_lists_the_choices() -> None:
    with pytest.raises(GramError, match=r"'pair' is none of 'pairs', 'inputs'"):
        parse(TrainConfig, {"sampling": "pair"}, "train")


@pytest.mark.parametrize(
    "text",
    [
        "methods: [gram",
        "a: b: c",
        "- gram",
        "1: 2\nmethodz: {}",
        "methods: [gram]",
        "methods: {gram: 5}",
        "methods: {gram: {train: 5}}",
        "methods: {gram: {}}\nmodel: 5",
        "methods: {gram: {}}\nsplit: [5]",
        "methods: {gram: {}}\ngenerator: 5",
        "methods: {gram: {}}\ntrain: {1: 2, steps: 3, stepz: 4}",
        "methods: {gram: {}}\nsplit: {folds: 0}",
        "methods: {gram: {}}\nsplit: {test_fraction: -0.1}",
        "methods: {gram: {}}\nsplit: {test_fraction: 1.0}",
        "methods: {gram: {}}\nsplit: {valid_fraction: 1.5}",
    ],
)
def test_a_file_of_the_wrong_shape_is_named(write: Any, text: str) -> None:
    path = write(text)
    with pytest.raises(GramError) as error:
        load_experiment(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nqueens5.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GramError, match=str(path)):
        load_experiment(path)


def test_yaml_numbers_without_a_dot_are_numbers(write: Any) -> None:
    # YAML 1.1 reads 1e-4 as a string and 1 as an integer.
    experiment = load_experiment(
        write("train: {learning_rate: 1e-4, beta: 1, beta_initial: 2e0}\nmethods: {gram: }")
    )
    train = resolve(experiment, "nqueens5", "gram", 0).train
    assert (train.learning_rate, train.beta, train.beta_initial) == (0.0001, 1.0, 2.0)
    assert all(
        isinstance(value, float) for value in (train.learning_rate, train.beta, train.beta_initial)
    )


def test_lists_of_numbers(write: Any) -> None:
    experiment = load_experiment(write("train: {beta_factors: [3, 1e0]}\nmethods: {gram: }"))
    assert resolve(experiment, "nqueens5", "gram", 0).train.beta_factors == (3.0, 1.0)
    for value, said in (
        ("3", "3 is not a list with at least one value"),
        ("[]", "[] is not a list with at least one value"),
        ("[1, x]", "beta_factors: 1: 'x' is not of type float"),
        ("[1, -2]", "beta_factors: -2.0 is less than 0"),
        ("[.nan]", "beta_factors: 0: nan is not a finite number"),
    ):
        with pytest.raises(GramError, match=re.escape(said)):
            load_experiment(write(f"train: {{beta_factors: {value}}}\nmethods: {{gram: }}"))


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            "train: {beta_factors: [3, 1], beta_factors_initial: [1]}",
            "beta_factors_initial: 1 values, and beta_factors has 2; give as many",
        ),
        (
            "model: {noise_in: last}\ntrain: {charged: all}",
            "train: charged: all: with model: noise_in: last no other transition draws noise",
        ),
        (
            "model: {noise_in: last}\ntrain: {uncharged_noise: posterior}",
            "write uncharged_noise: prior, or noise_in: all",
        ),
    ],
    ids=["factors", "charged", "uncharged"],
)
def test_settings_that_contradict_each_other_are_refused(
    write: Any, sections: str, said: str
) -> None:
    with pytest.raises(GramError, match=re.escape(said)):
        load_experiment(write(f"{sections}\nmethods: {{gram: }}"))


def test_merge_goes_key_by_key_and_changes_neither() -> None:
    base = {"a": {"x": 1, "y": {"u": 1}}, "b": 2, "c": [1, 2]}
    over = {"a": {"y": {"v": 3}}, "c": [3], "d": {"z": 1}}
    before = copy.deepcopy((base, over))
    assert merge(base, over) == {
        "a": {"x": 1, "y": {"u": 1, "v": 3}},
        "b": 2,
        "c": [3],
        "d": {"z": 1},
    }
    assert (base, over) == before


def test_defaults_then_file_then_overrides_then_method(write: Any) -> None:
    text = (
        "train: {steps: 7, beta: 0.5}\nmethods: {gram: {train: {beta: 0.25}}, deterministic:"
        " {model: {guidance: none}}}"
    )
    experiment = load_experiment(
        write(text), {"train": {"steps": 9}, "methods": {"gram": {"evaluate": {"width": 3}}}}
    )
    gram = resolve(experiment, "nqueens5", "gram", 4)
    twin = resolve(experiment, "nqueens5", "deterministic", 4)
    assert gram.train == TrainConfig(steps=9, beta=0.25)
    assert twin.train == TrainConfig(steps=9, beta=0.5)
    assert gram.model == GramModel()
    assert twin.model == GramModel(guidance="none")
    assert evaluate_settings(experiment, "gram") == EvaluateConfig(width=3)
    assert evaluate_settings(experiment, "deterministic") == EvaluateConfig()
    assert (gram.task, gram.method, gram.seed) == ("nqueens5", "gram", 4)


def test_config_json_round_trip(settings: RunSettings, tmp_path: Path) -> None:
    files.write_json(tmp_path / "config.json", settings.as_dict())
    assert load_run(tmp_path / "config.json") == settings


def test_command_line_freezes_what_resolve_gives(
    experiment_file: Path, command: Any, tmp_path: Path
) -> None:
    output = tmp_path / "config.json"
    arguments = (
        "--experiment",
        experiment_file,
        "--method",
        "deterministic",
        "--seed",
        3,
        "--output",
        output,
    )
    assert (
        command(config.main, *arguments, "--overrides", "{train: {learning_rate: 2e-4}}").code == 0
    )
    expected = resolve(
        load_experiment(experiment_file, {"train": {"learning_rate": 2e-4}}),
        "nqueens5",
        "deterministic",
        3,
    )
    assert load_run(output) == expected
    assert expected.train.learning_rate == 2e-4
    done = command(config.main, *arguments, "--task", "nqueens6")
    assert done.code != 0 and "--task 'nqueens6': not of " in done.err


def test_config_json_with_a_key_missing_or_unknown(settings: RunSettings, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    values = settings.as_dict()
    files.write_json(path, {key: value for key, value in values.items() if key != "seed"})
    with pytest.raises(GramError, match=r"config\.json: the key 'seed' is missing"):
        load_run(path)
    values["train"]["stepz"] = 3
    files.write_json(path, values)
    with pytest.raises(
        GramError, match=r"config\.json: train: unknown key 'stepz'; did you mean 'steps'\?"
    ):
        load_run(path)


def test_folds_are_named_after_the_experiment(experiment_file: Path) -> None:
    experiment = load_experiment(experiment_file, {"split": {"folds": 3}})
    assert experiment.tasks("nqueens5") == ["nqueens5-fold0", "nqueens5-fold1", "nqueens5-fold2"]
    assert [split_fold(task) for task in experiment.tasks("nqueens5")] == [
        ("nqueens5", 0),
        ("nqueens5", 1),
        ("nqueens5", 2),
    ]
    assert load_experiment(experiment_file).tasks("nqueens5") == ["nqueens5"]
    assert split_fold("nqueens5") == ("nqueens5", None)
    assert split_fold("nqueens5-fold") == ("nqueens5-fold", None)


@pytest.mark.parametrize(
    "section", [SplitConfig, *typing.get_args(SECTIONS["model"]), TrainConfig, EvaluateConfig]
)
def test_every_setting_says_what_it_means(section: type) -> None:
    undocumented = [f.name for f in dataclasses.fields(section) if not f.metadata.get("doc")]
    assert undocumented == []


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_committed_experiments_resolve_for_every_method(path: Path) -> None:
    experiment = load_experiment(path)
    models = {
        method: resolve(experiment, experiment.tasks(path.stem)[0], method, 0).model
        for method in experiment.methods
    }
    assert models["gram"].guidance == "full"
    if "deterministic" in models:
        assert models["deterministic"] == dataclasses.replace(models["gram"], guidance="none")


def test_a_card_of_another_task_or_other_settings_is_refused(
    settings: RunSettings, data_folder: Path, tmp_path: Path
) -> None:
    card = data_folder / "card.json"
    check_card(card, settings.data, "config.json")
    for wanted, expected in (
        (
            dataclasses.replace(settings.data, task="nqueens5-fold1"),
            "task: 'nqueens5', but 'nqueens5-fold1' in config.json",
        ),
        (
            dataclasses.replace(settings.data, generator={"removed": [4]}),
            "generator: removed: [3, 4], but [4] in config.json",
        ),
        (
            dataclasses.replace(settings.data, split=SplitConfig(folds=7)),
            "split: ",
        ),
    ):
        with pytest.raises(GramError) as error:
            check_card(card, wanted, "config.json")
        assert str(error.value).startswith(f"{card}: {expected}")
        assert f"give that of {wanted.task}" in str(error.value)
    files.write_json(tmp_path / "card.json", {"task": "nqueens5"})
    with pytest.raises(
        GramError, match=r"card.json: not the card of a data set \(settings is missing\)"
    ):
        check_card(tmp_path / "card.json", settings.data, "config.json")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            "{direct8: {model: {architecture: direct}, train: {beta: 99}}}",
            (
                "methods: direct8: train: beta does nothing for the architecture direct, but for"
                " gram; leave it out"
            ),
        ),
        (
            "{ar: {model: {architecture: ar}, train: {halt: q}}}",
            "train: halt does nothing for the architecture ar, but for gram and hrm and trm",
        ),
        (
            "{hrm: {model: {architecture: hrm}}, mine: {based_on: hrm, train: {lprm_weight: 7}}}",
            "methods: mine: train: lprm_weight does nothing for the architecture hrm",
        ),
    ],
)
def test_a_setting_that_does_nothing_for_a_method_is_refused(
    write: Any, methods: str, message: str
) -> None:
    with pytest.raises(GramError) as error:
        load_experiment(write(f"methods: {methods}"))
    assert message in str(error.value)


def test_what_all_methods_share_may_say_more(write: Any) -> None:
    """And GRAM, its twin and HRM may say what acts on them."""
    methods = (
        "{gram: {train: {beta: 2}}, twin: {model: {guidance: none}, train: {halt: q}}, "
        "ar: {model: {architecture: ar}}, hrm: {model: {architecture: hrm}, train: {halt: q}}}"
    )
    experiment = load_experiment(write(f"train: {{beta: 3, halt_weight: 0.1}}\nmethods: {methods}"))
    assert method_section(experiment, "gram", "train").beta == 2
    assert method_section(experiment, "ar", "train").beta == 3


def test_keys_that_have_moved_are_understood_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config" / "experiments" / "nqueens5.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "methods:\n"
        "  ar: {model: {architecture: ar, temperature: 0.5}}\n"
        "  both: {model: {architecture: ar, temperature: 0.5}, evaluate: {temperature: 0.7}}\n"
    )
    experiment = load_experiment(path)
    assert evaluate_settings(experiment, "ar").temperature == 0.5
    assert evaluate_settings(experiment, "both").temperature == 0.7
    said = capsys.readouterr().err
    assert (
        f"{path}: methods: ar: model: temperature is now evaluate: temperature; write it there"
        in said
    )
    run = resolve(experiment, "nqueens5", "ar", 0)
    before = run.as_dict()
    before["model"]["temperature"] = 0.5  # as a config.json of before has it
    assert RunSettings.of(before, "config.json") == run
