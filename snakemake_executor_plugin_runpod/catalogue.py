"""What RunPod has: the stock that is worth asking for, the place of a volume, and where a run could
have all that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from snakemake_executor_plugin_runpod.api import ApiError, Client
from snakemake_executor_plugin_runpod.clock import CLOCK, Clock
from snakemake_executor_plugin_runpod.errors import RunPodError

NONE = "NONE"


class Catalogue:
    """The stock of GPU types, read at most once in a while for each kind of request.

    Args:
        client: the API.
        seconds: for how long an answer counts.
        clock: of this machine.
    """

    def __init__(self, client: Client, seconds: float, clock: Clock = CLOCK) -> None:
        self.client = client
        self.seconds = seconds
        self.clock = clock
        self._answers: dict[tuple[Any, ...], tuple[float, list[dict[str, Any]]]] = {}
        self._usable = True

    def has(self, body: dict[str, Any]) -> bool | None:
        """Whether there is stock for a request, or None where the catalogue does not say."""
        gpu = body.get("gpu")
        if gpu is None or not self._usable:
            return None
        query = (gpu.get("count", 1), body.get("cloud", "SECURE"), gpu.get("minCudaVersion"))
        now = self.clock.monotonic()
        read, types = self._answers.get(query, (None, []))
        if read is None or now - read >= self.seconds:
            try:
                types = self.client.gpus(*query)
            except ApiError as error:
                # Some keys may not read it, and it may be busy: then the creation itself has to
                # say.
                self._usable = error.transient
                return None
            self._answers[query] = (now, types)
        found = [kind for kind in types if kind["id"] == gpu["id"]]
        if not found:
            return None
        return stock(found[0], body.get("dataCenterIds") or []) != NONE


def stock(kind: dict[str, Any], centers: list[str]) -> str:
    """The best availability of a GPU type, in some data centers if they are named: NONE, LOW,
    MEDIUM, HIGH.
    """
    everywhere = str(kind.get("availability") or NONE)
    listed = kind.get("dataCenters")
    if not centers or listed is None or everywhere == NONE:
        return everywhere
    order = [NONE, "LOW", "MEDIUM", "HIGH"]
    here = [str(place.get("availability") or NONE) for place in listed if place["id"] in centers]
    return max(here, key=lambda word: order.index(word) if word in order else 1, default=NONE)


def place_of(
    client: Client,
    volume_id: str | None,
    centers: list[str],
    environment: Mapping[str, str],
) -> tuple[str, list[str]]:
    """The volume, and the data centers for its pods, checked against each other and against the pod
    that this machine may be.

    Args:
        client: the API.
        volume_id: runpod-volume-id, if it is set.
        centers: runpod-data-centers, if it is set.
        environment: where RunPod tells a pod RUNPOD_VOLUME_ID and RUNPOD_DC_ID.

    Raises:
        RunPodError: they contradict each other, there is no volume, or the API refuses.
    """
    mounted = environment.get("RUNPOD_VOLUME_ID") or None
    if volume_id is None and mounted is None:
        raise RunPodError(
            "runpod-volume-id: give the network volume that this machine and the pods mount"
        )
    if volume_id is not None and mounted is not None and volume_id != mounted:
        raise RunPodError(
            f"runpod-volume-id: {volume_id}: this machine mounts another volume, {mounted}"
            " (RUNPOD_VOLUME_ID); leave the setting out, or start the head on a pod with that"
            " volume"
        )
    volume = volume_id or str(mounted)
    try:
        record = client.volume(volume)
    except ApiError as error:
        if error.status != 403:
            raise
        record = {}  # a restricted key may not see volumes; creations will say what is wrong
    if record is None:
        raise RunPodError(f"runpod-volume-id: {volume}: RunPod has no such network volume")
    home = record.get("dataCenter") or record.get("dataCenterId") or environment.get("RUNPOD_DC_ID")
    if isinstance(home, dict):
        home = home.get("id")
    if home and centers and home not in centers:
        raise RunPodError(
            f"runpod-data-centers: {', '.join(centers)}: volume {volume} is in {home}, and pods can"
            " only mount it there; leave the setting out"
        )
    return volume, [str(home)] if home else centers


def where(client: Client, gpu_types: list[str], min_cuda: str | None, count: int) -> list[str]:
    """A Markdown table of the data centers that have one of these GPUs, the best first, and what
    else a run needs there.

    Raises:
        ApiError: the API refuses.
    """
    kinds = [kind for kind in client.gpus(count, min_cuda=min_cuda) if kind["id"] in gpu_types]
    wanted = sorted(kinds, key=lambda kind: gpu_types.index(kind["id"]))
    rows = []
    for center in client.data_centers():
        in_stock = {
            place["id"]: str(place.get("availability") or NONE)
            for place in center.get("gpuAvailability") or []
        }
        found = []
        for kind in wanted:
            # The catalogue of types knows CUDA, and the one of data centers knows all places: both
            # must have it.
            at_all = stock(kind, [center["id"]]) if kind.get("dataCenters") is not None else None
            there = in_stock.get(kind["id"], NONE)
            if at_all != NONE and there != NONE:
                found.append(f"{kind['id']} ({there.lower()})")
        volumes = bool(center.get("networkVolumeTypes"))
        cpus = any(
            str(place.get("availability") or NONE) != NONE
            for place in center.get("cpuAvailability") or []
        )
        if found:
            rows.append((volumes and cpus, volumes, len(found), center["id"], cpus, found))
    rows.sort(key=lambda row: (not row[0], not row[1], -row[2], row[3]))
    yes = {True: "yes", False: "no"}
    lines = [
        "| data center | network volumes | CPU pods | GPU types in stock |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {yes[volumes]} | {yes[cpus]} | {', '.join(found)} |"
        for _, volumes, _, name, cpus, found in rows
    ]
    return lines if rows else []
