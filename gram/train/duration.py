"""How long a training will take on this machine, told before its first step by trying a few rows.

FLOPs over a rate would know neither a processor without bf16 nor the overhead of small networks. So
forward and backward pass are timed as they will run, on one row and, only if that many rows might
take too long, on more. On a CPU one thread's processor time counts, divided by the number of
threads: what other programs take is not the training's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from gram.system.errors import GramError
from gram.system.provenance import seeded_generator
from gram.train.objectives import supervise
from gram.train.trainer import Trainer

DAY = 86400.0  # seconds
ENOUGH = 0.3  # seconds of a pass from which that of all rows is told well enough


def drain(device: torch.device) -> None:
    """Wait until the device has done all it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], Any], times: int, device: torch.device) -> float:
    """Seconds per call of ``work``, with the device's queue empty before and after."""
    drain(device)
    start = time.perf_counter()
    for _ in range(times):
        work()
    drain(device)
    return (time.perf_counter() - start) / times


def pass_seconds(trainer: Trainer, rows: int) -> float:
    """Seconds of a supervision step, forward and backward, on the first ``rows`` rows of the carry.

    It changes nothing of the run but gradients, which every step sets to zero first.
    """
    stream, config, device = trainer.stream, trainer.config, trainer.device
    some = stream.taken(None).part(slice(rows))
    generator = seeded_generator(device, 0, "duration")
    some = some._replace(noise=trainer.model.training_noise(len(some.last), generator))
    if some.rolled is not None:
        noise = trainer.model.draw_noise(len(some.last), generator)
        some = some._replace(rolled=some.rolled._replace(noise=noise))

    def once() -> None:
        with trainer.precision():
            done = supervise(trainer.model, config, trainer.step, some)
        losses = [weight * done.terms[name].mean() for name, weight in done.weights.items()]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]

    # The network as it is: compiling it takes longer than this may.
    eager = torch.compiler.set_stance("force_eager") if config.compile != "none" else nullcontext()
    with eager:
        if device.type == "cuda":
            once()
            return timed(once, 1, device)
        return processor_seconds(once) / config.threads


def processor_seconds(work: Callable[[], Any]) -> float:
    """Processor time of a call of ``work`` in one thread.

    Of a second call, if the first, which also prepares what libraries need, was short.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(2):
            start = time.thread_time()
            work()
            seconds = time.thread_time() - start
            if seconds > ENOUGH:
                break
        return seconds
    finally:
        torch.set_num_threads(threads)


def seconds_left(trainer: Trainer, limit: float) -> float:
    """Seconds that the remaining steps will take, exact enough to compare them with ``limit``.

    The evaluations on the way, and the optimizer, are not counted. A row takes longer alone than
    among many, so what one row says is the most; while that is above ``limit``, four times as many
    rows are tried.
    """
    passes = (trainer.config.steps - trainer.step) * trainer.supervision_steps
    rows, own = 1, trainer.rows.stop - trainer.rows.start
    while True:
        seconds = pass_seconds(trainer, rows)
        left = passes * own / rows * seconds
        if left < limit or seconds > ENOUGH or rows == trainer.micro_batch:
            return left
        rows = min(4 * rows, trainer.micro_batch)


def in_words(seconds: float) -> str:
    """A time of days: ``46 days``, ``1.3 days``."""
    days = seconds / DAY
    return f"{days:.0f} days" if days >= 10 else f"{days:.1f} days"


def refuse_long(trainer: Trainer, limit: float = DAY) -> None:
    """Stop a training that would take longer than ``limit`` seconds.

    Raises:
        GramError: says how long it would take.
    """
    left = seconds_left(trainer, limit)
    if left < limit:
        return
    steps = trainer.config.steps - trainer.step
    kind = "GPU" if trainer.device.type == "cuda" else "CPU"
    elsewhere = "; config/single_gpu.yaml is for GPUs" if kind == "CPU" else ""
    raise GramError(
        f"{trainer.output}: about {in_words(left)} on this {kind} for {steps} steps of "
        f"{left / steps:.3g} seconds{elsewhere}; to train all the same, give --long-trainings "
        "allow (long_trainings: allow in the configuration)"
    )
