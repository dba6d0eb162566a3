"""Every setting does what it says: for each field of each section, a small run in which another
value changes something, and the first thing that it changes.

An example: with ``schedule: cosine`` another ``final_weight_decay`` changes the trained weights,
and neither the network before training nor the rows that it is trained on. A field without an entry
in the tables below fails by its name, so that a new one is added to them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from gram.data.splits import build, build_tables, content_md5
from gram.evaluate.__main__ import main as evaluate_main
from gram.models.factory import build_model
from gram.models.network import Given, Shape
from gram.models.rollout import rollout
from gram.settings import SECTIONS, DataSettings, RunSettings, TrainConfig
from gram.settings.agreement import check_run
from gram.settings.architectures import TAG
from gram.settings.architectures.gram import GramModel
from gram.settings.config import sized_task
from gram.settings.field import setting
from gram.settings.parsing import merge, parse, tags
from gram.settings.tasks import FAMILIES, family_and_size, family_of
from gram.settings.train import HALTING
from gram.system import files
from gram.system.errors import GramError
from gram.system.provenance import seeded_generator
from gram.tasks import make_task
from gram.train.loop import train
from gram.train.trainer import Trainer
from tests.test_sudokuextreme import NINE, line_of, puzzles_of, write

CPU = torch.device("cpu")
Sections = dict[str, dict[str, Any]]


class Case(NamedTuple):
    """How a setting is seen to act.

    Attributes:
        value: another value than that of the small run.
        first: the first of :data:`STAGES` that it changes.
        context: what has to be set, by section, so that it acts.
        task: the task of the small run.
        seen_on: the architectures on which a small run shows it; all on which it may be set, if
            none are named.
    """

    value: Any
    first: str
    context: Sections = {}  # noqa: RUF012 (not changed)
    task: str = "nqueens5"
    seen_on: tuple[str, ...] = ()


class Means(NamedTuple):
    """How a setting of the execution is seen to act: in what a machine does, and in no result.

    Attributes:
        value: another value than that of the small run.
        seen: what it changes, read from a training after its last step.
        steps: whether the training takes its steps at all.
    """

    value: Any
    seen: Callable[[Watched], Any]
    steps: bool = True


# The small runs -----------------------------------------------------------------------------------

# The section ``generator`` of a small data set, by the name of its task.
GENERATORS: dict[str, dict[str, Any]] = {
    "coloring4": {"train": 12, "test": 4, "edge_probability": 0.5},
    "emptysudoku4": {"boards": 20},
    "emptysudokuextreme9": {"boards": 12},
    "nqueens5": {"removed": [3, 4]},
    "sudoku4": {"puzzles": 30},
    "sudokuextreme9": {"test_puzzles": 2},
}
SMALL: Sections = {
    "split": {"test_fraction": 0.2, "valid_fraction": 0.1},
    "train": {
        "steps": 4, "N_sup": 2, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 0,
        "weight_decay": 0.1, "ema_decay": 0.9, "grad_clip": 0.0,
        "eval_every": 4, "eval_inputs": 0, "log_every": 2, "save_every": 2,
    },
    "evaluate": {"depth": 4, "width": 4, "batch_size": 64, "sampling_steps": 3},
}  # fmt: skip
NARROW = {"D": 8, "heads": 1, "ffn_hidden": 8, "layers": 1}
MODELS: dict[str, dict[str, Any]] = {
    "gram": NARROW
    | {"K": 1, "T": 2, "puzzle_tokens": 1, "guidance_hidden": 8, "decoder_hidden": 8},
    "direct": NARROW,
    "looped": NARROW | {"loops": 2},
    "hrm": NARROW | {"K": 2, "T": 2, "puzzle_tokens": 1},
    "trm": NARROW | {"K": 2, "T": 2, "puzzle_tokens": 1},
    "ar": NARROW,
    "mdlm": NARROW | {"condition": 8},
    "d3pm": NARROW | {"condition": 8, "diffusion_steps": 6},
}

# Stands for the path of the weights of :meth:`Runs.scrambled`, with which all rows halt at once.
SCRAMBLED = "scrambled weights"
HALTS: Sections = {"train": {"halt": "q", "initial_weights": SCRAMBLED, "N_sup": 3}}
# Those with noise in their transitions, those with a value, in which the last bits are seen, those
# that draw their answers, those with biases, and those that need not draw from a softmax.
NOISY = VALUED = ("gram",)
DRAWING = ("gram", "ar", "mdlm", "d3pm")
BIASED = ("gram", "hrm", "trm", "mdlm", "d3pm")
FREE = ("gram", "direct", "looped", "hrm", "trm")
COSINE: Sections = {"train": {"schedule": "cosine"}}
SEQUENCE: Sections = {"model": {"mixer": "sequence"}}

OF_GENERATORS: dict[str, dict[str, Case]] = {
    "coloring": {
        "train": Case(13, "data"),
        "test": Case(5, "data"),
        "edge_probability": Case(0.6, "data"),
        "colours": Case(4, "data"),
        "counted": Case("pairs", "data"),
        "seed": Case(1, "data"),
    },
    "emptysudoku": {
        "boards": Case(21, "data"),
        "forms": Case(2, "data"),
        "seed": Case(1, "data"),
    },
    "emptysudokuextreme": {"boards": Case(13, "data"), "seed": Case(1, "data")},
    "nqueens": {"removed": Case([3], "data")},
    "sudoku": {
        "puzzles": Case(31, "data"),
        "fewest_givens": Case(6, "data"),
        "most_givens": Case(10, "data"),
        "seed": Case(1, "data"),
    },
    "sudokuextreme": {"test_puzzles": Case(1, "data")},
}

# What all architectures have that have it.
OF_MODELS: dict[str, Case] = {
    "D": Case(16, "network"),
    "heads": Case(2, "answers"),
    "ffn_hidden": Case(16, "network"),
    "layers": Case(2, "network"),
    "K": Case(3, "answers"),
    "T": Case(3, "answers"),
    "puzzle_tokens": Case(2, "answers"),
    "rope": Case("axial", "answers"),
    "rope_theta": Case(10.0, "answers"),
    "norm_eps": Case(0.1, "answers"),
    "mixer": Case("sequence", "network"),
    "mixer_hidden": Case(16, "network", SEQUENCE),
}
OF_MODEL: dict[str, dict[str, Case]] = {
    "gram": {
        "puzzle_tokens": Case(2, "network"),  # z_0 has a vector for each of them
        "hierarchy": Case("flat", "network"),
        "guidance": Case("none", "network"),
        "guidance_hidden": Case(16, "network"),
        "guidance_products": Case("bf16", "answers"),
        "prediction": Case("direct", "answers"),
        "decoder": Case("linear", "network"),
        "decoder_hidden": Case(16, "network"),
        "posterior": Case("pooled", "weights"),
        "noise": Case("board", "answers"),
        "noise_in": Case("last", "answers"),
        "sigma_init": Case(0.5, "network"),
        "sigma_min": Case(0.05, "network"),
        "z0": Case("vector", "network"),
    },
    "direct": {},
    "looped": {"loops": Case(3, "answers"), "gradient_loops": Case(1, "weights")},
    "hrm": {},
    "trm": {},
    "ar": {},
    "mdlm": {
        "condition": Case(16, "network"),
        "conditioned": Case(True, "answers"),
        "times": Case("independent", "weights"),
        "least_time": Case(0.5, "weights"),
    },
    "d3pm": {
        "condition": Case(16, "network"),
        "corruption": Case("absorbing", "network"),
        "diffusion_steps": Case(9, "answers"),
        "alphas": Case("linear", "answers"),
    },
}

OF_SECTIONS: dict[str, dict[str, Case | Means]] = {
    "split": {
        "test_fraction": Case(0.4, "data"),
        "folds": Case(5, "data", {"split": {"folds": 4}}, task="nqueens5-fold0"),
        "valid_fraction": Case(0.3, "data"),
        "stratify": Case(True, "data"),
    },
    "train": {
        "steps": Case(5, "rows"),
        "N_sup": Case(3, "rows"),
        "supervision": Case("all", "rows"),
        "batch_size": Case(6, "rows"),
        "micro_batch": Means(2, lambda run: run.calls),
        "optimizer": Case("adam_atan2", "weights"),
        "learning_rate": Case(2e-2, "weights"),
        "weight_decay": Case(0.5, "weights"),
        "decay": Case("matrices", "weights", seen_on=BIASED),
        "beta1": Case(0.5, "weights"),
        "beta2": Case(0.5, "weights"),
        "warmup_steps": Case(4, "weights"),
        "schedule": Case("cosine", "weights"),
        "final_learning_rate": Case(0.5, "weights", COSINE),
        "final_weight_decay": Case(0.5, "weights", COSINE),
        "grad_clip": Case(0.01, "weights"),
        "ema_decay": Case(0.5, "averages"),
        "ema_correction": Case(True, "averages"),
        "cross_entropy": Case("stablemax", "weights", seen_on=FREE),
        "beta": Case(0.5, "weights"),
        "beta_initial": Case(1.0, "weights", {"train": {"beta_decay_steps": 3}}),
        "beta_decay_steps": Case(3, "weights", {"train": {"beta_initial": 1.0}}),
        "beta_factors": Case([2.0, 1.0], "weights"),
        "beta_factors_initial": Case([2.0], "weights", {"train": {"beta_decay_steps": 3}}),
        "kl_balance": Case(0.5, "weights"),
        "kl_channels": Case("mean", "weights"),
        "kl_tokens": Case("mean", "weights"),
        "free_nats": Case(100.0, "weights"),
        "charged": Case("all", "weights"),
        "uncharged_noise": Case("posterior", "weights"),
        "carry_prior_from": Case(1, "weights"),
        "auxiliary_weight": Case(1.0, "weights"),
        "halt_weight": Case(0.1, "weights"),
        "halt_loss": Case("regression", "weights"),
        "lprm_weight": Case(0.1, "weights"),
        "lprm_reads": Case("transition", "weights"),
        "heads_on": Case("prior", "weights"),
        "lprm_reward": Case("tokens", "weights"),
        "sampling": Case("inputs", "rows"),
        "reveal": Case(0.5, "rows"),
        "symmetries": Case(3, "rows", task="sudoku4"),
        "stagger": Case(False, "rows"),
        "halt": Case("q", "rows", {"train": {"initial_weights": SCRAMBLED}}),
        "halt_exploration": Case(0.9, "rows", HALTS),
        "initial_weights": Case(SCRAMBLED, "start"),
        "precision": Case("bf16", "weights"),
        "matmul": Means("fp32", lambda run: run.config.matmul),  # which a GPU heeds
        "compile": Means(  # takes many seconds; tests/test_step.py has its steps
            "default", lambda run: run.model._compiled_call_impl is not None, steps=False
        ),
        "threads": Means(2, lambda run: run.threads),
        "processes": Means(3, lambda run: run.divides),
        "eval_every": Case(2, "rollouts"),
        "eval_inputs": Case(2, "rollouts"),
        "log_every": Case(1, "losses"),
        "save_every": Case(3, "saves"),
    },
    "evaluate": {
        "depth": Case(3, "samples"),
        "width": Case(5, "samples"),
        "act": Case(True, "samples", seen_on=HALTING),
        "seed": Case(1, "samples", seen_on=DRAWING),
        "weights": Case("raw", "samples"),
        "precision": Case("bf16", "samples", seen_on=VALUED),
        "batch_size": Case(8, "samples", seen_on=DRAWING),
        "sampler": Case("antithetic", "samples", seen_on=NOISY),
        "decoding": Case("sample", "samples"),
        "temperature": Case(0.5, "samples"),
        "sampling_steps": Case(2, "samples", {"evaluate": {"sampling_steps": 4}}),
        "forms": Case(2, "samples", task="sudoku4", seen_on=DRAWING),
        "noise_scale": Case(0.5, "samples", seen_on=NOISY),
        "reseed_every": Case(
            2,
            "samples",
            {"evaluate": {"sampler": "reseed", "reseed_every": 1, "noise_scale": 0.0}},
            seen_on=NOISY,
        ),
        "repulsion": Case(1.0, "samples", {"evaluate": {"sampler": "repulsion"}}, seen_on=NOISY),
    },
}


# What can be seen of a run ------------------------------------------------------------------------

# From the first to the last; a setting changes none before the one that its case names.
STAGES = (
    "data",  # the tables of the data set
    "network",  # names, shapes and values of the weights that a seed gives
    "answers",  # what its layers compute, and what it answers, with scrambled weights
    "start",  # the weights before the first step
    "rows",  # inputs, targets and ages of the carry at every step
    "weights",  # after the last step
    "averages",  # of the weights, after the last step
    "losses",  # lines of the history
    "rollouts",  # lines of the history
    "saves",  # steps after which the resume state is saved
    "samples",  # what `python -m gram.evaluate` draws from scrambled weights
)


def digest(tensors: dict[str, Tensor]) -> str:
    """A digest of names, shapes and values."""
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        found.update(f"{name} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def scramble(model: nn.Module, seed: int = 0) -> None:
    """Give all weights random values, so that every head says something of its own, and one for
    halting says that it is time.
    """
    generator = seeded_generator(CPU, seed, "scrambled")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0.0, 0.5, generator=generator)
            if name == "halt_head.bias":
                parameter.copy_(torch.tensor([9.0, -9.0]))


class Watched(Trainer):
    """A training that keeps what can be seen of it, and writes nothing."""

    def __init__(self, settings: RunSettings, data: Path) -> None:
        super().__init__(settings, data, data / "no run", CPU)
        self.start = digest(self.model.state_dict())
        self.threads = torch.get_num_threads()
        self.rows_seen: list[str] = []
        self.saves: list[int] = []
        self.calls = 0

    @property
    def divides(self) -> bool:
        """Whether the processes of the settings can share the rows of the batch."""
        try:
            check_run(self.settings)
        except GramError as error:
            assert "processes" in str(error)
            return False
        return True

    def train_step(self) -> None:
        stream = self.stream
        seen = {"inputs": stream.inputs, "targets": stream.targets, "age": stream.age}
        self.rows_seen.append(digest(seen))
        super().train_step()

    def _supervise(self, terms: dict[str, Tensor]) -> Tensor:
        count = self.model.register_forward_hook(self._count)
        reward = super()._supervise(terms)
        count.remove()
        return reward

    def _count(self, *_: Any) -> None:
        self.calls += 1

    def save_resume_state(self) -> None:
        self.saves.append(self.step)

    def save_results(self) -> None:
        pass

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines of the history of one kind."""
        return [line for line in self.history if line["event"] == event]

    def seen(self) -> dict[str, Any]:
        """What each stage of the training shows."""
        return {
            "start": self.start,
            "rows": self.rows_seen,
            "weights": digest(self.model.state_dict()),
            "averages": digest(self.ema.model.state_dict()),
            "losses": self.lines("losses"),
            "rollouts": self.lines("rollout"),
            "saves": self.saves,
        }


