"""Seeds derived from one seed for named purposes."""

from __future__ import annotations

import hashlib


def child_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one named purpose, independent of every other name (never seed + 1)."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
