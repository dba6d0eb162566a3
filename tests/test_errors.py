"""The words that messages share: values that are cut, names that were probably meant; and the list
of steps.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gram.__main__ import steps
from gram.system.errors import LISTED, SHOWN, WORD, Parser, in_one_line, short, suggestion

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("value", ["a" * SHOWN, list(range(1000)), {"key": "value" * 100}])
def test_a_long_value_keeps_its_beginning_and_its_end(value: object) -> None:
    text = short(value)
    assert len(text) <= SHOWN and " ... " in text
    start, end = text.split(" ... ")
    assert repr(value).startswith(start) and repr(value).endswith(end)


def test_a_message_has_one_line_that_can_be_read() -> None:
    long = "results/" + "9" * 5000
    text = in_one_line(f"{long}: cannot\n be written\n({long})")
    assert text.startswith("results/99") and " ... " in text
    assert "cannot be written (results/99" in text and len(text) < 3 * WORD
    assert in_one_line("  a\n b ") == "a b"


def test_a_wrong_argument_is_shown_as_far_as_a_line_can_hold_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = Parser(prog="python -m gram.x")
    commands = parser.add_subparsers()
    commands.add_parser("deeper").add_argument("--width", type=int)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["deeper", "--width", "9" * 5000])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "argument --width: invalid int value: '99" in last and len(last) < 2 * WORD


@pytest.mark.parametrize("value", ["steps", 3, None, [1, 2], "a" * (SHOWN - 2)])
def test_a_short_value_stays_whole(value: object) -> None:
    assert short(value) == repr(value)


@pytest.mark.parametrize(
    ("wrong", "known", "expected"),
    [
        ("stepz", ["steps", "beta"], "did you mean 'steps'?"),
        ("STEPS", ["steps", "beta"], "did you mean 'steps'?"),
        ("nsup", ["N_sup", "beta"], "did you mean 'N_sup'?"),
        ("beta3", ["beta1", "beta2"], "did you mean 'beta2' or 'beta1'?"),
        (1, ["steps", "beta"], "known keys: steps, beta"),
        ("optimiser", ["steps", "beta"], "known keys: steps, beta"),
        ("a", [], "known keys: none"),
    ],
)
def test_what_was_meant_or_what_there_is(wrong: object, known: list[str], expected: str) -> None:
    assert suggestion(wrong, known, "known keys") == expected


def test_of_many_names_only_the_first_are_listed() -> None:
    many = [f"name{number}" for number in range(40)]
    text = suggestion("q", many, "known ones", "names.py")
    assert text.endswith(
        f"{many[LISTED - 1]} and {40 - LISTED} more; all are described in names.py"
    )
    assert many[LISTED] not in text.split("more")[0]


def module(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m gram`` with arguments."""
    command = [sys.executable, "-m", "gram", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_every_module_that_can_be_run_is_listed_once_with_its_description(
    arguments: tuple[str, ...],
) -> None:
    found = module(*arguments)
    listed = re.findall(r"^  python -m gram\.(\w+) +(\S.{9,110})$", found.stdout, re.MULTILINE)
    runnable = {
        path.parent.name if path.stem == "__main__" else path.stem
        for path in (ROOT / "gram").rglob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    } - {"gram"}
    assert found.returncode == 0 and len(listed) == len(runnable)
    assert dict(listed) == steps() and set(steps()) == runnable


def test_a_step_that_is_not_there_is_one_line() -> None:
    found = module("trian", "--help")
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr == "error: python -m gram: no step 'trian'; did you mean 'train'?\n"


def test_a_step_can_be_run_by_its_name() -> None:
    found = module("pool", "--help")
    assert found.returncode == 0 and found.stdout.startswith("usage: python -m gram.pool ")
