"""docs/CLUSTERS.md, step by step: its own commands, read out of the page.

Those of the section on RunPod run, against the stand-in for its API and in the place of a pod: this
machine, with folders for the volume and for root's home. docker, ssh and tmux are scripts that
write down how they were called. The rest of the page's commands is only parsed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.cli import parse_args

from tests.runpod.standin import StandIn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/CLUSTERS.md").read_text(encoding="utf-8")
RUN = {"task": "nqueens6", "methods": ["gram"], "seeds": [0]}
CENTER = "US-KS-2"  # of the stand-in's volume
# What this machine needs that a pod does not: no GPU, and no minutes between two looks. The table
# and its figures take no pod, and other tests make them.
HERE = "--config device=cpu --until train --runpod-beat 0.5 --seconds-between-status-checks 0"


def blocks(title: str) -> list[str]:
    """The commands of a section, a block each, without what a deeper section adds."""
    section = re.split(rf"^## {title}\n", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^##", section, flags=re.MULTILINE)[0]
    found = re.findall(r"^( *)```bash\n(.*?)^\1```", section, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def commands_of(page: str) -> list[list[str]]:
    """The words of every snakemake command, from its options on."""
    found = []
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", page, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if called := re.search(r"(?:^|[ /])snakemake( --.*)", line):
                found.append(shlex.split(re.split(r" > |#", called[1])[0]))
    return found


@pytest.mark.parametrize("words", commands_of(PAGE), ids=" ".join)
def test_every_snakemake_command_of_the_page_is_one(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options, profile and configuration exist, and what the profile sets is understood."""
    monkeypatch.chdir(ROOT)
    _, options = parse_args(words)
    profile = words[words.index("--profile") + 1]
    settings = yaml.safe_load((ROOT / profile / "config.yaml").read_text(encoding="utf-8"))
    assert options.executor == settings.get("executor")
    assert all(path.exists() for path in options.configfile)
    if profile != "profiles/local" and "--config" not in words:
        assert options.config == ["device=cuda"]


@pytest.fixture
def place(tmp_path: Path, tiny: Any) -> Any:
    """Folders for what the page calls /workspace and /root, and a repository to clone at URL."""
    for name in ("workspace", "root", "bin"):
        (tmp_path / name).mkdir()
    for name in ("docker", "ssh", "tmux"):
        script = f'#!/bin/sh\necho "{name} $*" >>{shlex.quote(str(tmp_path))}/called\n'
        (tmp_path / "bin" / name).write_text(script, encoding="utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    repository = tiny(tmp_path / "origin")
    for name in ("smoke", "paper"):
        repository.write(f"config/{name}.yaml", {"runs": [RUN], "quick": None})
    (repository / "config/experiments/nqueens5.yaml").unlink()
    repository.edit("config/config.yaml", lambda config: config.update(runs=[RUN], ablations=[]))
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "tiny"]):
        subprocess.run(["git", *arguments], cwd=repository.folder, check=True)
    return tmp_path


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StandIn]:
    """The stand-in, as busy as it is by default, with the GPUs of the profile."""
    standin = StandIn(tmp_path / "api")
    profile = yaml.safe_load((ROOT / "profiles/runpod/config.yaml").read_text(encoding="utf-8"))
    standin.GPUS = tuple(profile["runpod-gpu-types"].split(", "))
    yield standin
    standin.stop()


