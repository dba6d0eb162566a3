"""The settings' messages, and the ways in which the key must not be seen."""

from __future__ import annotations

import dataclasses
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
import requests

from snakemake_executor_plugin_runpod import ExecutorSettings
from snakemake_executor_plugin_runpod.api import ApiError, Client, backoff
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.key import ApiKey, load_key
from snakemake_executor_plugin_runpod.settings import check
from tests.runpod.standin import StandIn

SECRET = "rpa_0123456789SECRET"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExecutorSettings:
    """Settings that are right in this test's folder."""
    monkeypatch.chdir(tmp_path)
    return ExecutorSettings(
        image="i", volume_id="v", gpu_types="NVIDIA A40", budget=1.0, mount_path=str(tmp_path)
    )


def test_right_settings_pass(settings: ExecutorSettings) -> None:
    check(settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpu_types": ""}, "^runpod-gpu-types: give at least one GPU type"),
        ({"budget": 0.0}, "^runpod-budget: give the dollars"),
        ({"budget": -1.0}, "^runpod-budget: -1: must be more than 0"),
        ({"max_pods": 0}, "^runpod-max-pods: 0: must be more than 0"),
        ({"run": "My run"}, "^runpod-run: 'My run': use small letters"),
        (
            {"beat": 100.0, "stale": 120.0},
            "^runpod-stale: 120: must be at least three heartbeats of 100 s",
        ),
        ({"mount_path": "/elsewhere"}, "is not on the volume, which is mounted at /elsewhere"),
        ({"state": Path("/tmp/state")}, "^runpod-mount-path: /tmp/state is not on the volume"),
        ({"run": "a" * 21}, "^runpod-run: 'a+': use small letters, .* at most 20 of them"),
        ({"lost_pods": -1}, "^runpod-lost-pods: -1: must be 0 or more"),
        ({"max_failures": 0}, "^runpod-max-failures: 0: must be more than 0"),
        ({"capacity_timeout": 0.0}, "^runpod-capacity-timeout: 0: must be more than 0"),
    ],
)
def test_a_wrong_setting_names_itself_and_the_fix(
    change: dict[str, Any], message: str, settings: ExecutorSettings
) -> None:
    with pytest.raises(RunPodError, match=message):
        check(dataclasses.replace(settings, **change))


def test_the_key_is_taken_out_of_the_environment() -> None:
    environment = {"RUNPOD_API_KEY": SECRET, "OTHER": "stays"}
    assert load_key(None, environment).header() == f"Bearer {SECRET}"
    assert environment == {"OTHER": "stays"}


def test_the_key_file_must_be_private_and_goes_before_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    path.chmod(0o640)
    with pytest.raises(RunPodError, match="others can read the API key; run: chmod 600"):
        load_key(path)
    path.chmod(0o600)
    assert load_key(path, {"RUNPOD_API_KEY": "rpa_of_the_pod"}).header() == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    "text", ["", "short", "two words of text", f"{SECRET}\n{SECRET}", "rpa_ümlaut_key"]
)
def test_what_cannot_be_a_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(RunPodError) as caught:
        load_key(None, {"RUNPOD_API_KEY": text})
    assert not text or text not in str(caught.value)


def test_the_key_hides_itself() -> None:
    key = ApiKey(SECRET)
    assert SECRET not in f"{key} {key!r} {[key]} {key.scrub('sent ' + SECRET)}"
    assert key.within({"env": {"TOKEN": SECRET}})
    with pytest.raises(TypeError):
        pickle.dumps(key)


class Broken(requests.Session):
    """A session whose failure shows the whole request, as a careless adapter may."""

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        raise requests.ConnectionError(f"could not send {request.headers}", request=request)


def test_no_traceback_shows_the_key() -> None:
    client = Client(ApiKey(SECRET), "http://127.0.0.1:9/v2")
    client._session = Broken()
    with pytest.raises(ApiError, match=r"^RunPod: GET /pods: ConnectionError$") as caught:
        client.pods()
    assert caught.value.transient
    shown = "".join(
        traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    )
    assert SECRET not in shown


def test_a_key_that_the_api_repeats_is_scrubbed(standin: StandIn) -> None:
    client = Client(ApiKey(standin.KEY), standin.url)
    with pytest.raises(ApiError) as caught:
        client.create({"name": "n", "image": "i", "gpu": {"id": "NVIDIA A40"}, standin.KEY: 1})
    assert caught.value.status == 422
    assert "<RunPod API key>' was unexpected" in str(caught.value)


def test_the_key_is_not_sent_unencrypted() -> None:
    with pytest.raises(RunPodError, match="must begin with https://"):
        Client(ApiKey(SECRET), "http://api.runpod.io/v2")


def test_a_wrong_key_says_which_one_is_meant(standin: StandIn) -> None:
    with pytest.raises(
        ApiError, match=r"401: Unauthorized; invalid API key; is this your own key\?"
    ):
        Client(ApiKey("rpa_of_a_pod"), standin.url).pods()


def test_backoff_doubles_with_jitter_up_to_a_limit_and_heeds_retry_after() -> None:
    for attempt, longest in ((0, 1.0), (3, 8.0), (10, 60.0)):
        waits = [backoff(attempt) for _ in range(200)]
        assert longest / 2 <= min(waits) < max(waits) <= longest
    assert min(backoff(0, error=ApiError(429, "later", 12.0)) for _ in range(50)) >= 12.5
    # Of an hour's quota that is used up, RunPod says an hour; nobody would look after the pods so
    # long.
    waits = [backoff(0, error=ApiError(429, "later", 3600.0)) for _ in range(50)]
    assert min(waits) > 60 and max(waits) <= 61
