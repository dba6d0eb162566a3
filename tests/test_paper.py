"""resources/paper.yaml: what is wrong in it is told in one line, and its example is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gram.system.errors import GramError
from gram.tables.paper import PAPER, paper_tables

TABLE = """
{name}:
  title: A table
  help: what it shows
  listed_under: runs
  {more}
  parts: {parts}
"""
PARTS = "{one: {rows: {gram: {paper: GRAM}}}}"


def written(path: Path, name: str = "table10", parts: str = PARTS, more: str = "") -> Path:
    """The file of this repository with one more table."""
    text = TABLE.format(name=name, parts=parts, more=more)
    path.write_text(PAPER.read_text(encoding="utf-8") + text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "quick"}, "quick: another table or command is called so"),
        ({"name": '"a b"'}, "'a b' is no name"),
        ({"more": "titel: x"}, "table10: unknown key 'titel'; did you mean 'title'?"),
        ({"more": "closed: 3"}, "table10: closed: 3 is not of type bool"),
        ({"parts": "{}"}, "table10: parts: needs an entry"),
        ({"parts": "{one: {rows: {}}}"}, "table10: parts: one: rows: needs an entry"),
        ({"parts": "{one: {heading: x}}"}, "table10: parts: one: the key 'rows' is missing"),
        ({"parts": "{one: {rows: {gram: {}}}}"}, "one: rows: gram: needs a `label`, or in `paper`"),
        ({"parts": "{one: {rows: {gram: {papre: x}}}}"}, "did you mean 'paper'?"),
        ({"parts": "{table1: {rows: {gram: {paper: x}}}}"}, "'table1' stands in two tables"),
        (
            {"more": "claims: [{text: x, metric: accuracy, more: grma, less: generative}]"},
            "table10: claims: 0: no row 'grma'; did you mean 'gram'",
        ),
    ],
)
def test_a_mistake_is_told_in_one_line(change: dict[str, str], said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "paper.yaml", **change)
    with pytest.raises(GramError) as caught:
        paper_tables(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message and "\n" not in message


def test_the_example_at_the_head_of_the_file_is_a_table(tmp_path: Path) -> None:
    comment = [line[4:] for line in PAPER.read_text().splitlines() if line.startswith("#   ")]
    (name,) = yaml.safe_load("\n".join(comment))
    path = tmp_path / "paper.yaml"
    path.write_text("\n".join([PAPER.read_text(), *comment]), encoding="utf-8")
    assert list(paper_tables(path)) == [*paper_tables(), name]