class Small(NamedTuple):
    """The settings of a small run: of its data set, its training and its evaluation."""

    run: RunSettings
    evaluate: dict[str, Any]


class Runs:
    """The small runs of this module, each made once.

    Args:
        folder: where their data sets and weights lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made: dict[str, Any] = {}

    def once(self, name: str, settings: Any, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, made once for a name and settings."""
        key = name + json.dumps(settings, sort_keys=True)
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def new_folder(self) -> Path:
        """An empty folder."""
        folder = self.folder / str(len(list(self.folder.iterdir())))
        folder.mkdir()
        return folder

    def data(self, settings: DataSettings) -> Path:
        """The folder of a data set."""

        def make() -> Path:
            folder = self.new_folder()
            build(settings, folder)
            return folder

        return self.once("data", dataclasses.asdict(settings), make)

    def tables(self, settings: DataSettings) -> dict[str, str]:
        """The MD5 of each table of a data set."""
        task, sources = make_task(settings.task, settings.generator), None
        if family_of(settings.task).sources:
            sources = self.once("puzzles", None, lambda: write_puzzles(self.new_folder()))
        built = build_tables(task.examples(sources), settings)
        return {name: content_md5(table) for name, table in built.items()}

    def scrambled(self, settings: RunSettings) -> Path:
        """The folder of a run with scrambled weights, others averaged than raw, of the network and
        the data set of ``settings``.
        """
        section = parse(TrainConfig, SMALL["train"], "train")
        settings = dataclasses.replace(settings, train=section)

        def make() -> Path:
            folder = self.new_folder()
            trainer = Trainer(settings, self.data(settings.data), folder, CPU)
            scramble(trainer.model)
            scramble(trainer.ema.model, seed=1)
            files.write_json(folder / "config.json", settings.as_dict())
            trainer.save_results()
            return folder

        return self.once("scrambled", settings.as_dict(), make)

    def seen(self, stage: str, small: Small) -> Any:
        """What a stage of a small run shows."""
        run = small.run
        if stage == "data":
            return self.once("tables", dataclasses.asdict(run.data), lambda: self.tables(run.data))
        if stage in ("network", "answers"):
            settings = [run.data.task, run.data.generator, dataclasses.asdict(run.model)]
            return self.once("network", settings, lambda: of_network(run))[stage]
        if stage == "samples":
            settings = [run.as_dict() | {"train": None}, small.evaluate]
            return self.once("samples", settings, lambda: self.samples(small))
        return self.once("run", run.as_dict(), lambda: self.trained(run))[stage]

    def training(self, settings: RunSettings) -> Watched:
        """A small training, before its first step."""
        weights = settings.train.initial_weights
        if weights == SCRAMBLED:
            path = self.scrambled(settings) / "weights.safetensors"
            section = dataclasses.replace(settings.train, initial_weights=str(path))
            settings = dataclasses.replace(settings, train=section)
        return Watched(settings, self.data(settings.data))

    def trained(self, settings: RunSettings) -> dict[str, Any]:
        """What each stage of a small training shows."""
        trainer = self.training(settings)
        train(trainer)
        return trainer.seen()

    def samples(self, small: Small) -> bytes:
        """What is drawn of the inputs of the test split, as a file."""
        output = self.new_folder() / "test.json"
        table = output.with_name("samples.parquet")
        arguments = {
            "--run": self.scrambled(small.run),
            "--data": self.data(small.run.data),
            "--settings": json.dumps(small.evaluate),
            "--output": output,
            "--samples": table,
        }
        flat = itertools.chain.from_iterable(arguments.items())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["gram.evaluate", *map(str, flat)])
            evaluate_main()
        return table.read_bytes()

    def first_change(self, one: Small, other: Small) -> str | None:
        """The first of :data:`STAGES` in which two small runs differ; None if none does."""
        for stage in STAGES:
            if self.seen(stage, one) != self.seen(stage, other):
                return stage
        return None


