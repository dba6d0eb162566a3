"""Names that become parts of paths and of commands."""

from __future__ import annotations

import pytest

from gram.system.errors import GramError
from gram.system.names import LONGEST, check_name, is_experiment_name, is_name

GOOD = ["gram", "nqueens5", "nqueens8-cpu", "base-ds-sg", "beta-0.25", "A_b", "0", "a" * LONGEST]
# What a shell, a path, a regular expression or Snakemake would take for something else.
BAD = [
    "", ".", "..", "...", ".hidden", "a.", "a.b", "1..2", "nqueens6.bak", "../x", "a/b", "/", "~",
    "-a", "_a", "a b", " a", "a ",
    "a\n", "a\tb", "a\0b", "a`b`", "$(a)", "a$b", "a;b", "a&b", "a|b", "a>b", "a<b", "a*b", "a?b",
    "[a]", "{a}", "(a)", "'a'",
    '"a"', "a\\b", "a:b", "a,b", "a=b", "a%b", "a+b", "a@b", "a#b", "é", "日本", "１",
    "a" * (LONGEST + 1), None, 1, 1.5, True,
    ["a"], b"a",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_name(name: str) -> None:
    assert is_name(name) and check_name(name, "here") == name


@pytest.mark.parametrize("name", BAD, ids=repr)
def test_what_is_no_name_is_told_which_letters_one_may_have(name: object) -> None:
    assert not is_name(name) and not is_experiment_name(name)
    with pytest.raises(GramError, match=r"^here: .* is no name: a name has letters, digits"):
        check_name(name, "here")


def test_an_experiment_is_not_called_as_a_fold_or_a_copy() -> None:
    assert is_experiment_name("nqueens5-gaps")
    assert not is_experiment_name("nqueens5-fold1") and not is_experiment_name("nqueens5-0.5")
