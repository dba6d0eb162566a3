"""Variants of a training step by name, such as ``bf16-graphs-micro64``, and the memory that each
needs.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from gram.bench.names import COMPILE, EXPECTED, NAME
from gram.bench.timing import WARM_UP
from gram.settings import RunSettings, TrainConfig
from gram.settings.parsing import parse
from gram.system.errors import GramError
from gram.system.provenance import peak_memory_bytes
from gram.train.duration import timed
from gram.train.trainer import Trainer


def variant_settings(name: str, settings: RunSettings) -> RunSettings:
    """The settings of a run with the precision, compilation and micro-batches of a variant,
    whatever they were.

    Raises:
        GramError: not the name of a variant.
    """
    match = NAME.fullmatch(name)
    if match is None:
        raise GramError(f"--variants {name}: expected {EXPECTED}")
    rows = int(match["rows"]) if match["rows"] else None
    return with_train(
        settings, precision=match["precision"], compile=COMPILE[match["compile"]], micro_batch=rows
    )


def with_train(settings: RunSettings, **values: Any) -> RunSettings:
    """The settings with other values in the section train, checked like those of a file."""
    train = parse(TrainConfig, dataclasses.asdict(settings.train) | values, "bench: train")
    return dataclasses.replace(settings, train=train)


def build(settings: RunSettings, data: Path, device: torch.device) -> Trainer:
    """A trainer that never writes."""
    return Trainer(settings, data, Path("bench"), device)


def own_peak_memory(settings: RunSettings, data: Path, device: torch.device) -> int:
    """Bytes that this process needed at most, once it has trained a few steps; see
    :func:`peak_memory_bytes`.
    """
    timed(build(settings, data, device).train_step, WARM_UP, device)
    return peak_memory_bytes(device)


def peak_memory(name: str, config: Path, data: Path, device: torch.device) -> int:
    """:func:`own_peak_memory` of a variant in a process of its own, because a process's peak never
    falls.

    Call it while this process is still small: on Linux a child's peak starts at what its parent
    holds.

    Raises:
        GramError: the process failed; with the last line of its message.
    """
    command = [
        sys.executable,
        "-m",
        "gram.bench",
        "memory",
        "--config",
        config,
        "--data",
        data,
        "--variant",
        name,
    ]
    done = subprocess.run(
        [*map(str, command), "--device", str(device)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise GramError(
            f"{name}:"
            f" {(done.stderr.strip().splitlines() or ['no message'])[-1].removeprefix('error: ')}"
        )
    return int(json.loads(done.stdout.splitlines()[-1]))
