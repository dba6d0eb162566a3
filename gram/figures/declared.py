"""Which figures there are: a module of this package may have a mapping ``FIGURES``, from names to
:class:`Drawing`, and is listed nowhere.

The workflow has to know them, and matplotlib takes it seconds to import. So what it needs of a
figure, :class:`Shown`, is read from the text of the modules, and is written in literals.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gram.system.errors import GramError

if TYPE_CHECKING:
    import matplotlib.figure

# What a figure is made of: the histories of trainings; test.json, scaling.json, samplers.json,
# carried.json or trajectories.json of evaluations; or the samples of GRAM and its deterministic
# twin.
Of = Literal[
    "histories", "evaluations", "scaling", "samplers", "carried", "trajectories", "samples"
]


@dataclass(frozen=True)
class Shown:
    """What the workflow and its report say of a figure.

    Attributes:
        drawn: what it shows of a task, as in "coverage of {task} against the number of samples".
        label: its name in the report's list.
        caption: its text in the report, in reStructuredText; ``{task}``, ``{count}`` (of the files
            that it is made of) and ``{seed}`` (of samples) are replaced.
        of: what it is made of.
        paper: the file with what the paper shows, for a figure that has it beside ours.
    """

    drawn: str
    label: str
    caption: str
    of: Of
    paper: str | None = None


@dataclass(frozen=True)
class Drawing:
    """A figure.

    Attributes:
        shown: what is said of it.
        draw: from what it is made of: paths of histories; contents of evaluations, and where the
            paper's points are asked for these, as ``papers`` reads them; or
            :class:`gram.figures.boards.Answers`.
        sections: of the JSON of evaluations that it needs.
        split: that the evaluations are of.
        papers: reads the file with what the paper shows; without it, as that of its Figure 4.
    """

    shown: Shown
    draw: Callable[..., matplotlib.figure.Figure]
    sections: Sequence[str] = ()
    split: str = "test"
    papers: Callable[[Path], Any] | None = None


class Declared(NamedTuple):
    """A figure, not imported: the module that has it, and what is said of it."""

    module: str
    shown: Shown


def declared(folder: Path = Path(__file__).parent) -> dict[str, Declared]:
    """All figures by their names.

    Args:
        folder: with the modules.

    Raises:
        GramError: a module that cannot be read, or a name that two figures have.
    """
    found: dict[str, Declared] = {}
    for path in sorted(folder.glob("*.py")):
        for name, shown in _shown_in(path).items():
            if name in found:
                raise GramError(f"{path}: FIGURES: {name!r} is in {found[name].module} as well")
            found[name] = Declared(f"gram.figures.{path.stem}", shown)
    return found


def _shown_in(path: Path) -> dict[str, Shown]:
    """The figures of one module."""
    text = path.read_text(encoding="utf-8")
    if "\nFIGURES = " not in text:  # the workflow reads all of them in every job
        return {}
    try:
        tree = ast.parse(text)
        return {
            ast.literal_eval(key): _shown(value)
            for node in tree.body
            for key, value in _entries(node)
        }
    except (SyntaxError, ValueError, TypeError) as error:
        raise GramError(
            f"{path}: FIGURES: cannot be read without being run ({error}); write Shown(...) in"
            " literals"
        ) from error


def _entries(node: ast.stmt) -> list[tuple[ast.expr, ast.Call]]:
    """Keys and values of ``FIGURES = {...}``; [] of any other statement."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    if names != ["FIGURES"] or not isinstance(node, ast.Assign):
        return []
    if not isinstance(node.value, ast.Dict):
        raise ValueError("it is not a mapping {...}")
    entries = zip(node.value.keys, node.value.values, strict=True)
    return [(key, value) for key, value in entries if key and isinstance(value, ast.Call)]


def _shown(figure: ast.Call) -> Shown:
    """The first argument of ``Drawing(Shown(...), ...)``."""
    first: Any = figure.args[0] if figure.args else None
    if not isinstance(first, ast.Call) or first.args:
        raise ValueError("Drawing(...) begins with Shown(...), whose arguments have names")
    return Shown(**{str(word.arg): ast.literal_eval(word.value) for word in first.keywords})
