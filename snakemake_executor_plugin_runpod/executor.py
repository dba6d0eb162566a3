"""The executor: Snakemake's jobs on the one side, the fleet of pods on the other."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_runpod.api import Client, patiently
from snakemake_executor_plugin_runpod.catalogue import place_of
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.fleet import SECONDS_TO_END, Fleet
from snakemake_executor_plugin_runpod.key import VARIABLE, load_key
from snakemake_executor_plugin_runpod.pods import Job
from snakemake_executor_plugin_runpod.settings import ExecutorSettings, check, words
from snakemake_executor_plugin_runpod.volume import Heartbeat, Volume


class Executor(RemoteExecutor):
    """Runs each job, or group of jobs, on a pod of its own."""

    # Of the class, because Snakemake starts to check jobs before it calls __post_init__.
    ready = False
    failed = False
    stopped = False
    handles_sigterm = False

    def __post_init__(self) -> None:
        settings: ExecutorSettings = self.workflow.executor_settings
        self.settings = settings
        try:
            check(settings)
            if VARIABLE in self.envvars():
                raise RunPodError(f"envvars: {VARIABLE} would be handed to the pods; take it out")
            self.key = load_key(settings.key_file)
            client = Client(self.key, settings.api_url)
            self.volume_id, self.data_centers = patiently(
                lambda: place_of(
                    client, settings.volume_id, words(settings.data_centers), os.environ
                ),
                SECONDS_TO_END,
            )
            volume = Volume(settings.state, self.volume_id)
            self.fleet = Fleet(
                client,
                volume,
                Heartbeat(volume.head, settings.beat, settings.stale),
                run=settings.run,
                max_pods=settings.max_pods,
                budget=float(settings.budget or 0),
                start_timeout=settings.start_timeout,
                capacity_timeout=settings.capacity_timeout,
                max_failures=settings.max_failures,
                python=self.get_python_executable(),
                say=self.logger.info,
            )
            self.fleet.open()
        except RunPodError as error:
            raise WorkflowError(str(error)) from None
        except OSError as error:
            raise WorkflowError(f"runpod-state: {settings.state}: {error}") from None
        self.ready = True
        self.logger.info(
            f"RunPod: run {settings.run} has cost {self.fleet.spent():.2f} of"
            f" {self.fleet.budget:.2f} dollars so far; at most {settings.max_pods} pods at a time,"
            f" in {', '.join(self.data_centers) or 'any data center'}"
        )
        if not settings.cpu_types:
            # Snakemake runs local rules by itself, here; which rules need a pod is a matter of this
            # executor alone.
            self.workflow.localrules(
                *(rule.name for rule in self.workflow.rules if not may_use_gpu(rule))
            )

    @property
    def cores(self) -> str:
        """All of the pod's; those of this machine say nothing about it."""
        return "all"

    def get_python_executable(self) -> str:
        """The pods' Python: by default this one, which then lies in the image or on the volume at
        the same path.
        """
        return self.settings.python or super().get_python_executable()

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit jobs, under a SIGTERM handler: Snakemake's own would wait, and pay, until all pods
        are done.
        """
        if not self.handles_sigterm:
            self.handles_sigterm = True
            previous = signal.getsignal(signal.SIGTERM)

            def handle(number: int, frame: Any) -> None:
                self.stopped = True
                if callable(previous):
                    previous(number, frame)

            # Outside the main thread this is an error: whoever started Snakemake there gets the
            # signals.
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, handle)
        super().run_jobs(jobs)

    def run_job(self, job: JobExecutorInterface) -> None:
        """Put a job on the fleet's list."""
        settings = self.settings
        task = {
            "command": self.format_job_exec(job),
            "cwd": str(Path.cwd()),
            "grace": settings.grace,
            "jobs": rules_and_wildcards(job),
            "limit": (
                60 * job.resources["runtime"]
                if job.resources.get("runtime")
                else settings.time_limit
            ),
        }
        bodies = self.requests(job)
        if self.key.within((task, bodies)):
            raise WorkflowError(
                "the API key stands in this job's command or in a declared environment variable;"
                " take it out"
            )
        submitted = self.fleet.submit(job.name, bodies, task)
        self.report_job_submission(
            SubmittedJobInfo(job, external_jobid=submitted.name, aux={"job": submitted})
        )

    def requests(self, job: JobExecutorInterface) -> list[dict[str, Any]]:
        """The requests that would create a job's pod, the preferred first."""
        settings, resources = self.settings, job.resources
        body: dict[str, Any] = {
            "image": resources.get("runpod_image", settings.image),
            "disk": resources.get("runpod_disk", settings.disk),
            "cloud": resources.get("runpod_cloud", settings.cloud),
            "env": self.envvars(),
            "mounts": {"network": [{"volumeId": self.volume_id, "path": settings.mount_path}]},
        }
        if centers := words(resources.get("runpod_data_centers")) or self.data_centers:
            body["dataCenterIds"] = centers
        if registry := resources.get("runpod_registry", settings.registry):
            body["registry"] = registry
        count = int(resources.get("gpu") or 0)
        if count == 0 and (names := words(settings.cpu_types)):
            vcpus = 1 << (max(2, job.threads) - 1).bit_length()  # RunPod has powers of two
            return [{**body, "cpu": {"id": name, "vcpuCount": vcpus}} for name in names]
        floor = {"minCudaVersion": settings.min_cuda} if settings.min_cuda else {}
        names = words(resources.get("runpod_gpu", settings.gpu_types))
        return [{**body, "gpu": {"id": name, "count": max(1, count), **floor}} for name in names]

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Ask how the pods are, report the jobs that have ended, and yield the others."""
        if not self.ready:
            return
        if self.stopped:
            self.fleet.close()
            for info in active_jobs:
                self.report_job_error(info, msg="The head was told to stop, and ended the pod. ")
            return
        try:
            if not self.failed:
                self._advance(active_jobs)
        except RunPodError as error:
            self.failed = True
            self.fleet.close()
            self.workflow.scheduler.executor_error_callback(WorkflowError(str(error)))
        for info in active_jobs:
            yield info

    def _advance(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Carry the jobs on, and take those that have ended off the list.

        Raises:
            RunPodError: the run cannot go on.
        """
        troubles: list[OSError] = []
        try:
            # Also without jobs: the API may have refused to end a pod so far.
            if active_jobs or self.fleet.existing():
                self.fleet.refresh()
        except OSError as error:
            troubles.append(error)
        for info in list(active_jobs):
            job = info.aux["job"]
            try:
                outcome = self.fleet.step(job)
            except OSError as error:  # a job that cannot begin must not keep others from ending
                troubles.append(error)
                continue
            if outcome is not None and not self._given_another_pod(info, job, outcome):
                active_jobs.remove(info)
                self._report(info, job, outcome)
        if troubles:
            self.fleet.trouble(troubles[0])
        else:
            self.fleet.well()

    def _given_another_pod(self, info: SubmittedJobInfo, job: Job, outcome: str) -> bool:
        """Whether a job begins once more because its pod was lost; Snakemake's retries are for jobs
        that fail by themselves.
        """
        if not job.lost or job.losses >= self.settings.lost_pods:
            return False
        info.aux["job"] = again = self.fleet.again(job)
        self.logger.info(
            f"RunPod: {outcome}: {job.name} goes on as {again.name}, on another pod"
            f" (loss {again.losses} of {self.settings.lost_pods} that a job may have)"
        )
        return True

    def _report(self, info: SubmittedJobInfo, job: Job, outcome: str) -> None:
        if outcome == "done":
            self.report_job_success(info)
        else:
            log = [str(job.folder / "log.txt")]
            self.report_job_error(info, msg=f"RunPod: {outcome}. ", aux_logs=log)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """End every pod: also those of jobs that are being checked at this moment, which the list
        does not hold.
        """
        self.fleet.close()

    def shutdown(self) -> None:
        """End what is left and say what it cost."""
        self.fleet.close()
        super().shutdown()
        settings = self.settings
        self.logger.info(
            f"RunPod: run {settings.run} has cost {self.fleet.spent():.2f} of {settings.budget:.2f}"
            f" dollars; each pod is a line of {self.fleet.ledger.path}"
        )


def rules_and_wildcards(job: Any) -> list[dict[str, Any]]:
    """What a job is, or each job of a group, for the ledger: ``[{"rule": "train", "wildcards":
    {"seed": "0"}}]``.
    """
    parts = job.jobs if job.is_group() else [job]
    found = [{"rule": part.rule.name, "wildcards": dict(part.wildcards.items())} for part in parts]
    return sorted(found, key=str)  # a group's jobs come in no fixed order


def may_use_gpu(rule: Any) -> bool:
    """Whether some job of a rule of Snakemake's has the resource gpu."""
    gpu = rule.resources.get("gpu")
    return gpu.is_evaluable() or bool(gpu.value)
