"""How jobs come to their pods: which requests are worth sending, and what RunPod has refused.

A refusal holds for all jobs that would send the same request, so that a hundred jobs ask no more
often than one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snakemake_executor_plugin_runpod.api import REFUSED, ApiError, backoff
from snakemake_executor_plugin_runpod.catalogue import Catalogue
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.pods import Job, Pods

LONGEST_WAIT_IN_BEATS = 20
# A refused request is sent again although the catalogue has no stock, every so many times: a
# catalogue may be late.
TRUST_IN_CATALOGUE = 4
# A creation without an answer is not repeated before so many heartbeats, and two listings, have
# passed without its pod.
BEATS_UNTIL_REPEATED = 2
LOOKS_UNTIL_REPEATED = 2


@dataclass
class Refusal:
    """That a request was refused: how often, until when it is not repeated, and RunPod's last
    words.
    """

    times: int = 0
    until: float = 0.0
    status: int = 0
    text: str = ""


class Placing:
    """Finds pods for the jobs of a run.

    Args:
        pods: of the run.
        max_pods: how many may exist at a time.
        capacity_timeout: seconds after which jobs fail for which every request is refused, counted
            only while the run has no pod; None to ask for ever.
    """

    def __init__(self, pods: Pods, *, max_pods: int, capacity_timeout: float | None) -> None:
        self.pods = pods
        self.max_pods = max_pods
        self.capacity_timeout = capacity_timeout
        self.catalogue = Catalogue(pods.client, 2 * pods.beat, pods.clock)
        self.refusals: dict[str, Refusal] = {}
        # Since when everything is refused while the run has no pod.
        self.dry_since: float | None = None

    def place(self, job: Job, prepare: Callable[[Job], list[str]], jobs: list[Job]) -> None:
        """Ask for a pod for a job, if that is worth a request now.

        Args:
            job: without a pod.
            prepare: writes what the pod will read, and returns the command that the pod runs.
            jobs: all of the run.

        Raises:
            RunPodError: the API refuses for a reason that no job will survive.
            OSError: the volume does not work.
        """
        pods, now = self.pods, self.pods.clock.monotonic()
        if pods.listing is None or now < pods.paused_until:
            return
        if job.unsure is not None and not self._may_be_repeated(job, now):
            return
        # What costs nothing goes first: a hundred jobs wait, and come here at every look.
        job.kinds = job.kinds or [_kind(body) for body in job.bodies]
        refusals = [self.refusals.setdefault(kind, Refusal()) for kind in job.kinds]
        if all(now < refusal.until for refusal in refusals):
            return self._all_refused(job, refusals, now, asked=False)
        unsure = sum(other.unsure is not None for other in jobs)  # their pods may exist
        if len(pods.working) + unsure >= self.max_pods:
            return
        command = prepare(job)
        asked = False
        for body, kind, refusal in zip(job.bodies, job.kinds, refusals, strict=True):
            if now < refusal.until:
                continue
            asked = True
            if self._out_of_stock(body, refusal):
                self._refuse(refusal, now, refusal.status, refusal.text)
                continue
            try:
                made = pods.client.create({**body, "name": job.name, "cmd": command})
            except ApiError as error:
                if error.transient:
                    if error.status != 429:
                        job.unsure, job.unsure_look = now, pods.looks
                    return pods.pause(error)
                if error.status not in REFUSED:
                    raise
                self._refuse(refusal, now, error.status, str(error))
                continue
            self.refusals.pop(kind)
            self.dry_since = None
            return pods.placed(job, made)
        self._all_refused(job, refusals, now, asked=asked)

    def freed(self) -> None:
        """A pod of the run has ended, and its GPU may be had again: refusals are forgotten."""
        self.refusals.clear()

    def _may_be_repeated(self, job: Job, now: float) -> bool:
        """Whether the pod whose creation was not answered does not exist; if it does, the job has
        it.
        """
        pods = self.pods
        assert pods.listing is not None and job.unsure is not None
        for pod in pods.listing.values():
            if pod["name"] == job.name:
                pods.placed(job, pod)
                return False
        waited = now - job.unsure >= BEATS_UNTIL_REPEATED * pods.beat
        if waited and pods.looks - job.unsure_look >= LOOKS_UNTIL_REPEATED:
            job.unsure = None
            return True
        return False

    def _out_of_stock(self, body: dict[str, Any], refusal: Refusal) -> bool:
        """Whether the catalogue says that a request which was refused before would be again."""
        if refusal.times % TRUST_IN_CATALOGUE == 0:
            return False
        return self.catalogue.has(body) is False

    def _refuse(self, refusal: Refusal, now: float, status: int, text: str) -> None:
        beat = self.pods.beat
        wait = backoff(refusal.times, first=beat, longest=LONGEST_WAIT_IN_BEATS * beat)
        refusal.times, refusal.until = refusal.times + 1, now + wait
        refusal.status, refusal.text = status, text

    def _all_refused(self, job: Job, refusals: list[Refusal], now: float, *, asked: bool) -> None:
        last = max(refusals, key=lambda refusal: refusal.until)
        if all(refusal.status == 403 for refusal in refusals):
            raise RunPodError(
                "every GPU type is answered with 403, so this API key may not create such pods:"
                f" {last.text}; give it write access to pods, or ask for other types"
            )
        if self.pods.working:
            self.dry_since = None
            dry = 0.0
        else:
            self.dry_since = now if self.dry_since is None else self.dry_since
            dry = now - self.dry_since
        late = self.capacity_timeout is not None and dry > self.capacity_timeout
        if not asked and not late:
            return
        limits = f"asked for: {narrowed(job.bodies)}; the last answer: {last.text}"
        if late:
            job.outcome = f"no pod for {dry:.0f} s: every type is refused; {limits}"
            job.over = True
        else:
            wait = min(refusal.until for refusal in refusals) - now
            self.pods.say(
                f"RunPod: no pod for {job.name} and others like it: every type is refused;"
                f" asking again in {wait:.0f} s; {limits}"
            )


def _kind(body: dict[str, Any]) -> str:
    """What decides whether a request is refused."""
    parts = ("gpu", "cpu", "cloud", "dataCenterIds", "disk", "image", "mounts")
    return json.dumps([body.get(part) for part in parts], sort_keys=True)


def narrowed(bodies: list[dict[str, Any]]) -> str:
    """What requests demand, in words: what may be given up where all are refused."""
    first = bodies[0]
    compute = first.get("gpu") or first.get("cpu") or {}
    names = [str((body.get("gpu") or body.get("cpu") or {}).get("id")) for body in bodies]
    parts = [f"{compute.get('count', 1)} x {' or '.join(names)}"]
    if centers := first.get("dataCenterIds"):
        parts.append(f"in {', '.join(centers)}")
    if cuda := compute.get("minCudaVersion"):
        parts.append(f"CUDA {cuda} or later")
    parts.append(f"{first.get('cloud', 'SECURE')} cloud")
    return ", ".join(parts)
