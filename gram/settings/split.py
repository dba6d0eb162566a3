"""The section ``split``."""

from __future__ import annotations

from dataclasses import dataclass

from gram.settings.field import setting


@dataclass(frozen=True)
class SplitConfig:
    """How the unique inputs of a task are split into train, valid and test."""

    test_fraction: float = setting(
        0.15,
        "share of the unique inputs in the test split; unused with folds, or where the generator"
        " counts test inputs (B.2: 85:15)",
        least=0,
        below=1,
    )
    folds: int = setting(
        1,
        "with k > 1 the task becomes k tasks {task}-fold0.., each testing 1/k of the inputs; their"
        " evaluations are pooled",
        least=1,
        most=1000,
    )
    valid_fraction: float = setting(
        0.05,
        "share of the remaining inputs that is kept out of training to watch the run",
        gap=(
            "The paper names no validation split. One is taken from the training inputs so that the"
            " test split is never looked at before the final evaluation."
        ),
        least=0,
        below=1,
    )
    stratify: bool = setting(
        False,
        "split within groups of equal number of given cells",
        gap=(
            "The paper says only 85:15 by unique input; small boards are stratified, because a fold"
            " could otherwise hold nearly all inputs with several completions."
        ),
    )
