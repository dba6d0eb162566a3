"""What pods cost: a line of JSON per pod that has ended.

The file is an interface: other programs read it (a table of costs, say) without importing this
package. Keys of a line, none of which may change its meaning:

run, session            name of the run, and the head that wrote the line
pod, name, compute      RunPod's id; the pod's name; what it had, as ``1 x NVIDIA A40``
price, start, end       dollars per hour; ISO dates
hours, cost             how long the pod existed; dollars
outcome                 "done", or why the pod ended before its job did, or how its job failed
jobs                    ``[{"rule": "train", "wildcards": {"seed": "0"}}]``: Snakemake's jobs on it.
                        One of them, or those of a group; none where that is not known. Lines of
                        older versions do not have this key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.volume import read_json


class Ledger:
    """The ledger of a state folder, as one head of a run writes it.

    Args:
        path: the file.
        run: the run's name.
        session: the head's.
        clock: tells the date.
    """

    def __init__(self, path: Path, run: str, session: str, clock: Clock = CLOCK) -> None:
        self.path = path
        self.run = run
        self.session = session
        self.clock = clock
        self._fix()
        self.dollars = sum(line["cost"] for line in self.lines() if line["run"] == run)

    def _fix(self) -> None:
        """Take off a last line that a crash or a full volume cut off; its pod is paid for anew."""
        if self.path.exists():
            text = self.path.read_bytes()
            if not text.endswith(b"\n"):
                os.truncate(self.path, text.rfind(b"\n") + 1)

    def lines(self) -> list[dict[str, Any]]:
        """All lines so far, also of other runs."""
        return read_ledger(self.path) if self.path.exists() else []

    def pay(
        self,
        name: str,
        pod_id: str,
        compute: str,
        price: float,
        start: str,
        seconds: float,
        outcome: str,
    ) -> None:
        """Add the line of a pod.

        Args:
            name: the pod's.
            pod_id: RunPod's.
            compute: what it had: ``1 x NVIDIA A40``.
            price: dollars per hour.
            start: when it began, as an ISO date.
            seconds: how long it existed.
            outcome: ``done``, or why it ended.

        Raises:
            OSError: the volume does not take it; then nothing is counted, and it can be tried
                again.
        """
        hours = max(0.0, seconds) / 3600
        cost = round(price * hours, 6)
        line = {
            "run": self.run,
            "session": self.session,
            "pod": pod_id,
            "name": name,
            "compute": compute,
            "price": price,
            "start": start,
            "end": iso_date(timestamp(start) + max(0.0, seconds)),
            "hours": round(hours, 6),
            "cost": cost,
            "outcome": outcome,
            "jobs": self.jobs_of(name),
        }
        self._fix()  # a volume that was full has perhaps taken half of a line
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.dollars += cost

    def jobs_of(self, name: str) -> list[dict[str, Any]]:
        """Snakemake's jobs on a pod, from the pod's folder, so that also the next head knows them;
        none if that is gone.
        """
        task = read_json(self.path.parent / "jobs" / name / "job.json") or {}
        jobs: list[dict[str, Any]] = task.get("jobs", [])
        return jobs

    def pay_listed(self, pod: dict[str, Any], outcome: str, seen: float) -> None:
        """Add the line of a pod of which only the API's own record is known.

        Args:
            pod: the record.
            outcome: why it ended.
            seen: when this machine first saw it, in seconds since 1970: its start where the record
                has no date that can be read.
        """
        now = self.clock.time()
        try:
            start = timestamp(str(pod.get("createdAt")))
        except ValueError:
            start = min(seen, now)
        self.pay(
            pod["name"],
            pod["id"],
            compute_of(pod),
            price_of(pod),
            iso_date(start),
            now - start,
            outcome,
        )


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """The lines of a ledger. A last line that a crash cut off is left out.

    Raises:
        RunPodError: the file cannot be read, or another line is damaged.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RunPodError(f"{path}: cannot read the ledger: {error.strerror}") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            lines.append(json.loads(text))
        except ValueError:
            if number < len(texts):
                raise RunPodError(
                    f"{path}:{number}: no JSON; fix or delete this line of the ledger"
                ) from None
    return lines


def costs(lines: Iterable[dict[str, Any]]) -> dict[str, tuple[int, float, float]]:
    """Pods, hours and dollars of each run, and of all under the name ``total``."""
    sums: dict[str, tuple[int, float, float]] = {}
    for line in lines:
        for name in (line["run"], "total"):
            count, hours, dollars = sums.get(name, (0, 0.0, 0.0))
            sums[name] = (count + 1, hours + line["hours"], dollars + line["cost"])
    if "total" in sums:
        sums["total"] = sums.pop("total")  # to the end
    return sums


def compute_of(pod: dict[str, Any]) -> str:
    """What a pod has, from the API's record of it: ``1 x NVIDIA A40``."""
    part = pod.get("gpu") or pod.get("cpu") or {}
    return f"{part.get('count', part.get('vcpuCount', 1))} x {part.get('id')}"


def price_of(pod: dict[str, Any]) -> float:
    """Dollars per hour of a pod, from the API's record of it; 0 where it has none yet."""
    return float(pod.get("cost") or 0.0)


def timestamp(date: str) -> float:
    """Seconds since 1970 of an ISO date.

    Raises:
        ValueError: it is none.
    """
    return datetime.fromisoformat(date).timestamp()


def iso_date(seconds: float) -> str:
    """The ISO date of seconds since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