def write_puzzles(folder: Path) -> Path:
    """The files of Sudoku-Extreme with a few easy puzzles: six to learn from, three to be tested
    on.
    """
    puzzles = zip(*puzzles_of(NINE, 9, blank=10, seed=0), strict=True)
    lines = [line_of(*puzzle) for puzzle in puzzles]
    return write(folder, lines[:6], lines[6:])


def of_network(settings: RunSettings) -> dict[str, str]:
    """The stages of an untrained network."""
    task = make_task(settings.task, settings.data.generator)
    model = build_model(settings.model, Shape.of(task), seed=0)
    network = digest(model.state_dict())
    scramble(model)
    inputs = torch.from_numpy(task.examples().inputs[:4].astype(np.int64))
    generator = seeded_generator(CPU, 0, "answers")
    computed: dict[str, Tensor] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            computed[f"{len(computed)} {type(module).__name__}"] = output

    with register_module_forward_hook(keep):
        read = rollout(model, Given(inputs), depth=2, generator=generator)
    return {"network": network, "answers": digest(computed | read._asdict())}


# Every field of every section ---------------------------------------------------------------------


class Field(NamedTuple):
    """A field of a section, with the architecture of the small run in which it acts."""

    section: str
    architecture: str
    name: str
    family: str  # of a section ``generator``, else ""
    metadata: Mapping[str, Any]

    def __str__(self) -> str:
        return "-".join((self.section, self.family or self.architecture, self.name))


