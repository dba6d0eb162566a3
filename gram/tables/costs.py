"""What the runs of a table took: trainings, devices, hours, memory and, where pods were rented,
dollars.

Dollars come from a ledger that the RunPod executor writes: a line of JSON per pod that has ended.
Its format is the whole interface (the head of ``snakemake_executor_plugin_runpod/ledger.py`` lists
the keys); that package is not imported here. Read are ``cost`` (dollars), ``hours``, ``outcome``
("done", or how a pod was lost or its job failed) and ``jobs`` (rule and wildcards of each of
Snakemake's jobs on the pod), which lines of older versions do not have.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from gram.runs.trained import KEPT
from gram.settings.config import split_fold
from gram.system import files, regular
from gram.system.errors import GramError
from gram.system.shapes import read_meta
from gram.tables.evaluations import progress_of
from gram.tables.layout import NOTHING, Document, Section, Table, footnotes
from gram.tables.names import OVERRIDDEN, in_order, label
from gram.tables.overridden import EXPERIMENTS, in_one_line, in_training
from gram.tables.rows import natural

TRAINED, RESTORED = "trained", "restored"
OTHER_PODS, TOTAL = "other pods", "total"
PURPOSES = {
    "training": "pods that trained; one that also evaluated what it had trained counts here",
    "evaluation": "pods that evaluated and did not train",
    "other": (
        "pods of other jobs, and those whose line in the ledger does not say which job they had"
    ),
    "lost": (
        "pods whose job did not end well: taken away, failed, ended with the head, or never used."
        " They were paid for as well"
    ),
}
NOT_RENTED = (
    "No ledger of rented pods was found, so there are no dollars: nothing was rented, all of it ran"
    " on machines at hand."
)
RENTED = (
    "Dollars are a pod's price per hour times the hours that it existed, as {ledger} has them."
    " Every pod in it counts, also those of earlier attempts and of runs that are not in this"
    " table; the provider's bill is what counts in the end."
)


class Method(NamedTuple):
    """A method on a task; folds belong to their task."""

    task: str
    method: str


class Pod(NamedTuple):
    """A line of the ledger: for which method (None: for none or several), for what (a key of
    ``PURPOSES``), and dollars.
    """

    method: Method | None
    purpose: str
    dollars: float


def read_metas(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """The facts of trained runs, ``meta.json`` as :mod:`gram.train.trainer` writes it.

    Raises:
        GramError: a file is missing, is no such file, or has a run that another one has.
    """
    seen: dict[tuple[Any, ...], Path] = {}
    metas = []
    for path in paths:
        meta = read_meta(path)
        run = (meta["task"], meta["method"], meta["seed"])
        if run in seen:
            raise GramError(
                f"{path}: {run[0]} {run[1]} seed {run[2]} is also in {seen[run]}; leave one out"
            )
        seen[run] = path
        metas.append(meta)
    return metas


def read_ledger(path: Path) -> list[Pod] | None:
    """The pods in a ledger, or None where there is no such file. A last line that a crash cut off
    is left out.

    Raises:
        GramError: another line is damaged.
    """
    try:
        texts = regular.read_text(path).splitlines(keepends=True)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise GramError(
            f"{path}: cannot be read as a ledger ({error}); fix it or move it away"
        ) from error
    pods = []
    for number, text in enumerate(texts, start=1):
        try:
            pods.append(pod_of(files.parse_json(text)))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            if number == len(texts) and not text.endswith("\n"):
                break
            raise GramError(
                f"{path}:{number}: no line of a ledger (JSON with cost, outcome and, if any, jobs);"
                " fix or delete this line"
            ) from error
    return pods


def pod_of(line: Mapping[str, Any]) -> Pod:
    """A line of the ledger, sorted in.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is none.
    """
    dollars = float(line["cost"])
    if not (math.isfinite(dollars) and dollars >= 0):
        raise ValueError(f"cost {dollars}")
    jobs = line.get("jobs", [])
    rules = {job["rule"] for job in jobs}
    purpose = "lost" if line["outcome"] != "done" else "training" if "train" in rules else "other"
    if purpose == "other" and rules == {"evaluate"}:
        purpose = "evaluation"
    wildcards = [job["wildcards"] for job in jobs]
    methods = {
        Method(split_fold(one.get("task", ""))[0], one.get("method", "")) for one in wildcards
    }
    return Pod(methods.pop() if len(methods) == 1 else None, purpose, dollars)


def dollars_by_method(
    pods: Iterable[Pod], methods: Iterable[Method]
) -> dict[Method | None, dict[str, float]]:
    """Dollars of each method by purpose; under None those of all pods that belong to none of
    ``methods``.
    """
    known = set(methods)
    sums: dict[Method | None, dict[str, float]] = defaultdict(lambda: dict.fromkeys(PURPOSES, 0.0))
    for pod in pods:
        sums[pod.method if pod.method in known else None][pod.purpose] += pod.dollars
    return sums


def costs(
    metas: Sequence[dict[str, Any]], pods: Sequence[Pod] | None, experiments: Path = EXPERIMENTS
) -> pd.DataFrame:
    """A row per task and method, one for other pods, and the total, in which restored trainings do
    not count.

    Args:
        metas: of all runs, each once.
        pods: of the ledger; None without one, and then no columns of dollars.
        experiments: the folder whose settings are not marked as overridden.

    Returns:
        columns task, method, source ("trained" here, or "restored" from a reference run),
        trainings, device, hours_mean and hours (wall-clock hours of training), peak_memory_gib,
        dollars_{purpose} and dollars, and settings: those that were overridden. The dollars of a
        method that has runs of both sources stand with those trained here.
    """
    groups: dict[Method, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for meta in metas:
        method = Method(split_fold(meta["task"])[0], meta["method"])
        groups[method][RESTORED if KEPT in meta else TRAINED].append(meta)
    paid = dollars_by_method(pods or [], groups)
    rows = []
    for task in sorted({method.task for method in groups}, key=natural):
        for name in in_order(method.method for method in groups if method.task == task):
            method = Method(task, name)
            for position, source in enumerate(
                source for source in (TRAINED, RESTORED) if groups[method][source]
            ):
                taken = _taken(groups[method][source])
                texts = (in_training(one, experiments) for one in groups[method][source])
                changed = dict.fromkeys(itertools.chain.from_iterable(texts))
                rows.append(
                    {
                        **method._asdict(),
                        "source": source + progress_of(groups[method][source]),
                        **taken,
                        "settings": in_one_line(changed),
                        **(_dollars(paid[method]) if position == 0 else {}),
                    }
                )
    if paid[None] and sum(paid[None].values()):
        rows.append({"task": OTHER_PODS, **_dollars(paid[None])})
    here = [meta for meta in metas if KEPT not in meta]
    everything = {}
    for purpose in PURPOSES:
        everything[purpose] = sum(sums[purpose] for sums in paid.values())
    rows.append({"task": TOTAL, **_taken(here), **_dollars(everything)})
    columns = [
        "task",
        "method",
        "source",
        "trainings",
        "device",
        "hours_mean",
        "hours",
        "peak_memory_gib",
        *([] if pods is None else _dollars(everything)),
        "settings",
    ]
    table = pd.DataFrame(rows, columns=columns).fillna({"settings": ""})
    return table.astype({"trainings": "Int64"})


def _taken(metas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What trainings took."""
    hours = [meta["seconds"] / 3600 for meta in metas]
    devices = {
        (f"{meta['processes']} × " if meta["processes"] > 1 else "") + meta["device"]
        for meta in metas
    }
    return {
        "trainings": len(metas),
        "device": ", ".join(sorted(devices)),
        "hours_mean": sum(hours) / len(hours) if hours else math.nan,
        "hours": sum(hours),
        "peak_memory_gib": max(
            (meta["peak_memory_bytes"] / 2**30 for meta in metas), default=math.nan
        ),
    }


