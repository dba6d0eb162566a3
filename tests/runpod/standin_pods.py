"""The stand-in's pods: one is a process of this machine, the other writes what pod.py would, by a
pretended clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What RunPod puts into a container: a tool that can remove the pod, with a key of this pod alone.
TOOL = """#!/bin/sh
case "$STANDIN_TOOL" in
  old) [ "$1 $2" = "remove pod" ] || exit 1 ;;
  new) [ "$1 $2" = "pod delete" ] || exit 1 ;;
  *) echo "410 Gone"; exit 1 ;;
esac
exec python3 -S -c 'import os, sys, urllib.request as u
u.urlopen(u.Request(sys.argv[1] + "/" + sys.argv[2], method="DELETE",
                    headers={"User-Agent": "runpodctl", "Authorization":
                             "Bearer " + os.environ["RUNPOD_API_KEY"]}))' "$STANDIN_TOOL_URL" "$3"
"""


class Pod:
    """What the API shows of a pod.

    Args:
        body: the request.
        price: dollars per hour, from when it has left PROVISIONING.
        environment: of its processes, beside its own.
        created: seconds since 1970.
        states: seconds after its creation at which it comes to each status.
    """

    def __init__(
        self,
        body: dict[str, Any],
        price: float,
        environment: dict[str, str],
        created: float,
        states: dict[str, float],
    ) -> None:
        self.id = secrets.token_hex(7)
        self.key = secrets.token_hex(16)
        self.body = body
        self.price = price
        self.created = created
        self.states = states
        self.final: str | None = None
        self.center = (body.get("dataCenterIds") or ["US-KS-2"])[0]
        self.environment = {
            **body.get("env", {}),
            **environment,
            "RUNPOD_POD_ID": self.id,
            "RUNPOD_API_KEY": self.key,
        }

    @property
    def command(self) -> list[str]:
        """What the container runs: ``cmd``, or ``args`` split into words; no shell is involved."""
        return self.body.get("cmd") or shlex.split(self.body.get("args", ""))

    def status(self, now: float) -> str:
        """Its status at a time."""
        if self.final is not None:
            return self.final
        reached = [name for name, after in self.states.items() if now - self.created >= after]
        return reached[-1]

    def tick(self, now: float, seconds: float, code: int) -> None:
        """Time has passed; a job takes so many seconds and ends with that exit status."""

    def restart(self) -> None:
        """The container crashes, and is started again as the same pod."""

    def end(self, status: str, warning: float = 0.0) -> None:
        """End it, after SIGTERM and ``warning`` seconds."""
        self.final = status

    def as_json(self, now: float) -> dict[str, Any]:
        """The pod as the API shows it."""
        body, status = self.body, self.status(now)
        names = ("name", "image", "args", "disk", "env", "mounts", "registry")
        shown = {name: body.get(name) for name in names}
        compute: dict[str, Any] = {}
        if "gpu" in body:
            kind, count = body["gpu"]["id"], body["gpu"].get("count", 1)
            compute["gpu"] = {"id": kind, "count": count, "vcpuCount": 8, "memory": 32}
        else:
            compute["cpu"] = {**body["cpu"], "memory": 8}
        date = datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds")
        date = date.replace("+00:00", "Z")
        return {
            **shown,
            **compute,
            "args": body.get("args") or json.dumps({"cmd": self.command}),
            "cmd": self.command,
            "entrypoint": body.get("entrypoint", []),
            "id": self.id,
            "status": status,
            "actions": ["stop", "restart", "terminate"],
            "ports": [],
            "cloud": body.get("cloud", "SECURE"),
            "cudaVersion": "13.0",
            "ssh": {"proxy": None, "direct": None},
            "dataCenterId": self.center,
            "template": None,
            "cost": self.price if status in ("STARTING", "RUNNING") else 0.0,
            "locked": False,
            "globalNetworking": {"enabled": False},
            "runtime": {"uptime": 1} if status == "RUNNING" else None,
            "createdAt": date,
            "startedAt": date if status == "RUNNING" else None,
        }


class ProcessPod(Pod):
    """A pod whose command is a process here, started again whenever it ends, until the pod is
    deleted.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, daemon=True)
        self._thread.start()

    def _keep_running(self) -> None:
        while self.final is None:
            if self.status(time.time()) != "RUNNING":
                time.sleep(0.02)
                continue
            self.starts += 1
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            self._process = subprocess.Popen(self.command, cwd="/", env=self.environment, **streams)
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
        assert self._process is not None
        self._process.kill()

    def end(self, status: str, warning: float = 0.0) -> None:
        super().end(status)
        if warning and self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(warning)
        self._kill()
        self._thread.join(10)


class PretendedPod(Pod):
    """A pod without a process: at each tick it writes to the volume what pod.py would have written
    by then.
    """

    def tick(self, now: float, seconds: float, code: int) -> None:
        folder = Path(self.command[-1])
        if self.status(now) != "RUNNING" or not folder.exists():
            return
        worked = now - self.created - self.states["RUNNING"]
        (folder / "heartbeat").write_text(json.dumps({"beat": int(worked)}), encoding="utf-8")
        if worked >= seconds:
            ended = {"code": code, "reason": None, "lost": False}
            (folder / "exit.json").write_text(json.dumps(ended), encoding="utf-8")
