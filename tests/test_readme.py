"""The README as a newcomer meets it: first screen, two commands, what its examples would start."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from snakemake.cli import get_argument_parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIRST_SCREEN, WHOLE = 60, 225  # lines
COMMANDS = ("reproduce", "test")
PROFILES = ("profiles/local", "profiles/slurm", "profiles/runpod")
PAPER_CONFIGS = ("config/paper.yaml", "config/single_gpu.yaml")
PAPER_TASKS = {
    path.stem
    for path in (ROOT / "config/experiments").glob("*.yaml")
    if yaml.safe_load(path.read_text(encoding="utf-8")).get("shared") == "paper"
}
# Where examples stand that someone may paste.
EXAMPLES = [
    ROOT / "README.md",
    ROOT / "Snakefile",
    *sorted((ROOT / "config").rglob("*.yaml")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "reports").glob("*.md")),
]


def line_of(text: str) -> int:
    """The number of the line that holds ``text``."""
    return README[: README.index(text)].count("\n") + 1


def command(name: str) -> str:
    """The line below a marker."""
    return re.findall(rf"<!-- command: {name} -->\n```bash\n(.+)\n```", README)[0]


def snakemake_commands(text: str) -> Iterator[str]:
    """Every Snakemake command of a text: in backticks, or at the start of a line or a comment's."""
    text = re.sub(r" \\\n[# ]*", " ", text)
    for span in re.findall(r"`(snakemake [^`]*)`", text):
        yield " ".join(span.split())
    for line in re.findall(r"^[# ]*(?:nohup )?(snakemake .*)$", text, re.MULTILINE):
        yield re.split(r"  |`|>| 2>&1", line)[0]  # what it is for may stand behind it


def trains_paper_size(line: str) -> bool:
    """Whether a command would start a training of the paper's size where it is typed."""
    words = line.split()
    if "-n" in words or any(profile in words for profile in PROFILES):
        return False
    paths = [
        word.split("/") for word in words if word.startswith(("results/eval/", "results/runs/"))
    ]
    return any(path[2] in PAPER_TASKS for path in paths) or any(
        config in words for config in PAPER_CONFIGS
    )


def test_the_first_screen_has_question_picture_table_and_command() -> None:
    picture, table = line_of("boards.png"), line_of("<!-- generated: results -->")
    assert picture < table < line_of("<!-- command: reproduce -->") <= FIRST_SCREEN
    assert "Does it find them all?" in "".join(README.splitlines(keepends=True)[:table])
    assert len(README.splitlines()) <= WHOLE
    assert line_of("## Change what is run") > line_of("<!-- command: test -->")


def test_the_first_table_speaks_plainly() -> None:
    first = README[: line_of("## Two commands")]
    assert not re.search(r"_several|coverage_|exact_match|revealed|settled|carried", first)


@pytest.mark.parametrize("name", COMMANDS)
def test_pip_is_not_silent(name: str) -> None:
    install = re.findall(r"pip install [^&]*", command(name))
    assert len(install) == 1
    assert not {"-q", "--quiet", "-qq"} & set(install[0].split())


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("version", "allowed"), [((3, 9), 0), ((3, 10), 0), ((3, 11), 1), ((3, 14), 1)]
)
def test_an_older_python_is_refused_in_one_line(
    name: str, version: tuple[int, int], allowed: bool, tmp_path: Path
) -> None:
    """With a python3 that says it has this version, and makes no environment: it ends with 7."""
    fake = tmp_path / "bin/python3"
    fake.parent.mkdir()
    source = f"import sys; sys.version_info = {(*version, 1)}; exec(sys.argv[1])"
    fake.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] || exit 7\nexec {sys.executable} -c "{source}" "$2"\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", command(name)],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{fake.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if allowed:
        assert (done.returncode, done.stdout + done.stderr) == (7, "")
    else:
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("Python 3.11 or newer is needed")
        assert done.stderr.count("\n") == 1 and "python3.11" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_present_python_passes() -> None:
    check = command("reproduce").partition(" && ")[0]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", check], env=os.environ | {"PATH": path}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_example_trains_the_papers_size_on_a_laptop(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [line for line in snakemake_commands(text) if trains_paper_size(line)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run `snakemake results/eval/nqueens8/gram/seed0/test.json` now", 1),
        ("#   snakemake results/runs/coloring10/trm/seed0/weights.safetensors\n", 1),
        ("snakemake --configfile config/paper.yaml\n", 1),
        ("`snakemake --configfile config/paper.yaml -n`", 0),
        ("snakemake results/eval/nqueens8/gram/seed0/test.json \\\n#  --profile profiles/local", 0),
        ("`snakemake results/data/nqueens8/checked.json`", 0),
        ("`snakemake results/eval/nqueens7/gram/seed0/test.json`", 0),
        ("`snakemake results/eval/nqueens8-cpu/gram/seed0/test.json`", 0),
    ],
)
def test_planted_examples(text: str, found: int) -> None:
    assert len(list(snakemake_commands(text))) == 1
    assert sum(map(trains_paper_size, snakemake_commands(text))) == found


def test_every_command_names_its_files_before_its_options() -> None:
    """As Snakemake's own parser reads them: no target was taken for a configuration."""
    rules = set(re.findall(r"^rule (\w+):", (ROOT / "Snakefile").read_text(encoding="utf-8"), re.M))
    lines = {line for line in snakemake_commands(README) if "FILE" not in line}
    assert len(lines) > 15
    for line in lines:
        arguments = get_argument_parser().parse_args(shlex.split(line)[1:])
        for target in arguments.targets or []:
            assert target in rules or target.startswith("results/"), line
        for config in arguments.configfile or []:
            assert (ROOT / config).is_file(), line
        assert all((ROOT / profile).is_dir() for profile in arguments.profile or []), line


@pytest.mark.parametrize("name", ["README.md", "docs/LAYOUT.md", "docs/CLUSTERS.md"])
def test_files_that_are_named_exist(name: str) -> None:
    path = ROOT / name
    text = path.read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(
        r'(?:src|href)="([^"]+)"', text
    )
    assert [link for link in linked if not (path.parent / link).exists()] == []
    folders = "config|docs|envs|gram|profiles|resources|tests|workflow"
    named = set(re.findall(rf"(?<![\w/.])(?:{folders})/[\w./-]*[\w/]", text))
    assert [one for one in sorted(named) if not (ROOT / one).exists()] == []


def test_modules_of_the_layout_exist() -> None:
    text = (ROOT / "docs/LAYOUT.md").read_text(encoding="utf-8")
    tree = text[text.index("gram/  ") : text.index("workflow/  ")]
    modules = {path.name for path in (ROOT / "gram").rglob("*.py")}
    assert set(re.findall(r"[a-z_]\w*\.py", tree)) <= modules
    folders = re.findall(r"^  (?:[a-z]+/, )?([a-z]+)/", tree, re.MULTILINE)
    assert len(folders) >= 8 and all((ROOT / "gram" / folder).is_dir() for folder in folders)
