"""What the runs of a configuration would cost on a GPU: FLOPs counted from the settings, hours and
dollars as an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gram.bench.formula import row_flops, run_flops
from gram.settings import RunSettings, documents
from gram.settings.config import load_experiment, resolve, split_fold
from gram.settings.parsing import merge
from gram.system import files
from gram.system.errors import GramError, short, suggestion

GPUS = Path("resources/gpus.yaml")


class Estimate(NamedTuple):
    """All runs of one method on one task."""

    settings: RunSettings
    runs: int
    flops: int  # of one run
    memory: int | None  # bytes of weights and activations in one training process, if asked for


class Rate(NamedTuple):
    """How fast a GPU trains, and what it costs."""

    flops_per_second: float
    basis: str  # where that number comes from, in words
    dollars: float  # per hour
    price: str  # where the price comes from, in words


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file with keys and values.

    Raises:
        GramError: it is not one.
    """
    return documents.mapping(documents.read_yaml(path), str(path))


def workflow_config(workflow: Path, root: Path) -> dict[str, Any]:
    """A workflow's configuration: a file as ``snakemake --configfile`` takes it, laid over
    config/config.yaml.

    Raises:
        GramError: a file that is not YAML.
    """
    return merge(read_yaml(root / "config/config.yaml"), read_yaml(workflow))


def listed(config: dict[str, Any], root: Path) -> Iterator[str]:
    """Every training that a configuration lists under ``runs``, as task/method/seed0, whether it
    has been made or not.

    Raises:
        GramError: an experiment that does not exist.
    """
    for entry in config["runs"]:
        tasks = load_experiment(root / "config/experiments" / f"{entry['task']}.yaml").tasks(
            entry["task"]
        )
        yield from (
            f"{task}/{method}/seed{seed}"
            for method in entry["methods"]
            for task in tasks
            for seed in entry["seeds"]
        )


def planned(
    config: dict[str, Any], trainings: Iterable[str], root: Path
) -> Iterator[tuple[RunSettings, int]]:
    """Settings of the first training, and their number, of every method and experiment among some.

    Args:
        config: of the workflow; its overrides count.
        trainings: as task/method/seed0.
        root: root of the repository.

    Raises:
        GramError: an experiment or method that does not exist.
    """
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    for name in trainings:
        task, method, folder = name.split("/")
        groups.setdefault((split_fold(task)[0], method), []).append(
            (task, int(folder.removeprefix("seed")))
        )
    bases = dict.fromkeys(base for base, _ in groups)
    experiments = {
        base: load_experiment(
            root / "config/experiments" / f"{base}.yaml", config["overrides"].get(base)
        )
        for base in bases
    }
    for (base, method), members in groups.items():
        task, seed = members[0]
        yield resolve(experiments[base], task, method, seed), len(members)


def measured_rate(gpu: str, precision: str, root: Path) -> tuple[float, str] | None:
    """The fastest median of the measurements in resources/benchmarks on a GPU, in FLOP/s, and where
    it stands; what a prototype reached does not count.
    """
    found = []
    for path in sorted((root / "resources/benchmarks").glob("*.json")):
        result = files.read_json(path)
        if result["measured_by"]["device"] == gpu:
            found += [
                (
                    one["flops_per_second"][1],
                    f"{path.name}: {result['method']} on {result['task']}, {name}",
                )
                for name, one in result["variants"].items()
                if name.startswith(precision) and not one.get("prototype")
            ]
    return max(found, default=None)


def published_share(gpus: dict[str, Any], root: Path) -> tuple[float, str]:
    """The share of a GPU's peak that others' training reached, by the FLOPs of our settings of it,
    and where it was published.

    Raises:
        GramError: no entry of resources/gpus.yaml has one.
    """
    for gpu, facts in gpus.items():
        if one := facts.get("published"):
            settings = resolve(
                load_experiment(root / "config/experiments" / f"{one['task']}.yaml"),
                one["task"],
                one["method"],
                0,
            )
            per_example = row_flops(settings) * (
                settings.train.N_sup if settings.train.supervision == "streaming" else 1
            )
            share = one["examples_per_second"] * per_example / (facts["bf16_tflops"] * 1e12)
            return (
                share,
                (
                    f"{one['examples_per_second']:g} examples a second of {one['task']} on {gpu},"
                    f" {one['source']}"
                ),
            )
    raise GramError(
        f"{root / GPUS}: no GPU has `published`, from which a share of a peak would follow; set"
        " `share` in `estimate`"
    )


