"""The API key: read from a private file or the environment, and shown nowhere."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, NoReturn

from snakemake_executor_plugin_runpod.errors import RunPodError

VARIABLE = "RUNPOD_API_KEY"
HIDDEN = "<RunPod API key>"


class ApiKey:
    """A key that neither ``repr``, ``str`` nor pickle gives away.

    Args:
        value: the key.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not written to files")

    def header(self) -> str:
        """The value of the Authorization header. For the one place that sends it."""
        return f"Bearer {self._value}"

    def scrub(self, text: str) -> str:
        """``text`` without the key."""
        return text.replace(self._value, HIDDEN)

    def within(self, values: Any) -> bool:
        """Whether the key stands anywhere in ``values``, as they would be printed."""
        return self._value in str(values)


def load_key(path: Path | None, environment: MutableMapping[str, str] = os.environ) -> ApiKey:
    """The key from ``path``, or without one from RUNPOD_API_KEY, which is then taken out of the
    environment.

    Taken out, so that the jobs which run on this machine do not inherit it.

    Raises:
        RunPodError: there is no key, others may read the file, or the content cannot be a key.
    """
    if path is None:
        where, text = VARIABLE, environment.pop(VARIABLE, "")
        if not text:
            raise RunPodError(
                f"no API key: set {VARIABLE}, or name a file of mode 0600 with runpod-key-file"
            )
    else:
        where = str(path)
        try:
            mode = path.stat().st_mode
            text = path.read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise RunPodError(f"{where}: cannot read the API key: {type(error).__name__}") from None
        if stat.S_IMODE(mode) & 0o077:
            raise RunPodError(f"{where}: others can read the API key; run: chmod 600 {where}")
    text = text.strip()
    # A line break or the like would come back in the error message of the HTTP library.
    if not re.fullmatch(r"[!-~]{8,}", text):
        raise RunPodError(
            f"{where}: this is no API key: it must be one word of at least 8 printable ASCII"
            " characters"
        )
    return ApiKey(text)
