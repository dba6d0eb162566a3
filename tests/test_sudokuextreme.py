"""Sudoku-Extreme: its files, an exact solver of many puzzles, canonical forms, and the symmetries
that its training uses.

The real files carry no licence, so that they are not here. Where the environment variable
GRAM_SUDOKU_EXTREME names a folder with train.csv and test_hard.csv, packed by xz or not, they are
tested too.
"""

from __future__ import annotations

import json
import lzma
import os
from itertools import islice, permutations, product
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gram.data.checksums import measure, read_listed
from gram.data.fetch import take
from gram.data.splits import build, load_split
from gram.settings import DataSettings, SplitConfig
from gram.settings.config import data_settings, load_experiment, resolve
from gram.settings.tasks import FAMILIES, family_of
from gram.settings.tasks.sudokuextreme import PUZZLES, TEST, TRAIN
from gram.system.errors import GramError
from gram.tasks import make_task
from gram.tasks.canonical import CanonicalForms
from gram.tasks.grids import BLANK, BOXES, FIRST_DIGIT, Grids
from gram.tasks.search import Search
from gram.tasks.sudokuextreme import Puzzles, read_puzzles
from gram.train.stream import draw_symmetries

ROOT = Path(__file__).parents[1]
NINE = Grids("sudokuextreme9", 9)
ORDERS = list(permutations(range(3)))
VARIABLE = "GRAM_SUDOKU_EXTREME"


