"""The block of ``reports/OPTIMIZATION.md``: what ``python -m gram.bench`` measured, beside what was
predicted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gram.system import files
from gram.tables.layout import NOTHING
from gram.tables.render import pipe_table, prose_table

MEASUREMENTS = Path("resources/benchmarks")
PLAIN = "fp32"  # the variant without any optimization that is a setting
# What this project set out to reach at D = 512: a share of the matmul peak, and a speed against the
# plain variant.
GOAL_SHARE, GOAL_SPEED = 0.6, 1.5


def times(spread: list[float]) -> str:
    """[least, median, most] as a median with its range."""
    least, median, most = spread
    return f"{median:.2f} [{least:.2f}, {most:.2f}]"


def percent(spread: list[float]) -> str:
    """[least, median, most] of shares as a median with its range, in percent."""
    least, median, most = (100 * share for share in spread)
    return f"{median:.0f} % [{least:.0f}, {most:.0f}]"


def where(measured: dict[str, Any]) -> str:
    """Task, size, machine and code of a measurement, in a sentence or two."""
    model, train, by = (
        measured["settings"]["model"],
        measured["settings"]["train"],
        measured["measured_by"],
    )
    commit = (
        f", commit {by['commit'][:12]}{' with local changes' if by['dirty'] else ''}"
        if by["commit"]
        else ""
    )
    code = f", code {by['code_hash']}" if by["code_hash"] else ""
    threads = f"{by['threads']} threads of " if by["threads"] else ""
    how = (
        f"{measured['turns']} alternating turns of {measured['steps_per_turn']} steps; median"
        " [least, most] over turns."
        if "turns" in measured
        else measured["note"]
    )
    return (
        f"`{measured['method']}` on `{measured['task']}`: D = {model['D']}, K = {model['K']}, T ="
        f" {model['T']}, {train['batch_size']} rows, {measured['flops_per_step'] / 1e9:.3g} GFLOP a"
        f" step; {threads}{by['device']}, torch {by['torch']}, Python"
        f" {by['python']}{code}{commit}. {how}"
    )


def variants_table(measured: dict[str, Any]) -> list[str]:
    """A line per variant."""
    rows = []
    for name, found in measured["variants"].items():
        row = [
            name,
            f"{found['seconds_per_step'][1]:.3g}",
            f"{found['examples_per_second'][1]:.3g}",
        ]
        row += [percent(found["share_of_own_peak"]), times(found["speed_against_first"])]
        memory = found["peak_memory_bytes"]
        rows.append([*row, NOTHING if memory is None else f"{memory / 2**20:.0f}"])
    first = next(iter(measured["variants"]))
    return pipe_table(
        [
            "variant",
            "s per step",
            "examples/s",
            "of its matmul peak",
            f"times as fast as {first}",
            "peak MiB",
        ],
        rows,
    )


def prototypes(measured: dict[str, Any]) -> list[str]:
    """What was measured by something else than this project's code."""
    return [
        f"- `{name}` was measured by a prototype: {found['prototype']}. Estimates do not use it."
        for name, found in measured["variants"].items()
        if "prototype" in found
    ]


def goals(measured: dict[str, Any]) -> list[str]:
    """Which variants reach the goals, and what the peak leaves to gain; every number is computed
    from the measurement.
    """
    variants = measured["variants"]
    reaching = [
        name for name, found in variants.items() if found["share_of_own_peak"][1] >= GOAL_SHARE
    ]
    lines = [
        f"- At least {GOAL_SHARE:.0%} of the matmul peak of its precision:"
        f" {', '.join(reaching) or 'no variant'}."
    ]
    peaks = measured["matmul_peak_flops_per_second"]
    lines += [
        "- Measured peaks:"
        f" {', '.join(f'{name} {peak[1] / 1e9:.3g} GFLOP/s' for name, peak in peaks.items())}."
    ]
    if PLAIN not in variants:
        return lines
    plain = variants[PLAIN]["share_of_highest_peak"][1]
    base = variants[PLAIN]["seconds_per_step"][1]
    fast = [
        name
        for name, found in variants.items()
        if base / found["seconds_per_step"][1] >= GOAL_SPEED
    ]
    reached = ", ".join(fast) or "no variant"
    lines.append(
        f"- At least {GOAL_SPEED:g} times as fast as {PLAIN} without compilation: {reached}."
    )
    if 1 / plain < GOAL_SPEED:
        lines.append(
            f"- That is out of reach here by arithmetic: {PLAIN} alone reaches {plain:.0%} of the"
            " highest peak of any precision, so the same products cannot be done more than"
            f" {1 / plain:.2f} times as fast."
        )
    return lines


def optimizations_table(measured: dict[str, Any]) -> list[str]:
    """A line per optimization."""
    rows = [
        [
            name,
            found["what"],
            f"{found['predicted']:.2f}",
            times(found["gain"]),
            found["kept"],
            found["reason"],
        ]
        for name, found in measured["optimizations"].items()
    ]
    return prose_table(
        ["optimization", "what", "predicted", "measured", "kept", "why so much was predicted"], rows
    )


def benchmarks(root: Path) -> str:
    """A section per file of measurements."""
    lines: list[str] = []
    for path in sorted((root / MEASUREMENTS).glob("*.json")):
        measured = files.read_json(path)
        lines += [
            f"## `{path.stem}`",
            "",
            where(measured),
            "",
            *variants_table(measured),
            "",
            *prototypes(measured),
            *goals(measured),
            "",
        ]
        if "optimizations" in measured:
            lines += ["Times as fast with it as without:", "", *optimizations_table(measured), ""]
    return "\n".join(lines).rstrip() or f"Not measured yet: `{MEASUREMENTS}` holds no measurements."
