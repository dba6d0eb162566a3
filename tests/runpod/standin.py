"""A stand-in for RunPod's API v2 on loopback: its routes, status codes and problem documents; pods are local processes.

Source: api-reference-v2/openapi.json of https://github.com/runpod/docs. What the document does not say, this file decides: a pod
runs at once, a deleted pod's processes are dead before the answer, and its path is the volume's own.

`python -m tests.runpod.standin` rehearses a run without money: it prints what to add to a command, and works until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema

STRING = {"type": "string"}
WHOLE = {"type": "integer", "minimum": 1}


def only(required: list[str], **properties: Any) -> dict[str, Any]:
    """The schema of an object without further keys."""
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


CUDA = {"type": "string", "pattern": r"^\d+\.\d+$"}
CREATE = only(
    ["name", "image"],
    name={"type": "string", "minLength": 1},
    image=STRING,
    args=STRING,
    disk=WHOLE,
    env={"type": "object", "additionalProperties": STRING},
    ports={"type": "array", "items": STRING},
    registry={"type": ["string", "null"]},
    mounts=only(
        [],
        persistent=only(["size", "path"], size={"type": "integer", "minimum": 10}, path=STRING),
        network={
            "type": "array",
            "maxItems": 1,
            "items": only(["volumeId", "path"], volumeId=STRING, path=STRING),
        },
    ),
    gpu=only(
        ["id"],
        id=STRING,
        count=WHOLE,
        minCudaVersion=CUDA,
        allowedCudaVersions={"type": "array", "items": CUDA},
    ),
    cpu=only(["id", "vcpuCount"], id=STRING, vcpuCount={"type": "integer", "minimum": 2}),
    cloud={"enum": ["SECURE", "COMMUNITY"]},
    dataCenterIds={"type": "array", "items": STRING},
    globalNetworking={"type": "boolean"},
)
ACTION = only(["action"], action={"enum": ["start", "stop", "restart", "terminate"]})

# What RunPod puts into a container: a tool that can remove the pod, with a key of this pod alone.
TOOL = """#!/bin/sh
[ "$1 $2" = "remove pod" ] || exit 1
exec python3 -S -c 'import os, sys, urllib.request as u
u.urlopen(u.Request(sys.argv[1] + "/pods/" + sys.argv[2], method="DELETE",
                    headers={"Authorization": "Bearer " + os.environ["RUNPOD_API_KEY"]}))' "$STANDIN_URL" "$3"