def rate_of(
    gpu: str, share: float | None, dollars: float | None, precision: str, root: Path
) -> Rate:
    """How fast a GPU of resources/gpus.yaml trains: as measured here, or at a share of its peak,
    which is assumed or others'.

    Args:
        gpu: its name there.
        share: of its peak, assumed where nothing was measured; None takes the share of
        :func:`published_share`.
        dollars: price of an hour; None takes the one in that file.
        precision: of the runs.
        root: root of the repository.

    Raises:
        GramError: a GPU that is not listed there, without a price, or nothing from which a share
            would follow.
    """
    path = root / GPUS
    known = read_yaml(path)
    if gpu not in known:
        raise GramError(
            f"{path}: no GPU {short(gpu)} (add yours with its peak and price);"
            f" {suggestion(gpu, known, 'known ones')}"
        )
    one = known[gpu]
    price = one.get("price", "")
    if dollars is not None:
        price = "as set, without a source"
    elif (dollars := one.get("dollars_per_hour")) is None:
        raise GramError(
            f"{path}: no dollars_per_hour of {gpu!r}; add it there, or to `estimate` in the"
            " configuration"
        )
    if measured := measured_rate(gpu, precision, root):
        rate, where = measured
        return Rate(
            rate,
            f"{rate / 1e12:.3g} TFLOP/s, as measured in resources/benchmarks/{where}",
            dollars,
            price,
        )
    origin = "which is assumed, and was not measured"
    if share is None:
        share, where = published_share(known, root)
        origin = f"as others measured, not we: {where}"
    peak = one["bf16_tflops"]
    return Rate(
        share * peak * 1e12,
        f"{share:.0%} of its peak of {peak:g} TFLOP/s, {origin}",
        dollars,
        price,
    )


def estimate(settings: RunSettings, runs: int, *, memory: bool = False) -> Estimate:
    """FLOPs of one training run, and its memory if asked for, which takes longer."""
    peak = None
    if memory:
        from gram.bench.memory import peak_bytes  # which takes seconds, as torch does

        peak = peak_bytes(settings)
    return Estimate(settings, runs, run_flops(settings), peak)


def gpu_hours(one: Estimate, rate: Rate) -> float:
    """GPU hours of one of the runs."""
    return one.flops / rate.flops_per_second / 3600


def table(estimates: list[Estimate], gpu: str, rate: Rate) -> list[str]:
    """Lines that say what was assumed, then one per method and experiment, then the sum."""
    lines = [
        f"ESTIMATE on {gpu}: {rate.basis}; {rate.dollars:g} dollars an hour ({rate.price}).",
        "Only the matrix products of training count; not evaluations, and not the start of a job.",
    ]
    for one in estimates:
        task, method, hours = (
            split_fold(one.settings.task)[0],
            one.settings.method,
            gpu_hours(one, rate),
        )
        memory = "" if one.memory is None else f", {one.memory / 2**30:.1f} GiB"
        lines.append(
            f"ESTIMATE {task} {method}: {one.runs} trainings of {hours:.1f} GPU hours"
            f" ({one.flops:.2g} FLOPs{memory}), {one.runs * hours:.1f} together"
        )
    total = sum(one.runs * gpu_hours(one, rate) for one in estimates)
    runs = sum(one.runs for one in estimates)
    return [
        *lines,
        (
            f"ESTIMATE in all: {runs} trainings, {total:.1f} GPU hours, {total * rate.dollars:.0f}"
            " dollars"
        ),
    ]
