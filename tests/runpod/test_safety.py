"""Pods that nobody watches: a full volume, two heads, a copied folder, and pods that must remove
themselves.
"""

from __future__ import annotations

import errno
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snakemake_executor_plugin_runpod import pod as runner
from snakemake_executor_plugin_runpod.api import ApiError, Client
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.fleet import Fleet
from snakemake_executor_plugin_runpod.key import ApiKey
from snakemake_executor_plugin_runpod.ledger import Ledger
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume
from tests.runpod.conftest import Direct, Pretence, gpu_bodies
from tests.runpod.standin import StandIn

Open = Callable[..., Pretence]


def full(*arguments: Any, **more: Any) -> Any:
    """What a write to a full volume ends with."""
    raise OSError(errno.ENOSPC, "No space left on device")


def at_work(run: Pretence, count: int = 2) -> None:
    """Bring jobs to work."""
    run.submit(count)
    run.pass_by(60)
    assert len(run.api.pods) == count


def test_a_full_volume_leaves_no_pod_when_the_head_closes(
    pretence: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretence()
    at_work(run, 4)
    monkeypatch.setattr(Ledger, "pay", full)
    monkeypatch.setattr(runner, "write", full)
    run.fleet.close()
    assert run.api.pods == {}
    said = "\n".join(run.lines)
    assert "dollars for 4 ended pods are not in the ledger" in said
    assert "the end of this head could not be written" in said


def test_a_full_volume_stops_the_run_after_a_while_and_ends_jobs_that_are_done(
    pretence: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretence(max_pods=2)
    at_work(run, 2)
    run.submit(3)  # wait for a pod, and then for room on the volume
    monkeypatch.setattr(Ledger, "pay", full)
    monkeypatch.setattr(Path, "mkdir", full)
    begin = run.clock.now
    with pytest.raises(RunPodError, match=r"^the volume has not worked for \d+ s: .*No space left"):
        for _ in range(100):
            troubles = run.round()
            if run.clock.now - begin > 700:
                assert run.api.pods == {}  # although what they cost cannot be written
            if troubles:
                run.fleet.trouble(troubles[0])
    assert run.clock.now - begin > run.heartbeat.stale
    monkeypatch.undo()
    run.fleet.close()
    assert len(run.fleet.ledger.lines()) == 2


def test_a_moment_without_the_volume_costs_nothing(
    pretence: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretence()
    run.submit(2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        assert run.round()
    assert not run.round()
    run.fleet.well()
    run.pass_by(900)
    assert set(run.outcomes.values()) == {"done"}
    assert len(run.fleet.ledger.lines()) == 2


def test_a_line_that_a_full_volume_cut_off_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, "run", "session")
    line = ("name", "id", "1 x NVIDIA A40", 0.5, "2026-06-01T12:00:00Z", 3600.0, "done")
    ledger.pay(*line)
    with path.open("a") as file:
        file.write('{"run": "ru')
    ledger.pay(*line)
    assert [json.loads(text)["cost"] for text in path.read_text().splitlines()] == [0.5, 0.5]


@pytest.mark.parametrize("date", ["2026-11-28 12:00:00 +0000 UTC", "", None, 1_764_000_000])
def test_a_date_that_cannot_be_read_does_not_end_the_run(date: Any, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", "run", "session")
    stray = {"name": "n", "id": "i", "cost": 0.4, "createdAt": date, "gpu": {"id": "NVIDIA A40"}}
    seen = ledger.clock.time() - 1800
    ledger.pay_listed(stray, "a pod without a job", seen)
    assert ledger.lines()[0]["cost"] == pytest.approx(0.2, abs=0.01)


def test_a_copied_folder_ends_no_pods_of_the_first_and_says_whose_they_are(
    pretence: Open, tmp_path: Path
) -> None:
    run = pretence()
    at_work(run)
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    lines: list[str] = []
    volume = Volume(tmp_path / "copy", "volume")
    heartbeat = Heartbeat(volume.head, 15.0, 300.0, run.clock)
    second = Fleet(
        run.client, volume, heartbeat, run="test", max_pods=1, budget=1.0, say=lines.append
    )
    head = json.loads(volume.head.read_text())
    volume.head.write_text(json.dumps(head | {"ended": True}))  # no wait for the first one's end
    second.open()
    second.close()
    assert len(run.api.pods) == 2
    assert second.ledger.lines() == []  # nor are they paid for twice
    (said,) = [line for line in lines if "is a copy of" in line]
    assert str(tmp_path / "state") in said and run.fleet.label in said
    assert volume.identity != run.fleet.volume.identity
    assert Volume(tmp_path / "copy", "volume").identity == volume.identity


def test_the_same_path_on_another_volume_is_another_folder(tmp_path: Path) -> None:
    first = Volume(tmp_path / "state", "one")
    assert Volume(tmp_path / "state", "one").identity == first.identity
    assert Volume(tmp_path / "state", "two").identity != first.identity


def test_a_folder_of_an_older_version_keeps_its_identity(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/identity").write_text("0a1b2c")
    volume = Volume(tmp_path / "state", "volume")
    assert volume.identity == "0a1b2c" and volume.copied is None


def test_a_head_that_was_silent_too_long_stops_and_leaves_the_others_pods(
    pretence: Open, tmp_path: Path
) -> None:
    run = pretence()
    at_work(run)
    # Another head has waited, taken over, ended the first one's pods and made its own.
    volume = Volume(tmp_path / "state", "volume")
    other = {"session": "another", "host": "elsewhere", "pid": 1, "beat": 7, "ended": False}
    for pod in list(run.api.pods.values()):
        run.api.preempt(pod)
        line = ("name", pod.id, "1 x NVIDIA A40", 0.4, "2026-06-01T12:00:00Z", 60.0, "ended")
        run.fleet.ledger.pay(*line)
    volume.head.write_text(json.dumps(other))
    run.api.create(
        {
            "name": f"{run.fleet.label}train-00112233",
            "image": "image",
            "cmd": ["python", str(tmp_path)],
            "gpu": {"id": "NVIDIA A40"},
        }
    )
    run.pass_by(15)
    assert run.stopped is not None
    assert "the head on elsewhere (process 1) has taken over run test" in run.stopped
    assert len(run.api.pods) == 1  # the other's
    assert json.loads(volume.head.read_text()) == other
    assert len(run.fleet.ledger.lines()) == 2  # paid once, by whoever ended them


def test_the_heartbeat_of_another_head_is_not_overwritten(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "state")
    heartbeat = Heartbeat(volume.head, 0.01, 1.0)
    heartbeat.start(print)
    other = {"session": "another", "host": "elsewhere", "pid": 1, "beat": 1, "ended": False}
    until = time.monotonic() + 10
    while heartbeat._thread.is_alive() and time.monotonic() < until:
        runner.write(volume.head, other)  # again, should a beat have come just before
        heartbeat._thread.join(0.1)
    assert not heartbeat._thread.is_alive()  # it has ended by itself
    heartbeat.stop()
    assert heartbeat.successor() == "the head on elsewhere (process 1)"


def test_a_creation_without_an_answer_is_not_repeated_at_once(pretence: Open) -> None:
    run = pretence()
    run.api.listed_after = 25.0
    run.api.lose_answers = 1
    run.submit(1)
    run.pass_by(900)
    assert len(run.api.all) == 1
    assert set(run.outcomes.values()) == {"done"}


def test_a_creation_that_never_was_is_repeated(pretence: Open) -> None:
    run = pretence()
    run.api.answers = [("POST", 502)]
    run.submit(1)
    run.pass_by(900)
    assert set(run.outcomes.values()) == {"done"} and len(run.api.all) == 1


def test_a_pod_that_is_really_gone_is_lost_within_two_looks(pretence: Open) -> None:
    run = pretence()
    at_work(run, 1)
    run.api.preempt(run.api.all[0])
    run.pass_by(60)
    (outcome,) = run.outcomes.values()
    assert "has disappeared" in outcome and run.jobs[0].lost


def test_all_pages_of_the_list_are_read(pretence: Open) -> None:
    run = pretence(max_pods=7)
    run.submit(7)
    run.pass_by(60)
    assert run.api.page_size == 2 and len(run.client.pods()) == 7
    run.heartbeat._end.set()  # as if the head were killed
    run.heartbeat._thread.join(30)
    head = json.loads(run.heartbeat.path.read_text())
    run.heartbeat.path.write_text(json.dumps(head | {"ended": True}))
    volume = Volume(run.fleet.volume.folder, "volume")
    next_one = Fleet(
        run.client,
        volume,
        Heartbeat(volume.head, 15.0, 300.0, run.clock),
        run="test",
        max_pods=1,
        budget=1.0,
        say=run.lines.append,
        clock=run.clock,
    )
    next_one.open()
    assert run.api.pods == {}
    next_one.close()


# The pod's half


def job_of(folder: Path, api: StandIn, **changes: Any) -> dict[str, Any]:
    """The folder of a job, and what pod.py reads there."""
    folder.mkdir(parents=True)
    job: dict[str, Any] = {
        "command": "sleep 0.3",
        "cwd": str(folder),
        "session": "head",
        "beat": 0.05,
        "stale": 5.0,
        "grace": 0.5,
        "limit": None,
        "api_url": api.url,
        "graphql_url": f"{api.url.rpartition('/')[0]}/graphql",
    }
    return job | changes


def test_a_moment_of_io_errors_leaves_a_training_alone(
    tmp_path: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state/jobs/job"
    job = job_of(folder, standin)
    failing = iter([True, False, True] + [False] * 100)
    write = runner.write

    def flaky(path: Path, content: Any) -> None:
        if next(failing):
            full()
        write(path, content)

    monkeypatch.setattr(runner, "write", flaky)
    head = runner.Head(tmp_path / "state/head.json", "head", 5.0)
    assert runner.run(folder, job, head, []) == {"code": 0, "reason": None, "lost": False}
    assert json.loads((folder / "heartbeat").read_text())["beat"] >= 1


def test_how_a_job_ended_is_written_again_until_it_is_there(
    tmp_path: Path, standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state/jobs/job"
    job = job_of(folder, standin, command="true")
    (folder / "job.json").write_text(json.dumps(job))
    failures = [True, True, True]
    write = runner.write

    def flaky(path: Path, content: Any) -> None:
        if path.name == "exit.json" and failures:
            failures.pop()
            full()
        write(path, content)

    class Deleted(Exception):
        """The end of the pod."""

    def nap(seconds: float) -> None:
        if (folder / "exit.json").exists():
            raise Deleted

    monkeypatch.setattr(runner, "write", flaky)
    monkeypatch.setattr(runner.time, "sleep", nap)
    monkeypatch.setattr(runner.signal, "signal", lambda number, handle: None)
    with pytest.raises(Deleted):
        runner.main(folder)
    assert failures == []
    assert json.loads((folder / "exit.json").read_text())["code"] == 0


@pytest.mark.parametrize(
    ("own_key", "tool", "graphql", "ways"),
    [
        (True, "old", True, ["API v2: 204"]),
        (False, "new", True, ["API v2: 403", "runpodctl: runpodctl pod delete: exit status 0"]),
        (False, "old", True, ["API v2: 403", "runpodctl: runpodctl remove pod: exit status 0"]),
        (False, "retired", True, ["API v2: 403", "runpodctl: ", "GraphQL: 200"]),
        (False, "retired", False, ["API v2: 403", "runpodctl: ", "GraphQL: 410"]),
    ],
)
def test_a_pod_removes_itself_in_one_of_three_ways_and_notes_which(
    own_key: bool,
    tool: str,
    graphql: bool,
    ways: list[str],
    tmp_path: Path,
    standin: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    standin.own_key_may, standin.graphql = own_key, graphql
    body = {"name": "n", "image": "i", "cmd": ["sleep", "60"], "gpu": {"id": "NVIDIA A40"}}
    pod_id = standin.create(body)["id"]
    key = standin.pods[pod_id].key
    folder = tmp_path / "jobs/smk-run-0a1b2c-train-00112233"
    job = job_of(folder, standin)
    for name, value in standin.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STANDIN_TOOL", tool)
    monkeypatch.setenv("RUNPOD_API_KEY", key)
    worked = runner.remove_this_pod(folder, job, pod_id)
    assert worked == (standin.pods == {}) == (ways[-1] != "GraphQL: 410")
    lines = (folder / "removal.txt").read_text().splitlines()
    assert len(lines) == len(ways)
    assert all(way in line for way, line in zip(ways, lines, strict=True))
    assert key not in "".join(lines)


def test_no_shell_sees_the_path_of_a_job(tmp_path: Path) -> None:
    run = Pretence(tmp_path / "a folder; with 'odd' $(names) & more")
    run.fleet.open()
    run.submit(1)
    run.pass_by(900)
    assert set(run.outcomes.values()) == {"done"}
    command = run.api.all[0].body["cmd"]
    assert command == [run.fleet.python, str(run.fleet.volume.runner), str(run.jobs[0].folder)]
    assert "args" not in run.api.all[0].body
    run.fleet.close()


def test_names_of_pods_have_at_most_60_letters(pretence: Open) -> None:
    run = pretence(run="a" * 20)
    job = run.fleet.submit("a_rule_with_a_long_name" * 3, gpu_bodies("NVIDIA A40"), {})
    assert len(job.name) <= 60


def test_a_volume_that_stalls_for_minutes_loses_no_pod(
    pretence: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretence()
    at_work(run, 2)

    def stalled(self: Path, *arguments: Any, **more: Any) -> str:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", stalled)
        run.pass_by(240)
    assert run.outcomes == {} and run.stopped is None
    run.pass_by(600)
    assert list(run.outcomes.values()) == ["done", "done"] and len(run.api.all) == 2


def test_retired_routes_and_too_large_requests_are_what_runpod_makes_of_them(
    pretence: Open,
) -> None:
    run = pretence()
    old = Client(ApiKey(run.api.KEY), run.api.url.replace("/v2", "/v1"))
    old._session.mount(run.api.url.rpartition("/")[0], Direct(run.api))
    with pytest.raises(ApiError, match="410: Gone"):
        old.pods()
    body = {"name": "n", "image": "i", "cmd": ["x" * 110_000], "gpu": {"id": "NVIDIA A40"}}
    with pytest.raises(ApiError, match="413: Payload Too Large") as caught:
        run.client.create(body)
    assert not caught.value.transient
