"""The blocks of ``reports/RELIABILITY.md``: what broken input and a failing machine came to."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gram.bench.estimate import read_yaml
from gram.system import files
from gram.system.errors import GramError
from gram.tables.render import pipe_table, prose_table

FOLDER = Path("resources/reliability")
BEFORE, CAMPAIGN = FOLDER / "before.json", FOLDER / "campaign.json"
RULES, FINDINGS = FOLDER / "rules.tsv", FOLDER / "findings.yaml"
STEPS = FOLDER / "steps.json"

# Columns of the tables, and what each is called.
INPUTS = {
    "tried": "tried",
    "clear": "one clear line",
    "traceback": "traceback",
    "wrong": "silently wrong",
    "accepted": "accepted",
    "endless": "endless",
    "crash": "crash",
    "temporary": "temporary files left",
}
FAULTS = {
    "tried": "tried",
    "same": "right afterwards",
    "wrong": "lost or wrong",
    "temporary": "temporary files left",
}
OF_RULES = ["rule", "fault", "tried", "same_bytes", "other", "commit"]
REVIEWS = {"faults": "campaign of faults", "bugs": "bug reports"}
NOT_COUNTED, NOT_YET = "–", "Not counted yet."


def faults_before(root: Path) -> str:
    """The counts of the review that began it."""
    found = files.read_json(root / BEFORE)
    lines = [f"Counted by {found['source']} {found['commit']} ({found['versions']}).", ""]
    lines += counted("inputs", found["inputs"], INPUTS)
    return "\n".join([*lines, "", *counted("faults of the machine", found["faults"], FAULTS)])


def faults_after(root: Path) -> str:
    """The counts of ``python -m tests.faults``, as the last run of each kind left them."""
    if not (root / CAMPAIGN).exists():
        return NOT_YET
    found = files.read_json(root / CAMPAIGN)
    inputs = {kind: one for kind, one in found.items() if "groups" not in one}
    groups = {
        group: numbers for one in found.values() for group, numbers in one.get("groups", {}).items()
    }
    parts = [kind for kind, one in found.items() if one["part"] != 1]
    share = f" Not the whole of: {', '.join(parts)}." if parts else ""
    lines = [said(found) + share, ""]
    lines += counted("inputs", inputs, INPUTS)
    lines += ["", *counted("faults of the machine", groups, FAULTS)]
    failures = [
        f"{name}: {failure}"
        for name, one in (inputs | groups).items()
        for failure in one["failures"]
    ]
    if failures:
        lines += ["", "What is not as it should be:", "", *(f"* {one}" for one in failures)]
    return "\n".join(lines)


def counted(what: str, lines: dict[str, dict[str, Any]], columns: dict[str, str]) -> list[str]:
    """A table with a line per kind and their sum; what was not counted then is a dash."""

    def cells(one: dict[str, Any]) -> list[str]:
        return [f"{one[key]:,}" if one.get(key) is not None else NOT_COUNTED for key in columns]

    sums = {}
    for key in columns:
        known = [one[key] for one in lines.values() if one.get(key) is not None]
        if known:
            sums[key] = sum(known)
    rows = [[name, *cells(one)] for name, one in lines.items()]
    return pipe_table([what, *columns.values()], [*rows, ["sum", *cells(sums)]])


def said(found: dict[str, Any]) -> str:
    """Code, versions and machine of a campaign, and the processor time that it took."""
    makers = [one["by"] for one in found.values()]
    versions = "torch {torch}, Python {python}"
    commits = {(by["commit"] or "outside of git")[:12] for by in makers}
    dirty = " with local changes" if any(by["dirty"] for by in makers) else ""
    seconds = sum(one["cpu_seconds"] for one in found.values())
    return (
        f"Counted by `python -m tests.faults` of commit {listed(commits)}{dirty} "
        f"({listed(versions.format(**by) for by in makers)}, "
        f"{listed(by['device'] for by in makers)}), in {seconds / 60:.0f} minutes of one core."
    )


def listed(texts: Iterable[str]) -> str:
    """Each text once."""
    return " and ".join(sorted(set(texts)))


def rules(root: Path) -> str:
    """Every rule of the workflow with every fault: what the same command came to."""
    path = root / RULES
    if not path.exists():
        return NOT_YET
    with open(path, encoding="utf-8", newline="") as handle:
        lines = list(csv.DictReader(handle, delimiter="\t"))
    if not lines or list(lines[0]) != OF_RULES:
        raise GramError(f"{path}: the columns must be {', '.join(OF_RULES)}")
    columns = {"tried": "tried", "same_bytes": "same bytes", "other": "other"}
    by_fault: dict[str, dict[str, int]] = {}
    for line in lines:
        counts = by_fault.setdefault(line["fault"], dict.fromkeys(columns, 0))
        for column in columns:
            counts[column] += int(line[column])
    others = [
        f"* {line['rule']}, {line['fault']}: {line['other']} of {line['tried']}"
        for line in lines
        if line["other"] != "0"
    ]
    pairs, names = len(lines), len({line["rule"] for line in lines})
    head = (
        f"{pairs} pairs of a rule and a fault, of {names} rules, at commit "
        f"{listed(line['commit'] for line in lines)}; the same command was given again."
    )
    told = ["", "Other:", "", *others] if others else []
    return "\n".join([head, "", *counted("fault", by_fault, columns), *told])


def steps(root: Path) -> str:
    """What a training step takes with all of these checks, over what it took before them."""
    if not (root / STEPS).exists():
        return NOT_YET
    found = files.read_json(root / STEPS)
    ratios, commits = found["ratios"], found["commits"]
    times = {name: sorted(values) for name, values in found["milliseconds"].items()}
    before, now = (times[name][len(times[name]) // 2] for name in ("before", "now"))
    return (
        f"A step of {found['run']} takes {found['ratio']:.3f} times what it took before: {now:.2f}"
        f" ms of one core at commit {commits['now'][:12]}, {before:.2f} ms at"
        f" {commits['before'][:12]}. Medians of {len(ratios)} turns, in which both train"
        f" {found['steps']} steps one after the other, with history, saves and the files at the"
        f" end; the ratios are {min(ratios):.3f} to {max(ratios):.3f} (`python -m"
        " tests.faults.steps --before FOLDER`)."
    )


def findings(root: Path) -> str:
    """Every finding of the two reviews: what became of it, and its tests."""
    path = root / FINDINGS
    blocks = []
    for review, lines in read_yaml(path).items():
        rows = []
        for one in lines:
            if one["now"] is None:
                raise GramError(
                    f"{path}: {review} {one['id']}: now: say what became of it, or why not"
                )
            tests = ", ".join(f"`{test}`" for test in one["tests"] or []) or "—"
            rows.append([one["id"], one["seen"], one["now"], tests])
        blocks += [f"### {REVIEWS[review].capitalize()}", ""]
        blocks += [*prose_table(["", "what was seen", "now", "the test"], rows), ""]
    return "\n".join(blocks[:-1])
