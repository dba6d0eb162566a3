"""The shape of the code: import order, what the workflow may import, file length, no comprehension
inside another, and no global random generators.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from gram import COMMANDS, FORMER_COMMANDS, ROOMS
from gram.__main__ import steps

ROOT = Path(__file__).parents[1]

# Entries of gram/: the rooms, __init__.py and __main__.py.
MAX_ENTRIES = 14
# What gram/__init__.py itself defines.
OF_PACKAGE = {"__version__", "COMMANDS", "FORMER_COMMANDS", "ROOMS"}

MAX_LINES = 600

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

SEEDED_NUMPY = {"Generator", "SeedSequence", "default_rng", "BitGenerator", "PCG64", "Philox"}
GLOBAL_TORCH = {
    f"torch.{name}"
    for name in (
        "manual_seed seed set_rng_state random.manual_seed random.seed "
        "cuda.manual_seed cuda.manual_seed_all"
    ).split()
}
TORCH_DRAWS = {
    f"torch.{name}"
    for name in (
        "bernoulli multinomial normal poisson rand rand_like randint randint_like randn randn_like "
        "randperm"
    ).split()
}


def python_files(root: Path) -> Iterator[tuple[str, Path, ast.Module]]:
    """Every module of gram/: its room ("" for gram/__init__.py), its path, its syntax tree."""
    for path in sorted((root / "gram").rglob("*.py")):
        top = path.relative_to(root / "gram").parts[0].removesuffix(".py")
        yield (
            "" if top == "__init__" else top,
            path,
            ast.parse(path.read_text(encoding="utf-8"), path.as_posix()),
        )


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, also inside functions; ``from a import b`` is
    ``a.b``.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}")
                for alias in node.names
            )


def import_problems(root: Path) -> list[str]:
    """Imports against the order, relative imports, imports of snakemake, and modules in no room."""
    problems = []
    # gram/__main__.py needs the room of the machine, as the first room does.
    rank = {"": -1, "__main__": 0} | {room: place for place, room in enumerate(ROOMS)}
    for room, path, tree in python_files(root):
        name = path.relative_to(root).as_posix()
        if room not in rank:
            problems.append(f"{name}: no room of gram/; move it into one of {', '.join(ROOMS)}")
            continue
        for line, imported in imports(tree):
            head, *rest = imported.split(".")
            if not head:
                problems.append(f"{name}:{line}: relative import; write the full name")
            elif head.startswith("snakemake"):
                problems.append(f"{name}:{line}: imports {imported}; gram/ never imports snakemake")
            elif head == "gram" and rest:
                other = "" if rest[0] in OF_PACKAGE else rest[0]
                if other not in rank:
                    problems.append(f"{name}:{line}: imports {imported}; import it from its room")
                elif rank[other] > rank[room] or (other == room == ""):
                    problems.append(
                        f"{name}:{line}: imports {imported}, which is to the right of "
                        f"{room or 'gram/__init__.py'}"
                    )
    return problems


def entry_problems(root: Path) -> list[str]:
    """More files and folders in gram/ than can be taken in at once."""
    entries = [path.name for path in (root / "gram").iterdir() if path.name != "__pycache__"]
    if len(entries) <= MAX_ENTRIES:
        return []
    return [f"gram/: {len(entries)} entries, more than {MAX_ENTRIES}"]


def circle_problems(root: Path) -> list[str]:
    """Modules that import each other, directly or through others, also within a room."""
    names = {}
    for _, path, tree in python_files(root):
        dotted = ".".join(path.relative_to(root).with_suffix("").parts)
        names[dotted.removesuffix(".__init__")] = tree
    graph: dict[str, set[str]] = {}
    for name, tree in names.items():
        graph[name] = set()
        for _, imported in imports(tree):
            # `from gram.models import layers` names a module, `from gram.models.layers import
            # Block` what stands in one.
            for module in (imported, imported.rpartition(".")[0]):
                if module in names and module != name:
                    graph[name].add(module)
                    break
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        first, *others = reversed(error.args[1])
        return [f"{first.replace('.', '/')}.py: imports itself by way of {', '.join(others[:-1])}"]
    return []


def workflow_problems(root: Path) -> list[str]:
    """Imports of torch and numpy in the Snakefile and below workflow/."""
    importing = re.compile(r"^\s*(?:import|from)\s.*\b(torch|numpy)\b")
    sources = [
        root / "Snakefile",
        *sorted((root / "workflow").rglob("*.smk")),
        *sorted((root / "workflow").rglob("*.py")),
    ]
    return [
        f"{path.relative_to(root).as_posix()}:{number}: imports {found[1]}; formulas belong in"
        " gram/"
        for path in sources
        if path.exists()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if (found := importing.match(line))
    ]


def length_problems(root: Path) -> list[str]:
    """Files below gram/ and workflow/ that are too long to be read at once."""
    problems = []
    for folder in ("gram", "workflow"):
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                lines = len(path.read_text(encoding="utf-8").splitlines())
                if lines > MAX_LINES:
                    problems.append(
                        f"{path.relative_to(root).as_posix()}: {lines} lines, more than"
                        f" {MAX_LINES}; split it"
                    )
    return problems


def nested_problems(root: Path) -> list[str]:
    """Comprehensions inside a comprehension, which have to be read from the inside to the outside:
    a named function, or a loop, is read from top to bottom.
    """
    problems = []
    for folder in ("gram", "snakemake_executor_plugin_runpod", "tests", "workflow"):
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), name)):
                parts = ast.walk(node) if isinstance(node, COMPREHENSIONS) else ()
                if any(part is not node and isinstance(part, COMPREHENSIONS) for part in parts):
                    problems.append(f"{name}:{node.lineno}: a comprehension inside another")
    return problems


class GlobalDraws(ast.NodeVisitor):
    """Collects calls that use or change a generator that no run owns.

    Args:
        may_fork: whether a call inside ``with torch.random.fork_rng(...)`` is allowed, since that
            restores the generator.
    """

    def __init__(self, *, may_fork: bool) -> None:
        self.may_fork = may_fork
        self.forked = False
        self.full_names: dict[str, str] = {}
        self.found: list[tuple[int, str]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            head = alias.name.partition(".")[0]
            self.full_names[alias.asname or head] = alias.name if alias.asname else head

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.full_names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def full_name(self, node: ast.expr) -> str:
        """``np.random.rand`` as ``numpy.random.rand``; empty for anything that was not imported."""
        if isinstance(node, ast.Name):
            return self.full_names.get(node.id, "")
        if isinstance(node, ast.Attribute) and (owner := self.full_name(node.value)):
            return f"{owner}.{node.attr}"
        return ""

    def visit_With(self, node: ast.With) -> None:
        calls = [
            item.context_expr.func for item in node.items if isinstance(item.context_expr, ast.Call)
        ]
        before = self.forked
        self.forked |= self.may_fork and "torch.random.fork_rng" in map(self.full_name, calls)
        self.generic_visit(node)
        self.forked = before

    def visit_Call(self, node: ast.Call) -> None:
        name = self.full_name(node.func)
        owner, _, function = name.rpartition(".")
        arguments = bool(node.args or node.keywords)
        forbidden = (
            (owner == "random" and not (function == "Random" and arguments))
            or (owner == "numpy.random" and not (function in SEEDED_NUMPY and arguments))
            or (name in GLOBAL_TORCH and not self.forked)
            or (
                name in TORCH_DRAWS
                and not self.forked
                and "generator" not in {keyword.arg for keyword in node.keywords}
            )
        )
        if forbidden:
            self.found.append((node.lineno, name))
        self.generic_visit(node)


def random_problems(root: Path) -> list[str]:
    """Calls in gram/ whose outcome depends on a global generator, or on none that was seeded."""
    problems = []
    for _, path, tree in python_files(root):
        name = path.relative_to(root).as_posix()
        visitor = GlobalDraws(may_fork=name == "gram/models/factory.py")
        visitor.visit(tree)
        problems += [
            f"{name}:{line}: {call}: draw from a generator with a child seed of the run"
            for line, call in visitor.found
        ]
    return problems


CHECKS: list[Callable[[Path], list[str]]] = [
    import_problems,
    entry_problems,
    circle_problems,
    workflow_problems,
    length_problems,
    nested_problems,
    random_problems,
]


@pytest.mark.parametrize("check", CHECKS)
def test_repository(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


def plant(root: Path, name: str, source: str) -> None:
    """A tree with the package and one more file."""
    for path, text in (("gram/__init__.py", '__version__ = "0"\n'), (name, source)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        (import_problems, "gram/models/layers.py", "from gram.train.loop import train"),
        (import_problems, "gram/models/layers.py", "import gram.train"),
        (import_problems, "gram/models/layers.py", "from gram import system, train"),
        (
            import_problems,
            "gram/models/layers.py",
            "def late():\n    from gram.train.loop import train\n",
        ),
        (import_problems, "gram/tasks/maze.py", "from gram.models.layers import Block"),
        (import_problems, "gram/__init__.py", "from gram.system.errors import run"),
        (import_problems, "gram/__main__.py", "from gram.settings.config import resolve"),
        (import_problems, "gram/models/layers.py", "from .network import Network"),
        (import_problems, "gram/models/layers.py", "from gram.runs.export import export"),
        (import_problems, "gram/novelty.py", ""),
        (import_problems, "gram/train/loop.py", "from snakemake.script import snakemake"),
        (import_problems, "gram/train/loop.py", "import snakemake_interface_common"),
        (workflow_problems, "Snakefile", "import torch"),
        (workflow_problems, "workflow/rules/common.smk", "    from numpy import mean"),
        (workflow_problems, "workflow/scripts/summary.py", "import os, numpy as np"),
        (length_problems, "gram/train/losses.py", "\n" * (MAX_LINES + 1)),
        (length_problems, "workflow/schemas/config.schema.yaml", "\n" * (MAX_LINES + 1)),
        (nested_problems, "gram/tables/rows.py", "[[x for x in row] for row in ()]"),
        (nested_problems, "workflow/report.py", "sum(max(x for x in row) for row in ())"),
        (nested_problems, "tests/test_rows.py", "{k: {x for x in v} for k, v in {}.items()}"),
        (random_problems, "gram/data/splits.py", "import numpy as np\nnp.random.seed(0)"),
        (random_problems, "gram/data/splits.py", "import numpy as np\nnp.random.rand(3)"),
        (random_problems, "gram/data/splits.py", "import numpy as np\nnp.random.default_rng()"),
        (random_problems, "gram/data/splits.py", "from numpy import random\nrandom.shuffle([])"),
        (random_problems, "gram/data/splits.py", "import random\nrandom.seed(1)"),
        (random_problems, "gram/data/splits.py", "from random import shuffle as mix\nmix([])"),
        (random_problems, "gram/train/loop.py", "import torch\ntorch.manual_seed(1)"),
        (random_problems, "gram/train/loop.py", "import torch\ntorch.cuda.manual_seed_all(1)"),
        (random_problems, "gram/train/loop.py", "import torch\ntorch.randn(3)"),
        (
            random_problems,
            "gram/train/loop.py",
            "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(1)\n",
        ),
        (
            random_problems,
            "gram/models/factory.py",
            "import torch\nwith torch.no_grad():\n    torch.manual_seed(1)\n",
        ),
        (
            random_problems,
            "gram/models/factory.py",
            "import torch\nwith torch.random.fork_rng(): pass\ntorch.manual_seed(1)\n",
        ),
    ],
)
def test_planted_violation_is_found(
    check: Callable[[Path], list[str]], name: str, source: str, tmp_path: Path
) -> None:
    plant(tmp_path, name, source)
    (problem,) = check(tmp_path)
    assert problem.startswith(f"{name}:")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (
            "gram/train/loop.py",
            "import gram\nfrom gram import __version__\nfrom gram.models.layers import Block",
        ),
        ("gram/models/factory.py", "from gram.models.layers import Block"),
        (
            "gram/models/factory.py",
            (
                "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(1)\n   "
                " torch.randn(3)\n"
            ),
        ),
        (
            "gram/train/stream.py",
            (
                "import torch\ng = torch.Generator()\ng.manual_seed(1)\ntorch.randint(9, (3,),"
                " generator=g)"
            ),
        ),
        ("gram/data/splits.py", "import numpy as np\nnp.random.default_rng(1).random()"),
        ("gram/train/losses.py", "\n" * MAX_LINES),
        ("gram/train/losses.py", "[x for row in () for x in row] + [sorted(y) for y in ()]"),
        ("workflow/rules/common.smk", "# from the paper, without torch\nimport json"),
    ],
)
def test_what_is_allowed_is_not_reported(name: str, source: str, tmp_path: Path) -> None:
    plant(tmp_path, name, source)
    assert [problem for check in CHECKS for problem in check(tmp_path)] == []


def test_a_circle_within_a_room_is_found(tmp_path: Path) -> None:
    plant(tmp_path, "gram/models/a.py", "def late():\n    from gram.models import b\n")
    plant(tmp_path, "gram/models/b.py", "from gram.models.c import C\n")
    assert circle_problems(tmp_path) == []
    plant(tmp_path, "gram/models/c.py", "import gram.models.a\n")
    (problem,) = circle_problems(tmp_path)
    assert problem.startswith("gram/models/") and "imports itself by way of" in problem


def test_too_many_entries_are_found(tmp_path: Path) -> None:
    for index in range(MAX_ENTRIES - 1):
        plant(tmp_path, f"gram/room{index}/__init__.py", "")
    assert entry_problems(tmp_path) == []
    plant(tmp_path, "gram/one_more.py", "")
    assert entry_problems(tmp_path) == ["gram/: 15 entries, more than 14"]


def test_every_command_is_called_by_its_name_in_whatever_room_it_stands() -> None:
    rooms = {room for room in ROOMS if (ROOT / "gram" / room / "__main__.py").exists()}
    assert set(COMMANDS) | rooms == set(steps())
    for command, room in COMMANDS.items():
        assert room in ROOMS
        found = importlib.util.find_spec(f"gram.{command}")
        assert found is not None and found.origin is not None
        assert Path(found.origin) == ROOT / "gram" / room / f"{command}.py"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(".files", "gram")  # what is no command has one name only


def test_a_former_name_of_a_command_is_understood_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert FORMER_COMMANDS and FORMER_COMMANDS.keys().isdisjoint(COMMANDS)
    for former, name in FORMER_COMMANDS.items():
        found, now = (importlib.util.find_spec(f"gram.{one}") for one in (former, name))
        assert found is not None and now is not None and found.origin == now.origin
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"python -m gram.{former} is now python -m gram.{name};")
