"""What stands in a command line and in the shell commands of the rules: configurations that are
none, and names that are data.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def check(*arguments: str) -> str:
    """The line with which a command is refused; "" for one that may go on."""
    try:
        runpy.run_path(str(ROOT / "workflow/arguments.py"))["check"](["snakemake", *arguments])
    except SystemExit as error:
        return str(error.code)
    return ""


def test_a_target_after_configfile_is_told_apart(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("runs: []\n", encoding="utf-8")
    table = "results/tables/table1.md"
    assert check("-n", table, "--configfile", str(config), "--config", "device=cpu") == ""
    for options in (["--configfile", str(config), table], ["--configfiles", table, "-n"]):
        assert check(*options).startswith(f"error: {table} stands after --configfile, ")
        assert f"write targets first: snakemake {table} --configfile" in check(*options)


@pytest.mark.parametrize("data", [b"a: [\n", b"- 1\n", b"", b"\xff\xfe", b"[" * 5000])
def test_a_configuration_that_is_none_is_named(tmp_path: Path, data: bytes) -> None:
    config = tmp_path / "config.yaml"
    assert check(f"--configfile={config}") == f"error: --configfile {config}: no such file"
    config.write_bytes(data)
    said = check("--configfile", str(config))
    assert said.startswith(f"error: --configfile {config}: ") and "\n" not in said
    assert len(said) < 400


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "config.yaml"
    folder.mkdir()
    expected = f"error: --configfile {folder}: is a folder and not a file"
    assert check("--configfile", str(folder)) == expected


@pytest.mark.parametrize("option", ["--config", "-C", "--resources", "--res"])
def test_a_target_after_pairs_is_told_apart(option: str) -> None:
    assert check("table1_small", option, "device=cpu", "quick=", "-n", "table1_small") == ""
    said = check(option, "device=cpu", "table1_small")
    assert said.startswith(f"error: table1_small stands after {option}, ")
    assert f"write targets first: snakemake table1_small {option}" in said


def test_a_target_after_quiet_is_told_apart() -> None:
    assert check("-q", "rules", "host", "-n") == check("table1_small", "--quiet", "all") == ""
    for option in ("-q", "--quiet"):
        said = check(option, "rules", "results/tables/table1.md")
        assert said.startswith("error: results/tables/table1.md stands after --quiet, ")


def test_what_snakemake_hands_to_a_job_is_none_of_our_business() -> None:
    for option in ("--config", "--resources", "--default-resources", "--set-threads"):
        assert check("--cores", "1", option, "base64//ZGV2aWNl", "--mode", "subprocess") == ""


@pytest.mark.parametrize("entry", ["=3", "a.b=3", "3=4", "a =b"])
def test_what_is_no_key_is_named(entry: str) -> None:
    key = entry.partition("=")[0]
    for words in (["--config", entry], [f"--config={entry}"]):
        assert check(*words) == f"error: --config {entry}: {key!r} is no key of a configuration"


def test_the_default_profile_looks_before_snakemake_does() -> None:
    profile = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text(encoding="utf-8"))
    statements, found = profile["__definitions__"], {}
    for statement in statements[:-1]:
        exec(statement, found)  # as Snakemake's reader of profiles does
    found["sys"] = type(sys)("sys")
    found["sys"].argv = ["snakemake", "--configfile", "results/tables/table1.md"]
    before = os.getcwd()
    os.chdir(ROOT)
    try:
        with pytest.raises(SystemExit, match="write targets first"):
            exec(statements[-1], found)
    finally:
        os.chdir(before)


def test_every_name_in_a_shell_command_is_quoted() -> None:
    fields = []
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\bshell\(", text), f"{path.name}: use subprocess with a list"
        for command in re.findall(r"^ +shell:\n((?: +\".*\"\n?)+)", text, re.MULTILINE):
            fields += re.findall(r"{([^}]*)}", command)
    assert len(fields) > 50
    assert [field for field in fields if not field.endswith(":q")] == []


def test_snakemake_works_without_activating_the_environment(tiny: Any, tmp_path: Path) -> None:
    workflow = tiny(tmp_path / "gram")
    other = tmp_path / "bin"
    other.mkdir()
    (other / "python").write_text("#!/bin/sh\necho another python; exit 3\n", encoding="utf-8")
    (other / "python").chmod(0o755)
    path = os.pathsep.join([str(other), "/usr/bin", "/bin"])
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "results/data/nqueens6/card.json"],
        cwd=workflow.folder,
        env={"PATH": path, "PYTHONPATH": str(workflow.folder), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
