"""``python -m snakemake_executor_plugin_runpod``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from snakemake_executor_plugin_runpod.__main__ import main
from tests.runpod.standin import StandIn

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def command(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``command("reap", "--yes")``: exit status and what it printed."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setenv("RUNPOD_API_KEY", standin.KEY)
        address = ["--api-url", standin.url] if arguments[0] != "costs" else []
        monkeypatch.setattr(sys, "argv", ["command", *arguments, *address])
        status = main()
        return status, "".join(capsys.readouterr())

    return call


def make(standin: StandIn, *names: str) -> None:
    for name in names:
        standin.create(
            {"name": name, "image": "i", "args": "sleep 60", "gpu": {"id": "NVIDIA A40"}}
        )


def test_reap_lists_and_then_ends_the_pods_of_a_run_and_no_others(
    command: Command, standin: StandIn
) -> None:
    mine, others, foreign = (
        "smk-gram-0a1b2c-train-00112233",
        "smk-gram-b-0a1b2c-train-00112233",
        "my-own-pod",
    )
    make(standin, mine, others, foreign)
    status, listed = command("reap", "--run", "gram")
    assert status == 0
    assert mine in listed and others not in listed and foreign not in listed
    assert "1 pods of run gram, 1 left; --yes ends them" in listed
    assert len(standin.pods) == 3
    status, ended = command("reap", "--run", "gram", "--yes")
    assert status == 0 and "1 pods of run gram, 0 left" in ended
    assert {pod.body["name"] for pod in standin.pods.values()} == {others, foreign}
    assert command("reap", "--yes")[0] == 0
    assert {pod.body["name"] for pod in standin.pods.values()} == {foreign}


def test_reap_says_what_it_could_not_end(command: Command, standin: StandIn) -> None:
    make(standin, "smk-gram-0a1b2c-train-00112233")
    standin.answers = [("DELETE", 403)]
    status, output = command("reap", "--yes")
    assert status == 1
    assert "NOT ended: RunPod: DELETE /pods/" in output and "1 left" in output


def test_reap_with_a_wrong_key_is_one_line(
    command: Command, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = standin.KEY
    standin.KEY = "rpa_another_key"  # type: ignore[misc]
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    monkeypatch.setattr(sys, "argv", ["command", "reap", "--api-url", standin.url])
    assert main() == 1


def test_costs_are_a_table_of_runs_and_their_total(command: Command, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text(
        '{"run": "b", "hours": 1.5, "cost": 0.6}\n{"run": "a", "hours": 1, "cost": 0.4}\n{"run":'
        ' "b", "hours": 1, "cost": 1}\n'
    )
    rows = ["| b | 2 | 2.50 | 1.60 |", "| a | 1 | 1.00 | 0.40 |", "| total | 3 | 3.50 | 2.00 |"]
    assert command("costs", str(ledger)) == (
        0,
        "\n".join(["| run | pods | hours | dollars |", "|---|---:|---:|---:|", *rows]) + "\n",
    )
    status, output = command("costs", str(tmp_path / "nothing.jsonl"))
    assert (
        status == 1 and "nothing.jsonl: cannot read the ledger: No such file or directory" in output
    )
    assert "| run |" not in output  # nothing before the error


def test_where_names_the_data_centers_that_have_all_a_run_needs(
    command: Command, standin: StandIn
) -> None:
    standin.without_capacity = {"NVIDIA L4"}
    types = ("--gpu-types", "NVIDIA L4, NVIDIA A40", "--min-cuda", "13.0")
    assert command("where", *types) == (
        0,
        (
            "| data center | network volumes | CPU pods | GPU types in stock |\n|---|---|---|---|\n"
            "| US-KS-2 | yes | yes | NVIDIA A40 (high) |\n"
        ),
    )
    standin.newest_cuda = (12, 8)
    status, output = command("where", *types)
    assert status == 1
    assert (
        output
        == "no data center has NVIDIA L4 or NVIDIA A40 with CUDA 13.0 or later in stock now\n"
    )


def test_reap_shows_what_pods_were_told_when_they_asked_to_be_removed(
    command: Command, tmp_path: Path
) -> None:
    note = tmp_path / "state/jobs/smk-gram-0a1b2c-train-00112233/removal.txt"
    note.parent.mkdir(parents=True)
    note.write_text("T1 API v2: 403 Forbidden\nT2 GraphQL: 200 {}\n")
    status, output = command("reap", "--state", str(tmp_path / "state"))
    assert status == 0
    assert "smk-gram-0a1b2c-train-00112233 has asked: T2 GraphQL: 200 {}" in output


def test_reap_reads_every_page_of_the_list(command: Command, standin: StandIn) -> None:
    make(standin, *[f"smk-gram-0a1b2c-train-0011223{digit}" for digit in range(5)])
    assert standin.page_size < 5
    assert "5 pods of any run, 0 left" in command("reap", "--yes")[1]
    assert standin.pods == {}