def puzzles_of(
    grids: Grids, count: int, blank: int, seed: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Random puzzles with one solution, which have up to ``blank`` cells blank, and the
    solutions.
    """
    random = Random(seed)
    solutions = np.stack([grids.drawn(random) for _ in range(count)])
    puzzles = solutions.copy()
    for puzzle in puzzles:
        for cell in random.sample(range(len(puzzle)), blank):
            kept, puzzle[cell] = puzzle[cell], BLANK
            if not grids.has_one_solution(puzzle.tolist()):
                puzzle[cell] = kept
    return puzzles, solutions


def line_of(puzzle: NDArray[Any], solution: NDArray[Any], rating: int = 3) -> str:
    """A puzzle as the files write it."""
    text = ["".join(map(str, (cells - BLANK).tolist())) for cells in (puzzle, solution)]
    return f"made,{text[0].replace('0', '.')},{text[1]},{rating}"


def write(folder: Path, train: list[str], test: list[str]) -> Path:
    """The two files with these lines."""
    folder.mkdir(exist_ok=True)
    for name, lines in ((TRAIN, train), (TEST, test)):
        text = "\n".join(["source,question,answer,rating", *lines, ""])
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def made() -> tuple[NDArray[Any], NDArray[Any]]:
    """Thirty puzzles of 9x9 and their solutions."""
    return puzzles_of(NINE, 30, 50, seed=5)


@pytest.fixture
def sources(made: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path) -> Path:
    """Twenty of them to learn from, ten to be tested on."""
    lines = [line_of(*both, rating=place) for place, both in enumerate(zip(*made, strict=True))]
    return write(tmp_path / "sources", lines[:20], lines[20:])


# Solving ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", BOXES)
def test_many_puzzles_are_solved_as_one_after_the_other(n: int) -> None:
    """Puzzles with one solution, with several and with none, as a plain search counts them."""
    grids = Grids(f"sudoku{n}", n)
    puzzles, _ = puzzles_of(grids, 12, {4: 11, 6: 24, 9: 45}[n], seed=n)
    rng = np.random.default_rng(n)
    for puzzle in puzzles[4:8]:  # one given less
        puzzle[rng.choice(np.flatnonzero(puzzle != BLANK))] = BLANK
    for puzzle in puzzles[8:]:  # a digit more, mostly a wrong one
        cell = rng.choice(np.flatnonzero(puzzle == BLANK))
        row, column = divmod(int(cell), n)
        beside = np.concatenate([puzzle.reshape(n, n)[row], puzzle.reshape(n, n)[:, column]])
        puzzle[cell] = rng.choice(np.setdiff1d(np.arange(FIRST_DIGIT, n + FIRST_DIGIT), beside))
    found = Search(grids).solve(puzzles)
    for puzzle, count, first in zip(puzzles, found.counts, found.first, strict=True):
        clash = any(
            len(digits) != len(set(digits))
            for unit in grids.units
            for digits in [puzzle[unit][puzzle[unit] != BLANK].tolist()]
        )
        all_ = [] if clash else list(islice(grids.solutions(puzzle.tolist()), 2))
        assert count == len(all_)
        assert (first == BLANK).all() if not count else grids.is_full(first[None]).all()
        if count == 1:
            assert first.tolist() == all_[0]
    assert set(found.counts) == {0, 1, 2}


def test_more_puzzles_than_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty grid beside others: the guesses at it wait, and are dropped once there are two."""
    monkeypatch.setattr("gram.tasks.search.AT_ONCE", 8)
    puzzles, solutions = puzzles_of(NINE, 10, 40, seed=1)
    puzzles[3] = BLANK
    found = Search(NINE).solve(puzzles)
    assert found.counts.tolist() == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
    assert np.delete(found.first == solutions, 3, axis=0).all()


def test_no_puzzles() -> None:
    assert Search(NINE).solve(np.zeros((0, 81), dtype=np.uint8)).counts.shape == (0,)


# Canonical forms ---------------------------------------------------------------------------------


def first_form(grid: NDArray[Any]) -> bytes:
    """The first form of a full grid: any row or column on top, and any order of the columns; what
    is below follows by its first digits.
    """
    orders = []
    for stacks, within in product(ORDERS, product(ORDERS, repeat=3)):
        parts = [3 * stack + np.array(places) for stack, places in zip(stacks, within, strict=True)]
        orders.append(np.concatenate(parts))
    best = bytes([255])
    for square in (grid.reshape(9, 9), grid.reshape(9, 9).T):
        for top, order in product(range(9), orders):
            moved = square[:, order]
            names = np.zeros(FIRST_DIGIT + 9, dtype=np.uint8)
            names[moved[top]] = np.arange(FIRST_DIGIT, FIRST_DIGIT + 9)
            rows = [row.tobytes() for row in names[moved]]
            bands = [sorted(rows[start : start + 3]) for start in (0, 3, 6)]
            below = [b"".join(band) for band in bands]
            below.sort(key=lambda band: rows[top] not in band)
            best = min(best, below[0] + b"".join(sorted(below[1:])))
    return best


def test_a_canonical_form_is_the_first_of_all(made: tuple[NDArray[Any], NDArray[Any]]) -> None:
    found = CanonicalForms().of_grids(made[1][:2])
    assert [form.tobytes() for form in found] == [first_form(grid) for grid in made[1][:2]]


def test_symmetries_keep_validity_the_one_solution_and_the_canonical_form(
    made: tuple[NDArray[Any], NDArray[Any]],
) -> None:
    """Forty of those that a training draws, each on some of the puzzles."""
    puzzles, solutions = (cells[:8] for cells in made)
    settings = resolve(
        load_experiment(ROOT / "config/experiments/sudokuextreme9-cpu.yaml", {}),
        "sudokuextreme9-cpu",
        "gram",
        0,
    )
    task = make_task("sudokuextreme9", {})
    drawn = draw_symmetries(task, settings, "cpu")  # type: ignore[arg-type]
    again = draw_symmetries(task, settings, "cpu")  # type: ignore[arg-type]
    assert drawn is not None and again is not None
    assert all((one == other).all() for one, other in zip(drawn, again, strict=True))
    places, tokens = (table.numpy() for table in drawn)
    assert len(places) == 1000
    assert (
        len({bytes(np.append(*both).astype(np.uint8)) for both in zip(places, tokens, strict=True)})
        == 1000
    )
    forms = CanonicalForms()
    own = forms.of_puzzles(puzzles, solutions)
    assert len(np.unique(own, axis=0)) == len(puzzles)  # no two are forms of one another
    changed = []
    for cells in (puzzles, solutions):
        forms_of = [tokens[k][cells[:, places[k]]] for k in range(40)]
        changed.append(np.concatenate(forms_of).astype(np.uint8))
    asked, answers = changed
    assert task.is_valid(asked, answers).all()
    found = Search(NINE).solve(asked)
    assert (found.counts == 1).all() and (found.first == answers).all()
    assert (forms.of_puzzles(asked, answers) == np.tile(own, (40, 1))).all()


def test_other_givens_are_another_form(made: tuple[NDArray[Any], NDArray[Any]]) -> None:
    puzzles, solutions = made[0][:1], made[1][:1]
    shown = puzzles.copy()
    cell = np.flatnonzero(puzzles[0] == BLANK)[0]
    shown[0, cell] = solutions[0, cell]
    one, other = (
        CanonicalForms().of_puzzles(puzzles, solutions),
        CanonicalForms().of_puzzles(shown, solutions),
    )
    assert (one[:, :81] == other[:, :81]).all() and (one != other).sum() > 0


def test_a_grid_with_symmetries_of_its_own_has_one_form() -> None:
    """The most symmetric grid: of many symmetries that give its form, the puzzle takes one."""
    row, column = np.divmod(np.arange(81), 9)
    grid = ((3 * row + row // 3 + column) % 9 + FIRST_DIGIT).astype(np.uint8)[None]
    random, forms = Random(3), CanonicalForms()
    puzzle = np.where(np.random.default_rng(0).random((1, 81)) < 0.5, grid, np.uint8(BLANK))
    own = forms.of_puzzles(puzzle, grid)
    for _ in range(10):
        places, tokens = NINE.draw(random)
        assert (forms.of_puzzles(tokens[puzzle[:, places]], tokens[grid[:, places]]) == own).all()


# Files --------------------------------------------------------------------------------------------


def test_the_splits_are_those_of_the_files(
    sources: Path, made: tuple[NDArray[Any], NDArray[Any]], tmp_path: Path
) -> None:
    settings = DataSettings("sudokuextreme9", {"test_puzzles": 5}, SplitConfig(valid_fraction=0.1))
    card = build(settings, tmp_path / "data", sources)
    assert {name: card["tables"][name]["rows"] for name in ("train", "valid", "test")} == {
        "train": 18,
        "valid": 2,
        "test": 5,
    }
    assert card["facts"] == {"symmetry_classes": 25}
    again = build(settings, tmp_path / "again", sources)
    assert [again["tables"][name]["md5"] for name in again["tables"]] == [
        card["tables"][name]["md5"] for name in card["tables"]
    ]
    test = load_split(tmp_path / "data", "test")
    places = {puzzle.tobytes(): place for place, puzzle in enumerate(made[0])}
    found = [places[puzzle.tobytes()] for puzzle in test.inputs]
    assert sorted(found) == [20, 22, 24, 26, 28]  # spread over the file
    assert (test.completions == made[1][found]).all()
    assert test.facts["rating"].tolist() == found
    assert test.facts["givens"].tolist() == (made[0][found] != BLANK).sum(axis=1).tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,b", r"train.csv: line 3: no puzzle, but 'a,b'; expected source,question"),
        ("a," + "." * 81 + "," + "." * 81 + ",0", "line 3: no puzzle"),
        ("a," + "." * 80 + "," + "1" * 81 + ",0", "line 3: no puzzle"),
        ("a," + "." * 81 + "," + "1" * 81 + ",-1", "line 3: no puzzle"),
        ("a," + "." * 81 + "," + "1" * 81 + ",0", "line 3: the puzzle has not one solution"),
    ],
)
def test_a_line_that_is_no_puzzle_is_named(sources: Path, line: str, message: str) -> None:
    lines = (sources / TRAIN).read_text().splitlines()[1:]
    write(sources, [lines[0], line, *lines[2:]], (sources / TEST).read_text().splitlines()[1:])
    with pytest.raises(GramError, match=message) as error:
        make_task("sudokuextreme9", {}).examples(sources)
    assert "\n" not in str(error.value) and "delete it, and the next run" in str(error.value)


def test_a_wrong_answer_and_a_leaked_puzzle_are_named(
    sources: Path, made: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    train, test = ((sources / name).read_text().splitlines()[1:] for name in (TRAIN, TEST))
    write(sources, train, [*test[:4], line_of(made[0][24], made[1][25])])
    with pytest.raises(GramError, match=r"test_hard.csv: line 6: the answer is not the puzzle's"):
        make_task("sudokuextreme9", {}).examples(sources)
    places, tokens = NINE.draw(Random(1))
    turned = [tokens[cells[7][places]] for cells in made]
    write(sources, train, [*test[:3], line_of(*turned), *test[4:]])
    with pytest.raises(GramError, match=r"test_hard.csv: line 5: the puzzle is a form of one in"):
        make_task("sudokuextreme9", {}).examples(sources)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "train.csv: no such file"),
        (b"", "train.csv: line 1: expected source,question,answer,rating"),
        (b"question,answer\n", "train.csv: line 1: expected source,question,answer,rating"),
        (bytes([0xFF, 0xFE, 10]), "train.csv: not readable as a table"),
    ],
)
def test_another_file_is_one_line(sources: Path, content: bytes | None, message: str) -> None:
    (sources / TRAIN).unlink()
    if content is not None:
        (sources / TRAIN).write_bytes(content)
    with pytest.raises(GramError, match=message) as error:
        make_task("sudokuextreme9", {}).examples(sources)
    assert "\n" not in str(error.value)


