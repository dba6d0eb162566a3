"""RunPod's REST API v2, as far as pods need it.

Source: the OpenAPI document api-reference-v2/openapi.json of https://github.com/runpod/docs. Errors
are problem documents (RFC 9457). What its page "Create a pod" says of them decides what is tried
again: 400 and 403 mean the next GPU type, 429 and 5xx mean later, everything else will not get
better.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import requests

from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.key import ApiKey

URL = "https://api.runpod.io/v2"
# Statuses of a pod that still does, or may still do, its work.
ALIVE = {"PROVISIONING", "STARTING", "RUNNING"}
REFUSED = {400, 403}
TIMEOUT = (10, 60)  # seconds to connect, and between bytes
# RunPod asks to wait for up to an hour where an hour's quota is used up. So long nobody looks after
# what is billed.
LONGEST_RETRY_AFTER = 60.0
MOST_PAGES = 1000
LOG_LINES = 20
SECONDS_FOR_LOG = 5.0  # a log is a stream that does not end by itself
AGENT = "snakemake-executor-plugin-runpod"

Result = TypeVar("Result")


class ApiError(RunPodError):
    """An answer that is no success, or no answer.

    Args:
        status: the HTTP status, 0 without an answer.
        message: what happened, without the key.
        retry_after: seconds that the answer asks to wait, if it does.
    """

    def __init__(self, status: int, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (0, 408, 429) or self.status >= 500


def backoff(
    attempt: int, first: float = 1.0, longest: float = 60.0, error: ApiError | None = None
) -> float:
    """Seconds to wait after failure number ``attempt`` (from 0): doubled each time, a random half
    of it, never under Retry-After.

    Random, so that jobs which failed together do not come back together. Retry-After counts for a
    minute at most.
    """
    span = min(longest, first * 2.0 ** min(attempt, 30))
    asked = error.retry_after if error is not None and error.retry_after is not None else 0.0
    return min(asked, LONGEST_RETRY_AFTER) + span * (0.5 + 0.5 * random.SystemRandom().random())


def patiently(
    call: Callable[[], Result], seconds: float, longest: float = 15.0, clock: Clock = CLOCK
) -> Result:
    """The result of ``call``, repeated for up to ``seconds`` while the API is only temporarily
    unable.

    Raises:
        ApiError: the last one.
    """
    end = clock.monotonic() + seconds
    attempt = 0
    while True:
        try:
            return call()
        except ApiError as error:
            wait = backoff(attempt, longest=longest, error=error)
            if not error.transient or clock.monotonic() + wait > end:
                raise
            attempt += 1
            clock.sleep(wait)


class Client:
    """The requests about pods.

    Args:
        key: the API key.
        url: the API's address up to and with its version.

    Raises:
        RunPodError: the address would send the key unencrypted over a network.
    """

    def __init__(self, key: ApiKey, url: str = URL) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise RunPodError(
                f"runpod-api-url: {url}: must begin with https://, because the API key is sent"
                " there"
            )
        self.url = url.rstrip("/")
        self._key = key
        self._session = requests.Session()
        self._session.headers["User-Agent"] = AGENT
        self._session.trust_env = False  # a ~/.netrc would replace the Authorization header
        self._session.proxies = requests.utils.get_environ_proxies(self.url)
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        if bundle:  # what trust_env would have read
            self._session.verify = bundle

    def pods(self) -> list[dict[str, Any]]:
        """Every pod of the account, from all pages of the list.

        Raises:
            ApiError: the API refuses, or the list does not end.
        """
        found: list[dict[str, Any]] = []
        query = ""
        for _ in range(MOST_PAGES):
            page = self._call("GET", f"/pods{query}")
            found += page["pods"]
            pagination = page.get("pagination") or {}
            cursor = pagination.get("nextCursor")
            if not cursor or pagination.get("hasNextPage") is False:
                return found
            query = f"?cursor={quote(str(cursor), safe='')}"
        raise ApiError(0, f"RunPod: GET /pods: no end after {MOST_PAGES} pages")

    def pod(self, pod_id: str) -> dict[str, Any] | None:
        """One pod, or None if there is none."""
        try:
            return self._call("GET", f"/pods/{pod_id}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create a pod; see the API's page for ``body``."""
        return self._call("POST", "/pods", body)

    def delete(self, pod_id: str) -> None:
        """End a pod for good. One that is gone already is no error."""
        try:
            self._call("DELETE", f"/pods/{pod_id}")
        except ApiError as error:
            if error.status != 404:
                raise

    def volume(self, volume_id: str) -> dict[str, Any] | None:
        """One network volume, or None if there is none."""
        try:
            return self._call("GET", f"/network-volumes/{quote(volume_id, safe='')}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def gpus(
        self, count: int = 1, cloud: str = "SECURE", min_cuda: str | None = None
    ) -> list[dict[str, Any]]:
        """The catalogue of GPU types: id, availability (NONE, LOW, ...), dataCenters, as far as
        pods like these could have them.
        """
        query = {"include": "AVAILABILITY", "product": "POD", "count": count, "cloud": cloud}
        if min_cuda:
            query["minCudaVersion"] = min_cuda
        found: list[dict[str, Any]] = self._call("GET", f"/catalog/gpus?{urlencode(query)}")["gpus"]
        return found

    def data_centers(self) -> list[dict[str, Any]]:
        """The catalogue of data centers: id, networkVolumeTypes, gpuAvailability,
        cpuAvailability.
        """
        path = "/catalog/datacenters?include=GPU_AVAILABILITY,CPU_AVAILABILITY"
        found: list[dict[str, Any]] = self._call("GET", path)["dataCenters"]
        return found

    def system_log(self, pod_id: str) -> list[str]:
        """The last lines that the pod's machine wrote while it started the pod; none where there is
        no answer in seconds.
        """
        lines: list[str] = []
        end = time.monotonic() + 2 * SECONDS_FOR_LOG
        with contextlib.suppress(requests.RequestException):
            answer = self._session.get(
                f"{self.url}/pods/{pod_id}/logs?source=system&tail={LOG_LINES}",
                auth=self._sign,
                timeout=(TIMEOUT[0], SECONDS_FOR_LOG),
                allow_redirects=False,
                stream=True,
            )
            with answer:
                if not answer.ok:
                    return []
                for raw in answer.iter_lines(chunk_size=1, decode_unicode=True):
                    if raw.startswith("data:"):
                        lines.append(self._key.scrub(_log_line(raw.removeprefix("data:"))))
                    if len(lines) == LOG_LINES or time.monotonic() > end:
                        break
        return [line for line in lines if line]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        where = f"RunPod: {method} {path.partition('?')[0]}"
        try:
            answer = self._session.request(
                method,
                self.url + path,
                json=body,
                auth=self._sign,
                timeout=TIMEOUT,
                allow_redirects=False,
            )
            if answer.status_code == 204:
                return None
            content = answer.json()
        except requests.JSONDecodeError:
            content = None
        except requests.RequestException as error:
            # Not chained: the exception of requests carries the request with its headers.
            raise ApiError(0, f"{where}: {self._key.scrub(type(error).__name__)}") from None
        if answer.ok and isinstance(content, dict):
            return content
        problem = content if isinstance(content, dict) else {}
        details = [str(problem.get(part)) for part in ("title", "detail") if problem.get(part)]
        details += [str(violation) for violation in problem.get("errors") or []]
        if answer.status_code in (401, 403) and method == "GET":
            details.append(
                "is this your own key? inside a pod RUNPOD_API_KEY is a key of that pod alone; use"
                " runpod-key-file"
            )
        text = f"{where}: {answer.status_code}: {'; '.join(details) or 'no problem document'}"
        raise ApiError(
            answer.status_code,
            self._key.scrub(" ".join(text.split())),
            _seconds(answer.headers.get("Retry-After")),
        )

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._key.header()
        return request


def _log_line(text: str) -> str:
    """The line of a log's event: ``{"source": "system", "line": "...", "ts": "..."}``."""
    try:
        return str(json.loads(text)["line"]).strip()
    except (ValueError, KeyError, TypeError):
        return text.strip()


def _seconds(header: str | None) -> float | None:
    """Retry-After, which is whole seconds here."""
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:
        return None
