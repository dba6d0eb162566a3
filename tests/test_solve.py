"""A puzzle of one's own: what is printed of it, which weights answer, and the notebook."""

from __future__ import annotations

import copy
import dataclasses
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from gram.data.splits import build, load_split
from gram.figures import solve
from gram.figures.solutions import draw_shares, draw_trajectories
from gram.models.factory import build_model
from gram.models.network import Shape
from gram.runs import checkpoint
from gram.runs.facts import differ, settings_noted
from gram.settings import RunSettings, SplitConfig
from gram.settings.config import load_run
from gram.settings.tasks import judge_of
from gram.system import files
from gram.tasks import make_task
from tests import synthetic
from tests.damage import note_anew

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/solve.ipynb"
EMPTY = ["......."] * 7
Command = Callable[..., Any]


def board(**queens: int) -> str:
    """A 7x7 board with a queen in column ``c`` of row ``r`` for each ``_r=c``, both from 0."""
    rows = [*EMPTY]
    for name, column in queens.items():
        row = int(name.removeprefix("_"))
        rows[row] = "." * column + "Q" + "." * (6 - column)
    return "/".join(rows)


ONE = board(_0=6, _3=0)
SEVERAL = board(_6=2)
NONE = board(_0=0, _3=4)


def printed_boards(out: str) -> list[list[int]]:
    """The completions in the printed text: of each the columns of its queens, row by row."""
    lines = [line for line in out.splitlines() if re.fullmatch(r"[.Qq ]+", line)]
    boards = []
    for start in range(0, len(lines), 7):
        blocks = zip(*(re.split(r"\s{3,}", line) for line in lines[start : start + 7]), strict=True)
        boards += [list(map(column_of, block)) for block in blocks]
    return boards


def column_of(row: str) -> int:
    """The column of the one queen in a printed row."""
    (column,) = [place for place, cell in enumerate(row.split()) if cell in "Qq"]
    return column


def is_solution(columns: list[int]) -> bool:
    """Whether no two queens share a column or a diagonal: written anew, so that it can disagree
    with gram/tasks.
    """
    rows = range(len(columns))
    lines = [columns, [c - r for r, c in zip(rows, columns, strict=True)]]
    lines += [[c + r for r, c in zip(rows, columns, strict=True)]]
    return all(len(set(line)) == len(columns) for line in lines)


@pytest.mark.parametrize(("text", "given", "exist"), [(ONE, {0: 6, 3: 0}, 1), (SEVERAL, {6: 2}, 6)])
def test_completions_are_distinct_valid_and_counted(
    text: str, given: dict[int, int], exist: int, command: Command
) -> None:
    done = command(solve.main, text)
    assert done.code == 0 and done.err == ""
    boards = printed_boards(done.out)
    assert boards and len(set(map(tuple, boards))) == len(boards)
    assert all(is_solution(found) for found in boards)
    assert all(found[row] == column for found in boards for row, column in given.items())
    assert f"completions that exist: {exist};" in done.out
    assert f"completions found: {len(boards)} of {exist}" in done.out
    times = [int(number) for number in re.findall(r"% \((\d+) of 20\)", done.out)]
    assert times == sorted(times, reverse=True) and len(times) == len(boards)
    assert f"valid: {sum(times)};" in done.out
    assert len(re.findall(r"value [01]\.\d\d", done.out)) == len(boards)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NONE, "this 7x7 board with 2 queens has no completion: all possible answers were tried"),
        (
            board(_0=0, _4=4),
            "the queens in row 1, column 1 and in row 5, column 5 attack each other",
        ),
        (ONE.replace("Q", "K"), "row 1: 'K' is neither . (an empty cell) nor Q (a queen)"),
        ("Q..../...../...../...../.....", "no weights are kept for nqueens5 (kept: "),
        ("no/such/file.txt", "nor is there such a file"),
    ],
)
def test_what_cannot_be_solved_is_refused_in_one_line(
    text: str, message: str, command: Command
) -> None:
    done = command(solve.main, text)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("error: BOARD: ") and message in done.err
    assert done.err.count("\n") == 1


