"""Files changed on purpose, and noted anew, so that only what a test is about differs."""

from __future__ import annotations

from pathlib import Path

from gram.runs.trained import FILES_MD5, KEPT
from gram.system import files


def note_anew(folder: Path) -> None:
    """Write the MD5s of a run's changed files into its meta.json, as if training had left them
    so.
    """
    meta = files.read_json(folder / "meta.json")
    if KEPT in meta:
        meta[KEPT] |= {"md5": files.md5(folder / "weights.safetensors")}
        meta[KEPT] |= {"history_md5": files.md5(folder / "history.jsonl")}
    meta[FILES_MD5] = {name: files.md5(folder / name) for name in meta[FILES_MD5]}
    files.write_json(folder / "meta.json", meta)
