"""How variants of a training step are called."""

from __future__ import annotations

import re

NAME = re.compile(
    r"(?P<precision>fp32|bf16)(?P<compile>-compiled|-graphs)?(-micro(?P<rows>[1-9][0-9]*))?"
)
COMPILE = {None: "none", "-compiled": "default", "-graphs": "graphs"}
EXPECTED = (
    "fp32 or bf16, then -compiled or -graphs, then -micro64 for micro-batches of 64 rows; the last"
    " two are optional"
)
