"""The pods as the API lists them: whether they work, ended for good, and paid for in the ledger.

Nothing here looks for a pod or knows the budget. Time is counted by this machine's monotonic clock; the ledger holds dates.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_runpod.api import ALIVE, ApiError, Client, backoff
from snakemake_executor_plugin_runpod.ledger import Ledger, timestamp
from snakemake_executor_plugin_runpod.volume import read_json


@dataclass
class Job:
    """A job and its pod, from the wish to the end.

    ``bodies`` are the requests that would create its pod, the preferred first. ``outcome`` is "done", or why it failed.
    """

    name: str
    folder: Path
    bodies: list[dict[str, Any]]
    outcome: str | None = None
    # The process that did the work has certainly ended, so that the same job may start elsewhere.
    over: bool = False
    # Looking for a pod.
    next_body: int = 0
    rounds: int = 0
    not_before: float = 0.0
    unsure: bool = False
    asked_since: float = field(default_factory=time.monotonic)
    # With a pod.
    pod_id: str | None = None
    compute: str = ""
    price: float = 0.0
    started: float = 0.0
    began: str = ""
    heard: tuple[Any, float] = (None, 0.0)
    paid: bool = False


class Pods:
    """What the API and the ledger know of the pods of a run.

    Args:
        client: the API.
        ledger: of the run.
        label: with which the names of the run's pods begin.
        beat: seconds between two heartbeats of the head; waits are multiples of it.
        say: prints a line.
    """

    def __init__(
        self, client: Client, ledger: Ledger, label: str, beat: float, say: Callable[[str], None]
    ) -> None:
        self.client = client
        self.ledger = ledger
        self.label = label
        self.beat = beat
        self.say = say
        self.listing: dict[str, dict[str, Any]] | None = None
        self.paused_until = 0.0
        self._failures = 0
        self._strays: set[str] = set()

    def look(self) -> None:
        """Ask the API for all pods.

        Raises:
            ApiError: it refuses, or fails for now.
        """
        self.listing = {pod["id"]: pod for pod in self.client.pods()}
        self._failures = 0

    def lost(self, job: Job) -> str | None:
        """Whether the API says that the pod will not end its job."""
        assert self.listing is not None and job.pod_id is not None
        pod = self.listing.get(job.pod_id)
        if (
            pod is None
        ):  # a new pod may be missing from a list; asked for by its id it must be there
            try:
                pod = self.client.pod(job.pod_id)
            except ApiError as error:
                self.pause(error)
                return None
        if pod is None:
            return f"pod {job.pod_id} has disappeared (preempted, or ended by hand)"
        if pod["status"] not in ALIVE:
            return f"pod {job.pod_id} is {pod['status']}"
        job.price = max(job.price, float(pod.get("cost") or 0.0))
        return None

    def gone(self, job: Job) -> bool:
        """Whether the pod of a lost job has left the API's list of working pods."""
        return (
            job.pod_id is not None
            and job.paid
            and self.listing is not None
            and not self.works(job.pod_id)
        )

    def works(self, pod_id: str) -> bool:
        """Whether the API lists a pod that is not stopped."""
        pod = (self.listing or {}).get(pod_id)
        return pod is not None and pod["status"] in ALIVE

    def end_if_possible(self, job: Job) -> None:
        """:meth:`end`, unless the API is left alone or fails for now; who calls then comes again.

        Raises:
            ApiError: it refuses.
        """
        try:
            if time.monotonic() >= self.paused_until:
                self.end(job)
        except ApiError as error:
            self.pause(error)  # the next refresh tries again

    def end(self, job: Job) -> None:
        """End the pod of a job that has an outcome, pay it once, and keep the job's folder unless it went well.

        Raises:
            ApiError: the API refuses, or fails for now.
        """
        assert job.pod_id is not None
        self.client.delete(job.pod_id)
        if job.paid:
            return
        seconds = time.monotonic() - job.started
        self.ledger.pay(
            job.name, job.pod_id, job.compute, job.price, job.began, seconds, str(job.outcome)
        )
        job.paid = True
        if job.outcome == "done":
            shutil.rmtree(job.folder, ignore_errors=True)

    def end_strays(self, jobs: list[Job], hoped: set[str]) -> None:
        """End pods of this run that belong to no job: a request without an answer was repeated, and both were heard.

        ``hoped`` are names of pods that may still be found and used.
        """
        assert self.listing is not None
        known = {job.pod_id for job in jobs} | self._strays
        for pod in self.listing.values():
            if (
                pod["name"].startswith(self.label)
                and pod["id"] not in known
                and pod["name"] not in hoped
            ):
                self.client.delete(pod["id"])
                self._strays.add(pod["id"])
                self.ledger.pay_listed(pod, "a pod without a job")

    def end_unanswered(self, jobs: list[Job]) -> None:
        """Look for pods whose creation was not answered, and end them.

        Raises:
            ApiError: the API refuses, or fails for now.
        """
        self.look()
        self.end_strays(jobs, set())

    def pay_leftovers(self, folder: Path, ended: dict[str, dict[str, Any]]) -> None:
        """Pods of an earlier head: those that were just ended, and those that had vanished before."""
        paid = {line["pod"] for line in self.ledger.lines()}
        for record in sorted(folder.glob("*/pod.json")):
            note = read_json(record)
            if note is None or note["id"] in paid:
                continue
            paid.add(note["id"])
            if note["id"] in ended:
                until, outcome = time.time(), "ended by the next head"
            else:  # nobody saw when: its last heartbeat is the best that is known
                beat = record.with_name("heartbeat")
                until, outcome = (
                    (beat if beat.exists() else record).stat().st_mtime,
                    "vanished while no head was watching",
                )
            seconds = until - timestamp(note["start"])
            self.ledger.pay(
                record.parent.name,
                note["id"],
                note["compute"],
                note["price"],
                note["start"],
                seconds,
                outcome,
            )
        for pod in ended.values():
            if pod["id"] not in paid:
                self.ledger.pay_listed(pod, "ended by the next head")

    def pause(self, error: ApiError) -> None:
        """Leave the API alone for a while after a temporary failure.

        Raises:
            ApiError: it is not temporary.
        """
        if not error.transient:
            raise error
        wait = backoff(self._failures, first=self.beat / 4, longest=8 * self.beat, error=error)
        self._failures += 1
        self.paused_until = time.monotonic() + wait
        self.say(f"{error}; next request in {wait:.0f} s")