def clock(hours: float) -> str:
    """Hours as h:mm:ss, which shows both the seconds of a small board and the days of a large
    one.
    """
    seconds = round(3600 * hours)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _dollars(sums: Mapping[str, float]) -> dict[str, float]:
    return {
        **{f"dollars_{purpose}": dollars for purpose, dollars in sums.items()},
        "dollars": sum(sums.values()),
    }


def costs_document(table: pd.DataFrame, name: str, ledger: Path) -> Document:
    """The table of :func:`costs` as a page.

    Args:
        table: the rows.
        name: the table whose runs they are, for the title.
        ledger: where the dollars come from.
    """
    rented = "dollars" in table
    header = [("", "method"), ("", "runs"), ("", "device")]
    header += [
        ("training, h:mm:ss", "mean"),
        ("training, h:mm:ss", "total"),
        ("", "peak memory, GiB"),
    ]
    forms: dict[str, Callable[[float], str]] = {
        "hours_mean": clock,
        "hours": clock,
        "peak_memory_gib": "{:.2f}".format,
    }
    if rented:
        header += [("dollars", purpose) for purpose in (*PURPOSES, TOTAL)]
        forms |= {
            column: "{:.2f}".format
            for column in map(str, table.columns)
            if column.startswith("dollars")
        }
    rows = []
    for row in table.to_dict("records"):
        numbers = [NOTHING if pd.isna(row[key]) else form(row[key]) for key, form in forms.items()]
        runs = (
            NOTHING
            if pd.isna(row["trainings"])
            else f"{row['trainings']} {TRAINED if pd.isna(row['source']) else row['source']}"
        )
        title = row["task"] if pd.isna(row["method"]) else f"{row['task']}: {label(row['method'])}"
        title += OVERRIDDEN if row["settings"] else ""
        device = NOTHING if pd.isna(row["device"]) or not row["device"] else row["device"]
        rows.append([title, runs, device, *numbers])
    text = [RENTED.format(ledger=ledger) if rented else NOT_RENTED]
    terms = [
        ("runs", f"trainings, one per seed and fold: {TRAINED} for this table, or {RESTORED} from "
                 "reference runs, which other machines trained before; those show what they took "
                 "then, and are not in the total"),
        ("device", "what the runs were trained on, as their meta.json has it"),
        ("training", "wall-clock time over all sessions of a run, without steps that a kill lost"),
        ("peak memory", "the most of any run, of the process with the most"),
    ]  # fmt: skip
    dollars = (
        [(f"dollars: {purpose}", meaning) for purpose, meaning in PURPOSES.items()]
        if rented
        else []
    )
    other = (
        [(OTHER_PODS, "pods of runs that are not in this table, and of unknown ones")]
        if rented
        else []
    )
    section = Section("Trainings", text, [Table("What they took", header, rows)])
    marks = footnotes([OVERRIDDEN] if table["settings"].any() else [])
    title = f"What the runs of {name} took"
    return Document(title, [], [section], [*terms, *dollars, *other], marks)
