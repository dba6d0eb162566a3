"""The code's hash: changed by what can change a number, and by nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gram.system import code_version
from gram.system.code_version import closure, code_hash, without_comments
from tests.test_train import OF_GRAM

SOURCE = 'def half(x):\n    """Half."""\n    return x / 2  # exact\n'


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of one module that computes and one that presents."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "losses.py").write_text(SOURCE)
    (tmp_path / "tables/layout.py").write_text(SOURCE)
    return tmp_path


def fresh(package: Path, made_by: tuple[str, ...] = ()) -> str:
    """The hash as another process would see it."""
    for function in (code_hash, code_version._source, code_version._imported):
        function.cache_clear()
    return code_hash(made_by, package)


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


def of_gram(task: str = "nqueens") -> set[str]:
    """The modules that make a training of GRAM on a task."""
    own = tuple(name.replace("nqueens", task) for name in OF_GRAM)
    return {
        ".".join(path.relative_to(code_version.PACKAGE.parent).with_suffix("").parts)
        for path in closure(own)
    }


def test_a_training_is_made_by_its_own_task_and_architecture() -> None:
    made = of_gram()
    for module in (
        *("models.layers", "models.factory", "train.trainer", "train.optim", "train.losses"),
        *("train.objectives.gram", "tasks.nqueens", "tasks.base", "settings.tasks", "settings.run"),
        *("data.splits", "system.files", "settings.tasks.nqueens", "settings.config"),
    ):
        assert {f"gram.{module}", f"gram.{module}.__init__"} & made, module
    for module in (
        *("tasks.coloring", "tasks.sudoku", "settings.tasks.coloring", "models.autoregressive"),
        *("models.diffusion", "models.hrm", "train.objectives.diffusion", "models.samplers.quasi"),
        *("tables.render", "tables.paper", "figures.style", "reports.results", "bench.timing"),
        *("evaluate.evaluation", "evaluate.judges.exact", "runs.export", "__init__", "__main__"),
    ):
        assert f"gram.{module}" not in made, module


def test_another_task_brings_its_own_modules() -> None:
    brought = {"gram.tasks.sudoku", "gram.tasks.grids", "gram.settings.tasks.sudoku"}
    assert of_gram("sudoku") - of_gram() == brought


SOURCES = {
    "gram/__init__.py": "COMMANDS = {}\n",
    "gram/train/__init__.py": "",
    "gram/train/__main__.py": "from gram.models import layers\nfrom gram.tasks import find\n",
    "gram/models/__init__.py": "",
    "gram/models/layers.py": "def late():\n    import gram.system.files\n",
    "gram/system/__init__.py": "",
    "gram/system/files.py": "from __future__ import annotations\nimport json\n",
    "gram/tasks/__init__.py": "from gram.tasks.base import Task\n",
    "gram/tasks/base.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from gram.tables import rows\n"
        "else:\n    from gram.tasks import text\n"
    ),
    "gram/tasks/text.py": "",
    "gram/tasks/queens.py": "from gram.tasks.base import Task\n",
    "gram/tables/__init__.py": "",
    "gram/tables/rows.py": "",
}
MADE_BY = ("gram.train.__main__", "gram.tasks.queens")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("gram/tasks/other.py", False),
        ("gram/tables/rows.py", False),
        ("gram/__init__.py", False),
        ("gram/models/other.py", False),
        ("gram/models/layers.py", True),
        ("gram/system/files.py", True),
        ("gram/tasks/queens.py", True),
        ("gram/tasks/base.py", True),
        ("gram/tasks/text.py", True),
        ("gram/tasks/__init__.py", True),
        ("gram/models/__init__.py", True),
    ],
)
def test_an_edit_counts_where_it_makes_the_result(name: str, counts: bool, tmp_path: Path) -> None:
    for path, source in SOURCES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(source)
    before = fresh(tmp_path / "gram", MADE_BY)
    (tmp_path / name).write_text(SOURCES.get(name, "") + "EDITED = True\n")
    assert (fresh(tmp_path / "gram", MADE_BY) != before) == counts
    assert fresh(tmp_path / "gram", (*MADE_BY, "gram.tasks.gone")) != fresh(
        tmp_path / "gram", MADE_BY
    )
