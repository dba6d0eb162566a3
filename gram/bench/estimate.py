"""What the runs of a configuration would cost on a GPU: FLOPs counted from the settings, hours and dollars as an estimate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from gram.bench.flops import run_flops, shape_of, supervised_loss
from gram.config import load_experiment, merge, resolve
from gram.errors import GramError
from gram.models.factory import build_model, parameter_count
from gram.models.network import Network
from gram.settings import RunSettings

# fp32 copies of the weights: themselves, their gradient, two moments of AdamW, and the moving average.
COPIES = 5


class Estimate(NamedTuple):
    """All seeds of one method on one task."""

    settings: RunSettings
    runs: int
    flops: int  # of one run
    memory: int  # bytes of weights and activations in one training process


def planned(workflow: Path, root: Path) -> Iterator[tuple[RunSettings, int]]:
    """Settings of the first seed, and number of trainings, of every method and task of a workflow's configuration.

    Args:
        workflow: a file as ``snakemake --configfile`` takes it, laid over config/config.yaml.
        root: root of the repository.

    Raises:
        GramError: a file that is not YAML, or an experiment or method that does not exist.
    """
    config: dict[str, Any] = {}
    for path in (root / "config/config.yaml", workflow):
        try:
            config = merge(config, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
            raise GramError(f"{path}: not a readable YAML file with keys and values: {error}") from error
    for entry in config["runs"]:
        path = root / "config/experiments" / f"{entry['task']}.yaml"
        experiment = load_experiment(path, config["overrides"].get(entry["task"]))
        tasks = experiment.tasks(entry["task"])
        for method in entry["methods"]:
            yield resolve(experiment, tasks[0], method, entry["seeds"][0]), len(tasks) * len(entry["seeds"])


def kept_bytes(model: Network, settings: RunSettings, rows: int) -> int:
    """Bytes that autograd keeps between forward and backward pass of the run's model, in its precision, counted on the CPU."""
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=settings.train.precision == "bf16"),
    ):
        loss = supervised_loss(model, settings, rows)
    assert loss.requires_grad  # it still holds the graph, so that no address was used twice
    return sum(kept.values())


def estimate(settings: RunSettings, runs: int) -> Estimate:
    """FLOPs and memory of one training run."""
    model = build_model(settings.model, shape_of(settings), seed=0)
    per_row = kept_bytes(model, settings, 3) - kept_bytes(model, settings, 2)  # what does not grow with the rows cancels
    rows = settings.train.micro_batch or settings.train.batch_size
    return Estimate(settings, runs, run_flops(settings), COPIES * 4 * parameter_count(model) + rows * per_row)


def table(estimates: list[Estimate], *, teraflops: float, share: float, dollars: float) -> list[str]:
    """Lines that say what was assumed, then one per method and task, then the sum.

    Args:
        estimates: what is planned.
        teraflops: peak of the GPU, in 10^12 FLOP/s, in the precision of the runs.
        share: share of that peak that training reaches.
        dollars: price of an hour of the GPU.
    """
    rate = teraflops * 1e12 * share
    lines = [
        f"ESTIMATE, not measured: {share:.0%} of {teraflops:g} TFLOP/s, {dollars:g} dollars an hour. Only matrix products of "
        "training are counted; memory is what weights and one (micro-)batch keep for the backward pass, without compilation."
    ]
    total = 0.0
    for one in estimates:
        hours = one.flops / rate / 3600
        total += one.runs * hours
        lines.append(
            f"{one.settings.task} {one.settings.method}: {one.flops:.2g} FLOPs a run, {one.memory / 2**30:.1f} GiB, "
            f"{one.runs} runs of {hours:.1f} h"
        )
    return [*lines, f"all: {total:.1f} GPU hours, {total * dollars:.0f} dollars"]