def test_other_sizes_and_no_folder_are_one_line() -> None:
    with pytest.raises(GramError, match="sudokuextreme6: the puzzles of Sudoku-Extreme are 9x9"):
        make_task("sudokuextreme6", {})
    with pytest.raises(GramError, match="read from files; give their folder with --sources"):
        make_task("sudokuextreme9", {}).examples()
    with pytest.raises(GramError, match="emptysudokuextreme4: the puzzles of Sudoku-Extreme are"):
        make_task("emptysudokuextreme4", {})


def test_boards_from_nothing_are_their_solutions_and_forms_of_these(
    sources: Path, made: tuple[NDArray[Any], NDArray[Any]]
) -> None:
    """Equally many of each, all different, and the same twice."""
    task = make_task("emptysudokuextreme9", {"boards": 60})
    found = task.examples(sources)
    assert (found.completions == task.examples(sources).completions).all()
    assert len(np.unique(found.completions, axis=0)) == 60 and found.split_by == "pairs"
    assert task.is_valid(np.repeat(found.inputs, 60, axis=0), found.completions).all()
    forms = CanonicalForms()
    _, times = np.unique(forms.of_grids(found.completions), axis=0, return_counts=True)
    assert times.tolist() == [3] * 20
    lines = (sources / TRAIN).read_text().splitlines()[1:]
    write(sources, [line_of(made[0][0], made[0][0] + (made[0][0] == BLANK)), *lines[1:]], [])
    with pytest.raises(GramError, match=r"train.csv: line 2: the answer is no full grid"):
        task.examples(sources)


