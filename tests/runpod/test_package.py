"""The plugin stands on its own, and its README lists the settings that exist."""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path

import snakemake_executor_plugin_runpod as plugin

FOLDER = Path(plugin.__file__).parent
ALLOWED = {
    "requests",
    "snakemake_interface_common",
    "snakemake_interface_executor_plugins",
    plugin.__name__,
}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_it_imports_neither_this_project_nor_more_than_it_says() -> None:
    for path in FOLDER.glob("*.py"):
        assert imported(path) - set(sys.stdlib_module_names) <= ALLOWED, path
    # What runs in pods is a single file for any Python.
    assert imported(FOLDER / "pod.py") <= set(sys.stdlib_module_names)


def settings_table() -> str:
    """The settings as the README shows them."""
    lines = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(plugin.ExecutorSettings):
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(
            f"| `runpod-{field.name.replace('_', '-')}` | {default} | {field.metadata['help']} |"
        )
    return "\n".join(lines)


def test_the_readme_lists_every_setting() -> None:
    # An installed plugin has its README only as metadata; in the source archive, it lies above the
    # tests.
    beside = FOLDER / "README.md"
    path = beside if beside.exists() else Path(__file__).parents[2] / "README.md"
    assert settings_table() in path.read_text(encoding="utf-8"), settings_table()
