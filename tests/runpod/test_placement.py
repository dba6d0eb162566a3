"""Where pods go, and with what: volume, data center, registry, and what is checked before anything
is paid for.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snakemake_executor_plugin_runpod import Executor, ExecutorSettings
from snakemake_executor_plugin_runpod.api import ApiError, Client
from snakemake_executor_plugin_runpod.catalogue import Catalogue, place_of, stock
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.key import ApiKey
from tests.runpod.conftest import Pretence
from tests.runpod.standin_schema import Problem, check_creation


@pytest.fixture
def run(tmp_path: Path) -> Pretence:
    """The API and a client, without pods."""
    return Pretence(tmp_path)


IN_POD = {"RUNPOD_VOLUME_ID": "volume", "RUNPOD_DC_ID": "US-KS-2"}


@pytest.mark.parametrize(
    ("volume", "centers", "environment", "found"),
    [
        ("volume", [], {}, ("volume", ["US-KS-2"])),  # asked of RunPod
        (None, [], IN_POD, ("volume", ["US-KS-2"])),  # what RunPod tells the head's own pod
        ("volume", ["US-KS-2", "EU-RO-1"], IN_POD, ("volume", ["US-KS-2"])),
    ],
)
def test_the_volume_says_where_its_pods_go(
    volume: str | None,
    centers: list[str],
    environment: dict[str, str],
    found: tuple[str, list[str]],
    run: Pretence,
) -> None:
    assert place_of(run.client, volume, centers, environment) == found


@pytest.mark.parametrize(
    ("volume", "centers", "environment", "message"),
    [
        (None, [], {}, "^runpod-volume-id: give the network volume"),
        ("volume", [], {"RUNPOD_VOLUME_ID": "x"}, "this machine mounts another volume, x"),
        ("typo", [], {}, "^runpod-volume-id: typo: RunPod has no such network volume"),
        ("volume", ["EU-RO-1"], {}, "^runpod-data-centers: EU-RO-1: volume volume is in US-KS-2"),
    ],
)
def test_what_contradicts_itself_is_one_line_before_anything_is_paid(
    volume: str | None,
    centers: list[str],
    environment: dict[str, str],
    message: str,
    run: Pretence,
) -> None:
    with pytest.raises(RunPodError, match=message):
        place_of(run.client, volume, centers, environment)
    assert run.api.all == []


def test_a_key_that_may_not_see_volumes_leaves_it_to_the_pod(run: Pretence) -> None:
    run.api.permission = "none"
    assert place_of(run.client, None, [], IN_POD) == ("volume", ["US-KS-2"])
    assert place_of(run.client, "volume", ["EU-RO-1"], {}) == ("volume", ["EU-RO-1"])


def executor(**settings: Any) -> Executor:
    """An executor that has been told where its volume is, without a workflow."""
    made = Executor.__new__(Executor)
    defaults = {"image": "image", "gpu_types": "NVIDIA A40, NVIDIA L4", "budget": 1.0}
    made.settings = ExecutorSettings(**(defaults | settings))
    made.volume_id, made.data_centers = "volume", ["US-KS-2"]
    made.envvars = dict  # type: ignore[method-assign]
    return made


def test_requests_name_data_center_and_registry_and_match_the_document(run: Pretence) -> None:
    job: Any = SimpleNamespace(resources={"gpu": 2}, threads=3)
    private = executor(registry="credential", min_cuda="13.0").requests(job)
    assert [body["gpu"]["id"] for body in private] == ["NVIDIA A40", "NVIDIA L4"]
    assert {body["registry"] for body in private} == {"credential"}
    assert {tuple(body["dataCenterIds"]) for body in private} == {("US-KS-2",)}
    for body in private:
        check_creation({**body, "name": "n", "cmd": ["python"]})
    assert all("registry" not in body for body in executor().requests(job))
    of_rule: Any = SimpleNamespace(resources={"gpu": 1, "runpod_registry": "other"}, threads=1)
    assert executor(registry="credential").requests(of_rule)[0]["registry"] == "other"
    on_cpu: Any = SimpleNamespace(resources={}, threads=3)
    (body,) = executor(cpu_types="cpu3c").requests(on_cpu)
    assert body["cpu"] == {"id": "cpu3c", "vcpuCount": 4}
    check_creation({**body, "name": "n", "cmd": ["python"]})


@pytest.mark.parametrize(
    ("registry", "started"), [(None, False), ("wrong", False), ("credential", True)]
)
def test_a_private_image_needs_its_credential(
    registry: str | None, started: bool, run: Pretence
) -> None:
    run.api.private = {"image": "credential"}
    body = executor(registry=registry).requests(
        SimpleNamespace(resources={"gpu": 1}, threads=1)  # type: ignore[arg-type]
    )[0]
    run.fleet.open()
    task = {"command": "true", "cwd": "/", "grace": 30.0, "limit": None}
    run.jobs.append(run.fleet.submit("train", [body], task))
    run.pass_by(900)
    run.fleet.close()
    (outcome,) = run.outcomes.values()
    assert (outcome == "done") == started
    assert started or "its machine says: error pulling image: manifest unknown" in outcome


def test_pods_in_the_wrong_place_are_refused_as_if_there_were_no_capacity(run: Pretence) -> None:
    body = executor().requests(SimpleNamespace(resources={"gpu": 1}, threads=1))[0]  # type: ignore[arg-type]
    with pytest.raises(Problem, match="no longer any instances available"):
        run.api.create({**body, "name": "n", "cmd": ["true"], "dataCenterIds": ["EU-RO-1"]})
    with pytest.raises(ApiError, match=r"400: Bad Request; There are no longer any"):
        run.client.create({**body, "name": "n", "cmd": ["true"], "dataCenterIds": []})


def test_the_catalogue_is_asked_once_for_many_jobs_and_may_be_missing(run: Pretence) -> None:
    catalogue = Catalogue(run.client, 30.0, run.clock)
    run.api.without_capacity = {"NVIDIA L4"}
    bodies = executor().requests(SimpleNamespace(resources={"gpu": 1}, threads=1))  # type: ignore[arg-type]
    assert [catalogue.has(body) for body in bodies * 50] == [True, False] * 50
    assert run.api.requests["GET"] == 1
    run.clock.now += 31
    run.api.permission = "none"
    assert catalogue.has(bodies[0]) is None  # then the creation has to say
    run.clock.now += 31
    run.api.permission = "write"
    before = run.api.requests["GET"]
    assert catalogue.has(bodies[0]) is None and run.api.requests["GET"] == before


@pytest.mark.parametrize(
    ("kind", "centers", "found"),
    [
        ({"availability": "HIGH"}, ["A"], "HIGH"),
        ({"availability": "NONE"}, [], "NONE"),
        ({"availability": None}, [], "NONE"),
        ({"availability": "HIGH", "dataCenters": []}, ["A"], "NONE"),
        (
            {"availability": "HIGH", "dataCenters": [{"id": "B", "availability": "LOW"}]},
            ["A", "B"],
            "LOW",
        ),
        (
            {"availability": "HIGH", "dataCenters": [{"id": "B", "availability": "LOW"}]},
            ["A"],
            "NONE",
        ),
    ],
)
def test_stock_is_that_of_the_data_centers_that_count(
    kind: dict[str, Any], centers: list[str], found: str
) -> None:
    assert stock(kind, centers) == found


def test_an_image_that_is_nowhere_stops_the_run_with_runpods_reason(run: Pretence) -> None:
    run.api.unknown_images = {"image"}
    run.fleet.open()
    run.submit(3)
    run.pass_by(60)
    assert (
        run.stopped is not None
        and "422: Unprocessable Entity; image image does not exist" in run.stopped
    )
    assert run.api.requests["POST"] == 1


def test_certificates_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/own/certificates.pem")
    assert Client(ApiKey("rpa_0123456789"))._session.verify == "/own/certificates.pem"
