"""Reading YAML: what is refused and with which line; and that PyYAML's versions cannot make a
difference.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from gram.settings.documents import parse_yaml, read_yaml, yaml_option
from gram.system.errors import GramError


def bomb(levels: int, width: int = 9) -> str:
    """Lists of aliases of lists of aliases: ``width ** levels`` values in a few lines."""
    lines = [f"l0: &l0 [{', '.join(['x'] * width)}]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {steps: 1}\nmodel: {}\ntrain: {steps: 2}",
         "line 3: the key 'train' stands there twice, first in line 1"),
        ("a:\n  b: 1\n  'b': 2", "line 3: the key 'b' stands there twice"),
        ("a: {1: x, 1.0: y}", "line 1: the key 1.0 stands there twice"),
        ("a: &a {x: 1}\nb: {<<: *a}", "line 2: << is not read"),
        ("a: &a {x: 1}\nb: {y: 2, <<: [*a, *a]}", "line 2: << is not read"),
        ("a: 2026-01-01", "line 1: '2026-01-01' is read as timestamp; quote it"),
        ("a: !!binary aGk=", "is read as binary"),
        ("a: !!python/object:os.system x", "python/object:os.system"),
        ("a: !mine x", "is read as !mine"),
        ("a: !!set {x, y}", "is read as set"),
        ("=: 1", "is no key"),
        ("{[1, 2]: 3}", "line 1: "),
        ("steps: 010", "line 1: YAML reads '010' as 8; write it in decimals"),
        ("steps: 0x10", "YAML reads '0x10' as 16"),
        ("steps: 10:00", "YAML reads '10:00' as 600"),
        ("rate: 1:30.5", "YAML reads '1:30.5' as 90.5"),
        ("a: &a [*a]", "line 1: a value that contains itself"),
        (bomb(8), "more than 100,000 values, with what its aliases repeat"),
        (bomb(30), "more than 100,000 values, with what its aliases repeat"),
        (f"{{{', '.join(bomb(5).splitlines())}, *l4 : 1}}", "a sequence is no key"),
        (f"a: &a {'[' * 30}{']' * 30}\nb: !!set [*a]", "a sequence is read as set"),
        ("[" * 1000 + "]" * 1000, "nested too deeply"),
        ("{a: " * 2000, "nested too deeply"),
        ("a: b: c", "not YAML: mapping values are not allowed here"),
        ("a: [", "not YAML: "),
        ("a: \0", "not YAML: "),
        ("a: *b", "not YAML: found undefined alias"),
        (f"a: {'9' * 5000}", "not YAML: "),
        ("a: !!int ''", ""),
        ("a: !!float x", ""),
        ("a: 1\n---\nb: 2", "not YAML: expected a single document"),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_short_line_with_its_place(text: str, said: str) -> None:
    started = time.process_time()
    with pytest.raises(GramError) as error:
        parse_yaml(text, "the file")
    message = str(error.value)
    assert message.startswith("the file: ") and said in message
    assert "\n" not in message and len(message) < 500
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: [1, 2.5, true, null, text, '010', '2026-01-01']}\nb: *a\nc: {d: *a}",
        "",
        "- 1\n- -2\n- 0\n- 1_000\n- 1.0e-3\n- 1e-4\n- .inf",
    ],
)
def test_everything_else_is_what_pyyaml_reads(text: str) -> None:
    assert parse_yaml(text, "the file") == yaml.safe_load(text)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_bytes(b"a: \xff\xfe")
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, said in {
        "one": "not a text in UTF-8",
        "folder": "is a folder and not a file",
        "pipe": "is a named pipe and not a file",
        "ones": "no such file; did you mean 'one'?",
    }.items():
        with pytest.raises(GramError) as error:
            read_yaml(tmp_path / f"{name}.yaml")
        assert str(error.value).startswith(f"{tmp_path / name}.yaml: {said}")


@pytest.mark.parametrize("value", ["[1, 2]", "text", "{a: ", "{a: 1, a: 2}", "a: &a [*a]"])
def test_an_option_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(GramError, match=r"^--overrides: [^\n]+$"):
        yaml_option("--overrides")(value)


@pytest.mark.parametrize(("value", "expected"), [("", {}), ("{a: 1e-4}", {"a": "1e-4"})])
def test_an_option_of_keys_and_values_is_read(value: str, expected: Any) -> None:
    assert yaml_option("--overrides")(value) == expected
