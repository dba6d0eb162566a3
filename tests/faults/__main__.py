"""``python -m tests.faults``: the fault campaign, or one kind of it, and its counts.

Needs no GPU and some ten minutes of a free core. Each kind's counts are written when it has ended;
the same command goes on with those that this code has not been tried with.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gram.system import files
from gram.system.provenance import provenance
from tests.faults import cases, disks, doubles, injections, kills, settings, workflow, world
from tests.faults import files as files_of_a_project
from tests.faults.cases import CLASSES, Row

OUTPUT = Path("resources/reliability/campaign.json")
SEED = 18
LISTED = 40  # failures of a kind that are kept

# Inputs of the whole campaign.
COUNTS = {
    "Parquet": 430,
    "card.json": 200,
    "config.json of a run": 240,
    "experiment files, shared, settings out of range": 820,
    "arguments (--overrides, --settings, paths)": 150,
    "weights.safetensors": 210,
    "resume.safetensors": 220,
    "meta.json, history.jsonl": 220,
    "evaluation JSON (table, figure, pool)": 300,
    "checksums.tsv, reported.csv, ledger.jsonl": 210,
    "kept run (gram.restore)": 150,
    workflow.KIND: 80,
}
INPUTS = files_of_a_project.KINDS | settings.KINDS
FAULTS: dict[str, Callable[[Path, Path, int], Iterator[Any]]] = {
    "SIGKILL at every file operation, rerun": kills.kills,
    "disk full, rerun": disks.full_disks,
    "two writers at once": doubles.doubles,
    "injections": injections.injections,
}


class Fault(NamedTuple):
    """One fault of the machine, whatever it was."""

    group: str
    name: str
    found: str
    temporary: int


def as_faults(name: str, found: Iterable[Any]) -> Iterator[Fault]:
    """What the kinds of faults report, in one form; a disk that had room enough is no fault."""
    for one in found:
        if one.found != "fits":
            yield Fault(getattr(one, "group", name), one.name, one.found, one.temporary)


def count_inputs(rows: list[Row]) -> dict[str, Any]:
    """The line of the table of inputs."""
    found = Counter(row.found for row in rows)
    bad = [row for row in rows if row.found not in ("clear", "accepted") or row.temporary]
    return {
        "tried": len(rows),
        **{name: found[name] for name in CLASSES},
        "temporary": sum(row.temporary for row in rows),
        "failures": [f"{row.found}: {row.name}: {row.detail}"[:300] for row in bad[:LISTED]],
    }


def count_faults(found: list[Fault]) -> dict[str, Any]:
    """The lines of the table of faults of the machine, by group."""
    groups: dict[str, Any] = {}
    for group in dict.fromkeys(one.group for one in found):
        own = [one for one in found if one.group == group]
        bad = [one for one in own if one.found not in ("same", "fine") or one.temporary]
        groups[group] = {
            "tried": len(own),
            "same": sum(one.found in ("same", "fine") for one in own),
            "wrong": sum(one.found not in ("same", "fine") for one in own),
            "temporary": sum(one.temporary for one in own),
            "failures": [f"{one.name}: {one.found}"[:300] for one in bad[:LISTED]],
        }
    return groups


def seeded(kind: str) -> random.Random:
    """A generator for one kind, whatever others are run."""
    return random.Random(f"{SEED} {kind}")


def inputs(kind: str, undamaged: Path, scratch: Path, count: int) -> Iterator[Row]:
    """The cases of a kind of input; fewer than ``count`` where a share was asked for."""
    if kind == workflow.KIND:
        yield from workflow.rows(scratch, seeded(kind), count)
        return
    # A share is drawn from the whole, so that it holds some of everything.
    whole = list(INPUTS[kind](undamaged, seeded(kind), COUNTS[kind]))
    chosen = whole if count >= COUNTS[kind] else seeded(kind).sample(whole, count)
    for case in chosen:
        yield cases.run_case(kind, case, undamaged, scratch)


def told(kind: str, counted: dict[str, Any], begin: float) -> None:
    """A line on standard error for a kind that has ended."""
    numbers = {key: value for key, value in counted.items() if isinstance(value, int) and value}
    print(f"{kind}: {numbers} in {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


def processor_seconds() -> float:
    """Of this process and of the forks that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def campaign(
    chosen: list[str],
    part: int,
    scratch: Path,
    keep: Callable[[str, dict[str, Any]], None],
    show: Callable[[Any], None],
) -> None:
    """Run kinds, every ``part``-th case; ``show`` each, and hand the counts of a kind to
    ``keep``.
    """
    world.prepare()
    undamaged = scratch / "world"
    world.build(undamaged)
    world.copy(undamaged, scratch / "unfinished")
    world.unfinish(scratch / "unfinished")
    for kind in chosen:
        begin, used = time.monotonic(), processor_seconds()
        rows: list[Any] = []
        if kind in COUNTS:
            found = inputs(kind, undamaged, scratch, max(1, COUNTS[kind] // part))
        else:
            found = as_faults(kind, FAULTS[kind](undamaged, scratch, part))
        for row in found:
            rows.append(row)
            show(row)
        if kind in COUNTS:
            counted = count_inputs(rows)
            told(kind, counted, begin)
        else:
            counted = {"groups": count_faults(rows)}
            for group, numbers in counted["groups"].items():
                told(group, numbers, begin)
        used = processor_seconds() - used
        keep(kind, counted | {"cpu_seconds": round(used, 1)})


def main() -> None:
    """Try the commands with damaged input and on a failing machine, and count what users see."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=main.__doc__)
    parser.add_argument("--kinds", nargs="+", default=[], help="parts of the names of some kinds")
    parser.add_argument("--part", type=int, default=1, help="only every so many-th case")
    parser.add_argument("--again", action="store_true", help="kinds that this code has tried, too")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON with the counts")
    parser.add_argument("--rows", type=Path, help="text file to which every case is added")
    parser.add_argument("--scratch", type=Path, help="folder to work in; default: in memory")
    args = parser.parse_args()
    torch.set_num_threads(1)
    kept = files.read_json(args.output) if args.output.exists() else {}
    by = provenance(torch.device("cpu"))
    parts = re.compile("|".join(map(re.escape, args.kinds)))
    chosen = list(filter(parts.search, (*COUNTS, *FAULTS)))
    if not args.again:
        same = [kind for kind in chosen if _made_by(kept.get(kind), by, args.part)]
        chosen = [kind for kind in chosen if kind not in same]
    shared = Path("/dev/shm")
    place = args.scratch or (shared if shared.is_dir() else None)
    scratch = Path(tempfile.mkdtemp(prefix="gram-faults-", dir=place))

    def keep(kind: str, counted: dict[str, Any]) -> None:
        kept[kind] = counted | {"part": args.part, "by": by}
        order = [name for name in (*COUNTS, *FAULTS) if name in kept]
        files.write_json(args.output, {name: kept[name] for name in order})

    def show(row: Any) -> None:
        if args.rows:
            text = "\t".join(map(str, row)).replace("\n", " ")[:600]
            with open(args.rows, "a", encoding="utf-8", errors="replace") as handle:
                handle.write(f"{text}\n")

    try:
        campaign(chosen, args.part, scratch, keep, show)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _made_by(counted: Any, by: dict[str, Any], part: int) -> bool:
    same = ("code_hash", "torch", "python")
    return (
        isinstance(counted, dict)
        and counted["part"] == part
        and all(json.dumps(counted["by"][key]) == json.dumps(by[key]) for key in same)
    )


if __name__ == "__main__":
    main()
