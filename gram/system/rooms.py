"""The modules of a package, found by looking, so that adding one edits no list."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def modules_of(package: str) -> list[ModuleType]:
    """All modules that stand directly in a package, imported, in the order of their names."""
    path = importlib.import_module(package).__path__
    names = sorted(found.name for found in pkgutil.iter_modules(path))
    return [importlib.import_module(f"{package}.{name}") for name in names]


def names_in(package: str) -> list[str]:
    """The names of the modules in a package beside this one's, such as ``gram.models.samplers``,
    without importing any.

    Its parent packages are imported, and nothing of it.
    """
    parent, _, name = package.rpartition(".")
    folders = [f"{folder}/{name}" for folder in importlib.import_module(parent).__path__]
    return sorted(found.name for found in pkgutil.iter_modules(folders))
