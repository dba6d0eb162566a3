"""What a machine may lack, memory or a compiler, told in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from gram.system.errors import GramError

# What torch says on the CPU, where running out of memory has no exception class of its own, and
# what cuBLAS says.
OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")


@contextmanager
def explained(where: str, fix: Callable[[], str]) -> Iterator[None]:
    """Turn what torch raises when memory runs out, or when torch.compile fails, into one line.

    Args:
        where: what was being done.
        fix: tells how it can be done with less memory.

    Raises:
        GramError: names ``where`` and the fix.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
            sign in str(error) for sign in OUT_OF_MEMORY
        ):
            raise GramError(f"{where}: out of memory; {fix()}") from error
        from torch._dynamo.exc import (
            TorchDynamoException,
        )  # here, because this import takes seconds

        if isinstance(error, TorchDynamoException):
            cause = str(error).strip().partition("\n")[0]
            advice = "install a C++ compiler (on a GPU also Triton), or set train: compile: none"
            raise GramError(f"{where}: torch.compile failed: {cause}; {advice}") from error
        raise


def micro_batch_fix(rows: int) -> str:
    """What to change when a step on micro-batches of ``rows`` rows needs too much memory."""
    if rows == 1:
        return "train: micro_batch is 1 already: use a device with more memory, or a smaller model"
    return f"set train: micro_batch: {rows // 2} (now {rows}) and run the same command again"
