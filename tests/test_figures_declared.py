"""Which figures there are is read from the modules that draw them, and is what they have."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from gram.figures.declared import Declared, declared
from gram.settings.tasks import FAMILIES
from gram.system.errors import GramError

ENTRY = 'FIGURES = {{"{name}": Drawing(Shown({shown}), draw=len)}}\n'
SHOWN = 'drawn="words of {task}", label="words", caption="Of {task}.", of="evaluations"'


@pytest.mark.parametrize(("name", "found"), declared().items())
def test_what_is_read_is_what_the_module_has(name: str, found: Declared) -> None:
    assert importlib.import_module(found.module).FIGURES[name].shown == found.shown


@pytest.mark.parametrize("name", declared())
def test_texts_have_no_other_places_than_those_that_are_filled(name: str) -> None:
    shown = declared()[name].shown
    text = shown.caption.format(task="T", count=3, seed=0)
    assert "T" in text and "{" not in text and "T" in shown.drawn.format(task="T")


def test_the_families_list_figures_that_there_are() -> None:
    assert {name for family in FAMILIES.values() for name in family.figures} <= set(declared())


def test_a_module_is_all_that_a_figure_needs(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("\n" + ENTRY.format(name="words", shown=SHOWN))
    (tmp_path / "style.py").write_text("import matplotlib\n")
    found = declared(tmp_path)
    assert found["words"].module == "gram.figures.words" and list(found) == ["words"]
    assert (found["words"].shown.label, found["words"].shown.paper) == ("words", None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ENTRY.format(name="words", shown=SHOWN.replace('"words"', "LABEL")), "in literals"),
        (ENTRY.format(name="words", shown=SHOWN.replace("label", "lable")), "lable"),
        ("FIGURES = {'words': Drawing(shown)}\n", "begins with Shown"),
        ("FIGURES = dict(words=1)\n", "not a mapping"),
        ("FIGURES = {\n", "cannot be read"),
        (ENTRY.format(name="others", shown=SHOWN), "'others' is in gram.figures.a as well"),
    ],
)
def test_a_mistake_is_told_with_its_module(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("\n" + ENTRY.format(name="others", shown=SHOWN))
    (tmp_path / "b.py").write_text("\n" + text)
    with pytest.raises(GramError) as caught:
        declared(tmp_path)
    assert f"{tmp_path / 'b.py'}: FIGURES" in str(caught.value) and said in str(caught.value)