"""


class Problem(Exception):
    """An answer that is a problem document."""

    def __init__(
        self, status: int, title: str, detail: str, *errors: str, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.content: dict[str, Any] = {"title": title, "status": status, "detail": detail}
        if errors:
            self.content["errors"] = list(errors)
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


class Pod:
    """A pod: a command that is started again whenever it ends, until the pod is deleted."""

    def __init__(self, body: dict[str, Any], price: float, environment: dict[str, str]) -> None:
        self.id = secrets.token_hex(7)
        self.key = secrets.token_hex(16)
        self.body = body
        self.price = price
        self.status = "RUNNING"
        self.created = datetime.now(UTC)
        self.starts = 0
        self.environment = {
            **body.get("env", {}),
            **environment,
            "RUNPOD_POD_ID": self.id,
            "RUNPOD_API_KEY": self.key,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()

    def _keep_running(self) -> None:
        while self.status == "RUNNING":
            self.starts += 1
            command = shlex.split(self.body.get("args", ""))
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self._process = subprocess.Popen(command, cwd="/", env=self.environment, **streams)
            self._process.wait()
            self._kill()  # what a container leaves behind ends with it
            time.sleep(0.1)

    def _kill(self) -> None:
        """Kill every process of the pod: those that inherited its id."""
        mark = f"RUNPOD_POD_ID={self.id}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    os.kill(int(folder.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue

    def restart(self) -> None:
        """The container crashes, and is started again as the same pod."""
        assert self._process is not None
        self._process.kill()

    def end(self, status: str, warning: float = 0.0) -> None:
        """End all its processes, after SIGTERM and ``warning`` seconds."""
        self.status = status
        if warning and self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(warning)
        self._kill()
        self._thread.join(10)

    def as_json(self) -> dict[str, Any]:
        """The pod as the API shows it."""
        body = self.body
        shown = {
            name: body.get(name)
            for name in ("name", "image", "args", "disk", "env", "mounts", "registry")
        }
        compute: dict[str, Any] = {}
        if "gpu" in body:
            compute["gpu"] = {
                "id": body["gpu"]["id"],
                "count": body["gpu"].get("count", 1),
                "vcpuCount": 8,
                "memory": 32,
            }
        else:
            compute["cpu"] = {**body["cpu"], "memory": 8}
        return {
            **shown,
            **compute,
            "id": self.id,
            "status": self.status,
            "actions": ["stop", "restart", "terminate"],
            "ports": [],
            "cloud": body.get("cloud", "SECURE"),
            "dataCenterId": "US-KS-2",
            "template": None,
            "cost": self.price if self.status == "RUNNING" else 0.0,
            "locked": False,
            "globalNetworking": {"enabled": False},
            "runtime": {"uptime": 1},
            "createdAt": self.created.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "startedAt": self.created.isoformat(timespec="seconds").replace("+00:00", "Z"),
        }


class StandIn:
    """The API, with what a test may tell it to do.

    Args:
        folder: for the tool that pods find on their path.
        price: dollars per hour of every pod.
        port: to listen on; 0 for any.
    """

    KEY = "rpa_0123456789SECRET0123456789abcdef"
    GPUS = ("NVIDIA A40", "NVIDIA L4", "NVIDIA H100 PCIe", "NVIDIA GeForce RTX 4090")

    def __init__(self, folder: Path, price: float = 0.4, port: int = 0) -> None:
        self.price = price
        self.pods: dict[str, Pod] = {}
        self.all: list[Pod] = []
        self.without_capacity: set[str] = set()
        self.forbidden: set[str] = set()
        self.answers: list[
            tuple[str, int]
        ] = []  # ("POST", 429): the next request of that method gets that status
        self.lose_answers = 0  # so many created pods whose answer never arrives
        self.balance = True
        self.requests: Counter[str] = Counter()
        self.most_at_once = 0
        self.seen: list[
            str
        ] = []  # request bodies and pods' environments, for the search for the key
        self._lock = threading.Lock()
        (folder / "bin").mkdir(parents=True)
        tool = folder / "bin/runpodctl"
        tool.write_text(TOOL, encoding="utf-8")
        tool.chmod(0o755)
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", port), type("Handler", (_Handler,), {"api": self})
        )
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v2"
        path = os.pathsep.join(
            [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        )
        self.environment = {
            "PATH": path,
            "STANDIN_URL": self.url,
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
        }
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def stop(self) -> None:
        """End the server and every pod."""
        self._server.shutdown()
        self._server.server_close()
        for pod in list(self.pods.values()):
            pod.end("TERMINATED")

    def preempt(self, pod: Pod, warning: float = 0.0) -> None:
        """Take a pod away, with a warning of some seconds or without."""
        pod.end("TERMINATED", warning)
        self.pods.pop(pod.id, None)

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any]:
        """Status and content of the answer to a request."""
        found = re.fullmatch(r"/v2/pods(?:/([^/]+)(/action)?)?", path.partition("?")[0])
        own = (
            found is not None
            and method == "DELETE"
            and found[1] in self.pods
            and token == self.pods[found[1]].key
        )
        if token != self.KEY and not own:
            raise Problem(
                401, "Unauthorized", "missing bearer token" if not token else "invalid API key"
            )
        with self._lock:
            self.requests[method] += 1
            for index, (which, status) in enumerate(self.answers):
                if which == method:
                    del self.answers[index]
                    detail = f"the test told me to answer {status}"
                    raise Problem(
                        status, "Told To", detail, retry_after=0 if status == 429 else None
                    )
        if found is None:
            raise Problem(404, "Not Found", "resource not found")
        pod_id, action = found[1], found[2]
        if pod_id is not None and pod_id not in self.pods:
            raise Problem(404, "Not Found", "The requested Pod does not exist.")
        match method, bool(pod_id), bool(action):
            case "GET", False, False:
                return 200, {"pods": [pod.as_json() for pod in list(self.pods.values())]}
            case "POST", False, False:
                return 201, self.create(body)
            case "GET", True, False:
                return 200, self.pods[pod_id].as_json()
            case "DELETE", True, False:
                self.preempt(self.pods[pod_id], warning=0.5)
                return 204, None
            case "POST", True, True:
                self._check(ACTION, body)
                if body["action"] == "stop":
                    self.pods[pod_id].end("EXITED")
                return 200, self.pods[pod_id].as_json()
        raise Problem(
            405, "Method Not Allowed", "The requested method is not allowed for this path."
        )

    def _check(self, schema: dict[str, Any], body: Any) -> None:
        violations = [
            error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(body)
        ]
        if violations:
            raise Problem(422, "Unprocessable Entity", "Request validation failed.", *violations)

    def create(self, body: Any) -> dict[str, Any]:
        """Create a pod, or say why not."""
        self._check(CREATE, body)
        if ("gpu" in body) == ("cpu" in body):
            raise Problem(400, "Bad Request", "exactly one of gpu or cpu must be set")
        if not self.balance:
            raise Problem(402, "Payment Required", "insufficient balance")
        wanted = body["gpu"]["id"] if "gpu" in body else body["cpu"]["id"]
        if wanted in self.forbidden:
            raise Problem(403, "Forbidden", "access denied")
        if ("gpu" in body and wanted not in self.GPUS) or wanted in self.without_capacity:
            raise Problem(400, "Bad Request", "There are no instances currently available")
        with self._lock:
            pod = Pod(body, self.price, self.environment)
            self.pods[pod.id] = pod
            self.all.append(pod)
            self.most_at_once = max(self.most_at_once, len(self.pods))
            self.seen.append(json.dumps([body, pod.environment]))
            if self.lose_answers:
                self.lose_answers -= 1
                raise Problem(502, "Bad Gateway", "upstream closed the connection")
        return pod.as_json() | {"status": "PROVISIONING"}


class _Handler(BaseHTTPRequestHandler):
    """HTTP around :meth:`StandIn.answer`."""

    api: StandIn
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        headers = {}
        try:
            scheme, _, token = self.headers.get("Authorization", "").partition(" ")
            body = json.loads(raw) if raw else None
            status, content = self.api.answer(
                self.command, self.path, token if scheme == "Bearer" else "", body
            )
            kind = "application/json"
        except Problem as problem:
            status, content, headers, kind = (
                problem.status,
                problem.content,
                problem.headers,
                "application/problem+json",
            )
        payload = b"" if content is None else json.dumps(content).encode()
        with contextlib.suppress(OSError):  # whoever asked may be gone
            self.send_response(status)
            for name, value in {
                **headers,
                "Content-Type": kind,
                "Content-Length": str(len(payload)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

    do_GET = do_POST = do_DELETE = do_PATCH = _handle

    def log_message(self, format: str, *args: Any) -> None:
        """No lines on the terminal."""


def main() -> None:
    """Serve until Ctrl-C or kill."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as folder:
        api = StandIn(Path(folder), port=8422)
        print(f"RUNPOD_API_KEY={api.KEY} snakemake ... --runpod-api-url {api.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        api.stop()


if __name__ == "__main__":
    main()