def follow(place: Path, block: str, where: Path, standin: StandIn) -> tuple[str, Path]:
    """Run a block as a reader would; what it printed, and the folder in which it ended."""
    text = block.replace("/workspace", f"{place}/workspace").replace("/root/", f"{place}/root/")
    text = text.replace("YOU", "you").replace("URL", f"{place}/origin")
    # A name of the head, an address, a port: as the console shows them.
    text = text.replace("ADDRESS", "203.0.113.7").replace("PORT", "22001")
    if "snakemake_executor_plugin_runpod where" in text or " reap " in text:
        text = text.replace("--key-file", f"--api-url {standin.url} --key-file")
    text = re.sub(r"(-m snakemake --profile .*?\.yaml)", rf"\1 {HERE}", text)
    script = f"set -eu\n{text}\nwait\npwd >{shlex.quote(str(place))}/where\n"
    environment = os.environ | {
        "HOME": f"{place}/root",
        "PATH": os.pathsep.join(
            [f"{place}/bin", str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PYTHONPATH": os.pathsep.join([str(where), str(ROOT)]),
        "RUNPOD_VOLUME_ID": "volume",
        "RUNPOD_DC_ID": CENTER,
        "RUNPOD_API_KEY": "a key of this pod alone",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=where,
        env=environment,
        input=f"{standin.KEY}\n",
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, (block, done.stdout, done.stderr)
    return done.stdout + done.stderr, Path((place / "where").read_text().strip())


def test_runpod_step_by_step(place: Path, api: StandIn) -> None:
    where_to, image, pod, first_look, run, costs = blocks("RunPod")

    # 0. A place. On the user's own machine.
    printed, _ = follow(place, where_to, ROOT, api)
    assert f"| {CENTER} | yes | yes | NVIDIA A100 80GB PCIe (high)" in printed
    assert (place / "root/runpod-key").stat().st_mode & 0o777 == 0o600

    # 1. The image. RunPod runs linux/amd64 only, and keeps what it once pulled under a name.
    follow(place, image, ROOT, api)
    called = (place / "called").read_text().splitlines()
    tag = re.fullmatch(r"docker push (ghcr\.io/you/gram-reproduction:[0-9a-f]{12,})", called[-1])
    assert tag and called[:-1] == [
        "docker login ghcr.io -u you",
        f"docker build --platform linux/amd64 -f envs/Dockerfile -t {tag[1]} .",
    ]
    # 2. is the console; what it is told to start is in the image.
    command = re.search(r"the command `/gram/(\S+)`", PAGE)
    assert command and os.access(ROOT / command[1], os.X_OK)

    # 3. On the pod.
    (place / "root/runpod-key").unlink()
    _, checkout = follow(place, pod, place, api)
    assert (checkout / "Snakefile").exists() and checkout == place / "workspace/gram"
    assert (place / "called").read_text().splitlines()[-2:] == [
        "ssh root@203.0.113.7 -p 22001",
        "tmux ",
    ]

    # 4. The head of the profile: the lines that are there to be uncommented, but for the volume,
    # which the pod knows.
    profile = checkout / "profiles/runpod/config.yaml"
    text = profile.read_text(encoding="utf-8")
    for key, value in {"image": tag[1], "key-file": f"{place}/root/runpod-key"}.items():
        text, count = re.subn(rf"^# runpod-{key}: .*", f"runpod-{key}: {value}", text, flags=re.M)
        assert count == 1
    text = text.replace("runpod-mount-path: /workspace", f"runpod-mount-path: {place}/workspace")
    profile.write_text(f"{text}\nrunpod-api-url: {api.url}\n", encoding="utf-8")
    follow(place, first_look, checkout, api)
    assert (checkout / "results/runs/nqueens6/gram/seed0/weights.safetensors").exists()
    (body,) = [pod.body for pod in api.all]
    assert body["image"] == tag[1] and body["gpu"] == {
        "id": "NVIDIA A100 80GB PCIe",
        "count": 1,
        "minCudaVersion": "13.0",
    }
    assert api.pods == {}

    printed, _ = follow(place, run, checkout, api)
    for output in (printed, (checkout / "head.log").read_text()):
        assert re.search(r"Nothing to be done|^total +0$", output, flags=re.M), output

    # 5. What it cost, and whether anything is left.
    printed, _ = follow(place, costs, checkout, api)
    assert "| run | pods | hours | dollars |" in printed and "\n| gram | 1 | " in printed
    assert "0 pods of any run, 0 left" in printed
