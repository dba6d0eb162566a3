"""``python -m gram.reports``: rewrite the generated blocks of README.md and reports/*.md from results and settings.

A block stands between ``<!-- generated: NAME -->`` and ``<!-- end generated -->``; no number in it is typed by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gram import files
from gram.checksums import read_listed
from gram.config import Experiment, load_experiment, method_section, split_fold
from gram.data import TABLES
from gram.errors import GramError, run
from gram.settings import SECTIONS
from gram.tables.evaluations import read_evaluations
from gram.tables.layout import NOTHING, Document, document, footnotes, legend, method_cell, ours_cell, overlap
from gram.tables.names import METRICS, in_order
from gram.tables.render import markdown, pipe_table, prose_table
from gram.tables.rows import measured, natural, read_reported, table1

BLOCK = re.compile(r"(<!-- generated: (?P<name>\S+) -->\n)(?P<body>.*?)(<!-- end generated -->)", re.DOTALL)
MARKER = re.compile(r"<!-- (generated: \S+|end generated) -->")
REFERENCE = Path("resources/reference_runs")
DEFAULT_RUNS = "cpu_default"
SHOWN = ("accuracy", "hostile_accuracy", "hostile_coverage_macro")  # in the README
NOT_MEASURED = f"Not measured yet: `{REFERENCE}` holds no runs of this kind."
MD5_DIGITS = 8  # enough to compare by eye; the file has all


def value(setting: Any) -> str:
    """A setting's value as it would be written in an experiment file."""
    return f"`{json.dumps(setting)}`"


def gap_settings() -> Iterator[tuple[str, str, dataclasses.Field[Any]]]:
    """Section, name and field of every setting that the paper leaves open."""
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            if field.metadata.get("gap"):
                yield section, field.name, field


def gap_defaults(root: Path) -> str:
    """Every open choice with its default and reason, and the experiments that choose otherwise."""
    settings = [
        [f"`{section}.{name}`", value(field.default), field.metadata["doc"], field.metadata["gap"]]
        for section, name, field in gap_settings()
    ]
    lines = prose_table(["setting", "default", "meaning", "what is open, and why this default"], settings)
    rows = []
    for path in sorted((root / "config/experiments").glob("*.yaml"), key=lambda path: natural(path.stem)):
        experiment = load_experiment(path)
        for section, name, field in gap_settings():
            chosen = {method: chosen_value(experiment, method, section, name) for method in experiment.methods}
            for setting in sorted({json.dumps(v) for v in chosen.values()} - {json.dumps(field.default)}):
                methods = [method for method, v in chosen.items() if json.dumps(v) == setting]
                whose = "all" if len(methods) == len(chosen) else ", ".join(methods)
                rows.append([path.stem, whose, f"`{section}.{name}`", value(field.default), f"`{setting}`"])
    lines += ["", "Experiments that choose otherwise:", ""]
    lines += prose_table(["experiment", "methods", "setting", "default", "here"], rows) if rows else ["None."]
    return "\n".join(lines)


def chosen_value(experiment: Experiment, method: str, section: str, name: str) -> Any:
    """One setting of one method of an experiment; the split is the same for all methods."""
    return getattr(experiment.split if section == "split" else method_section(experiment, method, section), name)


def reference_evaluations(folder: Path) -> list[dict[str, Any]]:
    """The evaluations of one folder of reference runs; empty where there is none."""
    return read_evaluations(sorted(folder.glob("eval/*/*/seed*/test.json"), key=lambda path: natural(path.as_posix())))


def metas_of(folder: Path, task: str, method: str, seed: int) -> list[dict[str, Any]]:
    """The metas of a run, or of its folds.

    Raises:
        GramError: there is none.
    """
    paths = sorted(folder.glob(f"runs/*/{method}/seed{seed}/meta.json"))
    metas = [files.read_json(path) for path in paths if task in (path.parts[-4], split_fold(path.parts[-4])[0])]
    if not metas:
        raise GramError(f"{folder}: no runs/{task}/{method}/seed{seed}/meta.json beside its evaluation; copy it from results/")
    return metas


