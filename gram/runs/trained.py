"""A trained run in its folder: whether settings, weights and history are those of its
``meta.json``.

A folder can hold files of several runs: a training that was stopped, or copied by hand, leaves the
weights of one beside the settings of another. What no digest ties together is not shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gram.settings import RunSettings
from gram.settings.config import first_difference, load_run
from gram.system import files, shapes
from gram.system.errors import GramError, short

KEPT = "kept_weights"  # what gram.export adds to meta.json: which weights, in which dtype, and MD5s
FILES_MD5 = "files_md5"  # the key of meta.json with the MD5 of weights and history
UNFINISHED = "unfinished"  # the key of meta.json of a run that was kept before its last step
WEIGHTS, HISTORY, META = "weights.safetensors", "history.jsonl", "meta.json"
RESUME = "resume.safetensors"  # while a run is unfinished


class Trained(NamedTuple):
    """A run whose files belong together.

    Attributes:
        settings: from config.json.
        meta: what training wrote beside the weights.
        weights_md5: of weights.safetensors.
    """

    settings: RunSettings
    meta: dict[str, Any]
    weights_md5: str


def how_far(unfinished: dict[str, int]) -> str:
    """How far an unfinished run has come: ``10,674 of 14,000 steps``.

    Args:
        unfinished: what its ``meta.json``, and every evaluation of it, says under
            :data:`UNFINISHED`.
    """
    return f"{unfinished['step']:,} of {unfinished['steps']:,} steps"


def told_apart(runs: Sequence[dict[str, Any]]) -> str:
    """How far each of several runs has come, by the facts of their evaluations."""
    return "; ".join(
        f"{run['task']} {run['method']} seed {run['seed']}: "
        + (how_far(run[UNFINISHED]) if UNFINISHED in run else "finished")
        for run in runs
    )


def md5_of(meta: dict[str, Any], name: str) -> str | None:
    """The MD5 that a file beside ``meta.json`` should have; None where an older version did not
    note it.

    Args:
        meta: content of ``meta.json``.
        name: :data:`WEIGHTS` or :data:`HISTORY`.
    """
    if KEPT in meta:
        kept: str | None = meta[KEPT].get("md5" if name == WEIGHTS else "history_md5")
        return kept
    noted: str | None = meta.get(FILES_MD5, {}).get(name)
    return noted


def check_file(folder: Path, meta: dict[str, Any], name: str) -> str:
    """The MD5 of one file of a run, which is the one that its ``meta.json`` notes, if it does.

    Raises:
        GramError: no such file, or another one than training left there.
    """
    path, noted = folder / name, md5_of(meta, name)
    found = files.md5(path)
    if noted not in (None, found):
        fix = (
            "restore both with git"
            if KEPT in meta
            else "damaged, or of another run; delete it and train the run again"
        )
        raise GramError(f"{path}: MD5 {found}, but its {META} says {noted}; {fix}")
    return found


def check_settings(asked: RunSettings, config: Path, meta: dict[str, Any], meta_path: Path) -> None:
    """Whether a run was trained with the settings under which it is shown; those of its execution
    do not count.

    Args:
        asked: the settings.
        config: where these stand, for the message.
        meta: content of ``meta.json``; a key that came after it was written has its default.
        meta_path: where that stands.

    Raises:
        GramError: names the first key in which they differ.
    """
    trained = RunSettings.of(meta["settings"], f"{meta_path}: settings")
    noted = {key: meta[key] for key in ("task", "method", "seed")}
    for said, where in ((noted, str(meta_path)), (trained.without_execution(), META)):
        wanted = {key: value for key, value in asked.without_execution().items() if key in said}
        if difference := first_difference(wanted, said):
            key, now, then = difference
            raise GramError(
                f"{config}: {key}: {short(now)}, but it was trained with {short(then)} ({where}): "
                "give the run as it was trained, or delete its weights and train it again"
            )


def read_trained(folder: Path) -> Trained:
    """The run in a folder: config.json, meta.json and weights.safetensors, of one and the same
    training.

    Raises:
        GramError: a missing or damaged file, or files of different runs.
    """
    config, meta_path = folder / "config.json", folder / META
    settings, meta = load_run(config), shapes.read_meta(meta_path)
    check_settings(settings, config, meta, meta_path)
    return Trained(settings, meta, check_file(folder, meta, WEIGHTS))


def read_history(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """``meta.json`` of a run, and the lines of the history that belongs to it.

    Raises:
        GramError: a missing or damaged file, or the history of another run.
    """
    meta = shapes.read_meta(folder / META)
    lines = shapes.read_history(folder / HISTORY)
    check_file(folder, meta, HISTORY)
    return meta, lines
