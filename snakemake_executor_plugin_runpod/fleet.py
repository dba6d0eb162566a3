"""The pods of one run: created one per job under a ceiling and a budget, and watched until the job has ended.

Nothing here knows Snakemake. Time is counted by this machine's monotonic clock; the ledger holds dates.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from snakemake_executor_plugin_runpod import pod as runner
from snakemake_executor_plugin_runpod.api import (
    ALIVE,
    REFUSED,
    ApiError,
    Client,
    backoff,
    patiently,
)
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.ledger import Ledger, compute_of, iso_date
from snakemake_executor_plugin_runpod.pods import Job, Pods
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume, read_json

PREFIX = "smk"
SECONDS_TO_END = 90.0  # how long the end of a run waits for the API to take its pods away


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
        self.pods = Pods(client, self.ledger, self.label, heartbeat.beat, say)
        self.max_pods = max_pods
        self.budget = budget
        self.start_timeout = start_timeout
        self.capacity_timeout = capacity_timeout
        self.python = python
        self.say = say
        self.jobs: list[Job] = []
        self.closed = False
        self._lock = threading.RLock()  # the end of a run may come from another thread

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
        mine = [
            pod
            for pod in patiently(self.client.pods, SECONDS_TO_END)
            if pod["name"].startswith(self.label)
        ]
        for pod in mine:
            self.say(
                f"RunPod: ending pod {pod['id']} ({pod['name']}), which an earlier head left behind"
            )
            patiently(lambda pod_id=pod["id"]: self.client.delete(pod_id), SECONDS_TO_END)  # type: ignore[misc]
        ids = {pod["id"] for pod in mine}
        end = time.monotonic() + SECONDS_TO_END
        while left := ids & {
            pod["id"]
            for pod in patiently(self.client.pods, SECONDS_TO_END)
            if pod["status"] in ALIVE
        }:
            if time.monotonic() > end:
                raise RunPodError(
                    f"RunPod still runs pods of an earlier head: {', '.join(sorted(left))}; try again, or use reap"
                )
            time.sleep(min(1.0, self.heartbeat.beat))
        self.pods.pay_leftovers(self.volume.jobs, {pod["id"]: pod for pod in mine})

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
                    left = max(0.0, end - time.monotonic())
                    patiently(partial(self.pods.end, job), left, longest=5.0)
                except ApiError as error:
                    self.say(
                        f"RunPod: pod {job.pod_id} could not be ended and is billed on; run reap ({error})"
                    )
            if any(job.unsure for job in self.jobs):
                try:
                    patiently(
                        lambda: self.pods.end_unanswered(self.jobs),
                        max(0.0, end - time.monotonic()),
                        longest=5.0,
                    )
                except ApiError as error:
                    self.say(
                        f"RunPod: a pod may exist whose creation was not answered; run reap ({error})"
                    )
            self.heartbeat.stop()

    # The jobs

    def submit(self, what: str, bodies: list[dict[str, Any]], task: dict[str, Any]) -> Job:
        """Put a job on the list; :meth:`refresh` and :meth:`step` do the rest.

        Args:
            what: the rule, for the pod's name.
            bodies: requests that would create the pod, the preferred first, without name and command.
            task: command, cwd, grace and limit, as the runner reads them; and jobs, for the ledger.
        """
        name = f"{self.label}{_plain(what)}-{secrets.token_hex(4)}"
        folder = self.volume.jobs / name
        folder.mkdir()
        pace = {
            "session": self.heartbeat.session,
            "beat": self.heartbeat.beat,
            "stale": self.heartbeat.stale,
        }
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
            self.pods.listing = None
            if self.closed or time.monotonic() < self.pods.paused_until:
                return
            if self.spent() >= self.budget:
                raise RunPodError(
                    f"the budget of run {self.run} is spent: {self.spent():.2f} of {self.budget:.2f} dollars;"
                    " nothing more is submitted, and its pods are ended; raise runpod-budget to go on"
                )
            try:
                self.pods.look()
                for job in self.jobs:
                    if (
                        job.pod_id is not None
                        and job.outcome is not None
                        and (not job.paid or self.pods.works(job.pod_id))
                    ):
                        self.pods.end(job)
                self.pods.end_strays(self.jobs, {job.name for job in self.jobs if job.unsure})
            except ApiError as error:
                self.pods.pause(error)

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
            if job.outcome is None or not (job.over or self.pods.gone(job)):
                return None
            # First its line in the ledger: the job that comes next may be the one that adds the ledger up.
            if job.pod_id is not None and not job.paid:
                return None
            return job.outcome

    # How a job gets its pod

    def _place(self, job: Job) -> None:
        now = time.monotonic()
        if self.pods.listing is None or now < job.not_before or now < self.pods.paused_until:
            return
        if job.unsure:  # an earlier request had no answer, and may have made the pod
            job.unsure = False
            for pod in self.pods.listing.values():
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
                    return self.pods.pause(error)
                if error.status not in REFUSED:
                    raise
                job.next_body += 1
                refusal = str(error)
        job.next_body = 0
        job.not_before = now + backoff(
            job.rounds, first=self.heartbeat.beat, longest=20 * self.heartbeat.beat
        )
        job.rounds += 1
        if now - job.asked_since > self.capacity_timeout:
            job.outcome = f"no pod for {now - job.asked_since:.0f} s: every type is refused; the last answer: {refusal}"
            job.over = True
        else:
            wait = job.not_before - now
            self.say(
                f"RunPod: no pod for {job.name}: every type is refused; asking again in {wait:.0f} s; last answer: {refusal}"
            )

    def _placed(self, job: Job, pod: dict[str, Any]) -> None:
        job.pod_id, job.price = pod["id"], float(pod.get("cost") or 0.0)
        job.compute = compute_of(pod)
        job.started, job.began = time.monotonic(), iso_date(time.time())
        job.heard = (None, job.started)
        runner.write(
            job.folder / "pod.json",
            {"id": job.pod_id, "compute": job.compute, "price": job.price, "start": job.began},
        )
        self.say(
            f"RunPod: {job.name} has pod {job.pod_id}: {job.compute} at {job.price:.2f} dollars per hour"
        )

    # How it ends

    def _watch(self, job: Job) -> None:
        if self._read_exit(job):
            return self.pods.end_if_possible(job)
        now = time.monotonic()
        beat = read_json(job.folder / "heartbeat")
        if beat is not None and beat != job.heard[0]:
            job.heard = (beat, now)
        silence = now - job.heard[1]
        if job.heard[0] is None and silence > self.start_timeout:
            job.outcome = f"pod {job.pod_id} did not begin its job within {self.start_timeout:g} s"
        elif job.heard[0] is not None and silence > self.heartbeat.stale:
            job.outcome = f"pod {job.pod_id} sends no heartbeat since {silence:.0f} s"
        elif self.pods.listing is not None:
            job.outcome = self.pods.lost(job)
        if job.outcome is not None:
            self._read_exit(job)  # it may have ended well in the meantime
            self.pods.end_if_possible(job)

    def _read_exit(self, job: Job) -> bool:
        ended = read_json(job.folder / "exit.json")
        if ended is None:
            return False
        job.over = True
        job.outcome = (
            "done" if ended["code"] == 0 else ended["reason"] or f"exit status {ended['code']}"
        )
        return True


def _plain(text: str) -> str:
    """A rule's name as a part of a pod's name."""
    return (
        "".join(
            letter if letter.isalnum() and letter.isascii() else "-" for letter in text.lower()
        )[:24].strip("-")
        or "job"
    )
