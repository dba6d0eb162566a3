"""The processes of one training: ``torchrun --nproc-per-node N -m gram.train ...`` splits the rows
of the carry between them.

Every process holds all weights and makes all draws; the processes meet in sums of gradients. On
GPUs these run over NCCL, and what concerns the host (signals, who has failed) over gloo, so that no
process waits inside a GPU kernel for one that is gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from gram.settings.agreement import check_rows
from gram.system.errors import GramError
from gram.system.provenance import choose_device

PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
# How long a process waits for the others. The first one also rolls out and saves meanwhile, which
# is why this is long; why it waits is told much earlier.
PATIENCE = timedelta(minutes=30)
SAYS_AFTER = 60.0  # seconds


class PeerLost(GramError):
    """Another process of the run has ended, or does not answer."""


class Waiting:
    """Says on standard error once a process has waited long for the others; a thread of its own.

    Args:
        rank: of this process.
    """

    def __init__(self, rank: int) -> None:
        self.since: float | None = None  # time.monotonic() while this process waits
        self.rank = rank
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        said: float | None = None
        while True:
            time.sleep(SAYS_AFTER / 4)
            since = self.since
            if since is not None and since != said and time.monotonic() - since > SAYS_AFTER:
                said = since
                print(
                    f"process {self.rank} waits for another process of this run, for more than "
                    f"{SAYS_AFTER:.0f} seconds now; after {PATIENCE} it gives up",
                    file=sys.stderr,
                    flush=True,
                )


class Processes:
    """This process among those of its run; alone unless :func:`join` says otherwise, and then
    nothing here has an effect.

    Attributes:
        rank: the number of this process, from 0.
        count: how many there are.

    Args:
        asks_first: whether no other process of the run has called it before.
    """

    def __init__(
        self, rank: int = 0, count: int = 1, asks_first: Callable[[], bool] = lambda: True
    ) -> None:
        self.rank, self.count, self._asks_first = rank, count, asks_first
        self._waiting = Waiting(rank) if dist.is_initialized() else None

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The rows of the carry that this process owns.

        Raises:
            GramError: the rows cannot be split evenly.
        """
        check_rows(batch_size, self.count)
        share = batch_size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def all_reduce_max(self, value: int) -> int:
        """The largest of all processes' values, told on the host.

        Raises:
            PeerLost: a process has ended.
        """
        if self.count == 1:
            return value
        values = torch.tensor([value])
        self._meet(dist.all_reduce, values, dist.ReduceOp.MAX)
        return int(values)

    def wait(self) -> None:
        """Return once all processes have come here.

        Raises:
            PeerLost: a process has ended.
        """
        self.all_reduce_max(0)

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place, with one transfer in fp32.

        Raises:
            PeerLost: a process has ended.
        """
        if self.count == 1:
            return
        self.wait()  # so that a lost process is noticed on the host
        flat = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
        self._meet(dist.all_reduce, flat)
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def all_gather(self, tensor: Tensor) -> Tensor:
        """The rows of all processes, in order: [b, ...] -> [B, ...].

        Raises:
            PeerLost: a process has ended.
        """
        if self.count == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        self._meet(dist.all_gather, parts, tensor.contiguous())
        return torch.cat(parts)

    def _meet(self, collective: Callable[..., Any], *arguments: Any) -> None:
        waiting = self._waiting
        if waiting:
            waiting.since = time.monotonic()
        try:
            collective(*arguments)
        except RuntimeError as error:
            if waiting and waiting.since and time.monotonic() - waiting.since > patience():
                raise PeerLost(
                    f"another process of this run has not answered for {PATIENCE}: it hangs, or its"
                    " machine does; end it, then run the same command again"
                ) from error
            raise PeerLost(
                "another process of this run has ended without a message; run the same command"
                " again"
            ) from error
        finally:
            if waiting:
                waiting.since = None

    def prints_error(self, error: BaseException) -> bool:
        """Whether this process is the one to print ``error``: the first that asks. The others end
        silently.
        """
        try:
            return self._asks_first()
        except RuntimeError:  # the store ended with the process that kept it
            return not isinstance(error, PeerLost)

    def device(self, name: str) -> torch.device:
        """The device called ``name``; with several processes a GPU for each.

        Raises:
            GramError: no such device, or one GPU for several processes.
        """
        device = choose_device(name, tried=self.count == 1)
        if self.count == 1 or device.type == "cpu":
            return device
        if ":" in name:
            raise GramError(
                f"--device {name}: each of the {self.count} processes takes its own GPU; use"
                " --device cuda"
            )
        device = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
        return device

    def leave(self) -> None:
        """Part from the others, after the last meeting."""
        if self.count > 1:
            dist.destroy_process_group()


def patience() -> float:
    """Seconds after which a meeting has failed because somebody did not come; a little less than
    :data:`PATIENCE`.
    """
    return 0.95 * PATIENCE.total_seconds()


def join() -> Processes:
    """Meet the other processes, if ``torchrun`` started this one.

    Raises:
        PeerLost: they did not come.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    if sys.platform == "linux":
        # torchrun gives its processes sessions of their own; without this they would go on when it
        # is killed itself.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        store, rank, count = next(rendezvous("env://"))  # which waits for 30 minutes
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:  # torch's DistError is a RuntimeError
        cause = str(error).strip().partition("\n")[0]
        raise PeerLost(
            f"the processes of this run have not met ({cause}); start all of them with one"
            " torchrun, where each reaches the others' machine"
        ) from error
    return Processes(rank, count, lambda: store.add("gram/errors", 1) == 1)
