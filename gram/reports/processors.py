"""How far another type of processor moves a table: the same runs, kept once more from there."""

from __future__ import annotations

from pathlib import Path

from gram.system.processor import described
from gram.tables.comparison import on_another
from gram.tables.names import in_order
from gram.tables.reference import OTHER_PROCESSOR, REFERENCE, Runs, kept_runs, metas_of


def other_processor(root: Path, kind: str, task: str) -> list[str]:
    """A sentence with what another type of processor made of a task's kept runs, if they were kept.

    Args:
        root: of the repository.
        kind: a folder of reference runs, such as cpu_default; the others lie beside it, as
            cpu_default_other_processor, with evaluations and metas as there.
        task: its name.

    Raises:
        GramError: an evaluation or meta that cannot be read, or an evaluation without its metas.
    """
    folder = root / REFERENCE / f"{kind}{OTHER_PROCESSOR}"
    found: dict[str, dict[str, Runs]] = {}
    for method in in_order(path.name for path in folder.glob(f"eval/{task}/*")):
        if runs := kept_runs(folder, task, method):
            meta = metas_of(folder, task, method, runs.evaluations[0]["run"]["seed"])[0]
            found.setdefault(described(meta), {})[method] = runs
    sentences = [on_another(name, runs) for name, runs in found.items()]
    return [f"{one[0].upper()}{one[1:]}." for one in sentences]