def test_the_same_seed_gives_the_same_text_and_another_seed_another(command: Command) -> None:
    short = (solve.main, SEVERAL, "--samples", 6, "--depth", 8, "--seed")
    first, again, other = (command(*short, seed).out for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert "samples: 6, of 8 supervision steps each" in first


def test_a_board_unlike_the_training_is_solved_with_a_warning(command: Command) -> None:
    done = command(solve.main, *EMPTY, "--samples", 2, "--depth", 2)
    assert done.code == 0
    assert done.err.startswith("warning: the board lacks 7 of 7 queens, those of the training 5 or")
    assert "completions that exist: 40; trained on it: no" in done.out


def test_a_board_comes_from_a_file_or_standard_input(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "board.txt"
    path.write_text(ONE.replace("/", "\n"), encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(ONE))
    few = ("--samples", 2, "--depth", 2)
    texts = [command(solve.main, source, *few).out for source in (ONE, path, "-")]
    assert texts[0] and texts == [texts[0]] * 3
    path.write_bytes(b"\xff\xfe\x00")
    done = command(solve.main, path)
    assert done.code == 2 and "cannot be read as text" in done.err


@pytest.mark.parametrize("option", ["--samples", "--depth"])
def test_nothing_to_draw_is_refused(option: str, command: Command) -> None:
    assert f"error: {option}: 0 is less than 1" in command(solve.main, ONE, option, 0).err


def test_a_picture_is_of_the_kind_that_its_name_says(command: Command, tmp_path: Path) -> None:
    few = (solve.main, ONE, "--samples", 2, "--depth", 2, "--picture")
    assert command(*few, tmp_path / "a.png").code == command(*few, tmp_path / "a.svg").code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert "a figure ends in .svg or .png" in command(*few, tmp_path / "a.pdf").err


# Which weights answer.


@pytest.fixture
def kept(tmp_path: Path) -> Callable[..., Path]:
    """``kept("one", valid=0.5)``: a copy of a kept run as method ``one``, with an evaluation of
    that coverage.
    """
    (source,) = solve.KEPT_RUNS.glob("*/runs/nqueens7/gram/seed0")

    def keep(method: str, *, valid: float | None, test: float = 0.5, md5: str = "") -> Path:
        folder = tmp_path / "set/runs/nqueens7" / method / "seed0"
        shutil.copytree(source, folder)
        facts: dict[str, Any] = {"task": "nqueens7", "inputs": 9, "parameters": 7}
        facts["checkpoint_md5"] = md5 or files.md5(folder / "weights.safetensors")
        facts |= {"depth": 3, "width": 5, "act": False, "weights": "ema"}
        for split, value in {"valid": valid, "test": test}.items():
            if value is not None:
                values = dict.fromkeys(("accuracy", "coverage_macro"), value)
                content = synthetic.evaluation(values=values, split=split, **facts)
                path = tmp_path / "set/eval/nqueens7" / method / "seed0" / f"{split}.json"
                files.write_json(path, content)
        return folder

    return keep


def test_validation_chooses_among_kept_runs_and_the_test_split_does_not(
    kept: Callable[..., Path], tmp_path: Path
) -> None:
    kept("a", valid=0.5, test=0.9)
    best = kept("b", valid=0.6, test=0.1)
    kept("c", valid=None, test=1.0)
    kept("d", valid=0.6, test=1.0)
    assert solve.choose("nqueens", 7, tmp_path).folder == best


def test_evaluations_of_other_weights_say_nothing_of_a_run(kept: Callable[..., Path]) -> None:
    folder = kept("a", valid=0.5, md5="0123")
    found = solve.load(folder)
    assert found.tested is None and found.validated is None
    assert found.config.depth == load_run(folder / "config.json").train.N_sup
    assert "not evaluated" in solve.describe_run(found)


def test_a_run_is_asked_as_it_was_evaluated_and_says_how_well_it_did(
    kept: Callable[..., Path], command: Command
) -> None:
    done = command(solve.main, ONE, "--run", kept("a", valid=0.5, test=0.125))
    assert "network: nqueens7 gram seed 0, 7 parameters; on 9 test inputs" in done.out
    assert "12.5 % of samples are" in done.out
    assert "samples: 5, of 3 supervision steps each" in done.out


# Its 4,380 rollouts take a GPU, or half an hour of cores; till then it is only asked by its name.
NOT_VALIDATED = ["resources/reference_runs/paper_size/runs/nqueens8/diagonal-board/seed0"]


def test_every_kept_run_that_was_tested_was_validated() -> None:
    """So that it can be chosen: `python -m gram.evaluate --split valid`, at the depth of its
    test.json, to valid.json beside it.
    """
    weights = [*solve.KEPT_RUNS.glob("*/runs/*/*/seed*/weights.safetensors")]
    every = [solve.load(path.parent) for path in weights]
    for found in every:
        if not found.tested:  # nor in any table, and never chosen
            assert not found.validated and found.rank < 0
    # Boards from nothing have no validation inputs, and are not asked for completions.
    judged = [found for found in every if judge_of(found.settings.task) == "completions"]
    runs = [found for found in judged if found.tested]
    assert runs
    waiting = [found for found in runs if not found.validated]
    folders = [found.folder.resolve().relative_to(ROOT) for found in waiting]
    assert list(map(str, folders)) == NOT_VALIDATED and all(found.rank < 0 for found in waiting)
    for found in runs:
        if not found.validated:
            continue
        assert found.tested
        for fact in settings_noted().values():
            assert not differ(found.tested["run"], found.validated["run"], fact)


def test_a_folder_without_a_run_and_a_run_of_another_size_are_refused(
    command: Command, tmp_path: Path, gram_run: Path
) -> None:
    assert "holds no config.json" in command(solve.main, ONE, "--run", tmp_path).err
    done = command(solve.main, ONE, "--run", gram_run)
    assert "BOARD: a board of 7x7 cells, but nqueens5 has 5x5" in done.err


def test_a_run_trained_here_answers_and_a_deterministic_one_only_once(
    command: Command, gram_run: Path, deterministic_run: Path
) -> None:
    text = "Q..../...../...../...../....."
    assert "samples: 20, of 3 supervision steps" in command(solve.main, text, "--run", gram_run).out
    done = command(solve.main, text, "--run", deterministic_run)
    assert "samples: 1, of 3 supervision steps" in done.out


def test_another_family_needs_nothing_but_its_run(
    command: Command, settings: RunSettings, gram_run: Path, tmp_path: Path
) -> None:
    """An untrained network for graphs: it is the task that reads, judges and writes."""
    data = dataclasses.replace(
        settings.data, task="coloring3", generator={"train": 4, "test": 2}, split=SplitConfig()
    )
    coloring = dataclasses.replace(settings, task="coloring3", data=data)
    task = make_task("coloring3", data.generator)
    model = build_model(coloring.model, Shape.of(task), seed=0)
    files.write_json(tmp_path / "config.json", coloring.as_dict())
    checkpoint.save_weights(tmp_path / "weights.safetensors", ema=model, raw=copy.deepcopy(model))
    shutil.copy(gram_run / "history.jsonl", tmp_path)
    meta = files.read_json(gram_run / "meta.json")
    meta |= {"task": "coloring3", "settings": coloring.as_dict()}
    files.write_json(tmp_path / "meta.json", meta)
    note_anew(tmp_path)
    done = command(solve.main, "1-2 2-3", "--run", tmp_path)
    assert done.code == 0
    assert "graph of 3 vertices with 2 edges; completions that exist: 2" in done.out
    done = command(solve.main, "1-2 2-3", "--run", tmp_path, "--picture", tmp_path / "a.png")
    assert done.code == 2 and "no boards that can be drawn" in done.err


# What is behind the text.


@pytest.fixture(scope="module")
def solved() -> solve.Solved:
    """Eight samples of the board with several completions."""
    chosen, puzzle = solve.read_puzzle([SEVERAL])
    return solve.solve(chosen, puzzle, samples=8)


def test_every_step_is_read_as_if_it_were_the_last(solved: solve.Solved) -> None:
    chosen, puzzle = solve.read_puzzle([SEVERAL])
    short = solve.solve(chosen, puzzle, samples=8, depth=5)
    assert np.array_equal(short.tokens, solved.tokens[:5])
    assert np.array_equal(short.found, solved.found[:5])
    assert np.array_equal(short.value, solved.value[:5])


def test_found_names_the_completion_and_values_are_means_over_it(solved: solve.Solved) -> None:
    for step, sample in np.ndindex(solved.found.shape):
        number, tokens = solved.found[step, sample], solved.tokens[step, sample]
        equal = (solved.completions == tokens).all(axis=1)
        assert equal.sum() == (number >= 0) and (number < 0 or equal[number])
    assert sum(answer.times for answer in solved.answers) + solved.invalid == 8
    for answer in solved.answers:
        same = (solved.tokens[-1] == answer.tokens).all(axis=1)
        assert same.sum() == answer.times
        assert answer.value == pytest.approx(solved.value[-1, same].mean())


def test_without_noise_all_samples_are_the_same(solved: solve.Solved) -> None:
    chosen, puzzle = solve.read_puzzle([SEVERAL])
    still = solve.solve(chosen, puzzle, samples=3, depth=4, noise=False)
    assert (still.tokens == still.tokens[:, :1]).all()
    assert not (solved.tokens == solved.tokens[:, :1]).all()


def test_a_board_was_trained_on_if_it_is_in_the_training_split(tmp_path: Path) -> None:
    chosen, _ = solve.read_puzzle([ONE])
    build(chosen.settings.data, tmp_path)
    for split in ("train", "valid", "test"):
        rows = load_split(tmp_path, split).inputs[:3]
        assert [solve.trained_on(chosen, row) for row in rows] == [split == "train"] * 3


def test_shares_and_boards_are_drawn_at_every_step(solved: solve.Solved) -> None:
    (axes,) = draw_shares(solved.found).axes
    last = [bars.patches[-1].get_height() for bars in axes.containers]
    assert sum(last) == pytest.approx(100 * (8 - solved.invalid) / 8)
    task = make_task("nqueens7", {"removed": [5, 6]})
    figure = draw_trajectories(
        task, solved.puzzle, solved.tokens[:, :2], solved.found[:, :2], [1, 16]
    )
    marks = [axes.texts[-1].get_text() for axes in figure.axes]
    numbers = solved.found[[0, 0, -1, -1], [0, 1, 0, 1]].reshape(2, 2).T.flatten()
    assert marks == [f"completion {n + 1}" if n >= 0 else "no completion" for n in numbers]


def test_the_notebook_runs_and_is_stored_as_it_ran() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    stored = [len(cell.outputs) for cell in cells]
    assert NOTEBOOK.stat().st_size < 300_000
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": NOTEBOOK.parent}},
    ).execute()
    assert [len(cell.outputs) for cell in cells] == stored
