"""Damaged files: whatever is wrong with one, it is one line, or the same numbers as before.

Seeded and small; ``tests/faults`` does the same with whole commands, and with many more cases.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.data import checksums
from gram.data.splits import load_split
from gram.evaluate import evaluation
from gram.evaluate.pool import pool_folds
from gram.figures.curves import completions_data, width_data
from gram.figures.samplers import samplers_data
from gram.figures.scaling import halting_data, scaling_data
from gram.figures.training import training_data
from gram.models.factory import build_model
from gram.models.network import Shape
from gram.runs import export, restore, warm_start
from gram.settings import EvaluateConfig, RunSettings
from gram.system import files
from gram.system.errors import GramError
from gram.tables.costs import costs, read_ledger, read_metas
from gram.tables.evaluations import read_evaluations
from gram.tables.reference import runs_of
from gram.tables.reported import read_figure4, read_others, read_params, read_reported
from gram.tables.rows import table1
from gram.tasks import make_task
from gram.train.trainer import Trainer
from tests import synthetic

CPU = torch.device("cpu")
RESOURCES = Path(__file__).parents[1] / "resources"
CASES = 30  # of each file
# In the place of any value of a JSON file.
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 2.5, -0.5, "", "x", "0" * 32, [], [1], {}, {"a": 1}),
    *([[]], [{}], "nqueens5-fold0", ["x"] * 3, 2**53 + 1),
)


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The content with one fault: cut, a bit flipped, a part left out, doubled or replaced."""
    place = chance.randrange(len(content))
    end = min(len(content), place + chance.randint(1, 40))
    noise = bytes(chance.randrange(256) for _ in range(end - place))
    return chance.choice(
        [
            content[:place],
            content[:place]
            + bytes([content[place] ^ 1 << chance.randrange(8)])
            + content[place + 1 :],
            content[:place] + content[end:],
            content[:end] + content[place:],
            content[:place] + noise + content[end:],
            content[place:],
        ]
    )


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to all values inside of a JSON value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    found = [(*path, key) for key in keys]
    for one in list(found):
        found += places(value[one[-1]], one)
    return found


def changed(content: Any, chance: random.Random) -> Any:
    """A JSON value in which one value is another, or is missing."""
    content = copy.deepcopy(content)
    *path, last = chance.choice(places(content))
    owner = content
    for key in path:
        owner = owner[key]
    if chance.random() < 0.3:
        del owner[last]
    else:
        owner[last] = chance.choice(ODD)
    return content


def digest(*values: Any) -> str:
    """A hash of whatever a reader gives."""
    return hashlib.sha256(repr(values).encode()).hexdigest()


