"""The pods of one run: created one per job under a ceiling and a budget, watched, ended, and paid for in the ledger.

Nothing here knows Snakemake. Time is counted by this machine's monotonic clock; the ledger holds dates.
"""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_runpod import pod as runner
from snakemake_executor_plugin_runpod.api import ALIVE, REFUSED, ApiError, Client, backoff, patiently
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.ledger import Ledger, compute_of, iso_date, timestamp
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume, read_json

PREFIX = "smk"
SECONDS_TO_END = 90.0  # how long the end of a run waits for the API to take its pods away


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
    failures: int = 0
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


class Fleet:
    """All pods of a run.

    Args:
        client: the API.
        volume: the state folder.
        heartbeat: of this head.
        run: the run's name.
        max_pods: how many pods may exist at a time.
        budget: dollars that the run may cost, over all its heads.
        start_timeout: seconds until a pod must have begun its job.
        capacity_timeout: seconds to keep asking while every candidate is refused.
        python: the pods' interpreter.
        say: prints a line.
    """

    def __init__(
        self,
        client: Client,
        volume: Volume,
        heartbeat: Heartbeat,
        *,
        run: str,
        max_pods: int,
        budget: float,
        start_timeout: float = 1800.0,
        capacity_timeout: float = 3600.0,
        python: str = "python3",
        say: Callable[[str], None] = print,
    ) -> None:
        self.client = client
        self.volume = volume
        self.heartbeat = heartbeat
        self.ledger = Ledger(volume.ledger, run, heartbeat.session)
        self.run = run
        self.label = f"{PREFIX}-{run}-{volume.identity}-"
        self.max_pods = max_pods
        self.budget = budget
        self.start_timeout = start_timeout
        self.capacity_timeout = capacity_timeout
        self.python = python
        self.say = say
        self.jobs: list[Job] = []
        self.closed = False
        self._lock = threading.RLock()  # the end of a run may come from another thread
        self._listing: dict[str, dict[str, Any]] | None = None
        self._paused_until = 0.0
        self._failures = 0
        self._strays: set[str] = set()

    # The run

    def open(self) -> None:
        """Become the one head of this folder, and end what an earlier one left behind.

        Raises:
            RunPodError: another head is alive, or the API refuses.
        """
        # The API first: a wrong key must not wait for anything.
        patiently(self.client.pods, SECONDS_TO_END)
        self.heartbeat.start(self.say)
        # From here on, pods of an earlier head end their jobs by themselves, too.
        mine = [pod for pod in patiently(self.client.pods, SECONDS_TO_END) if pod["name"].startswith(self.label)]
        for pod in mine:
            self.say(f"RunPod: ending pod {pod['id']} ({pod['name']}), which an earlier head left behind")
            patiently(lambda pod_id=pod["id"]: self.client.delete(pod_id), SECONDS_TO_END)  # type: ignore[misc]
        ids = {pod["id"] for pod in mine}
        end = time.monotonic() + SECONDS_TO_END
        while left := ids & {pod["id"] for pod in patiently(self.client.pods, SECONDS_TO_END) if pod["status"] in ALIVE}:
            if time.monotonic() > end:
                raise RunPodError(f"RunPod still runs pods of an earlier head: {', '.join(sorted(left))}; try again, or use reap")
            time.sleep(min(1.0, self.heartbeat.beat))
        self._pay_leftovers({pod["id"]: pod for pod in mine})

    def existing(self) -> list[Job]:
        """The jobs whose pods exist, and are paid for."""
        return [job for job in self.jobs if job.pod_id is not None and not job.paid]

    def spent(self) -> float:
        """Dollars that the run has cost, estimated for pods that still exist."""
        now = time.monotonic()
        running = sum(job.price * (now - job.started) / 3600 for job in self.existing())
        return self.ledger.dollars + running

    def close(self) -> None:
        """End every pod and stop the heartbeat. May be called more than once."""
        with self._lock:
            self.closed = True
            end = time.monotonic() + SECONDS_TO_END
            for job in self.existing():
                job.outcome = job.outcome or "ended with the head"
                try:
                    patiently(lambda job=job: self._end(job), max(0.0, end - time.monotonic()), longest=5.0)  # type: ignore[misc]
                except ApiError as error:
                    self.say(f"RunPod: pod {job.pod_id} could not be ended and is billed on; run reap ({error})")
            if any(job.unsure for job in self.jobs):
                try:
                    patiently(self._end_unanswered, max(0.0, end - time.monotonic()), longest=5.0)
                except ApiError as error:
                    self.say(f"RunPod: a pod may exist whose creation was not answered; run reap ({error})")
            self.heartbeat.stop()

    # The jobs

    def submit(self, what: str, bodies: list[dict[str, Any]], task: dict[str, Any]) -> Job:
        """Put a job on the list; :meth:`refresh` and :meth:`step` do the rest.

        Args:
            what: the rule, for the pod's name.
            bodies: requests that would create the pod, the preferred first, without name and command.
            task: command, cwd, grace and limit, as the runner reads them.
        """
        name = f"{self.label}{_plain(what)}-{secrets.token_hex(4)}"
        folder = self.volume.jobs / name
        folder.mkdir()
        pace = {"session": self.heartbeat.session, "beat": self.heartbeat.beat, "stale": self.heartbeat.stale}
        runner.write(folder / "job.json", {**task, **pace})
        command = f"{self.python} {self.volume.runner} {folder}"
        job = Job(name, folder, [{**body, "name": name, "args": command} for body in bodies])
        with self._lock:
            self.jobs.append(job)
        return job

    def refresh(self) -> None:
        """Ask the API once how the pods are, and end those that should have ended.

        Raises:
            RunPodError: the budget is spent, or the API refuses.
        """
        with self._lock:
            self._listing = None
            if self.closed or time.monotonic() < self._paused_until:
                return
            if self.spent() >= self.budget:
                raise RunPodError(
                    f"the budget of run {self.run} is spent: {self.spent():.2f} of {self.budget:.2f} dollars;"
                    " nothing more is submitted, and its pods are ended; raise runpod-budget to go on"
                )
            try:
                self._listing = {pod["id"]: pod for pod in self.client.pods()}
                self._failures = 0
                for job in self.jobs:
                    if job.pod_id is not None and job.outcome is not None and (not job.paid or self._works(job.pod_id)):
                        self._end(job)
                self._end_strays({job.name for job in self.jobs if job.unsure})
            except ApiError as error:
                self._pause(error)

    def step(self, job: Job) -> str | None:
        """Carry one job on by what is known now; its outcome once it has ended.

        Raises:
            RunPodError: the API refuses for a reason that no job will survive.
        """
        with self._lock:
            if self.closed:
                return None
            if job.outcome is None:
                if job.pod_id is None:
                    self._place(job)
                else:
                    self._watch(job)
            # A job whose pod is lost fails only when the pod is gone for sure: its second run must not meet the first.
            if job.outcome is None or not (job.over or self._gone(job)):
                return None
            return job.outcome

    # How a job gets its pod

    def _place(self, job: Job) -> None:
        now = time.monotonic()
        if self._listing is None or now < job.not_before or now < self._paused_until:
            return
        if job.unsure:  # an earlier request had no answer, and may have made the pod
            job.unsure = False
            for pod in self._listing.values():
                if pod["name"] == job.name:
                    return self._placed(job, pod)
        if len(self.existing()) >= self.max_pods:
            job.asked_since = now
            return
        refusal = ""
        while job.next_body < len(job.bodies):
            body = job.bodies[job.next_body]
            try:
                return self._placed(job, self.client.create(body))
            except ApiError as error:
                if error.transient:
                    job.unsure = error.status != 429
                    return self._pause(error)
                if error.status not in REFUSED:
                    raise
                job.next_body += 1
                refusal = str(error)
        job.next_body = 0
        job.not_before = now + backoff(job.rounds, first=self.heartbeat.beat, longest=20 * self.heartbeat.beat)
        job.rounds += 1
        if now - job.asked_since > self.capacity_timeout:
            job.outcome = f"no pod for {now - job.asked_since:.0f} s: every type is refused; the last answer: {refusal}"
            job.over = True
        else:
            wait = job.not_before - now
            self.say(f"RunPod: no pod for {job.name}: every type is refused; asking again in {wait:.0f} s; last answer: {refusal}")

    def _placed(self, job: Job, pod: dict[str, Any]) -> None:
        job.pod_id, job.price = pod["id"], float(pod.get("cost") or 0.0)
        job.compute = compute_of(pod)
        job.started, job.began = time.monotonic(), iso_date(time.time())
        job.heard = (None, job.started)
        runner.write(job.folder / "pod.json", {"id": job.pod_id, "compute": job.compute, "price": job.price, "start": job.began})
        self.say(f"RunPod: {job.name} has pod {job.pod_id}: {job.compute} at {job.price:.2f} dollars per hour")

    # How it ends

    def _watch(self, job: Job) -> None:
        if self._read_exit(job):
            return self._end_if_possible(job)
        now = time.monotonic()
        beat = read_json(job.folder / "heartbeat")
        if beat is not None and beat != job.heard[0]:
            job.heard = (beat, now)
        silence = now - job.heard[1]
        if job.heard[0] is None and silence > self.start_timeout:
            job.outcome = f"pod {job.pod_id} did not begin its job within {self.start_timeout:g} s"
        elif job.heard[0] is not None and silence > self.heartbeat.stale:
            job.outcome = f"pod {job.pod_id} sends no heartbeat since {silence:.0f} s"
        elif self._listing is not None:
            job.outcome = self._lost(job)
        if job.outcome is not None:
            self._read_exit(job)  # it may have ended well in the meantime
            self._end_if_possible(job)

    def _lost(self, job: Job) -> str | None:
        """Whether the API says that the pod will not end its job."""
        assert self._listing is not None and job.pod_id is not None
        pod = self._listing.get(job.pod_id)
        if pod is None:  # a new pod may be missing from a list; asked for by its id it must be there
            try:
                pod = self.client.pod(job.pod_id)
            except ApiError as error:
                self._pause(error)
                return None
        if pod is None:
            return f"pod {job.pod_id} has disappeared (preempted, or ended by hand)"
        if pod["status"] not in ALIVE:
            return f"pod {job.pod_id} is {pod['status']}"
        job.price = max(job.price, float(pod.get("cost") or 0.0))
        return None

    def _read_exit(self, job: Job) -> bool:
        ended = read_json(job.folder / "exit.json")
        if ended is None:
            return False
        job.over = True
        job.outcome = "done" if ended["code"] == 0 else ended["reason"] or f"exit status {ended['code']}"
        return True

    def _gone(self, job: Job) -> bool:
        """Whether the pod of a lost job has left the API's list of working pods."""
        return job.pod_id is not None and job.paid and self._listing is not None and not self._works(job.pod_id)

    def _works(self, pod_id: str) -> bool:
        """Whether the API lists a pod that is not stopped."""
        pod = (self._listing or {}).get(pod_id)
        return pod is not None and pod["status"] in ALIVE

    def _end_if_possible(self, job: Job) -> None:
        try:
            if time.monotonic() >= self._paused_until:
                self._end(job)
        except ApiError as error:
            self._pause(error)  # the next refresh tries again

    def _end(self, job: Job) -> None:
        assert job.pod_id is not None
        self.client.delete(job.pod_id)
        if job.paid:
            return
        seconds = time.monotonic() - job.started
        self.ledger.pay(job.name, job.pod_id, job.compute, job.price, job.began, seconds, str(job.outcome))
        job.paid = True
        if job.outcome == "done":
            shutil.rmtree(job.folder, ignore_errors=True)

    def _end_strays(self, hoped: set[str]) -> None:
        """End pods of this run that belong to no job: a request without an answer was repeated, and both were heard.

        ``hoped`` are names of pods that may still be found and used.
        """
        assert self._listing is not None
        known = {job.pod_id for job in self.jobs} | self._strays
        for pod in self._listing.values():
            if pod["name"].startswith(self.label) and pod["id"] not in known and pod["name"] not in hoped:
                self.client.delete(pod["id"])
                self._strays.add(pod["id"])
                self.ledger.pay_listed(pod, "a pod without a job")

    def _end_unanswered(self) -> None:
        self._listing = {pod["id"]: pod for pod in self.client.pods()}
        self._end_strays(set())

    def _pay_leftovers(self, ended: dict[str, dict[str, Any]]) -> None:
        """Pods of an earlier head: those that :meth:`open` just ended, and those that had vanished before."""
        paid = {line["pod"] for line in self.ledger.lines()}
        for record in sorted(self.volume.jobs.glob("*/pod.json")):
            note = read_json(record)
            if note is None or note["id"] in paid:
                continue
            paid.add(note["id"])
            if note["id"] in ended:
                until, outcome = time.time(), "ended by the next head"
            else:  # nobody saw when: its last heartbeat is the best that is known
                beat = record.with_name("heartbeat")
                until, outcome = (beat if beat.exists() else record).stat().st_mtime, "vanished while no head was watching"
            seconds = until - timestamp(note["start"])
            self.ledger.pay(record.parent.name, note["id"], note["compute"], note["price"], note["start"], seconds, outcome)
        for pod in ended.values():
            if pod["id"] not in paid:
                self.ledger.pay_listed(pod, "ended by the next head")

    def _pause(self, error: ApiError) -> None:
        """Leave the API alone for a while after a temporary failure.

        Raises:
            ApiError: it is none.
        """
        if not error.transient:
            raise error
        wait = backoff(self._failures, first=self.heartbeat.beat / 4, longest=8 * self.heartbeat.beat, error=error)
        self._failures += 1
        self._paused_until = time.monotonic() + wait
        self.say(f"{error}; next request in {wait:.0f} s")


def _plain(text: str) -> str:
    """A rule's name as a part of a pod's name."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in text.lower())[:24].strip("-") or "job"
