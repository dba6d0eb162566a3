"""The fleet against the stand-in: every way a pod can come to its job, lose it, and be paid for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.ledger import Ledger, costs, read_ledger
from tests.runpod.conftest import SOON, FleetRun
from tests.runpod.standin import StandIn

MakeFleet = Callable[..., FleetRun]


def outcomes(run: FleetRun) -> list[str]:
    return sorted(line["outcome"] for line in run.fleet.ledger.lines())


def test_a_job_runs_once_and_its_pod_is_ended_and_paid(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run()
    job = run.submit("echo ran >> ran.txt")
    assert run.finish(job) == ["done"]
    assert (run.folder / "ran.txt").read_text() == "ran\n"
    run.fleet.refresh()
    assert standin.pods == {}
    (line,) = run.fleet.ledger.lines()
    assert line["run"] == "test"
    assert line["name"] == job.name == standin.all[0].body["name"]
    assert line["compute"] == "1 x NVIDIA A40"
    assert line["cost"] == pytest.approx(0.4 * line["hours"], abs=1e-6)
    assert line["outcome"] == "done"
    assert not job.folder.exists()


def test_a_failing_job_says_its_exit_status_and_keeps_its_log(fleet_run: MakeFleet) -> None:
    run = fleet_run()
    job = run.submit("echo cause >&2; exit 3")
    assert run.finish(job) == ["exit status 3"]
    assert (job.folder / "log.txt").read_text() == "cause\n"


def test_30_jobs_on_5_pods(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run(max_pods=5)
    jobs = [run.submit(f"echo {number} >> {number}.txt; sleep 0.1") for number in range(30)]
    assert run.finish(*jobs) == ["done"] * 30
    assert [(run.folder / f"{number}.txt").read_text() for number in range(30)] == [
        f"{number}\n" for number in range(30)
    ]
    assert len(standin.all) == 30
    assert standin.most_at_once == 5
    count, _, dollars = costs(run.fleet.ledger.lines())["test"]
    assert count == 30
    assert dollars == pytest.approx(run.fleet.spent())


def test_the_next_gpu_type_is_taken_where_one_is_refused(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    standin.without_capacity = {"NVIDIA A40"}
    standin.forbidden = {"NVIDIA L4"}
    run = fleet_run()
    assert run.finish(run.submit("true", "NVIDIA A40", "NVIDIA L4", "NVIDIA H100 PCIe")) == ["done"]
    assert run.fleet.ledger.lines()[0]["compute"] == "1 x NVIDIA H100 PCIe"


def test_capacity_that_comes_back_is_used_and_the_preferred_type_is_asked_for_first(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    standin.without_capacity = {"NVIDIA A40", "NVIDIA L4"}
    run = fleet_run()
    job = run.submit("true", "NVIDIA A40", "NVIDIA L4")
    run.until(lambda: any("every type is refused" in line for line in run.lines), job)
    standin.without_capacity = set()
    assert run.finish(job) == ["done"]
    assert run.fleet.ledger.lines()[0]["compute"] == "1 x NVIDIA A40"


def test_a_job_fails_with_the_last_answer_if_capacity_never_comes(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    standin.without_capacity = {"NVIDIA A40"}
    run = fleet_run(capacity_timeout=0.3)
    (outcome,) = run.finish(run.submit("true"))
    assert "every type is refused" in outcome
    assert "There are no longer any instances available" in outcome
    assert "asked for: 1 x NVIDIA A40, SECURE cloud" in outcome


def test_429_and_5xx_are_waited_out(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run()
    flaps = [
        ("GET", 429),
        ("GET", 500),
        ("POST", 503),
        ("POST", 429),
        ("GET", 502),
        ("DELETE", 500),
        ("DELETE", 429),
    ]
    standin.answers = list(flaps)
    jobs = [run.submit(f"echo ran >> {number}.txt") for number in range(3)]
    assert run.finish(*jobs) == ["done"] * 3
    run.until(lambda: not standin.pods)
    assert standin.answers == []
    assert [(run.folder / f"{number}.txt").read_text() for number in range(3)] == ["ran\n"] * 3
    waits = [line for line in run.lines if re.search("(next request|asking again) in", line)]
    assert len(waits) == len(flaps)


def test_a_pod_whose_creation_was_not_answered_is_found_again(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run()
    standin.lose_answers = 1
    assert run.finish(run.submit("echo ran >> ran.txt")) == ["done"]
    assert len(standin.all) == 1
    assert (run.folder / "ran.txt").read_text() == "ran\n"


def test_a_pod_whose_creation_was_not_answered_is_ended_with_the_head(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run()
    standin.lose_answers = 1
    job = run.submit("sleep 60")
    run.until(lambda: job.unsure is not None, job)
    assert len(standin.pods) == 1
    run.fleet.close()
    assert standin.pods == {}
    assert outcomes(run) == ["a pod without a job"]


def test_two_pods_for_one_job_run_it_once(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run()
    job = run.submit("echo ran >> ran.txt; sleep 0.5")
    run.until(lambda: job.pod_id is not None, job)
    standin.create({**standin.all[0].body})
    assert run.finish(job) == ["done"]
    run.until(lambda: not standin.pods)
    assert (run.folder / "ran.txt").read_text() == "ran\n"
    assert outcomes(run) == ["a pod without a job", "done"]


def test_a_preempted_pod_fails_its_job(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run()
    job = run.submit("sleep 60")
    run.until(lambda: (job.folder / "heartbeat").exists(), job)
    standin.preempt(standin.all[0])
    assert run.finish(job) == [f"pod {job.pod_id} has disappeared (preempted, or ended by hand)"]


def test_a_preempted_job_is_warned_before_it_is_killed(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run()
    job = run.submit(
        "trap 'echo saved > saved.txt; exit 1' TERM; touch ready; while true; do sleep 0.05; done"
    )
    run.until(lambda: (run.folder / "ready").exists(), job)
    standin.preempt(standin.all[0], warning=3.0)
    assert run.finish(job) == ["the pod was told to stop"]
    assert (run.folder / "saved.txt").read_text() == "saved\n"


def test_a_restarted_container_does_not_run_the_job_again(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run()
    job = run.submit("echo ran >> ran.txt; sleep 60")
    run.until(lambda: (run.folder / "ran.txt").exists(), job)
    standin.all[0].restart()
    assert run.finish(job) == ["the container was restarted while the job ran"]
    assert (run.folder / "ran.txt").read_text() == "ran\n"
    assert standin.all[0].starts == 2


def test_a_stopped_pod_fails_its_job_and_is_ended(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run()
    job = run.submit("sleep 60")
    run.until(lambda: (job.folder / "heartbeat").exists(), job)
    standin.all[0].end("EXITED")
    assert run.finish(job) == [f"pod {job.pod_id} is EXITED"]
    assert standin.pods == {}


def test_a_pod_that_never_begins_is_given_up(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run(python="false", start_timeout=0.5)
    job = run.submit("true")
    (outcome,) = run.finish(job)
    assert re.fullmatch(
        rf"pod {job.pod_id} did not begin its job within [01] s; its machine says: pulling image",
        outcome,
    )
    assert (job.folder / "log.txt").read_text() == "create container\npulling image\n"
    assert standin.pods == {}


def test_a_job_over_its_time_is_ended_in_its_pod(fleet_run: MakeFleet) -> None:
    run = fleet_run()
    assert run.finish(run.submit("sleep 60 & wait", limit=0.3)) == ["over its time limit of 0.3 s"]


def test_a_spent_budget_stops_everything_with_one_line(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run(budget=0.0002, max_pods=1)  # 1.8 s of a pod at 0.4 dollars per hour
    jobs = [run.submit("sleep 60") for _ in range(3)]
    with pytest.raises(
        RunPodError,
        match=r"^the budget of run test is spent: 0.00 of 0.00 dollars; nothing more is submitted",
    ):
        run.until(lambda: False, *jobs)
    run.fleet.close()
    assert len(standin.all) == 1
    assert standin.pods == {}
    # The next head of this run counts what was paid before.
    with pytest.raises(RunPodError, match="budget of run test is spent"):
        fleet_run(budget=0.0002).fleet.refresh()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("balance", False, "402: Payment Required"), ("KEY", "rpa_another_key", "401: Unauthorized")],
)
def test_what_no_job_will_survive_stops_everything(
    name: str, value: object, message: str, fleet_run: MakeFleet, standin: StandIn
) -> None:
    run = fleet_run()
    setattr(standin, name, value)
    with pytest.raises(RunPodError, match=message):
        run.finish(run.submit("true"))


def test_an_unknown_field_is_refused_with_what_is_wrong(fleet_run: MakeFleet) -> None:
    run = fleet_run()
    job = run.submit("true")
    job.bodies[0]["spot"] = True
    with pytest.raises(
        RunPodError,
        match=r"422: Unprocessable Entity; Request validation failed.; .*'spot' was unexpected",
    ):
        run.finish(job)


def test_pods_end_themselves_when_the_head_is_gone(fleet_run: MakeFleet, standin: StandIn) -> None:
    run = fleet_run(stale=SOON)
    job = run.submit("echo ran >> ran.txt; sleep 60")
    run.until(lambda: (run.folder / "ran.txt").exists(), job)
    run.fleet.heartbeat._end.set()  # as if the head were killed
    end = time.monotonic() + 20
    while standin.pods:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (
        json.loads((job.folder / "exit.json").read_text())["reason"]
        == f"no heartbeat of the head for {SOON:g} s"
    )


def test_a_new_head_ends_what_the_last_one_left_and_pays_for_it(
    fleet_run: MakeFleet, standin: StandIn
) -> None:
    first = fleet_run(stale=SOON)
    jobs = [first.submit("echo start >> ran.txt; sleep 60; echo end >> ran.txt") for _ in range(2)]
    first.until(
        lambda: (first.folder / "ran.txt").exists() and all(job.pod_id for job in jobs), *jobs
    )
    standin.preempt(standin.pods[str(jobs[0].pod_id)])
    first.fleet.heartbeat._end.set()
    first.fleet.heartbeat._thread.join()
    second = fleet_run(stale=SOON)
    assert standin.pods == {}
    assert any("waiting 1.5 s to see whether" in line for line in second.lines)
    assert outcomes(second) == ["ended by the next head", "vanished while no head was watching"]
    assert second.fleet.spent() == pytest.approx(
        sum(line["cost"] for line in second.fleet.ledger.lines())
    )
    first.fleet.closed = True
    third_lines = len(second.fleet.ledger.lines())
    second.fleet.close()
    assert len(fleet_run(stale=SOON).fleet.ledger.lines()) == third_lines  # paid once


def test_a_second_head_at_the_same_time_is_refused(fleet_run: MakeFleet) -> None:
    fleet_run(stale=SOON)
    with pytest.raises(RunPodError, match="is running this workflow"):
        fleet_run(stale=SOON)


def test_the_pods_of_another_folder_are_left_alone(
    fleet_run: MakeFleet, standin: StandIn, tmp_path: Path
) -> None:
    run = fleet_run()
    job = run.submit("sleep 60")
    run.until(lambda: job.pod_id is not None, job)
    other = FleetRun(tmp_path / "other", standin)
    other.fleet.open()
    other.fleet.close()
    assert list(standin.pods) == [job.pod_id]


def test_a_ledger_cut_off_by_a_crash_is_read_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        '{"run": "a", "hours": 2.0, "cost": 1.0}\n{"run": "b", "hours": 1.0, "cost": 0.5}\n{"run":'
        ' "a", "ho'
    )
    assert costs(read_ledger(path)) == {
        "a": (1, 2.0, 1.0),
        "b": (1, 1.0, 0.5),
        "total": (2, 3.0, 1.5),
    }
    ledger = Ledger(path, "a", "session")
    assert ledger.dollars == 1.0
    ledger.pay("name", "id", "1 x NVIDIA A40", 0.5, "2026-06-01T12:00:00Z", 7200.0, "done")
    assert [line["cost"] for line in read_ledger(path)] == [1.0, 0.5, 1.0]
    assert read_ledger(path)[-1]["end"] == "2026-06-01T14:00:00+00:00"
    path.write_text("nonsense\n{}\n")
    with pytest.raises(RunPodError, match=r"ledger.jsonl:1: no JSON"):
        read_ledger(path)
