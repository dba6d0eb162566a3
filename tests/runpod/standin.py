"""A stand-in for RunPod's API v2 on loopback: its routes, status codes and problem documents; pods
are local processes.

Source: api-reference-v2/openapi.json of https://github.com/runpod/docs, and what users met (pages
of the list, quotas of a minute, an hour and a day, restricted keys, images that cannot be pulled).
What neither says, this file decides: a pod runs at once unless a test wants it otherwise, a deleted
pod's processes are dead before the answer, and its path is the volume's own.

`python -m tests.runpod.standin` rehearses a run without money: it prints what to add to a command,
and works until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from tests.runpod.standin_pods import TOOL, Pod, ProcessPod
from tests.runpod.standin_schema import (
    ACTION,
    LARGEST_BODY,
    NO_CAPACITY,
    Problem,
    check,
    check_creation,
)

HOME = "US-KS-2"
CENTERS = {  # networkVolumeTypes, whether there are CPU pods
    HOME: (["STANDARD"], True),
    "EU-RO-1": (["STANDARD", "HIGH_PERFORMANCE"], True),
    "US-TX-3": ([], False),
}
WINDOWS = {"minute": 60, "hour": 3600, "day": 86400}
# What the log of a pod's machine says where the image cannot be had.
PULL_ERROR = "error pulling image: manifest unknown"


class StandIn:
    """The API, with what a test may tell it to do.

    Args:
        folder: for the tool that pods find on their path.
        price: dollars per hour of every pod.
        port: to listen on; 0 for any, None for none (requests then come through an adapter).
        clock: for quotas, and for the times at which pods come to their statuses.
        kind: of the pods.
    """

    KEY = "rpa_0123456789SECRET0123456789abcdef"
    GPUS = (
        "NVIDIA A40",
        "NVIDIA L4",
        "NVIDIA H100 PCIe",
        "NVIDIA GeForce RTX 4090",
        "NVIDIA A100 80GB PCIe",
        "NVIDIA H100 80GB HBM3",
    )

    def __init__(
        self,
        folder: Path,
        price: float = 0.4,
        port: int | None = 0,
        clock: Clock = CLOCK,
        kind: type[Pod] = ProcessPod,
    ) -> None:
        self.price = price
        self.clock = clock
        self.kind = kind
        self.pods: dict[str, Pod] = {}
        self.all: list[Any] = []
        # What there is.
        self.volumes = {"volume": HOME, "any": HOME}
        self.without_capacity: set[str] = set()
        self.room: dict[str, int] = {}  # how many pods of a type fit
        self.newest_cuda = (13, 0)
        self.unpullable: set[str] = set()  # images whose pods stay in STARTING
        self.unknown_images: set[str] = set()  # images that are not in their registry: 422
        self.private: dict[str, str] = {}  # images, and the credential that they need
        # How it behaves.
        self.forbidden: set[str] = set()
        self.permission = "write"  # of the key: write, read or none
        self.own_key_may = True  # whether the API v2 lets a pod's key end that pod
        self.graphql = True  # False: retired
        self.page_size = 2
        self.quotas: dict[str, int] = {}  # {"minute": 60, "hour": 3000, "day": 50000}
        self.states = {"PROVISIONING": 0.0, "STARTING": 0.0, "RUNNING": 0.0}  # seconds
        self.listed_after = 0.0  # seconds until a new pod is known to other requests
        self.answers: list[tuple[str, int]] = []  # ("POST", 429): the next one gets that status
        self.lose_answers = 0  # so many created pods whose answer never arrives
        self.retry_after = 0  # seconds that a 429 of `answers` asks for
        self.balance = True
        self.job_seconds, self.job_code = 600.0, 0  # of pretended pods
        # What it has seen.
        self.requests: Counter[str] = Counter()
        self.log: list[tuple[float, str, str]] = []  # when, method, path
        self.most_at_once = 0
        self.seen: list[str] = []  # bodies and pods' environments, for the search for the key
        self._lock = threading.Lock()
        (folder / "bin").mkdir(parents=True)
        tool = folder / "bin/runpodctl"
        tool.write_text(TOOL, encoding="utf-8")
        tool.chmod(0o755)
        self._server: ThreadingHTTPServer | None = None
        address = "http://127.0.0.1:9"
        if port is not None:
            handler = type("Handler", (_Handler,), {"api": self})
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
            address = f"http://127.0.0.1:{self._server.server_address[1]}"
            serve, pace = self._server.serve_forever, {"poll_interval": 0.05}
            threading.Thread(target=serve, kwargs=pace, daemon=True).start()
        self.url = f"{address}/v2"
        path = [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = {
            "PATH": os.pathsep.join(path),
            "STANDIN_TOOL": "old",
            "STANDIN_TOOL_URL": f"{address}/tool",
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
        }

    def stop(self) -> None:
        """End the server and every pod."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        for pod in list(self.pods.values()):
            pod.end("TERMINATED")

    def tick(self) -> None:
        """Let the pods do what they would have done by now."""
        for pod in list(self.pods.values()):
            pod.tick(self.clock.time(), self.job_seconds, self.job_code)

    def preempt(self, pod: Pod, warning: float = 0.0) -> None:
        """Take a pod away, with a warning of some seconds or without."""
        pod.end("TERMINATED", warning)
        self.pods.pop(pod.id, None)

    def bankrupt(self) -> None:
        """The account has no balance left: its pods are stopped, and nothing is created."""
        self.balance = False
        for pod in self.pods.values():
            pod.end("EXITED")

    def answer(
        self, method: str, address: str, token: str, body: Any, size: int = 0
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, content and headers of the answer to a request.

        Raises:
            Problem: the answer is none of success.
        """
        parts = urlsplit(address)
        path, query = parts.path, {key: values[0] for key, values in parse_qs(parts.query).items()}
        if path == "/graphql":
            return 200, self._graphql(token, body), {}
        if path.startswith("/tool/"):  # runpodctl's own way
            self._end_own(path.rpartition("/")[2], token)
            return 204, None, {}
        if not path.startswith("/v2/"):
            raise Problem(410, "Gone", "this version of the API has been retired")
        if size > LARGEST_BODY:
            raise Problem(413, "Payload Too Large", "the request body is too large")
        own = re.fullmatch(r"/v2/pods/([^/]+)", path)
        if own and method == "DELETE" and self.pods.get(own[1]) and token == self.pods[own[1]].key:
            if not self.own_key_may:
                raise Problem(403, "Forbidden", "access denied")
            self._end_own(own[1], token)
            return 204, None, {}
        if token != self.KEY:
            text = "missing bearer token" if not token else "invalid API key"
            raise Problem(401, "Unauthorized", text)
        headers = self._count(method, path)
        may = {"write": True, "read": method == "GET", "none": False}[self.permission]
        if not may:
            raise Problem(403, "Forbidden", "access denied")
        status, content = self._route(method, path, query, body)
        return status, content, headers

    def _count(self, method: str, path: str) -> dict[str, str]:
        """Count a request against the quotas, and give what a test has planned for it."""
        now = self.clock.time()
        with self._lock:
            self.requests[method] += 1
            self.log.append((now, method, path))
            left = []
            for name, most in self.quotas.items():
                begin = now - WINDOWS[name]
                times = [moment for moment, _, _ in self.log if moment > begin]
                if len(times) > most:
                    self.log.pop()
                    wait = int(times[0] - begin) + 1
                    detail = f"rate limit exceeded for the {name} window"
                    raise Problem(429, "Too Many Requests", detail, retry_after=wait)
                left.append(f'"{name}";r={most - len(times)};t={WINDOWS[name]}')
            for index, (which, status) in enumerate(self.answers):
                if which == method:
                    del self.answers[index]
                    detail = f"the test told me to answer {status}"
                    wait_or_none = self.retry_after if status == 429 else None
                    raise Problem(status, "Told To", detail, retry_after=wait_or_none)
        return {"RateLimit": ", ".join(left)} if left else {}

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if method == "GET" and path == "/v2/catalog/gpus":
            return 200, {"gpus": self._kinds(query)}
        if method == "GET" and path == "/v2/catalog/datacenters":
            return 200, {"dataCenters": self._centers()}
        if volume := re.fullmatch(r"/v2/network-volumes/([^/]+)", path):
            if method != "GET" or volume[1] not in self.volumes:
                raise Problem(404, "Not Found", "resource not found")
            return 200, {"id": volume[1], "size": 40, "dataCenter": self.volumes[volume[1]]}
        found = re.fullmatch(r"/v2/pods(?:/([^/]+)(/action|/logs)?)?", path)
        if found is None:
            raise Problem(404, "Not Found", "resource not found")
        pod_id, more = found[1], found[2]
        if pod_id is not None and self._known(pod_id) is None:
            raise Problem(404, "Not Found", "The requested Pod does not exist.")
        now = self.clock.time()
        match method, bool(pod_id), more:
            case "GET", False, None:
                return 200, self._page(query)
            case "POST", False, None:
                return 201, self.create(body)
            case "GET", True, None:
                return 200, self.pods[pod_id].as_json(now)
            case "GET", True, "/logs":
                return 200, self._machine_log(self.pods[pod_id])
            case "DELETE", True, None:
                self.preempt(self.pods[pod_id], warning=0.5)
                return 204, None
            case "POST", True, "/action":
                check(ACTION, body)
                if body["action"] == "stop":
                    self.pods[pod_id].end("EXITED")
                return 200, self.pods[pod_id].as_json(now)
        raise Problem(
            405, "Method Not Allowed", "The requested method is not allowed for this path."
        )

    def _known(self, pod_id: str) -> Pod | None:
        """A pod, unless it is so new that only the answer to its creation knows it."""
        pod = self.pods.get(pod_id)
        if pod is None or self.clock.time() - pod.created < self.listed_after:
            return None
        return pod

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        """A page of the list of pods; the cursor is the place at which the next one begins."""
        now = self.clock.time()
        known = [pod for pod in list(self.pods.values()) if self._known(pod.id)]
        begin = int(query.get("cursor", "at 0").removeprefix("at "))
        end = begin + self.page_size
        more = end < len(known)
        pagination = {"hasNextPage": more, "nextCursor": f"at {end}" if more else None}
        pods = [pod.as_json(now) for pod in known[begin:end]]
        return {"pods": pods, "pagination": pagination}

    def _machine_log(self, pod: Pod) -> str:
        lines = ["create container", f"pulling {pod.body['image']}"]
        if pod.body["image"] in self.unpullable or not self._may_pull(pod.body):
            lines.append(PULL_ERROR)
        events = [
            {"source": "system", "line": line, "ts": "2026-11-28T12:00:00Z"} for line in lines
        ]
        return "".join(f"id: {event['ts']}\ndata: {json.dumps(event)}\n\n" for event in events)

    def _may_pull(self, body: dict[str, Any]) -> bool:
        return self.private.get(body["image"]) in (None, body.get("registry"))

    def _stock(self, name: str, query: dict[str, str]) -> str:
        """What the catalogue says of a GPU type."""
        floor = tuple(int(part) for part in query.get("minCudaVersion", "0").split("."))
        room = self.room.get(name, 1000) - self._used(name)
        if name in self.without_capacity or floor > self.newest_cuda or room <= 0:
            return "NONE"
        return "LOW" if room < 5 else "HIGH"

    def _used(self, name: str) -> int:
        return sum(
            pod.body.get("gpu", {}).get("id") == name and pod.final is None
            for pod in self.pods.values()
        )

    def _kinds(self, query: dict[str, str]) -> list[dict[str, Any]]:
        if query.get("include") == "AVAILABILITY" and "product" not in query:
            raise Problem(400, "Bad Request", "product is required with include=AVAILABILITY")
        kinds = []
        for name in self.GPUS:
            stock = self._stock(name, query)
            places = [{"id": HOME, "availability": stock}]
            kinds.append({"id": name, "availability": stock, "dataCenters": places})
        return kinds

    def _centers(self) -> list[dict[str, Any]]:
        found = []
        for name, (volumes, cpus) in CENTERS.items():
            kinds = [
                {"id": kind, "availability": self._stock(kind, {}) if name == HOME else "NONE"}
                for kind in self.GPUS
            ]
            flavours = [{"id": "cpu3c", "availability": "HIGH" if cpus else "NONE"}]
            found.append(
                {
                    "id": name,
                    "networkVolumeTypes": volumes,
                    "gpuAvailability": kinds,
                    "cpuAvailability": flavours,
                }
            )
        return found

    def _graphql(self, token: str, body: Any) -> dict[str, Any]:
        """The older API, as far as a pod uses it to end itself."""
        if not self.graphql:
            raise Problem(410, "Gone", "GraphQL has been retired")
        found = re.search(r'podTerminate\(input: \{podId: "(\w+)"\}\)', body["query"])
        if found is None:
            return {"errors": [{"message": "Cannot query"}]}
        self._end_own(found[1], token)
        return {"data": {"podTerminate": None}}

    def _end_own(self, pod_id: str, token: str) -> None:
        if pod_id not in self.pods or token not in (self.KEY, self.pods[pod_id].key):
            raise Problem(401, "Unauthorized", "invalid API key")
        self.preempt(self.pods[pod_id], warning=0.5)

    def create(self, body: Any) -> dict[str, Any]:
        """Create a pod, or say why not.

        Raises:
            Problem: the request is wrong or cannot be fulfilled.
        """
        check_creation(body)
        if not self.balance:
            raise Problem(402, "Payment Required", "insufficient balance")
        if body["image"] in self.unknown_images:
            raise Problem(422, "Unprocessable Entity", f"image {body['image']} does not exist")
        wanted = body["gpu"]["id"] if "gpu" in body else body["cpu"]["id"]
        if wanted in self.forbidden:
            raise Problem(403, "Forbidden", "access denied")
        for mount in body.get("mounts", {}).get("network", []):
            if mount["volumeId"] not in self.volumes:
                raise Problem(400, "Bad Request", "network volume not found")
            # A volume can be mounted only where it is; what this says to others is that there is no
            # capacity.
            if self.volumes[mount["volumeId"]] not in body.get("dataCenterIds", []):
                raise Problem(400, "Bad Request", NO_CAPACITY)
        if "gpu" in body:
            floor = {"minCudaVersion": body["gpu"].get("minCudaVersion", "0")}
            if wanted not in self.GPUS or self._stock(wanted, floor) == "NONE":
                raise Problem(400, "Bad Request", NO_CAPACITY)
        states = dict(self.states)
        if body["image"] in self.unpullable or not self._may_pull(body):
            states["RUNNING"] = float("inf")
        now = self.clock.time()
        with self._lock:
            pod = self.kind(body, self.price, self.environment, now, states)
            self.pods[pod.id] = pod
            self.all.append(pod)
            self.most_at_once = max(self.most_at_once, len(self.pods))
            self.seen.append(json.dumps([body, pod.environment]))
            if self.lose_answers:
                self.lose_answers -= 1
                raise Problem(502, "Bad Gateway", "upstream closed the connection")
        return pod.as_json(now) | {"status": "PROVISIONING", "cost": 0.0}


class _Handler(BaseHTTPRequestHandler):
    """HTTP around :meth:`StandIn.answer`."""

    api: StandIn
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        status, payload, headers = reply(
            self.api, self.command, self.path, self.headers.get("Authorization", ""), raw
        )
        with contextlib.suppress(OSError):  # whoever asked may be gone
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = do_PATCH = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """No lines on the terminal."""


def reply(
    api: StandIn, method: str, path: str, authorization: str, raw: bytes
) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of the HTTP answer to a request."""
    scheme, _, token = authorization.partition(" ")
    headers: dict[str, str]
    try:
        body = json.loads(raw) if raw else None
        status, content, headers = api.answer(
            method, path, token if scheme == "Bearer" else "", body, len(raw)
        )
        kind = "text/event-stream" if isinstance(content, str) else "application/json"
    except Problem as problem:
        status, content, headers = problem.status, problem.content, problem.headers
        kind = "application/problem+json"
    if content is None:
        payload = b""
    else:
        payload = (content if isinstance(content, str) else json.dumps(content)).encode()
    length = {"Content-Type": kind, "Content-Length": str(len(payload))}
    return status, payload, {**headers, **length}


def main() -> None:
    """Serve until Ctrl-C or kill."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        api = StandIn(Path(folder), port=8422)
        api.quotas = {"minute": 60, "hour": 3000, "day": 50_000}  # the document's example
        print(f"RUNPOD_API_KEY={api.KEY} snakemake ... --runpod-api-url {api.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        api.stop()


if __name__ == "__main__":
    main()
