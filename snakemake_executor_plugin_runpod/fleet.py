"""The pods of one run: created one per job under a ceiling and a budget, and watched until the job
has ended.

Nothing here knows Snakemake. Time is counted by this machine's monotonic clock; the ledger holds
dates.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from snakemake_executor_plugin_runpod import pod as runner
from snakemake_executor_plugin_runpod.api import ALIVE, ApiError, Client, backoff, patiently
from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.ledger import Ledger
from snakemake_executor_plugin_runpod.placing import Placing
from snakemake_executor_plugin_runpod.pods import Job, Pods
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume, read_json

PREFIX = "smk"
LONGEST_RULE = 18  # letters of a rule's name in a pod's; with a run's 20, names have at most 60
SECONDS_TO_END = 90.0  # how long the end of a run waits for the API to take its pods away
# A pod that has not begun is asked for its machine's log after this part of the time that it may
# take.
PART_OF_START = 0.2
# What a machine says of an image that will never start.
HOPELESS = (
    "manifest unknown",
    "manifest for",
    "no matching manifest",
    "unauthorized",
    "pull access denied",
    "pull rate limit",
    "no space left on device",
    "exec format error",
)


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
        capacity_timeout: seconds to keep asking while every candidate is refused and no pod exists;
        None for ever.
        max_failures: the run stops after so many failed jobs if none has succeeded before.
        python: the pods' interpreter.
        say: prints a line.
        clock: of this machine.
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
        start_timeout: float = 900.0,
        capacity_timeout: float | None = 3600.0,
        max_failures: int = 3,
        python: str = "python3",
        say: Callable[[str], None] = print,
        clock: Clock = CLOCK,
    ) -> None:
        self.client = client
        self.volume = volume
        self.heartbeat = heartbeat
        self.clock = clock
        self.ledger = Ledger(volume.ledger, run, heartbeat.session, clock)
        self.run = run
        self.label = f"{PREFIX}-{run}-{volume.identity}-"
        self.pods = Pods(client, self.ledger, self.label, heartbeat.beat, say, clock)
        self.placing = Placing(self.pods, max_pods=max_pods, capacity_timeout=capacity_timeout)
        self.budget = budget
        self.start_timeout = start_timeout
        self.max_failures = max_failures
        self.python = python
        self.say = say
        self.jobs: list[Job] = []
        self.closed = False
        self._succeeded = False
        self._failed = 0
        self._troubled: float | None = None  # since when the volume is out of order
        self._lock = threading.RLock()  # the end of a run may come from another thread

    # The run

    def open(self) -> None:
        """Become the one head of this folder, and end what an earlier one left behind.

        Raises:
            RunPodError: another head is alive, or the API refuses.
        """
        # The API first: a wrong key must not wait for anything.
        self._list()
        if self.volume.copied is not None:
            identity, folder = self.volume.copied
            self.say(
                f"RunPod: {self.volume.folder} is a copy of {folder}, or was there before; pods"
                " that a head there has made are not touched from here. `reap` lists them: their"
                f" names begin with {PREFIX}-{self.run}-{identity}-"
            )
        self.heartbeat.start(self.say)
        # From here on, pods of an earlier head end their jobs by themselves, too.
        mine = [pod for pod in self._list() if pod["name"].startswith(self.label)]
        for pod in mine:
            self.say(
                f"RunPod: ending pod {pod['id']} ({pod['name']}), which an earlier head left behind"
            )
            self._patiently(partial(self.client.delete, pod["id"]))
        ids = {pod["id"] for pod in mine}
        end = self.clock.monotonic() + SECONDS_TO_END
        while left := ids & {pod["id"] for pod in self._list() if pod["status"] in ALIVE}:
            if self.clock.monotonic() > end:
                raise RunPodError(
                    f"RunPod still runs pods of an earlier head: {', '.join(sorted(left))}; try"
                    " again, or use reap"
                )
            self.clock.sleep(min(1.0, self.heartbeat.beat))
        self.pods.pay_leftovers(self.volume.jobs, {pod["id"]: pod for pod in mine})

    def existing(self) -> list[Job]:
        """The jobs whose pods exist, or are not paid for yet."""
        return [job for job in self.jobs if job.pod_id is not None and not job.paid]

    def spent(self) -> float:
        """Dollars that the run has cost, estimated for pods that still exist."""
        now = self.clock.monotonic()
        hours = [
            job.price * ((now if job.ended is None else job.ended) - job.started) / 3600
            for job in self.existing()
        ]
        return self.ledger.dollars + sum(hours)

    def close(self) -> None:
        """End every pod, then pay, then stop the heartbeat, whatever the volume says. May be called
        more than once.
        """
        with self._lock:
            self.closed = True
            end = self.clock.monotonic() + SECONDS_TO_END
            try:
                self._end_all(end)
                self._end_unanswered(end)
                self._pay_all()
            finally:
                try:
                    self.heartbeat.stop()
                except OSError as error:
                    self.say(f"RunPod: the end of this head could not be written: {error}")

    def trouble(self, error: OSError) -> None:
        """The volume does not work. Nothing is lost by waiting a while; then the run stops.

        Raises:
            RunPodError: it has not worked for as long as a head may be silent.
        """
        now = self.clock.monotonic()
        if self._troubled is None:
            self._troubled = now
            self.say(f"RunPod: the volume does not work, and is tried again: {error}")
        if now - self._troubled > self.heartbeat.stale:
            raise RunPodError(
                f"the volume has not worked for {now - self._troubled:.0f} s: {error}; every pod is"
                " ended; make room or wait until it works again, and the same command goes on"
            )

    # The jobs

    def submit(
        self, what: str, bodies: list[dict[str, Any]], task: dict[str, Any], losses: int = 0
    ) -> Job:
        """Put a job on the list; :meth:`refresh` and :meth:`step` do the rest. Writes nothing.

        Args:
            what: the rule, for the pod's name.
            bodies: requests that would create the pod, the preferred first, without name and
            command.
            task: command, cwd, grace and limit, as the runner reads them; and jobs, for the ledger.
            losses: how often this job had a pod that was lost.
        """
        name = f"{self.label}{_plain(what)}-{secrets.token_hex(4)}"
        job = Job(name, what, self.volume.jobs / name, bodies, task, losses=losses)
        with self._lock:
            self.jobs.append(job)
        return job

    def again(self, job: Job) -> Job:
        """The same job once more, after its pod was lost."""
        return self.submit(job.what, job.bodies, job.task, job.losses + 1)

    def refresh(self) -> None:
        """Ask the API once how the pods are, and end those that should have ended.

        Raises:
            RunPodError: the budget is spent, another head has taken over, or the API refuses.
            OSError: the volume does not work.
        """
        with self._lock:
            if self.closed:
                return
            # Neither needs the API, so neither waits where it is busy.
            if self.spent() >= self.budget:
                raise RunPodError(
                    f"the budget of run {self.run} is spent: {self.spent():.2f} of"
                    f" {self.budget:.2f} dollars; nothing more is submitted, and its pods are"
                    " ended; raise runpod-budget to go on"
                )
            if other := self.heartbeat.successor():
                raise RunPodError(
                    f"{other} has taken over run {self.run}, because this one was silent for more"
                    f" than {self.heartbeat.stale:g} s; it has ended the pods of this one, which"
                    " stops"
                )
            self._end_finished()
            if self.clock.monotonic() < self.pods.paused_until:
                return
            try:
                self.pods.look(self.jobs)
                self.pods.end_strays(self.jobs)
            except ApiError as error:
                self.pods.pause(error)

    def step(self, job: Job) -> str | None:
        """Carry one job on by what is known now; its outcome once it has ended.

        Raises:
            RunPodError: the API refuses for a reason that no job will survive, or every job so far
            has failed.
            OSError: the volume does not work.
        """
        with self._lock:
            if self.closed:
                return None
            if job.outcome is None:
                if job.pod_id is None:
                    self.placing.place(job, self._prepare, self.jobs)
                else:
                    self._watch(job)
            # A job whose pod is lost fails only when the pod is gone for sure: its second run must
            # not meet the first.
            if job.outcome is None or not (job.over or self.pods.gone(job)):
                return None
            # First its line in the ledger: the job that comes next may be the one that adds the
            # ledger up.
            if job.pod_id is not None and not job.paid:
                return None
            self._count(job)
            return job.outcome

    def well(self) -> None:
        """A whole round went well: the volume works."""
        self._troubled = None

    # How it begins and ends

    def _prepare(self, job: Job) -> list[str]:
        """Write what a pod will read; the command that it runs, in exec form: no shell sees the
        paths.
        """
        job.folder.mkdir(exist_ok=True)
        record = job.folder / "job.json"
        if not record.exists():
            heartbeat, url = self.heartbeat, self.client.url
            known = {
                "session": heartbeat.session,
                "beat": heartbeat.beat,
                "stale": heartbeat.stale,
                "api_url": url,
                "graphql_url": f"{url.rpartition('/')[0]}/graphql",
            }
            runner.write(record, {**job.task, **known})
        return [self.python, str(self.volume.runner), str(job.folder)]

    def _watch(self, job: Job) -> None:
        self.pods.note(job)
        if self._read_exit(job):
            return self._end(job)
        now = self.clock.monotonic()
        beat = read_json(job.folder / "heartbeat")
        if beat is not None and beat != job.heard[0]:
            job.heard = (beat, now)
        silence = now - job.heard[1]
        if job.heard[0] is None and silence > PART_OF_START * self.start_timeout:
            job.outcome = self._not_begun(job, silence)
        elif job.heard[0] is not None and silence > self.heartbeat.stale:
            job.outcome = f"pod {job.pod_id} sends no heartbeat since {silence:.0f} s"
        if job.outcome is None and self.pods.listing is not None:
            job.outcome = self.pods.lost(job)
        if job.outcome is not None:
            job.lost = True
            self._read_exit(job)  # it may have ended well in the meantime
            self._end(job)

    def _not_begun(self, job: Job, silence: float) -> str | None:
        """Why a pod that has not begun its job never will, or None as long as it may."""
        late = silence > self.start_timeout
        if job.log_read and not late:
            return None
        job.log_read = True
        assert job.pod_id is not None
        lines = self.client.system_log(job.pod_id)
        hopeless = [line for line in lines if says_hopeless(line)]
        if not late and not hopeless:
            return None
        with contextlib.suppress(OSError), open(job.folder / "log.txt", "a") as file:
            file.writelines(f"{line}\n" for line in lines)
        last = (hopeless or lines or ["nothing"])[-1]
        return (
            f"pod {job.pod_id} did not begin its job within {silence:.0f} s; its machine says:"
            f" {last}"
        )

    def _read_exit(self, job: Job) -> bool:
        ended = read_json(job.folder / "exit.json")
        if ended is None:
            return False
        job.over = True
        job.lost = bool(ended.get("lost"))
        job.outcome = (
            "done" if ended["code"] == 0 else ended["reason"] or f"exit status {ended['code']}"
        )
        return True

    def _end(self, job: Job) -> None:
        self.pods.end_if_possible(job)
        if job.ended is not None:
            self.placing.freed()

    def _count(self, job: Job) -> None:
        """Stop the run where nothing has ever worked: the next jobs would cost as much for the same
        reason.
        """
        began = job.heard[0] is not None or job.over
        if job.outcome == "done":
            self._succeeded = True
        elif job.pod_id is not None and not (job.lost and began):
            self._failed += 1
        if not self._succeeded and self._failed >= self.max_failures:
            raise RunPodError(
                f"the first {self._failed} jobs of run {self.run} have failed and none has"
                f" succeeded, the last one with: {job.outcome} ({job.folder / 'log.txt'}); nothing"
                " more is submitted, and its pods are ended; fix the cause and start again"
                " (runpod-max-failures says after how many)"
            )

    # Ends of several

    def _end_finished(self) -> None:
        """End the pods of jobs that have ended, and pay; one that cannot be is no reason to leave
        the others.

        Raises:
            OSError: the ledger cannot be written.
            ApiError: the API refuses.
        """
        failed: Exception | None = None
        for job in self.jobs:
            if job.pod_id is None or job.outcome is None:
                continue
            lingers = self.pods.looks > job.ended_look and self.pods.works(job.pod_id)
            if not job.paid or lingers:
                try:
                    self._end(job)
                except (OSError, ApiError) as error:
                    failed = error
        if failed is not None:
            raise failed

    def _end_all(self, end: float) -> None:
        """End every pod, in rounds, so that one that cannot be does not hold up the others. Touches
        no file.
        """
        left = [job for job in self.jobs if job.exists]
        attempt = 0
        while left:
            failed: dict[str, Exception] = {}
            for job in left:
                job.outcome = job.outcome or "ended with the head"
                try:
                    self.pods.end(job)
                except Exception as error:  # whatever it is, the other pods must be ended
                    failed[job.name] = error
            left = [job for job in left if job.name in failed]
            wait = backoff(attempt, longest=5.0)
            attempt += 1
            hopeful = [
                error
                for error in failed.values()
                if not isinstance(error, ApiError) or error.transient
            ]
            if not hopeful or self.clock.monotonic() + wait > end:
                break
            self.clock.sleep(wait)
        for job in left:
            self.say(
                f"RunPod: pod {job.pod_id} could not be ended and is billed on; run reap"
                f" ({failed[job.name]})"
            )

    def _end_unanswered(self, end: float) -> None:
        if not any(job.unsure is not None for job in self.jobs):
            return
        try:
            left = max(0.0, end - self.clock.monotonic())
            call = partial(self.pods.end_unanswered, self.jobs)
            patiently(call, left, longest=5.0, clock=self.clock)
        except (ApiError, OSError) as error:
            self.say(f"RunPod: a pod may exist whose creation was not answered; run reap ({error})")

    def _pay_all(self) -> None:
        unpaid = [job for job in self.existing() if job.ended is not None]
        try:
            if self.heartbeat.successor() is not None:  # which has paid for what it ended
                lines = {line["pod"] for line in self.ledger.lines()}
                unpaid = [job for job in unpaid if job.pod_id not in lines]
            for job in unpaid:
                self.pods.pay(job)
        except (OSError, RunPodError) as error:
            cost = self.spent() - self.ledger.dollars
            self.say(
                f"RunPod: {cost:.2f} dollars for {len([job for job in unpaid if not job.paid])}"
                f" ended pods are not in the ledger, which could not be written: {error}"
            )

    # The API, with patience

    def _patiently(self, call: Callable[[], Any]) -> Any:
        return patiently(call, SECONDS_TO_END, clock=self.clock)

    def _list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._patiently(self.client.pods)
        return found


def says_hopeless(line: str) -> bool:
    """Whether a line of a machine's log says that its pod will never begin."""
    return any(word in line.lower() for word in HOPELESS)


def _plain(text: str) -> str:
    """A rule's name as a part of a pod's name."""
    letters = [letter if letter.isalnum() and letter.isascii() else "-" for letter in text.lower()]
    return "".join(letters)[:LONGEST_RULE].strip("-") or "job"