def members(section: Any) -> dict[str, Any]:
    """The dataclasses of a section by architecture; of a section that is no union by ""."""
    return tags(section) if typing.get_args(section) else {"": section}


def case_of(section: str, owner: str, name: str) -> Case | Means | None:
    """How a field is seen to act; None if nobody has said it.

    Args:
        section: of the field.
        owner: the family or the architecture, of a section that is another one for each.
        name: of the field.
    """
    places = {
        "generator": OF_GENERATORS.get(owner, {}),
        "model": OF_MODELS | OF_MODEL.get(owner, {}),
    }
    return places.get(section, OF_SECTIONS.get(section, {})).get(name)


def fields(sections: dict[str, Any]) -> Iterator[Field]:
    """All fields of all sections, each with every architecture on which it can be seen."""
    for family, declared in FAMILIES.items():
        for field in dataclasses.fields(declared.generator):
            yield Field("generator", "gram", field.name, family, field.metadata)
    for section, union in sections.items():
        for owner, cls in members(union).items():
            for field in dataclasses.fields(cls):
                if field.name == TAG:
                    continue  # which dataclass it is
                case = case_of(section, owner, field.name)
                seen_on = case.seen_on if isinstance(case, Case) else ()
                for one in [owner] if owner else seen_on or field.metadata["only"] or MODELS:
                    yield Field(section, one, field.name, "", field.metadata)


