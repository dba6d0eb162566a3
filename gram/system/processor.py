"""The processor of this machine: another type rounds the last bits otherwise: other tables."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
# Our names for what Linux says; macOS has them below machdep.cpu, a chip of Apple only the first.
LINUX = {
    "name": "model name",
    "vendor": "vendor_id",
    "family": "cpu family",
    "model": "model",
    "stepping": "stepping",
}
MACOS = {
    "name": "brand_string",
    "vendor": "vendor",
    "family": "family",
    "model": "model",
    "stepping": "stepping",
}
# What tells types apart. Not the stepping: revisions of one type compute the same.
TYPE = ("vendor", "family", "model", "vector")


def processor(cpuinfo: Path = CPUINFO) -> dict[str, str | int | None]:
    """Name, vendor, family, model, stepping; a number where it is one, None where it is not told.

    Args:
        cpuinfo: the file in which Linux describes its processors; sysctl is asked where it is not.
    """
    if cpuinfo.exists():
        # One paragraph for each core; they are alike.
        first, _, _ = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")
        told = dict(re.findall(r"^([^\t:]+)\s*:\s*(.*)$", first, re.MULTILINE))
        found = {key: told.get(theirs, "").strip() for key, theirs in LINUX.items()}
    else:
        found = {key: _sysctl(f"machdep.cpu.{theirs}") for key, theirs in MACOS.items()}
    return {key: int(text) if text.isdigit() else text or None for key, text in found.items()}


def _sysctl(name: str) -> str:
    """A value that sysctl knows; empty where it does not know it, and where there is no sysctl."""
    command = ["sysctl", "-n", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's name, or the architecture where the system does not tell."""
    return str(processor(cpuinfo)["name"] or platform.processor() or platform.machine())


def described(meta: Mapping[str, Any]) -> str:
    """The type of processor that made a result, as "Intel Xeon (family 6, model 207, AVX512)".

    Of a GPU it is the name alone.

    Args:
        meta: what :func:`gram.system.provenance.provenance` noted; one of before it noted more than
            the device gives the name alone.
    """
    found = (meta.get("processor") or {}) if meta.get("device_type") != "cuda" else {}
    name = str(found.get("name") or meta.get("device") or "unknown processor")
    more = [f"{key} {found[key]}" for key in ("family", "model") if found.get(key) is not None]
    more += [found["vector"]] if found.get("vector") else []
    return f"{name} ({', '.join(more)})" if more else name


def same_type(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Whether one type of device made two results; None where one of them does not say enough.

    Args:
        one, other: what :func:`gram.system.provenance.provenance` noted.
    """
    if one.get("device") != other.get("device"):
        return False
    if "cuda" in (one.get("device_type"), other.get("device_type")):
        return True
    types = type_of(one), type_of(other)
    return types[0] == types[1] if all(map(any, types)) else None


def type_of(meta: Mapping[str, Any]) -> list[Any]:
    """What tells the type of the processor that made a result; None for what was not noted."""
    found = meta.get("processor") or {}
    return [found.get(key) for key in TYPE]
