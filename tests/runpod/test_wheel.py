"""The plugin as a package of its own: what its wheel and its source archive hold, and that both
work without this project.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import snakemake_executor_plugin_runpod as plugin

FOLDER = Path(plugin.__file__).parent
NAME = plugin.__name__
ROOT = FOLDER.parent

pytestmark = pytest.mark.skipif(
    not (FOLDER / "pyproject.toml").exists(), reason="the plugin is installed, and not a checkout"
)

REGISTERED = """
import sys
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
found = ExecutorPluginRegistry().get_plugin("runpod")
assert found.executor.__module__ == "snakemake_executor_plugin_runpod.executor"
import snakemake_executor_plugin_runpod as plugin
print(plugin.__file__, "gram" in sys.modules)
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive, unpacked."""
    pytest.importorskip("hatchling", reason="builds the plugin; an extra of `dev`")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    (source,) = SdistBuilder(str(FOLDER)).build(directory=str(folder), versions=["standard"])
    with tarfile.open(source) as archive:
        archive.extractall(folder / "source", filter="data")
    (unpacked,) = (folder / "source").iterdir()
    # From the archive, as builders do it.
    (wheel,) = WheelBuilder(str(unpacked)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "wheel")
    return folder / "wheel", unpacked


def test_the_wheel_holds_the_modules_and_says_what_they_need(archives: tuple[Path, Path]) -> None:
    wheel, _ = archives
    modules = {path.name: path.read_bytes() for path in FOLDER.glob("*.py")}
    assert {path.name: path.read_bytes() for path in (wheel / NAME).iterdir()} == modules
    (info,) = wheel.glob("*.dist-info")
    metadata = Parser().parsestr((info / "METADATA").read_text(encoding="utf-8"))
    assert metadata["Name"] == NAME.replace("_", "-") and metadata["Version"] == plugin.__version__
    assert metadata["License-Expression"] == "MIT"
    assert (info / "licenses/LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert "## Use" in str(metadata.get_payload())
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist") or []]
    assert {one.name for one in needed if one.marker is None} == {
        "requests",
        "snakemake-interface-common",
        "snakemake-interface-executor-plugins",
    }


def test_snakemake_finds_the_wheel_and_this_project_is_not_needed(
    archives: tuple[Path, Path], tmp_path: Path
) -> None:
    wheel, _ = archives
    environment = os.environ | {"PYTHONPATH": str(wheel)}
    command = [sys.executable, "-c", REGISTERED]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [str(wheel / NAME / "__init__.py"), "False"], done.stderr


def test_the_source_archive_carries_its_tests_and_they_pass(archives: tuple[Path, Path]) -> None:
    wheel, source = archives
    assert {path.name for path in (source / "tests/runpod").glob("*.py")} == {
        path.name for path in Path(__file__).parent.glob("*.py")
    }
    tests = ["tests/runpod/test_package.py", "tests/runpod/test_placement.py"]
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", *tests]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(wheel), str(source)])}
    done = subprocess.run(
        command, cwd=source, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


def test_this_project_installs_the_plugin_from_its_folder() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    with open(FOLDER / "pyproject.toml", "rb") as file:
        own = tomllib.load(file)["project"]
    assert NAME in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ours = {one.name: one.specifier for one in map(Requirement, project["project"]["dependencies"])}
    # Snakemake brings its interfaces; the rest must stand in both.
    asked = {one.name: one.specifier for one in map(Requirement, own["dependencies"])}
    assert asked["requests"] == ours["requests"]
    assert set(asked) - set(ours) == {name for name in asked if name.startswith("snakemake-")}


def test_one_command_publishes_it() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    block = text.split("## Publish it")[1].split("```bash\n")[1].split("```")[0]
    assert (
        block == "uv build --out-dir dist snakemake_executor_plugin_runpod && uv publish"
        " dist/snakemake_executor_plugin_runpod-*\n"
    )