def small_runs(field: Field, case: Case | Means, sections: dict[str, Any]) -> tuple[Small, Small]:
    """A small run, and the same with another value of a field."""
    context, task = (case.context, case.task) if isinstance(case, Case) else ({}, "nqueens5")
    if field.family:
        task = next((one for one in GENERATORS if family_and_size(one)[0] == field.family), "")
    name = Path(__file__).name
    assert task, f"{field}: say in {name} what a small data set of it is"
    assert field.architecture in MODELS, f"{field}: say in {name} what a small network of it is"
    base = SMALL | {
        "generator": GENERATORS[sized_task(task)],
        "model": {TAG: field.architecture} | MODELS[field.architecture],
    }
    before = merge(base, context)
    after = merge(before, {field.section: {field.name: case.value}})
    one, other = (small_run(task, values, sections) for values in (before, after))
    return one, other


def small_run(task: str, values: Sections, sections: dict[str, Any]) -> Small:
    """A small run of a task with these sections, which ``sections`` declare."""
    parsed = {name: parse(cls, values[name], name) for name, cls in sections.items()}
    data = DataSettings(task, values["generator"], parsed.pop("split"))
    evaluate = dataclasses.asdict(parsed.pop("evaluate"))
    return Small(RunSettings(task, "small", 0, data, **parsed), evaluate)