class World:
    """A data set, a trained run and what belongs to it, each in a copy."""

    def __init__(self, folder: Path, settings: RunSettings, data: Path, run: Path) -> None:
        self.settings = settings
        self.data = Path(shutil.copytree(data, folder / "data"))
        self.run = Path(shutil.copytree(run, folder / "run"))
        self.kept, self.resumed = folder / "kept", folder / "resumed"
        export.export(run, self.kept)
        trainer = self.trainer()
        trainer.train_step()
        trainer.log_losses()
        trainer.save_resume_state()
        self.evaluations = {}
        for name, content in {
            "test": synthetic.evaluation(),
            "scaling": synthetic.scaling("gram", 0),
            "samplers": synthetic.comparison(),
        }.items():
            self.evaluations[name] = folder / f"{name}.json"
            files.write_json(self.evaluations[name], content)

    def trainer(self) -> Trainer:
        return Trainer(self.settings, self.data, self.resumed, CPU)

    def data_set(self) -> str:
        split = load_split(self.data, "train")
        sums = checksums.measure(self.data / "card.json")
        checksums.record_fix(self.data / "card.json", Path("x"))
        return digest(split.md5, split.inputs.tolist(), split.completions.tolist(), sums)

    def subject(self) -> str:
        subject = evaluation.load_subject(self.run, self.data, "test", EvaluateConfig(), CPU)
        facts = subject.facts(EvaluateConfig())
        model = build_model(
            self.settings.model, Shape.of(make_task("nqueens5", {"removed": [3]})), 0
        )
        first = warm_start.load(self.run / "weights.safetensors", model, {})
        weights = [tensor.tolist() for tensor in subject.model.state_dict().values()]
        return digest(subject.settings, facts, weights, first)

    def history(self) -> str:
        return digest(training_data([self.run / "history.jsonl"]).to_csv())

    def costs(self) -> str:
        return digest(costs(read_metas([self.run / "meta.json"]), None).to_csv())

    def restored(self) -> str:
        trainer = self.trainer()
        torch.manual_seed(0)
        if not trainer.restore():
            return "from the start"
        trainer.train_step()
        weights = [tensor.tolist() for tensor in trainer.ema.model.state_dict().values()]
        return digest(trainer.step, trainer.seconds, trainer.history, weights)

    def kept_run(self) -> str:
        target = self.kept.with_name("target")
        files.write_json(target / "config.json", self.settings.as_dict())
        restore.restore(self.kept, target / "config.json", self.data / "card.json", target)
        return digest(*((target / name).read_bytes() for name in restore.RESTORED[:2]))

    def table(self) -> str:
        read = read_evaluations([self.evaluations["test"]])
        runs_of([self.evaluations["test"]], read)
        table = table1(read, {}, None)
        drawn = [completions_data(read).to_csv(), width_data(read).to_csv()]
        pooled = pool_folds([*read])
        return digest(table.to_csv(), drawn, pooled)

    def scaling(self) -> str:
        read = read_evaluations(
            [self.evaluations["scaling"]], ("by_depth_and_width", "halting", "by_halting_step")
        )
        return digest(scaling_data(read).to_csv(), halting_data(read).to_csv())

    def samplers(self) -> str:
        read = read_evaluations([self.evaluations["samplers"]], ("by_sampler", "summary"))
        return digest(samplers_data(read).to_csv())


