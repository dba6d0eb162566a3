"""One set of pins and one version: pyproject.toml, the lock, conda, the container, CI and the
citation agree.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = "envs/requirements.lock"
HASHED = "envs/requirements.hashed.txt"
CONDA = "envs/conda/environment.yaml"
DOCKERFILE = "envs/Dockerfile"
CI = ".ci/run"


def read(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads(read(root, "pyproject.toml"))


def lock_lines(root: Path) -> list[str]:
    return [line for line in read(root, LOCK).splitlines() if line and not line.startswith("#")]


def lock_problems(root: Path) -> list[str]:
    """Lines of the lock that are not one exact pin per package without a local label."""
    lines = lock_lines(root)
    names = [canonicalize_name(line.partition("==")[0]) for line in lines]
    problems = [
        f"{LOCK}: {line}: not an exact pin"
        for line in lines
        if not re.fullmatch(r"[\w.-]+==[\w.]+", line)
    ]
    return problems + [
        f"{LOCK}: {name}: pinned twice" for name in sorted(set(names)) if names.count(name) > 1
    ]


def hashed_pins(root: Path) -> list[tuple[str, str, list[str]]]:
    """Name, version and sums of every package in the lock with sums."""
    text = re.sub(r"\\\n\s*", "", read(root, HASHED))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        pin, *sums = line.split(" --hash=sha256:")
        name, _, version = pin.partition(";")[0].strip().partition("==")
        found.append((canonicalize_name(name), version, [one.strip() for one in sums]))
    return found


def hash_problems(root: Path) -> list[str]:
    """Pins of the lock that the one with sums lacks or has in another version, and pins without a
    sum.
    """
    found = hashed_pins(root)
    versions: dict[str, set[str]] = {}
    for name, version, _ in found:
        versions.setdefault(name, set()).add(version)
    pins = (line.partition("==") for line in lock_lines(root))
    return [
        f"{HASHED}: {name}: not {version} as in {LOCK}"
        for name, _, version in pins
        if versions.get(canonicalize_name(name)) != {version}
    ] + [
        f"{HASHED}: {name}: no sum, or one that is none"
        for name, _, sums in found
        if not sums or not all(map(re.compile("[0-9a-f]{64}").fullmatch, sums))
    ]


def range_problems(root: Path) -> list[str]:
    """Dependencies that the lock does not pin, or pins outside their range."""
    pins = {}
    for line in lock_lines(root):
        name, _, version = line.partition("==")
        pins[canonicalize_name(name)] = version
    project = pyproject(root)["project"]
    extras = [
        requirement for extra in project["optional-dependencies"].values() for requirement in extra
    ]
    problems = []
    for requirement in map(Requirement, project["dependencies"] + extras):
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None:
            problems.append(f"{LOCK}: {requirement.name}: not pinned")
        elif pin not in requirement.specifier:
            problems.append(f"{LOCK}: {requirement.name}: {pin} is not in {requirement.specifier}")
    return problems


def install_problems(root: Path) -> list[str]:
    """Files that install something without the lock, or that pin a package themselves."""
    problems = []
    conda = yaml.safe_load(read(root, CONDA))["dependencies"]
    (pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    constraint, *installed = [line.partition(" ") for line in pip]
    # Conda may read a copy in .snakemake/conda/ instead: its relative paths must lead to the same
    # places from there.
    for folder in (Path(CONDA).parent, Path(".snakemake/conda")):
        if constraint[0] != "-c" or os.path.normpath(folder / constraint[2]) != LOCK:
            problems.append(f"{CONDA}: {''.join(constraint)}: not the lock when read in {folder}")
        if [option for option, _, _ in installed] != ["-e"] or os.path.normpath(
            folder / installed[0][2]
        ) != ".":
            problems.append(
                f"{CONDA}: must install this project and nothing else when read in {folder}"
            )
    if any(
        re.match(r"[^#]*==", line)
        for name in (CONDA, DOCKERFILE)
        for line in read(root, name).splitlines()
    ):
        problems.append(f"{CONDA}, {DOCKERFILE}: a pin outside {LOCK}")
    for line in re.findall(r"pip install .*", read(root, DOCKERFILE)):
        if f"-c {LOCK} " not in line:
            problems.append(f"{DOCKERFILE}: {line}: without the lock")
    for name in ("reproduce", "test"):
        if f"-c {LOCK} " not in readme_command(root, name):
            problems.append(
                f"README.md: no line for {name!r}, alone in its block, that installs with the lock"
            )
    if "pip install" in read(root, CI):
        problems.append(f"{CI}: repeats the README's install line")
    return problems


def image_problems(root: Path) -> list[str]:
    """What the container lacks that a paid run of docs/CLUSTERS.md needs."""
    text = re.sub(r"\\\n", " ", read(root, DOCKERFILE))
    (line,) = re.findall(r"apt-get install (.*?) &&", text)
    # Triton and torch.compile build with the compilers at run time; the head of a run is reached by
    # ssh.
    needed = {"ca-certificates", "gcc", "g++", "git", "libc6-dev", "openssh-server", "tmux"}
    missing = sorted(needed - set(line.split()))
    problems = [f"{DOCKERFILE}: without {name}" for name in missing]
    # The address of other wheels, and the order in which they are kept.
    index = text.find('--no-deps --index-url "$TORCH_INDEX" torch')
    if not 0 < text.find("ARG TORCH_INDEX=https://pypi.org/simple") < index < text.find("-e ."):
        problems.append(f"{DOCKERFILE}: no torch of another index before the rest")
    if "ssh_host_*_key*" not in text:
        problems.append(f"{DOCKERFILE}: everybody who has the image has the host keys of its pods")
    return problems


def python_problems(root: Path) -> list[str]:
    """Whether every file means the same minor version of Python."""
    tool = pyproject(root)["tool"]
    conda = yaml.safe_load(read(root, CONDA))["dependencies"]
    versions = {
        "requires-python": pyproject(root)["project"]["requires-python"].removeprefix(">="),
        "mypy": tool["mypy"]["python_version"],
        "ruff": tool["ruff"]["target-version"].replace("py3", "3."),
        LOCK: "".join(re.findall(r"^#.* Python (\d+\.\d+)", read(root, LOCK), re.MULTILINE)),
        CONDA: "".join(
            entry.removeprefix("python=") for entry in conda if str(entry).startswith("python")
        ),
        DOCKERFILE: "".join(
            re.findall(r"^FROM python:(\d+\.\d+)", read(root, DOCKERFILE), re.MULTILINE)
        ),
    }
    for name in ("reproduce", "test"):
        line = readme_command(root, name)
        for pattern in (r"version_info < \((\d+), (\d+)\)", r"Python (\d+)\.(\d+) or newer"):
            found = re.search(pattern, line)
            versions[f"README.md, {name}, {pattern}"] = ".".join(found.groups()) if found else ""
    return [] if len(set(versions.values())) == 1 else [f"Python versions differ: {versions}"]


def version_problems(root: Path) -> list[str]:
    """Whether the package, its metadata, the citation and the newest entry of the changelog name
    one version.
    """
    configuration = pyproject(root)
    versions = {
        "gram.__version__": re.findall(
            r'^__version__ = "(.+)"', read(root, "gram/__init__.py"), re.MULTILINE
        ),
        "CITATION.cff": [yaml.safe_load(read(root, "CITATION.cff"))["version"]],
        "CHANGELOG.md": re.findall(r"^## \[(\d.*)\]", read(root, "CHANGELOG.md"), re.MULTILINE)[:1],
    }
    problems = (
        []
        if len({str(found) for found in versions.values()}) == 1
        else [f"versions differ: {versions}"]
    )
    problems += [f"{name}: no version found" for name, found in versions.items() if not found]
    if (
        "version" in configuration["project"]
        or configuration["tool"]["hatch"]["version"]["path"] != "gram/__init__.py"
    ):
        problems.append("pyproject.toml: the version must be read from gram/__init__.py")
    return problems


def readme_command(root: Path, name: str) -> str:
    """The command that .ci/run and readers take from the README."""
    found = re.findall(
        rf"^<!-- command: {name} -->\n+```bash\n(.+)\n```$", read(root, "README.md"), re.MULTILINE
    )
    return found[0] if len(found) == 1 else ""


CHECKS: list[Callable[[Path], list[str]]] = [
    lock_problems,
    hash_problems,
    range_problems,
    install_problems,
    image_problems,
    python_problems,
    version_problems,
]


@pytest.mark.parametrize("check", CHECKS)
def test_repository(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the checks read, with a README that is known to be good."""
    for name in (
        "pyproject.toml",
        "CITATION.cff",
        "CHANGELOG.md",
        "gram/__init__.py",
        LOCK,
        HASHED,
        CONDA,
        DOCKERFILE,
        CI,
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    checked = "python3 -c 'sys.exit(sys.version_info < (3, 11) and \"Python 3.11 or newer\")'"
    blocks = [
        f"<!-- command: {name} -->\n```bash\n{checked} && pip install -c {LOCK} -e .\n```\n"
        for name in ("reproduce", "test")
    ]
    (tmp_path / "README.md").write_text("\n".join(blocks), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("check", "name", "pattern", "replacement"),
    [
        (lock_problems, LOCK, r"^numpy==.*$", "numpy>=2"),
        (lock_problems, LOCK, r"^(torch==.*)$", r"\1+cpu"),
        (lock_problems, LOCK, r"^(PyYAML==.*)$", r"\1\npyyaml==5.0"),
        (lock_problems, LOCK, r"^(numpy==.*)$", r"\1\n-e ."),
        (hash_problems, LOCK, r"^numpy==.*$", "numpy==2.0"),
        (hash_problems, LOCK, r"^(numpy==.*)$", r"\1\nnew==1"),
        (hash_problems, HASHED, r"^numpy==\S+", "numpy==2.0"),
        (hash_problems, HASHED, r"^(numpy==\S+)( \\\n +--hash=\S+)+$", r"\1"),
        (hash_problems, HASHED, r"--hash=sha256:.", "--hash=sha256:x"),
        (range_problems, LOCK, r"^PuLP==.*\n", ""),
        (range_problems, LOCK, r"^ruff==.*\n", ""),
        (range_problems, LOCK, r"^torch==.*$", "torch==2.14.0"),
        (range_problems, "pyproject.toml", r'^  "tqdm>=.*"', '  "tqdm>=99"'),
        (install_problems, CONDA, r"-c \S+", "-c ../requirements.lock"),
        (install_problems, CONDA, r"-e \S+", "torch"),
        (install_problems, CONDA, r"^  - pip$", "  - pip\n  - numpy==2.4.6"),
        (install_problems, DOCKERFILE, r"^(RUN pip install) -c \S+", r"\1"),
        (install_problems, DOCKERFILE, r"^(RUN pip install .*)", r"\1 numpy==2.4.6"),
        (image_problems, DOCKERFILE, r" gcc ", " "),
        (image_problems, DOCKERFILE, r" openssh-server tmux", ""),
        (image_problems, DOCKERFILE, r"^ARG TORCH_INDEX=.*\n", ""),
        (image_problems, DOCKERFILE, r" /etc/ssh/ssh_host\S+", ""),
        (install_problems, CI, r"^section", "pip install ruff\nsection"),
        (install_problems, "README.md", r"-c envs\S+ ", ""),
        (install_problems, "README.md", r"command: test", "command: tests"),
        (install_problems, "README.md", r"^(python3 .*)", r"\1\npytest"),
        (python_problems, CONDA, r"python=\S+", "python=3.12"),
        (python_problems, DOCKERFILE, r"^FROM python:[\d.]+", "FROM python:3.12"),
        (python_problems, "README.md", r"< \(3, 11\)", "< (3, 10)"),
        (python_problems, "README.md", r"Python 3.11 or", "Python 3.10 or"),
        (
            python_problems,
            "pyproject.toml",
            r'requires-python = ".*"',
            'requires-python = ">=3.12"',
        ),
        (version_problems, "gram/__init__.py", r"__version__ = .*", '__version__ = "99.0"'),
        (version_problems, "CITATION.cff", r"^version: .*", "version: 99.0.0"),
        (version_problems, "CHANGELOG.md", r"^## ", "## [99.0.0]\n\n## "),
        (version_problems, "pyproject.toml", r"dynamic = .*", 'version = "0.1.0"'),
    ],
)
def test_planted_disagreement_is_found(
    check: Callable[[Path], list[str]], name: str, pattern: str, replacement: str, copy: Path
) -> None:
    assert check(copy) == []
    text, count = re.subn(pattern, replacement, read(copy, name), count=1, flags=re.MULTILINE)
    assert count == 1
    (copy / name).write_text(text, encoding="utf-8")
    assert check(copy) != []


def run_ci(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", root / CI], capture_output=True, text=True, timeout=60, check=False
    )


def test_ci_runs_the_line_of_the_readme_and_stops_where_it_fails(copy: Path) -> None:
    (copy / "README.md").write_text(
        "<!-- command: test -->\n\n```bash\necho from-the-readme && false\n```\n", encoding="utf-8"
    )
    done = run_ci(copy)
    assert done.returncode == 1
    assert "\nfrom-the-readme\n" in done.stdout
    assert "ruff" not in done.stdout


@pytest.mark.parametrize(
    "readme", ["", "<!-- command: test -->\n```bash\necho one\necho two\n```\n"]
)
def test_ci_refuses_a_readme_without_one_test_line(readme: str, copy: Path) -> None:
    (copy / "README.md").write_text(readme, encoding="utf-8")
    done = run_ci(copy)
    assert done.returncode == 1
    assert "must hold one line" in done.stderr


def test_the_head_of_a_rented_run_wants_a_key_that_may_log_in() -> None:
    script = ROOT / "envs/head.sh"
    environment = {name: value for name, value in os.environ.items() if name != "PUBLIC_KEY"}
    done = subprocess.run([script], env=environment, capture_output=True, text=True)
    assert done.returncode != 0 and "no public key: add one in the account settings" in done.stderr


def test_without_advisories_the_audit_says_that_it_was_skipped() -> None:
    nowhere = "http://127.0.0.1:9"
    done = subprocess.run(
        ["bash", ROOT / ".ci/audit"],
        env=os.environ | {"https_proxy": nowhere, "HTTPS_PROXY": nowhere, "no_proxy": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("SKIPPED: pip-audit: no advisories at https://pypi.org/")


@pytest.mark.parametrize("page", ["CLUSTERS.md", "FAULTS.md", "FIRST_HOUR.md", "RELIABILITY.md"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(test_\w+)`",
        (ROOT / "reports" / page).read_text(encoding="utf-8"),
    )
    assert len(named) > 10
    missing = [
        f"{path}::{name}"
        for path, name in named
        if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_every_finding_on_clusters_that_could_cost_money_is_answered() -> None:
    page = (ROOT / "reports/CLUSTERS.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([CHM]\d+) \| (.+) \| (.+) \| (.+) \|$", page, flags=re.MULTILINE)
    kinds = {"C": 7, "H": 10, "M": 14}
    wanted = [f"{kind}{number + 1}" for kind, count in kinds.items() for number in range(count)]
    assert sorted(row[0] for row in rows) == sorted(wanted)