def check(runs: Runs, field: Field, sections: dict[str, Any] = SECTIONS) -> None:
    """Whether a setting acts as this file says.

    Raises:
        AssertionError: it changes something else first, or nothing; or nothing is said of it.
    """
    case = case_of(field.section, field.family or field.architecture, field.name)
    assert case, f"{field}: say in {Path(__file__).name} how it is seen to act"
    one, other = small_runs(field, case, sections)
    assert one != other, f"{field}: {case.value!r} is the value of the small run too"
    assert field.metadata["execution"] == isinstance(case, Means), f"{field}: execution or not?"
    if isinstance(case, Means):
        check_execution(runs, field, case, one.run, other.run)
        return
    first = runs.first_change(one, other)
    assert first == case.first, (
        f"{field}: {case.value!r} changes {first or 'nothing'} first, and not {case.first}"
    )


def check_execution(
    runs: Runs, field: Field, case: Means, one: RunSettings, other: RunSettings
) -> None:
    """Whether a setting of the execution changes what a machine does, and no more than the last
    bits of a result.

    Raises:
        AssertionError: it changes more, or nothing.
    """
    before, after = (runs.training(settings) for settings in (one, other))
    for trainer in (before, after):
        if case.steps:
            train(trainer)
    assert case.seen(before) != case.seen(after), f"{field}: {case.value!r} changes nothing"
    assert before.identity() == after.identity(), f"{field}: a run would start anew"
    assert before.rows_seen == after.rows_seen, f"{field}: changes the rows"
    for name, tensor in before.ema.model.state_dict().items():
        same = torch.allclose(tensor, after.ema.model.state_dict()[name], rtol=1e-3, atol=1e-5)
        assert same, f"{field}: changes {name} by more than the last bits"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The small runs of this module."""
    return Runs(tmp_path_factory.mktemp("small"))


@pytest.mark.parametrize("field", list(fields(SECTIONS)), ids=str)
def test_every_setting_acts(runs: Runs, field: Field) -> None:
    check(runs, field)


def test_the_tables_name_only_settings_that_there_are() -> None:
    there = {(field.section, field.family, field.name) for field in fields(SECTIONS)}
    for family, cases in OF_GENERATORS.items():
        assert {("generator", family, name) for name in cases} <= there
    for section, cases in [("model", OF_MODELS), *OF_SECTIONS.items()]:
        assert {(section, "", name) for name in cases} <= there
    for architecture, cases in OF_MODEL.items():
        declared = members(SECTIONS["model"])[architecture]
        assert set(cases) <= {field.name for field in dataclasses.fields(declared)}


# A setting that does nothing is found -------------------------------------------------------------


@dataclass(frozen=True)
class IdleTrain(TrainConfig):
    """The section ``train`` with a setting that nothing reads."""

    idle: float = setting(0.5, "nothing")


@dataclass(frozen=True)
class IdleModel(GramModel):
    """The section ``model`` of GRAM with a setting that nothing reads."""

    idle: int = setting(1, "nothing")


PLANTED = SECTIONS | {"train": IdleTrain, "model": IdleModel}


def field_named(sections: dict[str, Any], section: str, name: str) -> Field:
    """A field of GRAM's section, as the test finds it."""
    return next(
        field
        for field in fields(sections)
        if (field.section, field.name, field.architecture) == (section, name, "gram")
    )


