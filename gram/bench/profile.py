"""What a training step launches: kernels on a GPU, operations on a CPU, by torch's own profiler."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from gram.bench.timing import WARM_UP
from gram.train.duration import drain, timed
from gram.train.trainer import Trainer

TOP = 20  # kernels that are listed
STEPS = 2  # that are profiled


def profiled(trainer: Trainer, device: torch.device) -> dict[str, Any]:
    """Kernels of a training step, those with most time first.

    On a CPU the operations that call no other stand for kernels. Profiling slows a step, so that
    these times are to be compared with each other only.

    Returns:
        launches_per_step, bytes_allocated_per_step (what operations asked of the device's memory,
        a temporary result each time), seconds_per_step, and kernels: name, launches_per_step,
        seconds_per_step and share, of the first :data:`TOP`.
    """
    timed(trainer.train_step, WARM_UP, device)
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if cuda else [])
    with profile(activities=activities, profile_memory=True) as found:
        for _ in range(STEPS):
            trainer.train_step()
        drain(device)
    seconds: dict[str, float] = {}
    launches: dict[str, int] = {}
    allocated = 0
    for event in found.events() or []:
        own = event.self_device_memory_usage if cuda else event.self_cpu_memory_usage
        allocated += max(own, 0)
        if cuda:
            kernel = event.device_type == DeviceType.CUDA and not event.is_user_annotation
            spent = event.self_device_time_total
        else:
            # "[memory]" notes an allocation outside of any operation.
            kernel = not event.cpu_children and not event.name.startswith("[")
            spent = event.self_cpu_time_total
        if kernel:
            seconds[event.name] = seconds.get(event.name, 0.0) + spent / 1e6
            launches[event.name] = launches.get(event.name, 0) + 1
    total = sum(seconds.values())
    return {
        "launches_per_step": sum(launches.values()) / STEPS,
        "bytes_allocated_per_step": allocated / STEPS,
        "seconds_per_step": total / STEPS,
        "kernels": [
            {
                "name": name,
                "launches_per_step": launches[name] / STEPS,
                "seconds_per_step": seconds[name] / STEPS,
                "share": seconds[name] / total,
            }
            for name in sorted(seconds, key=lambda name: -seconds[name])[:TOP]
        ],
    }
