"""The code's hash: changed by what can change a number, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gram.system.code_version import code_hash, without_comments

SOURCE = 'def half(x):\n    """Half."""\n    return x / 2  # exact\n'


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of one module that computes and one that presents."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "losses.py").write_text(SOURCE)
    (tmp_path / "tables/layout.py").write_text(SOURCE)
    return tmp_path


def fresh(package: Path) -> str:
    """The hash as another process would see it."""
    code_hash.cache_clear()
    return code_hash(package)


@pytest.mark.parametrize(
    "edited",
    [
        SOURCE.replace("# exact", "# half of it"),
        SOURCE.replace("  # exact", ""),
        "# First.\n\n" + SOURCE,
        SOURCE + "\n\n",
    ],
)
def test_comments_and_blank_lines_change_nothing(package: Path, edited: str) -> None:
    before = fresh(package)
    (package / "losses.py").write_text(edited)
    assert edited != SOURCE and fresh(package) == before


def test_code_names_and_places_count(package: Path) -> None:
    seen = {fresh(package)}
    (package / "losses.py").write_text(SOURCE.replace("/ 2", "/ 3"))
    seen.add(fresh(package))
    (package / "losses.py").rename(package / "optim.py")
    seen.add(fresh(package))
    (package / "losses.py").write_text("")
    seen.add(fresh(package))
    assert len(seen) == 4


def test_what_only_presents_does_not_count(package: Path) -> None:
    before = fresh(package)
    (package / "tables/layout.py").write_text(SOURCE.replace("/ 2", "/ 3"))
    assert fresh(package) == before


def test_a_hash_sign_inside_a_string_is_no_comment() -> None:
    assert without_comments('mark = "# no comment"  # a comment\n') == 'mark = "# no comment"'
    assert without_comments('text = f"{1}# no comment"\n') == 'text = f"{1}# no comment"'