@pytest.mark.parametrize("section", ["train", "model"])
def test_a_setting_without_an_entry_is_named(runs: Runs, section: str) -> None:
    field = field_named(PLANTED, section, "idle")
    with pytest.raises(AssertionError, match=f"{section}-gram-idle: say in test_settings_act.py"):
        check(runs, field, PLANTED)


def test_a_setting_that_does_nothing_is_found(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OF_SECTIONS["train"], "idle", Case(2, "weights"))
    planted = SECTIONS | {"train": IdleTrain}
    with pytest.raises(AssertionError, match="idle: 2 changes nothing first, and not weights"):
        check(runs, field_named(planted, "train", "idle"), planted)


def test_a_setting_that_acts_elsewhere_than_said_is_found(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OF_SECTIONS["train"], "sampling", Case("inputs", "weights"))
    with pytest.raises(AssertionError, match="changes rows first, and not weights"):
        check(runs, field_named(SECTIONS, "train", "sampling"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", 2e-2, "a run would start anew"),
        ("micro_batch", None, "is the value of the small run too"),
        ("threads", 1, "is the value of the small run too"),
    ],
)
def test_what_is_no_setting_of_the_execution_is_found(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, message: str
) -> None:
    case = Means(value, lambda run: run.settings.as_dict())
    monkeypatch.setitem(OF_SECTIONS["train"], name, case)
    field = field_named(SECTIONS, "train", name)._replace(metadata={"execution": True})
    with pytest.raises(AssertionError, match=message):
        check(runs, field)