def test_a_network_trains_on_them(sources: Path, tmp_path: Path, train_run: Any) -> None:
    """From the files to a trained network, with symmetries; the losses are finite."""
    experiment = load_experiment(
        ROOT / "config/experiments/sudokuextreme9-cpu.yaml",
        {
            "generator": {"test_puzzles": 10},
            "model": {"D": 16, "ffn_hidden": 16},
            "train": {"steps": 4, "batch_size": 4, "log_every": 2, "eval_inputs": 2},
        },
    )
    settings = resolve(experiment, "sudokuextreme9-cpu", "gram", 0)
    build(settings.data, tmp_path / "data", sources)
    run = train_run(settings, tmp_path / "data", tmp_path / "run")
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "losses"]
    assert len(losses) == 2 and np.isfinite(losses).all()


# The real files -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two files, unpacked, of the listed size and sum."""
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"the real puzzles are not tested: {VARIABLE} names no folder that holds them")
    unpacked, taken = (tmp_path_factory.mktemp(name) for name in ("unpacked", "taken"))
    for source in FAMILIES["sudokuextreme"].sources:
        packed = Path(given) / f"{source.file}.xz"
        content = (
            lzma.decompress(packed.read_bytes())
            if packed.exists()
            else (Path(given) / source.file).read_bytes()
        )
        (unpacked / source.file).write_bytes(content)
        take(source, unpacked, taken / source.file)
    return taken


def test_the_real_puzzles(real: Path, tmp_path: Path) -> None:
    """Each of the 1,000 and of 500 for the test has one solution, the answer beside it, and none
    for the test is a form of one of the 1,000.
    """
    settings = DataSettings(
        "sudokuextreme9", {"test_puzzles": 500}, SplitConfig(valid_fraction=0.0)
    )
    card = build(settings, tmp_path, real)
    rows = {name: card["tables"][name]["rows"] for name in ("train", "valid", "test")}
    assert rows == {"train": 1000, "valid": 0, "test": 500}
    assert card["facts"] == {"symmetry_classes": 1500}
    train = load_split(tmp_path, "train")
    assert train.facts["givens"].min() == 17 and round(train.facts["rating"].mean(), 2) == 21.05


LISTED = read_listed(ROOT / "resources/checksums.tsv")


@pytest.mark.parametrize("dataset", [name for name in LISTED if family_of(name).sources])
def test_the_real_files_give_what_is_listed(dataset: str, real: Path, tmp_path: Path) -> None:
    experiment = load_experiment(ROOT / f"config/experiments/{dataset}.yaml")
    build(data_settings(experiment, dataset), tmp_path, real)
    assert measure(tmp_path / "card.json") == (dataset, LISTED[dataset])


def test_the_real_test_puzzles_are_all_there(real: Path) -> None:
    puzzles: Puzzles = read_puzzles(real / TEST)
    assert len(puzzles.questions) == PUZZLES and round(puzzles.ratings.mean(), 2) == 22.22


def test_a_cut_or_changed_real_file_is_refused(real: Path, tmp_path: Path) -> None:
    source = FAMILIES["sudokuextreme"].sources[0]
    content = (real / source.file).read_bytes()
    for broken, message in (
        (content[:-1], f"{source.bytes - 1:,} bytes, but train.csv has {source.bytes:,}"),
        (content.replace(b"puzzles4", b"puzzles5", 1), "SHA-256 [0-9a-f]{64}, but train.csv has"),
        (content + b"\n", f"{source.bytes + 1:,} bytes"),
    ):
        (tmp_path / source.file).write_bytes(broken)
        with pytest.raises(GramError, match=message):
            take(source, tmp_path, tmp_path / "out.csv")
        assert not (tmp_path / "out.csv").exists()
