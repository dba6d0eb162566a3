"""The pods as the API lists them: whether they work, ended for good, and paid for in the ledger.

Nothing here looks for a pod or knows the budget. Time is counted by this machine's monotonic clock;
the ledger holds dates.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_runpod import pod as runner
from snakemake_executor_plugin_runpod.api import ALIVE, ApiError, Client, backoff
from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from snakemake_executor_plugin_runpod.ledger import (
    Ledger,
    compute_of,
    iso_date,
    price_of,
    timestamp,
)
from snakemake_executor_plugin_runpod.volume import read_json

# Listings are made at most this often per heartbeat: Snakemake may look at its jobs every second,
# and RunPod counts requests.
LOOKS_PER_BEAT = 3
# Heartbeats that a new pod may be missing from the API's answers.
BEATS_UNTIL_KNOWN = 4


@dataclass
class Job:
    """A job and its pod, from the wish to the end.

    ``bodies`` are the requests that would create its pod, the preferred first, without name and
    command; ``task`` is what the pod reads. ``outcome`` is "done", or why it failed.
    """

    name: str
    what: str
    folder: Path
    bodies: list[dict[str, Any]]
    task: dict[str, Any]
    # What decides whether each of the requests is refused.
    kinds: list[str] = field(default_factory=list)
    # How often the same job had a pod that was lost.
    losses: int = 0
    outcome: str | None = None
    # The pod was the reason of the outcome, and not the job.
    lost: bool = False
    # The process that did the work has certainly ended, so that the same job may start elsewhere.
    over: bool = False
    # Since when an answer to the creation of its pod is missing, and the listing by then.
    unsure: float | None = None
    unsure_look: int = 0
    # With a pod.
    pod_id: str | None = None
    compute: str = ""
    price: float = 0.0
    started: float = 0.0
    began: str = ""
    noted: bool = False
    heard: tuple[Any, float] = (None, 0.0)
    log_read: bool = False
    missed_look: int | None = None
    # When the API said that the pod is ended, and the listing by then.
    ended: float | None = None
    ended_look: int = 0
    failed_ends: int = 0
    end_after: float = 0.0
    paid: bool = False

    @property
    def exists(self) -> bool:
        """Whether there is a pod that is billed, as far as is known."""
        return self.pod_id is not None and self.ended is None


class Pods:
    """What the API and the ledger know of the pods of a run.

    Args:
        client: the API.
        ledger: of the run.
        label: with which the names of the run's pods begin.
        beat: seconds between two heartbeats of the head; waits are multiples of it.
        say: prints a line.
        clock: of this machine.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        label: str,
        beat: float,
        say: Callable[[str], None],
        clock: Clock = CLOCK,
    ) -> None:
        self.client = client
        self.ledger = ledger
        self.label = label
        self.beat = beat
        self.say = say
        self.clock = clock
        self.listing: dict[str, dict[str, Any]] | None = None
        self.looks = 0
        self.working: set[str] = set()  # ids of the pods of jobs that are not known to have ended
        self.paused_until = 0.0
        self._looked: float | None = None
        self._failures = 0
        self._seen: dict[str, float] = {}  # when a pod was first listed, in seconds since 1970
        self._strays: set[str] = set()

    def look(self, jobs: Iterable[Job] = (), *, now: bool = False) -> None:
        """Ask the API for all pods, unless it was asked a moment ago and not ``now``.

        Raises:
            ApiError: it refuses, or fails for now; then nothing is known of the pods.
        """
        moment = self.clock.monotonic()
        known = self._looked is not None and self.listing is not None
        if known and not now and moment - (self._looked or 0.0) < self.beat / LOOKS_PER_BEAT:
            return
        self.listing = None
        listing = {pod["id"]: pod for pod in self.client.pods()}
        self.listing = listing
        self._looked = moment
        self._failures = 0
        self.looks += 1
        for pod_id in listing:
            self._seen.setdefault(pod_id, self.clock.time())
        for job in jobs:  # a new pod has no price yet
            if job.pod_id in listing:
                job.price = max(job.price, price_of(listing[job.pod_id]))

    def placed(self, job: Job, pod: dict[str, Any]) -> None:
        """Take a new pod for the pod of a job."""
        job.unsure = None
        job.pod_id, job.price = pod["id"], price_of(pod)
        self.working.add(pod["id"])
        job.compute = compute_of(pod)
        job.started, job.began = self.clock.monotonic(), iso_date(self.clock.time())
        job.heard = (None, job.started)
        price = f"{job.price:.2f} dollars per hour" if job.price else "a price not yet known"
        self.say(f"RunPod: {job.name} has pod {job.pod_id}: {job.compute} at {price}")
        self.note(job)

    def note(self, job: Job) -> None:
        """Write down which pod a job has, for the next head; again and again until the volume takes
        it.
        """
        if not job.noted:
            record = {
                "id": job.pod_id,
                "compute": job.compute,
                "price": job.price,
                "start": job.began,
            }
            with contextlib.suppress(OSError):
                runner.write(job.folder / "pod.json", record)
                job.noted = job.price > 0

    def lost(self, job: Job) -> str | None:
        """Whether the API says that the pod will not end its job.

        A pod that is missing must be so in two listings, and no new one: the API may not know yet
        what it has just made.
        """
        assert self.listing is not None and job.pod_id is not None
        pod = self.listing.get(job.pod_id)
        if pod is None:
            new = self.clock.monotonic() - job.started < BEATS_UNTIL_KNOWN * self.beat
            if new or job.missed_look == self.looks:
                return None
            try:
                pod = self.client.pod(job.pod_id)
            except ApiError as error:
                self.pause(error)
                return None
        if pod is None:
            first, job.missed_look = job.missed_look is None, self.looks
            return (
                None if first else f"pod {job.pod_id} has disappeared (preempted, or ended by hand)"
            )
        job.missed_look = None
        if pod["status"] not in ALIVE:
            return f"pod {job.pod_id} is {pod['status']}"
        return None

    def gone(self, job: Job) -> bool:
        """Whether the pod of a lost job has left the API's list of working pods since it was
        ended.
        """
        return (
            job.pod_id is not None
            and job.ended is not None
            and self.listing is not None
            and self.looks > job.ended_look
            and not self.works(job.pod_id)
        )

    def works(self, pod_id: str) -> bool:
        """Whether the API lists a pod that is not stopped."""
        pod = (self.listing or {}).get(pod_id)
        return pod is not None and pod["status"] in ALIVE

    def end_if_possible(self, job: Job) -> None:
        """:meth:`end` and :meth:`pay`, unless the API fails for now; who calls then comes again. A
        pause does not hold it up.

        Raises:
            ApiError: it refuses.
            OSError: the ledger cannot be written; the pod is ended.
        """
        now = self.clock.monotonic()
        if now < job.end_after:
            return
        try:
            self.end(job)
        except ApiError as error:
            if not error.transient:
                raise
            longest = 8 * self.beat
            job.end_after = now + backoff(job.failed_ends, first=self.beat / 4, longest=longest)
            job.failed_ends += 1
            self.say(f"{error}; asking again in {job.end_after - now:.0f} s")
            return
        self.pay(job)

    def end(self, job: Job) -> None:
        """Have the pod of a job ended, without a look at the volume.

        Raises:
            ApiError: the API refuses, or fails for now.
        """
        assert job.pod_id is not None
        if job.price == 0:  # it ended so soon that no listing had its price
            with contextlib.suppress(ApiError):
                job.price = price_of(self.client.pod(job.pod_id) or {})
        self.client.delete(job.pod_id)
        self.working.discard(job.pod_id)
        job.ended = job.ended or self.clock.monotonic()
        job.ended_look = self.looks
        job.failed_ends, job.end_after = 0, 0.0

    def pay(self, job: Job) -> None:
        """Write the line of an ended pod, once, and keep the job's folder unless it went well.

        Raises:
            OSError: the volume does not take it.
        """
        if job.paid or job.ended is None:
            return
        assert job.pod_id is not None
        seconds = job.ended - job.started
        self.ledger.pay(
            job.name, job.pod_id, job.compute, job.price, job.began, seconds, str(job.outcome)
        )
        job.paid = True
        if job.outcome == "done":
            shutil.rmtree(job.folder, ignore_errors=True)

    def end_strays(self, jobs: list[Job]) -> None:
        """End pods with the name of one of these jobs that are not its own: a creation without an
        answer was repeated.

        No other pods, whatever their name: those of another head are not this one's to end.

        Raises:
            ApiError: the API refuses, or fails for now.
            OSError: the ledger cannot be written.
        """
        assert self.listing is not None
        known = {job.pod_id for job in jobs} | self._strays
        # The pod of a job whose creation was not answered may still be found and used.
        names = {job.name for job in jobs if job.unsure is None}
        strays = [
            pod for pod in self.listing.values() if pod["name"] in names and pod["id"] not in known
        ]
        for pod in strays:
            self.client.delete(pod["id"])
            self._strays.add(pod["id"])
            self.ledger.pay_listed(pod, "a pod without a job", self._seen[pod["id"]])

    def end_unanswered(self, jobs: list[Job]) -> None:
        """Look for pods whose creation was not answered, and end them.

        Raises:
            ApiError: the API refuses, or fails for now.
            OSError: the ledger cannot be written.
        """
        self.look(now=True)
        for job in jobs:
            job.unsure = None
        self.end_strays(jobs)

    def pay_leftovers(self, folder: Path, ended: dict[str, dict[str, Any]]) -> None:
        """Pods of an earlier head: those that were just ended, and those that had vanished
        before.
        """
        paid = {line["pod"] for line in self.ledger.lines()}
        # A copy of another state folder holds the notes of the other's pods: they are not paid for
        # here.
        for record in sorted(folder.glob(f"{self.label}*/pod.json")):
            note = read_json(record)
            if note is None or note["id"] in paid:
                continue
            paid.add(note["id"])
            price = note["price"]
            if note["id"] in ended:
                until, outcome = self.clock.time(), "ended by the next head"
                price = max(price, price_of(ended[note["id"]]))
            else:  # nobody saw when: its last heartbeat is the best that is known
                beat = record.with_name("heartbeat")
                until = (beat if beat.exists() else record).stat().st_mtime
                outcome = "vanished while no head was watching"
            seconds = until - timestamp(note["start"])
            self.ledger.pay(
                record.parent.name,
                note["id"],
                note["compute"],
                price,
                note["start"],
                seconds,
                outcome,
            )
        for pod in ended.values():
            if pod["id"] not in paid:
                self.ledger.pay_listed(pod, "ended by the next head", self.clock.time())

    def pause(self, error: ApiError) -> None:
        """Leave the API alone for a while after a temporary failure; pods are ended all the same.

        Raises:
            ApiError: it is not temporary.
        """
        if not error.transient:
            raise error
        wait = backoff(self._failures, first=self.beat / 4, longest=8 * self.beat, error=error)
        self._failures += 1
        self.paused_until = self.clock.monotonic() + wait
        self.say(f"{error}; next request in {wait:.0f} s")
