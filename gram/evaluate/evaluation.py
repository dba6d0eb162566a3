"""Accuracy and coverage of one run on one split, from prior rollouts only."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from gram.data.checksums import add_checksums_argument
from gram.data.splits import SPLITS, Split, load_split, write_table
from gram.evaluate import metrics
from gram.evaluate.forms import Forms, draw_forms
from gram.evaluate.judges import JUDGES
from gram.evaluate.partial import PartialDraws
from gram.evaluate.scoring import Drawn, score
from gram.models.factory import build_model, parameter_count
from gram.models.network import Given, Network, Shape, forward_in, multiply_in
from gram.models.rollout import Rollout, Stop, rollouts
from gram.models.samplers import make_sampler, sampler_class
from gram.runs import checkpoint
from gram.runs.facts import RunFacts, settings_noted
from gram.runs.made_by import made_by
from gram.runs.trained import KEPT, UNFINISHED, WEIGHTS, read_trained
from gram.settings import EvaluateConfig, RunSettings
from gram.settings.config import check_card
from gram.settings.documents import yaml_option
from gram.settings.tasks import family_of
from gram.system import files
from gram.system.errors import GramError
from gram.system.names import join_evaluation
from gram.system.progress import progress_of_part
from gram.system.provenance import provenance, seeded_generator
from gram.system.shapes import SAMPLES_MD5
from gram.tasks import Task, make_task


def draw_at(
    model: Network,
    split: Split,
    stops: Sequence[Stop],
    config: EvaluateConfig,
    generator: torch.Generator,
    partial: PartialDraws | None = None,
    forms: Forms | None = None,
) -> list[Drawn]:
    """W prior samples of every input; a deterministic model answers each form of it once, and its
    answers stand for all W.

    Args:
        model: the network.
        split: the inputs.
        stops: where the trajectories are read; one of the list for each.
        config: width, batch size and sampler.
        generator: source of the noise, on the device of the model.
        partial: where what is drawn is saved on the way, and goes on from.
        forms: of the inputs, which its trajectories take in turn.
    """
    draws = draws_of(model, config)
    sampler = make_sampler(config, draws)
    index = np.repeat(np.arange(len(split.inputs)), draws)
    form = np.arange(len(index)) % draws % config.forms
    rows = max(config.batch_size // sampler.group, 1) * sampler.group
    resumed = partial.resume(generator) if partial else []
    done = len(resumed[0].tokens) if resumed else 0
    # One array for all: kept batch by batch they would leave holes between them as large as what
    # each batch needs on the way.
    whole = [room_for(read, len(index)) for read in resumed]
    fill(whole, resumed, 0)
    forward = forward_in(config.precision, generator.device)
    with forward, progress_of_part(total=len(index), desc="rollouts", unit="trajectory") as bar:
        bar.update(done)
        for start in range(done, len(index), rows):
            some = slice(start, start + rows)
            inputs = split.inputs[index[some]]
            if forms is not None:
                inputs = forms.changed(inputs, form[some])
            part = rollouts(
                model,
                Given(torch.from_numpy(inputs).long().to(generator.device)),
                stops=stops,
                generator=generator,
                sampler=sampler,
                noise_scale=config.noise_scale,
            )
            part = [compact(read, forms, form[some]) for read in part]
            whole = whole or [room_for(read, len(index)) for read in part]
            fill(whole, part, start)
            bar.update(len(inputs))
            if partial:
                drawn_so_far = [upto(read, start + len(inputs)) for read in whole]
                partial.save_if_due(drawn_so_far, generator)
    shape = (len(split.inputs), draws)
    drawn = []
    for read in whole:
        columns = []
        for column in read:
            by_input = column.numpy().reshape(*shape, *column.shape[1:])
            if draws < config.width:
                by_input = np.repeat(by_input, config.width // draws, axis=1)
            columns.append(by_input)
        drawn.append(Drawn(*columns))
    return drawn


def room_for(read: Rollout, rows: int) -> Rollout:
    """Empty columns for as many rows as there are in all, of the kind of what was read of some."""
    return Rollout(*(torch.empty((rows, *column.shape[1:]), dtype=column.dtype) for column in read))


def fill(whole: Sequence[Rollout], part: Sequence[Rollout], start: int) -> None:
    """Put what was read at each stop of some rows into its place, from row ``start`` on."""
    for to, read in zip(whole, part, strict=True):
        for column, values in zip(to, read, strict=True):
            column[start : start + len(values)] = values


def upto(read: Rollout, rows: int) -> Rollout:
    """The first rows of what was read at a stop."""
    return Rollout(*(column[:rows] for column in read))


def draws_of(model: Network, config: EvaluateConfig) -> int:
    """Trajectories that are computed per input."""
    return config.width if model.samples else config.forms


def compact(read: Rollout, forms: Forms | None, form: NDArray[np.int64]) -> Rollout:
    """What was read of a batch, on the CPU, with its tokens as uint8 and as answers to the inputs
    themselves.

    Args:
        read: of B trajectories.
        forms: in which the inputs were.
        form: [B], in which of them.
    """
    tokens = read.tokens.to(torch.uint8).cpu()
    if forms is not None:
        tokens = torch.from_numpy(forms.undone(tokens.numpy(), form))
    return Rollout(tokens, *(column.cpu() for column in read[1:]))


def draw(
    model: Network,
    split: Split,
    config: EvaluateConfig,
    generator: torch.Generator,
    partial: PartialDraws | None = None,
    forms: Forms | None = None,
) -> Drawn:
    """:func:`draw_at` the depth of ``config``."""
    stops = [Stop(config.depth, config.act)]
    return draw_at(model, split, stops, config, generator, partial, forms)[0]


def overlap(train: Split, split: Split) -> dict[str, dict[str, float | None]]:
    """How much of a split training has met: its inputs (none of a test split), and its completions
    as targets of other inputs.
    """
    found = {}
    for kind in ("inputs", "completions"):
        seen = {row.tobytes() for row in getattr(train, kind)}
        rows = getattr(split, kind)
        found[kind] = metrics.ratio(sum(row.tobytes() in seen for row in rows), len(rows))
    return found


def samples_table(split: Split, drawn: Drawn, scored: metrics.Samples) -> pa.Table:
    """One row per sample: input_id, sample, tokens, completion_id (-1: invalid), value, steps.

    The tokens are those of ``drawn``: millions of rows of pandas would be as many objects.
    """
    N, W, L = drawn.tokens.shape
    tokens = drawn.tokens.reshape(-1, L)
    columns = {
        "input_id": np.repeat(split.input_ids, W),
        "sample": np.tile(np.arange(W), N),
        "tokens": pa.ListArray.from_arrays(
            pa.array(np.arange(0, tokens.size + 1, L, dtype=np.int32)), pa.array(tokens.reshape(-1))
        ),
        "completion_id": scored.found.reshape(-1),
        "value": drawn.value.reshape(-1),
        "steps": drawn.steps.reshape(-1),
    }
    first = {name: column[:1] for name, column in columns.items()} | {"tokens": [tokens[0]]}
    schema = pa.Schema.from_pandas(pd.DataFrame(first), preserve_index=False)
    return pa.table([pa.array(column) for column in columns.values()], schema=schema)


def not_of(architecture: str) -> dict[str, None]:
    """The facts of settings that do nothing for an architecture, such as a temperature: None."""
    noted = settings_noted()
    return {
        noted[field.name]: None
        for field in fields(EvaluateConfig)
        if field.metadata["only"] and architecture not in field.metadata["only"]
    }


def load_model(
    settings: RunSettings, task: Task, weights: Path, config: EvaluateConfig, device: torch.device
) -> Network:
    """The trained network of a run, ready for rollouts that answer as ``config`` says."""
    model = build_model(settings.model, Shape.of(task), seed=0)
    checkpoint.load_weights(weights, model, config.weights)
    model.answer_as(config)
    multiply_in(settings.train.matmul, device)
    return model.to(device).eval().requires_grad_(False)


@dataclass(frozen=True)
class Subject:
    """What is evaluated: one run on one split.

    Attributes:
        settings: of the run.
        meta: what training wrote beside the weights.
        weights: the file of the weights.
        weights_md5: MD5 of that file, as it was loaded.
        task: with its verifier.
        split_name: of :attr:`split`.
        split: the inputs.
        train: the inputs that the run was trained on.
        model: the network, ready for rollouts.
        device: where it lies.
        evaluation: the name of this evaluation of the run; "" of the one that every run has.
    """

    settings: RunSettings
    meta: dict[str, Any]
    weights: Path
    weights_md5: str
    task: Task
    split_name: str
    split: Split
    train: Split
    model: Network
    device: torch.device
    evaluation: str = ""

    def generator(self, *names: str | int) -> torch.Generator:
        """A generator for one named purpose of this run and split."""
        return seeded_generator(
            self.device, self.settings.seed, names[0], self.split_name, *names[1:]
        )

    def facts(
        self,
        config: EvaluateConfig,
        command: str = "gram.evaluate.__main__",
        samplers: Sequence[str] = (),
    ) -> dict[str, Any]:
        """What a JSON says of the run and of the test-time compute of ``config``.

        Args:
            config: the compute.
            command: the module of the command that writes the JSON.
            samplers: those that it uses, if they are not the one of ``config``.
        """
        settings, meta = self.settings, self.meta
        own: list[type] = [sampler_class(name) for name in samplers or [config.sampler]]
        own.append(JUDGES[family_of(settings.task).judge])
        noted = settings_noted()
        asked = {noted[name]: value for name, value in asdict(config).items() if name in noted}
        facts = RunFacts(
            task=settings.task,
            method=join_evaluation(settings.method, self.evaluation),
            seed=settings.seed,
            split=self.split_name,
            inputs=len(self.split.inputs),
            folds=settings.data.split.folds,
            **asked | not_of(settings.model.architecture),
            matmul=settings.train.matmul if self.device.type == "cuda" else None,
            weights_dtype=meta.get(KEPT, {}).get("dtype", "float32"),
            draws=draws_of(self.model, config),
            calls=self.model.calls,
            ema=config.weights == "ema",
            parameters=parameter_count(self.model),
            supervision_steps_seen=meta["supervision_steps"],
            training_examples=meta["training_examples"],
            training_seconds=meta["seconds"],
            data_md5={self.split_name: self.split.md5, "train": self.train.md5},
            checkpoint=str(self.weights),
            checkpoint_md5=self.weights_md5,
            trained_by=(
                {key: meta[key] for key in ("code_hash", "commit", "dirty", "torch", "device")}
                | {key: meta[key] for key in ("code_of",) if key in meta}
                # Several, where other code went on with the run; the tables mark that.
                | {"code_hash": "+".join(meta.get("code_hashes", [meta["code_hash"]]))}
            ),
            evaluated_by=provenance(self.device, made_by(command, settings, self.model, *own)),
            unfinished=meta.get(UNFINISHED),
        )
        return facts.as_dict()

    def partial(self, output: Path, config: EvaluateConfig) -> PartialDraws:
        """Where the draws of this run with ``config`` are saved on the way to ``output``."""
        facts = self.facts(config)
        # Another folder or another moment changes nothing of what is drawn; another machine may.
        del facts["checkpoint"]
        facts["settings"] = asdict(config)
        return PartialDraws(output, facts)


def load_subject(
    run_folder: Path, data: Path, split_name: str, config: EvaluateConfig, device: torch.device
) -> Subject:
    """A run and the split it is evaluated on, with the weights, and the way to answer, of
    ``config``.

    Raises:
        GramError: missing or foreign files, or other data than the run was trained on.
    """
    settings, meta, weights_md5 = read_trained(run_folder)
    torch.set_num_threads(settings.train.threads)
    task = make_task(settings.task, settings.data.generator)
    check_card(data / "card.json", settings.data, run_folder / "config.json")
    split = load_split(data, split_name)
    train = load_split(data, "train")
    for name, one in (("train", train), (split_name, split)):
        if one.md5 != meta["data_md5"].get(name, one.md5):  # training does not see the test split
            raise GramError(
                f"{run_folder}: trained on data with MD5 {meta['data_md5'][name]} ({name}), but"
                f" {data} has {one.md5}: test inputs could have been seen; train again"
            )
    weights = run_folder / WEIGHTS
    model = load_model(settings, task, weights, config, device)
    return Subject(
        settings, meta, weights, weights_md5, task, split_name, split, train, model, device
    )


def load_subjects(
    run_folders: Sequence[Path],
    data: Sequence[Path],
    split_name: str,
    config: EvaluateConfig,
    device: torch.device,
) -> list[Subject]:
    """:func:`load_subject` for one run, or for the run of every fold with its data.

    Raises:
        GramError: not one data set per run, or what :func:`load_subject` raises.
    """
    if len(run_folders) != len(data):
        raise GramError(
            f"--data: needs one folder per --run, found {len(data)} for {len(run_folders)}"
        )
    return [
        load_subject(run, folder, split_name, config, device)
        for run, folder in zip(run_folders, data, strict=True)
    ]


def evaluate(
    subject: Subject, config: EvaluateConfig, partial: PartialDraws | None = None
) -> tuple[dict[str, Any], pa.Table]:
    """The evaluation of one run on one split, as the JSON's content, and the table of its
    samples.
    """
    split = subject.split
    generator = subject.generator("evaluate", config.seed)
    forms = draw_forms(subject.task, config)
    drawn = draw(subject.model, split, config, generator, partial, forms)
    family = family_of(subject.settings.task)
    judge = JUDGES[family.judge](subject.train, family.bins)
    scored = score(subject.task, split, drawn, judge)
    content = {
        "run": subject.facts(config),
        "overlap_with_training": overlap(subject.train, split),
        **judge.sections(scored, config.sampler == "iid"),
    }
    return content, samples_table(split, drawn, scored)


def write_evaluation(
    subject: Subject,
    config: EvaluateConfig,
    output: Path,
    samples: Path | None = None,
    beside: Mapping[str, Any] | None = None,
) -> None:
    """Evaluate a run on a split, and write the JSON ``output`` and, where asked for, its samples as
    Parquet; what was drawn is saved on the way, and goes on from.

    Args:
        subject: the run on the split.
        config: how it is evaluated.
        output: the JSON file.
        samples: the Parquet file, if there is to be one.
        beside: what the JSON says of who evaluated it, beside what is seen here.
    """
    partial = subject.partial(output, config)
    content, table = evaluate(subject, config, partial)
    if samples:
        write_table(samples, table)
        content["run"][SAMPLES_MD5] = files.md5(samples)
    content["run"]["evaluated_by"] |= beside or {}
    files.write_json(output, content)
    partial.remove()


def add_arguments(parser: argparse.ArgumentParser, *, folds: bool) -> None:
    """What every command takes that rolls out trained runs; with ``folds``, --run and --data name
    those of all folds.
    """
    several: dict[str, Any] = {"nargs": "+"} if folds else {}
    more = "; with folds all of them" if folds else ": config.json, weights.safetensors, meta.json"
    parser.add_argument(
        "--run", type=Path, required=True, help=f"folder of the run{more}", **several
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help=f"folder of the data set{' of each --run' * folds}",
        **several,
    )
    add_checksums_argument(parser)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--settings",
        type=yaml_option("--settings"),
        default={},
        help="section evaluate as YAML or JSON",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--output", type=files.named, required=True, help="JSON file to write")
