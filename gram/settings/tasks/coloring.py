"""Graph colouring: its section ``generator``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gram.settings.field import setting
from gram.settings.limits import ROWS, SEED
from gram.settings.tasks.family import Family


@dataclass(frozen=True)
class ColoringGenerator:
    """Which graphs are drawn, and how many."""

    train: int = setting(
        7002,
        "how many graphs are not tested: the training split and the validation split together",
        least=1,
        most=ROWS,
    )
    test: int = setting(255, "how many graphs are in the test split", least=1, most=ROWS)
    edge_probability: float = setting(
        0.57,
        "probability of each edge, independently of the others (Erdős-Rényi)",
        gap=(
            "The paper does not give it. Around 0.57 for 8 vertices and 0.42 for 10 both the"
            " deterministic models' coverage and GRAM's, read as the ceiling of 20 samples, are"
            " what the paper reports. Few hundred test graphs leave both uncertain: the ceiling of"
            " such a test set varies by four to six points."
        ),
        least=0,
        most=1,
    )
    colours: int = setting(
        3, "how many colours there are; graphs that need more are left out", least=1, most=12
    )
    counted: Literal["graphs", "pairs"] = setting(
        "graphs",
        "what train and test count: graphs, or (graph, colouring) pairs",
        gap=(
            "The paper says graphs. Should it have counted rows of a table, one per colouring, its"
            " data set had far fewer graphs: pairs builds that one, filling each split with whole"
            " graphs."
        ),
    )
    seed: int = setting(
        0, "of the graphs; runs of every seed train on the same ones", least=0, most=SEED
    )


FAMILY = Family(ColoringGenerator)