def distinct(values: Iterator[Any]) -> str:
    """Different values, joined; None is left out."""
    return ", ".join(sorted({str(v) for v in values if v is not None})) or NOTHING


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, with one decimal from a minute on."""
    for limit, unit in ((3600, "h"), (60, "min")):
        if seconds >= limit:
            return f"{seconds / limit:.1f} {unit}"
    return f"{seconds:.0f} s"


def results(root: Path) -> str:
    """The small table of the CPU default, with what was tested, how long training took and where."""
    folder = root / REFERENCE / DEFAULT_RUNS
    evaluations = reference_evaluations(folder)
    if not evaluations:
        return NOT_MEASURED
    table = table1(evaluations, {}, None)
    lines = []
    for task in sorted(table["task"].unique(), key=natural):
        part = table[table["task"] == task]
        runs = [evaluation["run"] for evaluation in evaluations if evaluation["run"]["task"] == task]
        rows = []
        for method in in_order(part["method"]):
            found = {row.metric: row for row in part[part["method"] == method].itertuples(index=False)}
            rows.append([method_cell(found[SHOWN[0]]), *(ours_cell(found[metric]) for metric in SHOWN)])
        metas = [meta for one in runs for meta in metas_of(folder, task, one["method"], one["seed"])]
        first = part.iloc[0]
        folds = runs[0].get("folds", 1)
        tested = f", over {folds} folds, so that each input is tested once by models that never saw it" if folds > 1 else ""
        lines += [
            *(
                f"`{task}`, {first['n_inputs']} test inputs, {first['n_hostile_inputs']} of them with several completions{tested}:",
                "",
            ),
            *pipe_table(["%", *SHOWN], rows),
            *(
                "",
                f"Mean ± sample standard deviation over (n) seeds, in percent; {runs[0]['width']} samples per input. After `of`:",
            ),
            "the most that as many independent samples reach on average.",
            overlap(first),
            f"Training: {len(metas)} runs, {duration(sum(meta['seconds'] for meta in metas))} in all, each with "
            f"{distinct(m['threads'] for m in metas)} thread on {distinct(m['device'] for m in metas)}.",
            *(line for note in footnotes(set(part["status"])) for line in ("", note)),
            "",
        ]
    return "\n".join(lines).rstrip()


def reproduction(root: Path) -> str:
    """Table 1 of each folder of reference runs, every seed's values, and where they were measured."""
    lines: list[str] = []
    used: set[str] = set()
    for folder in sorted(path for path in (root / REFERENCE).glob("*") if path.is_dir()):
        evaluations = reference_evaluations(folder)
        if not evaluations:
            continue
        # The present code is not compared: a reference run states the code that made it, below.
        table = table1(evaluations, read_reported(root / "resources/reported.csv"), None)
        tasks = sorted({evaluation["run"]["task"] for evaluation in evaluations}, key=natural)
        page = document(table, f"Reference runs `{folder.name}`", tasks)
        lines += [markdown(dataclasses.replace(page, legend=[]), level=2)]
        lines += ["### Every seed", "", "In the units of the table above.", "", *seeds_table(evaluations), ""]
        lines += ["### Where they were measured", "", *provenance_table(folder, evaluations), ""]
        used |= set(table.loc[table["task"].isin(tasks), "metric"])
    if not lines:
        return NOT_MEASURED
    return "\n".join([*lines, markdown(Document("What the names mean", [], [], legend(used)), level=2)]).rstrip()


def seeds_table(evaluations: list[dict[str, Any]]) -> list[str]:
    """A line per seed with every metric that any of them has."""
    metrics = [name for name, metric in METRICS.items() if any(measured(e, metric) for e in evaluations)]
    rows = []
    for evaluation in evaluations:
        one = evaluation["run"]
        cells = [f"{one['task']} {one['method']} seed {one['seed']}"]
        for name in metrics:
            found = measured(evaluation, METRICS[name])
            scale = 100 if METRICS[name].unit == "percent" else 1
            cells.append(f"{scale * found['value']:.2f}" if found else NOTHING)
        rows.append(cells)
    return pipe_table(["run", *metrics], rows)


