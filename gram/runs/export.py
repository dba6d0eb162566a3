"""``python -m gram.export``: a trained run made small enough for the repository: its averaged
weights, in half precision.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gram.runs import checkpoint, trained
from gram.runs.restore import trained_here
from gram.runs.trained import HISTORY, KEPT, META, RESUME, UNFINISHED, WEIGHTS
from gram.settings import RunSettings
from gram.settings.config import load_run
from gram.system import files
from gram.system.errors import GramError, Parser, run

WHICH = "ema"  # what is evaluated by default
# Weights and z_0 are neither huge nor tiny: the 10 bits of fp16's mantissa serve them better than
# the wide exponent of bf16.
DTYPE = torch.float16
MOST_BYTES = 25_000_000  # a git repository keeps every version for ever


def halved(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The tensors with all floating ones in half precision.

    Raises:
        GramError: a number that is not finite, or that half precision does not hold; names its
            tensor.
    """
    if name := checkpoint.not_finite(tensors):
        raise GramError(f"{path}: {name} holds NaN or infinite numbers; {checkpoint.TRAIN_AGAIN}")
    small = {
        name: tensor.to(DTYPE) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in small.items():
        if not torch.isfinite(tensor).all():
            found, most = tensors[name].abs().max(), torch.finfo(DTYPE).max
            raise GramError(
                f"{path}: {name} reaches {found:g}, and {DTYPE} holds no more than {most:g}: this"
                " run cannot be kept in half precision; keep its full weights outside of the"
                " repository"
            )
    return small


def export(run_folder: Path, output: Path) -> None:
    """Write config.json, history.jsonl, meta.json and the averaged weights of a run to ``output``.

    Raises:
        GramError: not a complete run as training left it, weights too large in number or in bytes,
            or an ``output`` in which a run was trained; nothing is written then.
    """
    full = run_folder / WEIGHTS
    found = checkpoint.read_weights(full, WHICH)
    settings, meta, md5_of_full = trained.read_trained(run_folder)
    trained.read_history(run_folder)
    if KEPT in meta:
        raise GramError(
            f"{run_folder}: a kept run already, without its full weights; give the run as it was"
            " trained"
        )
    _write(output, settings, full, found, meta, run_folder / HISTORY, md5_of_full)


def export_unfinished(run_folder: Path, output: Path) -> None:
    """The same of a run that is not at its last step, from its resume state: its ``meta.json`` then
    says at which step of how many, and so does whatever shows the run.

    Raises:
        GramError: no resume state, one without a step or of an older version, the state of a run
            with other settings than the config.json beside it, or as of :func:`export`.
    """
    path, config = run_folder / RESUME, run_folder / "config.json"
    if not path.exists():
        raise GramError(
            f"{path}: no such state: the run has saved none yet, or has come to its end; a finished"
            " run is kept without --unfinished"
        )
    tensors, facts = checkpoint.read_tensors(path)
    meta, step = facts.get("meta"), facts.get("step")
    if meta is None or not step:
        raise GramError(
            f"{path}: has taken no step, or is of an older version; let the training go on until it"
            " saves again"
        )
    settings = load_run(config)
    trained.check_settings(settings, config, meta, path)
    meta = meta | {UNFINISHED: {"step": step, "steps": settings.train.steps}}
    lines = "".join(json.dumps(line) + "\n" for line in facts["history"])
    _write(output, settings, path, checkpoint.under(WHICH, tensors), meta, lines, files.md5(path))


def _write(
    output: Path,
    settings: RunSettings,
    full: Path,
    found: dict[str, Tensor],
    meta: dict[str, Any],
    history: Path | str,
    md5_of_full: str,
) -> None:
    """Write a kept run.

    Args:
        output: its folder.
        settings: of the run.
        full: where its averaged weights, ``found``, stand in full precision.
        found: see there.
        meta: of the run.
        history: the file, or its text.
        md5_of_full: of ``full``.

    Raises:
        GramError: weights too large in number or in bytes, or an ``output`` in which a run was
            trained; nothing is written then.
    """
    tensors = halved(found, full)
    if trained_here(output) or (output / RESUME).exists():
        raise GramError(
            f"{output}: holds a run as it was trained, which its kept weights must not replace;"
            " give another folder"
        )
    size = sum(tensor.nbytes for tensor in tensors.values())
    if size > MOST_BYTES:
        raise GramError(
            f"{full}: its {WHICH} weights take {size / 1e6:.1f} MB in half precision, more than the"
            f" {MOST_BYTES / 1e6:g} MB that belong in a repository; publish them elsewhere"
        )
    kept = output / WEIGHTS
    checkpoint.write_tensors(kept, checkpoint.prefixed(WHICH, tensors))
    files.write_json(output / "config.json", settings.as_dict())  # with what was left out
    if isinstance(history, Path):
        files.copy(history, output / HISTORY)
    else:
        files.write_text(output / HISTORY, history)
    dtype = str(DTYPE).removeprefix("torch.")
    noted = {"which": WHICH, "dtype": dtype, "md5": files.md5(kept), "md5_of_full": md5_of_full}
    noted["history_md5"] = files.md5(output / HISTORY)
    files.write_json(output / META, meta | {KEPT: noted})


def main() -> None:
    """Copy a trained run with its averaged weights alone, in half precision: what a repository can
    hold.
    """
    parser = Parser(prog="python -m gram.export", description=main.__doc__)
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of the run, as training left it"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--unfinished",
        action="store_true",
        help="a run that is not at its last step, as its resume state has it; it is marked as such",
    )
    args = parser.parse_args()
    (export_unfinished if args.unfinished else export)(args.run, args.output)


if __name__ == "__main__":
    run(main)
