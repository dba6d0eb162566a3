"""A toy family, whose rows stand in a file: to four bits, the answer is their complement."""

from __future__ import annotations

from dataclasses import dataclass

from gram.settings.field import setting
from gram.settings.tasks.family import Family, Source


@dataclass(frozen=True)
class ToyGenerator:
    """Which rows of the file are taken."""

    rows: int = setting(16, "how many rows, from the first", least=2, most=1000)


FAMILY = Family(
    ToyGenerator,
    judge="validity",
    figures=("training", "elbo", "letters"),
    sources=(
        Source(
            file="toy.csv",
            url="http://127.0.0.1:8000/toy.csv",
            sha256="05efac1e5aa044e30e90f665eb5df60a3ac139a18ae457c672c016303779b72f",
            bytes=80,
            licence="CC0-1.0",
        ),
    ),
)
