"""Checkpoints and resume states: safetensors and JSON only, so that loading one executes no
code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gram.system import files, regular
from gram.system.errors import GramError

TRAIN_AGAIN = "delete it and train again"
# What weights may be stored as; those of a kept run are in half precision.
FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def tensors_digest(tensors: dict[str, Tensor], facts: dict[str, Any]) -> str:
    """SHA-256 of tensors, on the CPU and contiguous, and of the facts beside them, in hex
    digits.
    """
    digest = hashlib.sha256(files.content_digest(facts).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def write_tensors(
    path: Path, tensors: dict[str, Tensor], meta: dict[str, Any] | None = None
) -> None:
    """Write tensors, atomically, with an optional JSON header, which then holds a digest of both.

    Raises:
        GramError: the file cannot be written; what was there before is intact.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = None
    if meta is not None:
        facts = json.loads(json.dumps(meta))
        header = {"json": json.dumps(facts | {files.SEAL: tensors_digest(plain, facts)})}
    content = save(plain, metadata=header)
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(content)


def read_tensors(path: Path, fix: str = TRAIN_AGAIN) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors on the CPU and the JSON header ({} without one), without its digest.

    Args:
        path: the file.
        fix: what to do if it is broken.

    Raises:
        GramError: missing or broken file, or one whose digest is of another content.
    """
    try:
        # By its descriptor: the library refuses names that are no UTF-8, and opens what is checked.
        with (
            regular.reading(path) as file,
            safe_open(f"/dev/fd/{file.fileno()}", framework="pt") as handle,
        ):
            header = json.loads((handle.metadata() or {}).get("json", "{}"))
            # Cloned, because a tensor that views the file is not aligned, and kernels round
            # unaligned memory differently: a resumed training would drift from an uninterrupted
            # one.
            tensors = {name: handle.get_tensor(name).clone() for name in handle.keys()}  # noqa: SIM118
        if not isinstance(header, dict):
            raise ValueError("its header is no JSON object")
        seal = header.pop(files.SEAL, None)
        if seal is not None and seal != tensors_digest(tensors, header):
            raise ValueError(f"damaged: its {files.SEAL} is of another content")
    except FileNotFoundError as error:
        raise GramError(f"{path}: no such checkpoint; train it with `snakemake {path}`") from error
    except GramError:
        raise
    except Exception as error:  # safetensors and torch raise many kinds for damaged files
        cause = str(error).partition("\n")[0][:200]
        raise GramError(f"{path}: not a readable safetensors file ({cause}); {fix}") from error
    return tensors, header


def not_finite(tensors: dict[str, Tensor]) -> str:
    """The name of the first tensor that holds NaN or an infinity; empty without one."""
    floating = ((name, one) for name, one in tensors.items() if one.is_floating_point())
    return next((name for name, one in floating if not torch.isfinite(one).all()), "")


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
    """The ``ema`` or ``raw`` weights of ``path``, by the model's own names; a kept run has them in
    half precision.

    Raises:
        GramError: missing or broken file, or one without these weights.
    """
    tensors, _ = read_tensors(path)
    chosen = under(which, tensors)
    if not chosen:
        kept = ", ".join(other for other in ("ema", "raw") if under(other, tensors)) or "none"
        raise GramError(
            f"{path}: holds no {which} weights (kept: {kept}); set evaluate: weights: to what it"
            " holds, or train the run anew"
        )
    return chosen


def load_weights(path: Path, model: nn.Module, which: str) -> None:
    """Load the ``ema`` or ``raw`` weights of ``path`` into ``model``, strictly, in the precision of
    ``model``.

    Raises:
        GramError: missing or broken file, or weights of another architecture.
    """
    load_strictly(model, read_weights(path, which), path)


# What version 0.1 called the parts that have another name now: the end of a name here, and there.
FORMER = (
    ("front.", ("",)),
    ("back.head.", ("decoder.", "head.")),
    (".mixer.", (".attention.",)),
)


def with_names_of(own: Iterable[str], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that a model has, where they have those of :data:`FORMER`."""
    found = dict(tensors)
    for name in own:
        if name in tensors:
            continue
        former = [name]
        for here, there in FORMER:
            former = [one.replace(here, other) for one in former for other in there]
        before = next((one for one in former if one in found), None)
        if before is not None:
            found[name] = found.pop(before)
    return found


def load_strictly(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load ``tensors`` into ``model``; every name, shape and kind of number must agree, and all be
    finite. Names that a part had before are understood.

    Raises:
        GramError: names the first tensor that differs, or that holds NaN or an infinity.
    """
    own = model.state_dict()
    tensors = with_names_of(own, tensors)
    for name in sorted(own.keys() | tensors.keys()):
        here = tuple(own[name].shape) if name in own else "absent"
        there = tuple(tensors[name].shape) if name in tensors else "absent"
        if here != there:
            raise GramError(
                f"{path}: weights of another architecture: {name} is {there} in the file and {here}"
                " in the model; use the config.json that lies beside the weights"
            )
    for name, tensor in tensors.items():
        same = (
            tensor.dtype in FLOATING
            if own[name].is_floating_point()
            else tensor.dtype == own[name].dtype
        )
        if not same:
            raise GramError(
                f"{path}: {name} is of type {tensor.dtype} in the file and {own[name].dtype} in the"
                f" model: these are no weights of this project; {TRAIN_AGAIN}"
            )
    if name := not_finite(tensors):
        raise GramError(f"{path}: {name} holds NaN or infinite numbers; {TRAIN_AGAIN}")
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
