"""Checkpoints and resume states: safetensors and JSON only, so that loading one executes no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gram import files
from gram.errors import GramError


def write_tensors(
    path: Path, tensors: dict[str, Tensor], meta: dict[str, Any] | None = None
) -> None:
    """Write tensors with an optional JSON header, atomically.

    Raises:
        GramError: the file cannot be written; what was there before is intact.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"json": json.dumps(meta)} if meta is not None else None
    content = save(plain, metadata=header)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU and the JSON header ({} without one).

    Raises:
        GramError: missing or broken file.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            header = (handle.metadata() or {}).get("json", "{}")
            # Cloned, because a tensor that views the file is not aligned, and kernels round unaligned memory differently:
            # a resumed training would drift from an uninterrupted one.
            tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
            return tensors, json.loads(header)
    except FileNotFoundError as error:
        raise GramError(f"{path}: no such checkpoint; train it with `snakemake {path}`") from error
    except (SafetensorError, ValueError, OSError) as error:
        raise GramError(
            f"{path}: not a readable safetensors file ({error}); delete it and train again"
        ) from error


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under ``prefix/name``."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name starts with ``prefix/``, without it."""
    return {
        name.removeprefix(f"{prefix}/"): t
        for name, t in tensors.items()
        if name.startswith(f"{prefix}/")
    }


def save_weights(path: Path, *, ema: nn.Module, raw: nn.Module) -> None:
    """Write both sets of weights, with z_0."""
    write_tensors(path, prefixed("ema", ema.state_dict()) | prefixed("raw", raw.state_dict()))


def read_weights(path: Path, which: str) -> dict[str, Tensor]:
    """The ``ema`` or ``raw`` weights of ``path``, by the model's own names; a kept run has them in half precision.

    Raises:
        GramError: missing or broken file, or one without these weights.
    """
    tensors, _ = read_tensors(path)
    chosen = under(which, tensors)
    if not chosen:
        kept = ", ".join(other for other in ("ema", "raw") if under(other, tensors)) or "none"
        raise GramError(
            f"{path}: holds no {which} weights (kept: {kept}); set evaluate: weights: to what it holds, or train the run anew"
        )
    return chosen


def load_weights(path: Path, model: nn.Module, which: str) -> None:
    """Load the ``ema`` or ``raw`` weights of ``path`` into ``model``, strictly, in the precision of ``model``.

    Raises:
        GramError: missing or broken file, or weights of another architecture.
    """
    load_strictly(model, read_weights(path, which), path)


def load_strictly(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load ``tensors`` into ``model``; every name and shape must agree.

    Raises:
        GramError: names the first tensor that differs.
    """
    own = model.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        here = tuple(own[name].shape) if name in own else "absent"
        there = tuple(tensors[name].shape) if name in tensors else "absent"
        if here != there:
            raise GramError(
                f"{path}: weights of another architecture: {name} is {there} in the file and {here} in the model; "
                "use the config.json that lies beside the weights"
            )
    model.load_state_dict(tensors)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors; its settings come from the run's settings instead."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{key}": value for index, entry in state.items() for key, value in entry.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