@pytest.fixture(scope="module")
def world(
    settings: RunSettings,
    data_folder: Path,
    gram_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> World:
    """Every test puts back what it has damaged."""
    return World(tmp_path_factory.mktemp("world"), settings, data_folder, gram_run)


# A file of the world, and who reads it.
READ: dict[str, tuple[Callable[[World], Path], Callable[[World], str]]] = {
    "card": (lambda world: world.data / "card.json", World.data_set),
    "parquet": (lambda world: world.data / "train.parquet", World.data_set),
    "config": (lambda world: world.run / "config.json", World.subject),
    "meta": (lambda world: world.run / "meta.json", World.subject),
    "meta in costs": (lambda world: world.run / "meta.json", World.costs),
    "weights": (lambda world: world.run / "weights.safetensors", World.subject),
    "history": (lambda world: world.run / "history.jsonl", World.history),
    "resume": (lambda world: world.resumed / "resume.safetensors", World.restored),
    "kept config": (lambda world: world.kept / "config.json", World.kept_run),
    "kept meta": (lambda world: world.kept / "meta.json", World.kept_run),
    "kept weights": (lambda world: world.kept / "weights.safetensors", World.kept_run),
    "kept history": (lambda world: world.kept / "history.jsonl", World.kept_run),
    "evaluation": (lambda world: world.evaluations["test"], World.table),
    "scaling": (lambda world: world.evaluations["scaling"], World.scaling),
    "samplers": (lambda world: world.evaluations["samplers"], World.samplers),
}


def one_line(read: Callable[[], str]) -> str | None:
    """What a reader gives; None where it refuses, in one short line."""
    try:
        return read()
    except GramError as error:
        assert len(str(error)) < 1500 and str(error).strip().count("\n") <= 1
        return None


@pytest.mark.parametrize("name", READ)
def test_damaged_bytes_are_one_line_or_the_same_numbers(name: str, world: World) -> None:
    place, reader = READ[name]
    path = place(world)
    content, expected = path.read_bytes(), reader(world)
    chance = random.Random(name)
    refused = 0
    try:
        for _ in range(CASES):
            path.write_bytes(damaged(content, chance))
            found = one_line(lambda: reader(world))
            refused += found is None
            if not (name == "resume" and found == "from the start"):  # which it says
                assert found in (None, expected)
    finally:
        path.write_bytes(content)
    assert refused > CASES // 3


NO_JSON = ("parquet", "weights", "resume", "history", "kept weights", "kept history")


@pytest.mark.parametrize("name", [name for name in READ if name not in NO_JSON])
def test_odd_values_are_one_line_and_never_a_traceback(name: str, world: World) -> None:
    """In files without a digest, as older versions wrote them, or someone by hand."""
    place, reader = READ[name]
    path = place(world)
    content = path.read_bytes()
    value, chance = files.read_json(path), random.Random(name)
    refused = 0
    try:
        for _ in range(3 * CASES):
            path.write_text(json.dumps(changed(value, chance)), encoding="utf-8")
            refused += one_line(lambda: reader(world)) is None
    finally:
        path.write_bytes(content)
    assert refused > CASES // 3


@pytest.mark.parametrize("name", ["evaluation", "scaling", "samplers"])
def test_a_metric_that_is_cut_out_with_its_digest_is_named_or_not_read(
    name: str, world: World
) -> None:
    """By hand, say: the file is whole and lacks a number."""
    place, reader = READ[name]
    path = place(world)
    content, expected = files.read_json(path), reader(world)
    named = []
    try:
        for *keys, last in places(content):
            # Of alike rows the first; a metric is a value with its sums.
            if any(isinstance(key, int) and key for key in keys) or not isinstance(last, str):
                continue
            cut = copy.deepcopy(content)
            owner = cut
            for key in keys:
                owner = owner[key]
            if not isinstance(owner[last], dict) or "value" not in owner[last]:
                continue
            del owner[last]
            files.write_json(path, cut)
            try:
                assert reader(world) == expected, (*keys, last)
            except GramError as error:
                named.append(last)
                assert f"({'.'.join(map(str, (*keys, last)))} is missing)" in str(error)
    finally:
        files.write_json(path, content)
    assert len(named) > 3 and ("coverage_micro" in named or name == "scaling")


@pytest.mark.parametrize("name", ["history.jsonl"])
def test_odd_lines_of_a_history_are_one_line(name: str, world: World) -> None:
    path, meta = world.run / name, world.run / "meta.json"
    content, facts = path.read_bytes(), meta.read_bytes()
    lines, chance = files.read_json_lines(path), random.Random(name)
    older = files.read_json(meta)
    del older["files_md5"]
    files.write_json(meta, older)
    try:
        for _ in range(3 * CASES):
            text = "".join(json.dumps(line) + "\n" for line in changed(lines, chance))
            path.write_text(text, encoding="utf-8")
            one_line(world.history)
    finally:
        path.write_bytes(content)
        meta.write_bytes(facts)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("checksums.tsv", checksums.read_listed),
        ("reported.csv", read_reported),
        ("reported.csv", read_others),
        ("reported.csv", read_params),
        ("figure4.csv", read_figure4),
        ("ledger.jsonl", read_ledger),
    ],
)
def test_damaged_lists_are_one_line_or_read(
    name: str, read: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = tmp_path / name
    line = {"run": "gram", "hours": 1.0, "cost": 0.5, "outcome": "done"}
    line["jobs"] = [{"rule": "train", "wildcards": {"task": "nqueens5", "method": "gram"}}]
    ledger = (json.dumps(line) + "\n") * 3
    content = ledger.encode() if name == "ledger.jsonl" else (RESOURCES / name).read_bytes()
    path.write_bytes(content)
    read(path)
    chance = random.Random(name)
    odd = [b"\xff", b"\0", b"", b'"', b"\xc2\xb2,abc\n", b"a,b\n1,2,3,4,5,6,7,8,9,10,11\n"]
    for case in range(3 * CASES):
        path.write_bytes(odd[case] if case < len(odd) else damaged(content, chance))
        one_line(lambda: str(read(path)))
