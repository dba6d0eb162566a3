"""``python -m gram.reports``: rewrite the generated blocks of README.md and reports/*.md from
results and settings.

A block stands between ``<!-- generated: NAME -->`` and ``<!-- end generated -->``; no number in it
is typed by hand.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

from gram.reports.carried import carried
from gram.reports.gaps import gap_defaults, gap_measurements
from gram.reports.inference import samplers, scaling
from gram.reports.larger import larger_boards
from gram.reports.nothing import from_nothing
from gram.reports.optimization import benchmarks
from gram.reports.reliability import faults_after, faults_before, findings, rules, steps
from gram.reports.results import datasets, reproduction, results, short_tables
from gram.reports.times import changes, downloads, time_of
from gram.reports.whole_table import graphs, parameters, small_table1
from gram.system import files
from gram.system.errors import GramError, Parser, run, suggestion

BLOCK = re.compile(
    r"(<!-- generated: (?P<name>\S+) -->\n)(?P<body>.*?)(<!-- end generated -->)", re.DOTALL
)
MARKER = re.compile(r"<!-- (generated: \S+|end generated) -->")

BLOCKS: dict[str, Callable[[Path], str]] = {
    "gap-defaults": gap_defaults,
    "gap-measurements": gap_measurements,
    "results": results,
    "larger-boards": larger_boards,
    "from-nothing": from_nothing,
    "reproduce-time": functools.partial(time_of, name="reproduce"),
    "test-time": functools.partial(time_of, name="test"),
    "downloads": downloads,
    "changes": changes,
    "short-tables": short_tables,
    "small-table1": small_table1,
    "graphs": graphs,
    "parameters": parameters,
    "reproduction": reproduction,
    "samplers": samplers,
    "scaling": scaling,
    "datasets": datasets,
    "carried": carried,
    "benchmarks": benchmarks,
    "faults-before": faults_before,
    "faults-after": faults_after,
    "rules-after-faults": rules,
    "steps-after-faults": steps,
    "findings": findings,
}


def updated(path: Path, root: Path) -> tuple[str, list[str]]:
    """The text of ``path`` with fresh blocks, and the names of those that changed.

    Raises:
        GramError: an unknown block, or a marker without its counterpart.
    """
    text = path.read_text(encoding="utf-8")
    markers = [marker[1].partition(":")[0] for marker in MARKER.finditer(text)]
    if markers != ["generated", "end generated"] * (len(markers) // 2):
        raise GramError(
            f"{path}: a `<!-- generated: NAME -->` without its `<!-- end generated -->`, or the"
            " reverse; restore it"
        )
    changed = []

    def fresh(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS:
            raise GramError(
                f"{path}: no generated block is called {name!r};"
                f" {suggestion(name, BLOCKS, 'known ones')}"
            )
        body = BLOCKS[name](root) + "\n"
        if body != match["body"]:
            changed.append(name)
        return f"{match[1]}{body}{match[4]}"

    return BLOCK.sub(fresh, text), changed


def main() -> None:
    """Rewrite the generated blocks of README.md and reports/*.md, or check that they are up to
    date.
    """
    parser = Parser(prog="python -m gram.reports", description=main.__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail and name the blocks that are out of date",
    )
    parser.add_argument("--root", type=Path, default=Path("."), help="root of the repository")
    args = parser.parse_args()
    paths = [
        path
        for path in (args.root / "README.md", *sorted((args.root / "reports").glob("*.md")))
        if path.exists()
    ]
    if not paths:
        raise GramError(
            f"{args.root}: no README.md and no reports/*.md here; run from the root of the"
            " repository"
        )
    fresh = {path: updated(path, args.root) for path in paths}
    if args.check and (
        old := [f"{path}: block {name}" for path, (_, changed) in fresh.items() for name in changed]
    ):
        raise GramError(
            f"{'; '.join(old)}: out of date: run `python -m gram.reports` and commit the result"
        )
    for path, (text, changed) in fresh.items():
        if changed:
            files.write_text(path, text)
            print(f"{path}: {', '.join(changed)}")


if __name__ == "__main__":
    run(main)