def provenance_table(folder: Path, evaluations: list[dict[str, Any]]) -> list[str]:
    """A line per seed: steps, time, code, versions and device; with folds over all of them."""
    rows = []
    for evaluation in evaluations:
        one = evaluation["run"]
        metas = metas_of(folder, one["task"], one["method"], one["seed"])
        commits = (f"{m['commit'][:12]}{' (with local changes)' if m['dirty'] else ''}" if m["commit"] else None for m in metas)
        row = {
            "run": f"{one['task']} {one['method']} seed {one['seed']}",
            "folds": str(one.get("folds", 1)),
            "steps each": distinct(m["steps"] for m in metas),
            "training": duration(sum(m["seconds"] for m in metas)),
            "commit": distinct(commits),
            "code trained by": distinct(m["code_hash"] for m in metas),
            "code evaluated by": one["evaluated_by"]["code_hash"],
        }
        rows.append(row | {key: distinct(m[key] for m in metas) for key in ("torch", "python", "device")})
    return prose_table(list(rows[0]), [list(row.values()) for row in rows])


def datasets(root: Path) -> str:
    """Rows and content MD5 of every listed table."""
    path = Path("resources/checksums.tsv")
    listed = read_listed(root / path)
    rows = [
        [name, *(f"{one.rows:,} `{one.md5[:MD5_DIGITS]}`" if (one := sums.get(split)) else NOTHING for split in TABLES)]
        for name, sums in listed.items()
    ]
    if not rows:
        return f"`{path}` lists no data set yet."
    note = (
        f"Rows and the first {MD5_DIGITS} digits of the content MD5; train, valid and test hold one row per (input, target) pair."
    )
    return "\n".join([f"{note} All digits: `{path}`.", "", *prose_table(["data set", *TABLES], rows)])


BLOCKS: dict[str, Callable[[Path], str]] = {
    "gap-defaults": gap_defaults,
    "results": results,
    "reproduction": reproduction,
    "datasets": datasets,
}


def updated(path: Path, root: Path) -> tuple[str, list[str]]:
    """The text of ``path`` with fresh blocks, and the names of those that changed.

    Raises:
        GramError: an unknown block, or a marker without its counterpart.
    """
    text = path.read_text(encoding="utf-8")
    markers = [marker[1].partition(":")[0] for marker in MARKER.finditer(text)]
    if markers != ["generated", "end generated"] * (len(markers) // 2):
        raise GramError(f"{path}: a `<!-- generated: NAME -->` without its `<!-- end generated -->`, or the reverse; restore it")
    changed = []

    def fresh(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS:
            raise GramError(f"{path}: no generated block is called {name!r}; known ones: {', '.join(BLOCKS)}")
        body = BLOCKS[name](root) + "\n"
        if body != match["body"]:
            changed.append(name)
        return f"{match[1]}{body}{match[4]}"

    return BLOCK.sub(fresh, text), changed


def main() -> None:
    """Rewrite the generated blocks of README.md and reports/*.md, or check that they are up to date."""
    parser = argparse.ArgumentParser(prog="python -m gram.reports", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name the blocks that are out of date")
    parser.add_argument("--root", type=Path, default=Path("."), help="root of the repository")
    args = parser.parse_args()
    paths = [path for path in (args.root / "README.md", *sorted((args.root / "reports").glob("*.md"))) if path.exists()]
    if not paths:
        raise GramError(f"{args.root}: no README.md and no reports/*.md here; run from the root of the repository")
    fresh = {path: updated(path, args.root) for path in paths}
    if args.check and (old := [f"{path}: block {name}" for path, (_, changed) in fresh.items() for name in changed]):
        raise GramError(f"{'; '.join(old)}: out of date: run `python -m gram.reports` and commit the result")
    for path, (text, changed) in fresh.items():
        if changed:
            files.write_text(path, text)
            print(f"{path}: {', '.join(changed)}")


if __name__ == "__main__":
    run(main)
