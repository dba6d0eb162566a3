"""The settings of the executor: command line options --runpod-..., or keys runpod-... of a
profile.
"""

# ruff: noqa: RUF009, UP045 Snakemake reads the types of the fields: as types, not as text, and
# Optional[...] rather than `... | None`.
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_runpod.api import URL
from snakemake_executor_plugin_runpod.errors import RunPodError

CLOUDS = ("SECURE", "COMMUNITY")
LONGEST_RUN = (
    20  # pods with names of 60 letters are known to work, and a run is a part of its pods' names
)

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    # Declared variables travel in the pod's environment: a command line would put them into files
    # on the volume.
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


def setting(default: Any, text: str, **metadata: Any) -> Any:
    """A field with its help text."""
    return field(default=default, metadata={"help": text, **metadata})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """What the executor can be told. Seconds, dollars and gigabytes throughout."""

    image: Optional[str] = setting(
        None, "Container image of the pods; it must hold Python and Snakemake. Required."
    )
    registry: Optional[str] = setting(
        None,
        "Id of the credential, from RunPod's console, with which pods pull a private image.",
    )
    volume_id: Optional[str] = setting(
        None,
        "Network volume that this machine and every pod mount. Required, unless this machine is a"
        " pod with that volume.",
    )
    mount_path: str = setting(
        "/workspace", "Where the network volume is mounted, here and in the pods."
    )
    gpu_types: Optional[str] = setting(
        None,
        "GPU types by RunPod's names, comma-separated, the preferred one first; where one is"
        " refused, the next is tried. Required.",
    )
    cpu_types: Optional[str] = setting(
        None,
        "CPU flavours (cpu5c,cpu3c) for jobs without the resource gpu. Without it, those run on"
        " this machine.",
    )
    data_centers: Optional[str] = setting(
        None,
        "Data centers to use, comma-separated. Without it, the one of the volume.",
    )
    cloud: str = setting(
        "SECURE", "SECURE or COMMUNITY; network volumes exist in SECURE.", choices=CLOUDS
    )
    min_cuda: Optional[str] = setting(
        None, "Lowest CUDA version that the driver of the pod's machine must support, like 13.0."
    )
    disk: int = setting(20, "Container disk of a pod in GB.")
    max_pods: int = setting(4, "How many pods may exist at a time.")
    budget: Optional[float] = setting(
        None,
        "Dollars that this run may cost; then its pods are ended and Snakemake stops. Required.",
    )
    run: str = setting(
        "snakemake",
        "Name of the run, of at most 20 letters: part of the names of its pods, and of the lines of"
        " its ledger.",
    )
    state: Path = setting(
        Path(".snakemake/runpod"),
        "Folder on the volume for the ledger, the logs and the state of the pods.",
    )
    key_file: Optional[Path] = setting(
        None, "File of mode 0600 with the API key; without it RUNPOD_API_KEY is used."
    )
    python: Optional[str] = setting(
        None, "Python of the pods, if it is not at the path of the one that runs here."
    )
    time_limit: Optional[float] = setting(
        None, "Seconds that a job may take; the resource runtime (minutes) goes first."
    )
    lost_pods: int = setting(
        5,
        "How often a job is given another pod because its pod was lost. Jobs that fail by"
        " themselves are for Snakemake's retries.",
    )
    max_failures: int = setting(
        3, "The run stops after so many failed jobs if none has succeeded before."
    )
    beat: float = setting(15.0, "Seconds between two heartbeats, of this machine and of a pod.")
    stale: float = setting(
        300.0, "Seconds without a heartbeat until the other side counts as gone."
    )
    start_timeout: float = setting(
        900.0, "Seconds that a pod may take until its job runs; pulling an image takes minutes."
    )
    capacity_timeout: Optional[float] = setting(
        3600.0,
        "Seconds to keep asking while every GPU type is refused, counted only while the run has no"
        " pod; then waiting jobs fail.",
    )
    grace: float = setting(30.0, "Seconds that a job gets to save its state when it is ended.")
    api_url: str = setting(URL, "Address of the API.")


def check(settings: ExecutorSettings) -> None:
    """Stop at the first setting that cannot work.

    Raises:
        RunPodError: names the setting and the fix.
    """
    for name, what in (
        ("image", "a container image with Python and Snakemake"),
        ("gpu_types", "at least one GPU type, the preferred one first"),
        ("budget", "the dollars that this run may cost"),
    ):
        if not getattr(settings, name):
            raise RunPodError(f"{option(name)}: give {what}")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", settings.run) or len(settings.run) > LONGEST_RUN:
        raise RunPodError(
            f"{option('run')}: {settings.run!r}: use small letters, digits and single hyphens, at"
            f" most {LONGEST_RUN} of them"
        )
    for name in (
        "budget",
        "max_pods",
        "disk",
        "beat",
        "stale",
        "start_timeout",
        "capacity_timeout",
        "max_failures",
        "grace",
        "time_limit",
    ):
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise RunPodError(f"{option(name)}: {value:g}: must be more than 0")
    if settings.lost_pods < 0:
        raise RunPodError(f"{option('lost_pods')}: {settings.lost_pods}: must be 0 or more")
    if settings.stale < 3 * settings.beat:
        raise RunPodError(
            f"{option('stale')}: {settings.stale:g}: must be at least three heartbeats of"
            f" {settings.beat:g} s"
        )
    mount = Path(settings.mount_path)
    for path in (Path.cwd(), settings.state.resolve()):
        if not path.is_relative_to(mount):
            raise RunPodError(
                f"{option('mount_path')}: {path} is not on the volume, which is mounted at {mount};"
                " the head must be a machine with that volume, a CPU pod for example"
            )


def words(text: Optional[str]) -> list[str]:
    """A comma-separated setting or resource as a list."""
    return [word.strip() for word in text.split(",") if word.strip()] if text else []


def option(name: str) -> str:
    """A setting as a profile spells it."""
    return f"runpod-{name.replace('_', '-')}"
