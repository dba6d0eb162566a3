"""What is noted of the processor, from made-up descriptions, and of metas that say less."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from gram.system import processor as module
from gram.system.processor import described, processor, processor_name, same_type
from gram.system.provenance import provenance

EPYC = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu vme: avx2
power management:
"""
OLD = {"device": "AMD EPYC", "device_type": "cpu"}  # what metas had before


def test_linux_describes_its_first_core(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    second = EPYC.replace(": 17", ": 18").replace("AMD EPYC", "another")
    path.write_text(f"{EPYC}\n{second}", encoding="utf-8")
    expected = {"vendor": "AuthenticAMD", "family": 25, "model": 17, "stepping": 1}
    assert processor(path) == {"name": "AMD EPYC", **expected}
    assert processor_name(path) == "AMD EPYC"


def test_what_is_not_told_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n", encoding="utf-8")  # an ARM core
    assert set(processor(path).values()) == {None}
    assert processor_name(path)
    monkeypatch.setenv("PATH", str(tmp_path))  # neither the file nor sysctl
    assert set(processor(tmp_path / "absent").values()) == {None}


def test_macos_is_asked_by_sysctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "sysctl"
    command.write_text(
        '#!/bin/sh\ncase "$2" in\n'
        "  machdep.cpu.brand_string) echo Apple M2 ;;\n  machdep.cpu.family) echo 6 ;;\n"
        "  *) echo unknown oid >&2; exit 1 ;;\nesac\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = processor(tmp_path / "absent")
    assert (found["name"], found["family"], found["vendor"]) == ("Apple M2", 6, None)


def test_provenance_of_this_machine() -> None:
    facts = provenance(torch.device("cpu"))
    found = facts["processor"]
    assert set(found) == {"name", "vendor", "family", "model", "stepping", "vector"}
    assert found["vector"] == torch.backends.cpu.get_cpu_capability()
    assert facts["device"] == module.processor_name()
    assert same_type(facts, facts)


def detailed(**more: Any) -> dict[str, Any]:
    facts = {"name": "AMD EPYC", "vendor": "AuthenticAMD", "family": 25, "model": 17}
    return OLD | {"processor": facts | {"stepping": 1, "vector": "AVX512"} | more}


def test_a_type_is_described_as_far_as_it_is_known() -> None:
    assert described(detailed()) == "AMD EPYC (family 25, model 17, AVX512)"
    assert described(detailed(family=None, model=None)) == "AMD EPYC (AVX512)"
    assert described(OLD) == "AMD EPYC"
    assert described({}) == "unknown processor"
    assert described(detailed() | {"device": "NVIDIA A40", "device_type": "cuda"}) == "NVIDIA A40"


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (detailed(), detailed(stepping=2), True),
        (detailed(), detailed(model=1), False),
        (detailed(), detailed(vector="AVX2"), False),
        (detailed(), OLD, None),
        (detailed(), {"device": "Intel"}, False),
        ({"device": "NVIDIA A40", "device_type": "cuda"},) * 2 + (True,),
        (detailed(), {"device": "NVIDIA A40", "device_type": "cuda"}, False),
    ],
)
def test_types_are_told_apart(
    one: dict[str, Any], other: dict[str, Any], expected: bool | None
) -> None:
    assert same_type(one, other) is expected and same_type(other, one) is expected


def test_a_clone_of_somebody_else_tells_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"],
    )
    for command in commands:
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr("gram.system.provenance.PACKAGE", tmp_path)
    own = provenance(torch.device("cpu"))
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as git's own tests do
    refused = subprocess.run(["git", "-C", str(tmp_path), "status"], capture_output=True)
    assert refused.returncode != 0 and b"dubious ownership" in refused.stderr
    theirs = provenance(torch.device("cpu"))
    assert theirs["commit"] == own["commit"] is not None and theirs["dirty"] is False
