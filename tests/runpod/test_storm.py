"""A hundred jobs and little or nothing to run them on: what RunPod is asked, and what it costs.
Hours pass by a pretended clock.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.runpod.conftest import Pretence

Open = Callable[..., Pretence]

HOUR = 3600.0


def test_without_capacity_a_hundred_jobs_ask_as_little_as_one(pretence: Open) -> None:
    run = pretence(capacity_timeout=6 * HOUR)
    run.api.without_capacity = set(run.api.GPUS)
    run.submit(100)
    run.pass_by(HOUR)
    assert run.outcomes == {} and run.stopped is None
    assert run.most_requests(60) <= 60
    assert run.most_requests(HOUR) <= 1000
    # Nearly all of it is the list of pods; what asks for pods is rare, and does not grow with the
    # jobs.
    assert 3 <= run.api.requests["POST"] <= 60
    said = [line for line in run.lines if "every type is refused" in line]
    assert len(said) <= 60


def test_a_look_each_second_is_not_a_request_each_second(pretence: Open) -> None:
    run = pretence(capacity_timeout=6 * HOUR)
    run.INTERVAL = 1.0  # type: ignore[misc]
    run.api.without_capacity = set(run.api.GPUS)
    run.submit(100)
    run.pass_by(HOUR / 6)
    assert run.most_requests(60) <= 60
    assert run.most_requests(HOUR / 6) <= 1000 / 6


def test_a_hundred_jobs_on_three_gpus_all_finish(pretence: Open) -> None:
    run = pretence(max_pods=4, capacity_timeout=HOUR)
    run.api.without_capacity = set(run.api.GPUS[1:])
    run.api.room = {run.api.GPUS[0]: 3}
    run.api.job_seconds = 120.0
    run.submit(100)
    run.pass_by(2.5 * HOUR)  # 34 rounds of two minutes and what comes between them
    assert len(run.outcomes) == 100
    assert set(run.outcomes.values()) == {"done"}
    assert run.api.most_at_once == 3
    assert run.most_requests(60) <= 60
    assert run.most_requests(HOUR) <= 1000


def test_capacity_that_comes_back_is_found_within_minutes(pretence: Open) -> None:
    run = pretence(capacity_timeout=None)
    run.api.without_capacity = set(run.api.GPUS)
    run.submit(5)
    run.pass_by(HOUR)
    run.api.without_capacity = set()
    run.pass_by(600)
    assert run.api.most_at_once == 4


def test_waiting_jobs_fail_only_when_the_run_has_had_no_pod_for_the_whole_time(
    pretence: Open,
) -> None:
    run = pretence(capacity_timeout=HOUR)
    run.api.without_capacity = set(run.api.GPUS)
    run.submit(3)
    run.pass_by(HOUR / 2)
    run.api.without_capacity = set()
    run.api.room = dict.fromkeys(run.api.GPUS, 0) | {run.api.GPUS[0]: 1}
    run.api.job_seconds = 3 * HOUR
    run.pass_by(2 * HOUR)  # two jobs wait for longer than an hour, and one works
    assert run.outcomes == {}
    run.api.job_seconds = 600.0
    run.api.room = dict.fromkeys(run.api.GPUS, 0)
    run.pass_by(HOUR + 600)
    assert sorted(run.outcomes.values())[0] == "done"
    failed = sorted(run.outcomes.values())[1:]
    assert len(failed) == 2 and all("every type is refused" in text for text in failed)


def test_the_refusal_names_what_narrowed_the_request(pretence: Open) -> None:
    run = pretence()
    run.api.newest_cuda = (12, 8)
    gpu = {"id": "NVIDIA A40", "count": 2, "minCudaVersion": "13.0"}
    body = {"image": "image", "gpu": gpu, "dataCenterIds": ["US-KS-2"]}
    task = {"command": "true", "cwd": "/", "grace": 30.0, "limit": None}
    run.jobs.append(run.fleet.submit("train", [body], task))
    run.pass_by(30)
    lines = [line for line in run.lines if "every type is refused" in line]
    demand = "asked for: 2 x NVIDIA A40, in US-KS-2, CUDA 13.0 or later, SECURE cloud"
    assert lines and all(demand in line for line in lines)


def test_a_key_that_may_not_write_is_named_at_once(pretence: Open) -> None:
    run = pretence()
    run.api.permission = "read"
    run.submit(10)
    run.pass_by(600)
    assert run.stopped is not None and "this API key may not create such pods" in run.stopped
    assert run.api.requests["POST"] == 3  # each type once


def test_the_budget_is_overrun_by_one_interval_also_while_the_api_asks_to_wait(
    pretence: Open,
) -> None:
    run = pretence(budget=1.0)
    run.api.job_seconds = 100 * HOUR
    run.submit(4)
    run.pass_by(60)
    # The quota of an hour is used up, and RunPod asks for an hour of silence each time.
    run.api.answers = [("GET", 429)] * 1000
    run.api.retry_after = 3600
    run.pass_by(3 * HOUR)
    assert run.stopped is not None and "the budget of run test is spent" in run.stopped
    assert run.api.pods == {}
    interval = 4 * run.api.price * run.INTERVAL / HOUR
    assert 1.0 <= run.fleet.ledger.dollars <= 1.0 + interval + 1e-6


def test_a_pod_that_has_done_its_job_is_ended_during_a_pause(pretence: Open) -> None:
    run = pretence()
    run.submit(1)
    run.pass_by(120)
    assert len(run.api.pods) == 1
    run.api.answers = [("GET", 429)] * 1000
    run.api.retry_after = 3600
    run.pass_by(600)
    assert run.api.pods == {}
    assert set(run.outcomes.values()) == {"done"}


def test_retry_after_of_an_hour_is_not_slept_through(pretence: Open) -> None:
    run = pretence()
    run.api.answers = [("GET", 429)]
    run.api.retry_after = 3600
    run.submit(1)
    run.pass_by(300)
    assert len(run.api.pods) == 1  # asked for within minutes


def test_a_used_up_quota_delays_and_fails_nothing(pretence: Open) -> None:
    run = pretence(max_pods=10)
    run.api.quotas = {"minute": 10, "hour": 300}
    run.submit(20)
    run.pass_by(2 * HOUR)
    assert set(run.outcomes.values()) == {"done"} and len(run.outcomes) == 20
    assert run.api.pods == {}
    assert run.most_requests(60) <= 10


@pytest.mark.parametrize(("failures", "pods"), [(3, 3), (5, 5)])
def test_failures_before_any_success_stop_the_run(failures: int, pods: int, pretence: Open) -> None:
    run = pretence(max_pods=1, max_failures=failures)
    run.api.job_code = 1
    run.submit(100)
    run.pass_by(3 * HOUR)
    assert run.stopped is not None
    assert (
        f"the first {failures} jobs of run test have failed and none has succeeded" in run.stopped
    )
    assert "exit status 1" in run.stopped and "\n" not in run.stopped
    assert len(run.api.all) == pods and run.api.pods == {}


def test_failures_after_a_success_do_not_stop_the_run(pretence: Open) -> None:
    run = pretence(max_pods=1)
    run.submit(1)
    run.pass_by(1200)
    run.api.job_code = 1
    run.submit(5)
    run.pass_by(3 * HOUR)
    assert run.stopped is None
    assert sorted(run.outcomes.values()) == ["done"] + ["exit status 1"] * 5


def test_an_image_that_cannot_be_pulled_is_paid_for_minutes_and_named(pretence: Open) -> None:
    run = pretence(max_pods=4)
    run.api.unpullable = {"image"}
    run.submit(100)
    run.pass_by(2 * HOUR)
    assert run.stopped is not None
    assert "its machine says: error pulling image: manifest unknown" in run.stopped
    assert run.api.pods == {} and len(run.api.all) <= 8  # two for each place
    assert run.fleet.ledger.dollars < 0.2  # pods for a few minutes


def test_a_slow_start_is_waited_for_and_paid_by_its_price(pretence: Open) -> None:
    run = pretence()
    run.api.states = {"PROVISIONING": 0.0, "STARTING": 60.0, "RUNNING": 700.0}
    run.api.listed_after = 40.0  # an answer of 404 for a pod that exists
    run.submit(4)
    run.pass_by(2400)
    assert set(run.outcomes.values()) == {"done"} and len(run.api.all) == 4
    assert {line["price"] for line in run.fleet.ledger.lines()} == {0.4}


@pytest.mark.parametrize("status", ["EXITED", "ERROR"])
def test_a_pod_that_stops_is_lost_and_says_so(status: str, pretence: Open) -> None:
    run = pretence()
    run.submit(1)
    run.pass_by(60)
    run.api.all[0].end(status)
    run.pass_by(60)
    (outcome,) = run.outcomes.values()
    assert outcome == f"pod {run.jobs[0].pod_id} is {status}" and run.jobs[0].lost
    assert run.api.pods == {}


def test_an_empty_balance_stops_the_run(pretence: Open) -> None:
    run = pretence(max_pods=1)
    run.submit(2)
    run.pass_by(60)
    run.api.bankrupt()
    run.pass_by(300)
    assert run.stopped is not None and "402: Payment Required" in run.stopped
    assert run.api.pods == {}
