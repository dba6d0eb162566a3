"""Figures: the numbers drawn, the rule that chooses boards, the same bytes from the same input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_hex
from matplotlib.patches import Polygon, Rectangle

from gram.data.splits import load_split
from gram.evaluate.__main__ import main as evaluate_main
from gram.figures.__main__ import main
from gram.figures.boards import (
    ADDED,
    GIVEN,
    WRONG_CELL,
    board_rows,
    chosen_inputs,
    draw_board,
    draw_boards,
    faults,
    load_task,
    on_boards,
    test_inputs,
)
from gram.figures.curves import (
    PAPERS,
    PAPERS_SIGN,
    completions_data,
    draw_completions,
    draw_width,
    width_data,
)
from gram.figures.elbo import draw_elbo, elbo_data
from gram.figures.style import COLOURS, MARKERS, new_figure, signs_of
from gram.figures.training import draw_training, training_data
from gram.system import files
from gram.tables.paper import rows_of
from gram.tables.reported import read_figure4
from gram.tasks import make_task
from gram.tasks.nqueens import NQueens
from tests import synthetic

test_inputs.__test__ = False  # type: ignore[attr-defined]  # a function of the package, not a test
Make = Callable[..., dict[str, Any]]


def texts(figure: Any) -> list[str]:
    """Everything that can be read in a figure, but for its ticks."""
    figure.draw_without_rendering()
    found = [
        text.get_text()
        for axes in figure.axes
        for text in (*axes.texts, axes._left_title, axes.xaxis.label, axes.yaxis.label)
    ]
    found += [
        text.get_text()
        for legend in figure.legends
        for text in (*legend.get_texts(), legend.get_title())
    ]
    return [*found, figure.get_suptitle()]


@pytest.fixture
def history(tmp_path: Path) -> Callable[..., Path]:
    """``history("gram", fold=0, seed=1, valid=3)``: a history with two rollouts and one line of
    losses, and its meta.
    """

    def write(
        method: str, *, fold: int, seed: int, valid: int, task: str = "nqueens5", several: int = 2
    ) -> Path:
        folder = tmp_path / f"{task}-fold{fold}" / method / f"seed{seed}"
        meta = synthetic.meta(task=f"{task}-fold{fold}", method=method, seed=seed)
        files.write_json(folder / "meta.json", meta)
        lines: list[dict[str, Any]] = []
        for step, found in ((0, 0), (50, valid)):
            counts = {
                "one": {"valid": found, "inputs": 8},
                "several": {"valid": 0, "inputs": several},
            }
            lines.append({"event": "rollout", "step": step, "train": counts, "valid": counts})
        losses = {"event": "losses", "step": 50, "cross_entropy": 0.5, "learning_rate": 1.0}
        lines.append(losses | ({"kl_nats": float(valid)} if method == "gram" else {}))
        path = folder / "history.jsonl"
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write


def test_training_data_holds_percent_per_run(history: Any) -> None:
    paths = [
        history("gram", fold=fold, seed=seed, valid=fold + 2 * seed)
        for fold in (0, 1)
        for seed in (0, 1)
    ]
    data = training_data([*paths, history("deterministic", fold=0, seed=0, valid=8, several=0)])
    assert set(data["task"]) == {"nqueens5"}
    at_end = data[
        (data["method"] == "gram")
        & (data["panel"] == "valid")
        & (data["group"] == "one")
        & (data["step"] == 50)
    ]
    assert sorted(at_end["value"]) == [0.0, 12.5, 25.0, 37.5]
    assert sorted(data[(data["panel"] == "kl_nats")]["value"]) == [0, 1, 2, 3]
    # No inputs with several completions: nothing to draw, rather than zero.
    assert data[(data["method"] == "deterministic") & (data["group"] == "several")].empty
    axes = draw_training(data).axes[1]
    of_gram = [line for line in axes.lines if line.get_color() == COLOURS["gram"]]
    *single, mean = (list(np.asarray(line.get_ydata())) for line in of_gram)
    assert mean == [0.0, pytest.approx(18.75)]
    assert sorted(single) == [[0.0, value] for value in (0.0, 12.5, 25.0, 37.5)]
    widths = [line.get_linewidth() for line in of_gram]
    assert widths[-1] > 3 * max(widths[:-1])  # the mean stands out from the runs
    assert axes.get_title(loc="left") == "Validation, one completion (8 inputs)"


def test_the_weights_themselves_are_a_dotted_line_behind_their_average(history: Any) -> None:
    path = history("gram", fold=0, seed=0, valid=4)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["event"] == "rollout":
            both = {"one": {"valid": 8, "inputs": 8}, "several": {"valid": 0, "inputs": 0}}
            line["raw"] = {"train": both, "valid": both}
    files.write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    figure = draw_training(training_data([path]))
    drawn = {line.get_linestyle(): list(line.get_ydata()) for line in figure.axes[1].lines}
    assert drawn == {":": [100, 100], "-": [0, 50]}
    assert "Dotted: the weights themselves" in figure.get_suptitle()


def test_training_figure_says_what_it_shows(history: Any) -> None:
    figure = draw_training(training_data([history("gram", fold=0, seed=0, valid=4)]))
    seen = texts(figure)
    for needed in (
        "optimizer steps",
        "valid samples (%)",
        "nats per token",
        "GRAM",
        "Validation, several completions (2 inputs)",
    ):
        assert needed in seen
    title, note = figure.get_suptitle().split("\n")
    assert title.startswith("nqueens5: ") and note == "Lines: one run each."
    assert len({axes.get_xlim() for axes in figure.axes}) == 1  # one range of steps


def test_elbo_figure_adds_the_terms_of_each_bound(history: Any) -> None:
    paths = [history("gram", fold=0, seed=seed, valid=4) for seed in (0, 1)] + [
        history("deterministic", fold=0, seed=0, valid=4)
    ]
    for path, full in zip(paths[:2], (30.0, 50.0), strict=True):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for line in lines[:2]:
            line["elbo"] = {
                "full": {"cross_entropy": full, "kl": 10.0},
                "surrogate": {"cross_entropy": 7.0, "kl": 2.0},
            }
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    data = elbo_data(paths)
    assert set(data["method"]) == {"gram"} and set(data["step"]) == {0, 50}  # the twin has no KL
    assert sorted(
        data[(data["panel"] == "full") & (data["term"] == "total") & (data["step"] == 50)]["value"]
    ) == [40.0, 60.0]
    figure = draw_elbo(data)
    means = [list(np.asarray(axes.lines[-1].get_ydata())) for axes in figure.axes]
    assert means == [[value] * 2 for value in (50.0, 40.0, 10.0, 9.0, 7.0, 2.0)]
    wanted = {"Full bound: sum", "Surrogate: KL", "nats per input", "GRAM"}
    assert wanted <= set(texts(figure))
    assert len({axes.get_ylim() for axes in figure.axes}) == 1  # terms can be compared


def test_an_axis_in_nats_has_no_linear_part_and_says_where_it_ends(history: Any) -> None:
    path = history("gram", fold=0, seed=0, valid=4)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line, kl in zip(lines[:2], (0.0, 100.0), strict=True):
        terms = {"cross_entropy": 1e-6, "kl": kl}
        line["elbo"] = {"full": terms, "surrogate": terms}
    files.write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    figure = draw_elbo(elbo_data([path]))
    assert {axes.get_yscale() for axes in figure.axes} == {"log"}
    low, high = figure.axes[0].get_ylim()
    assert low == 0.1 and high > 100
    assert "Below the axes: 0, and values under 0.1 nats." in figure.get_suptitle()


def test_histories_without_the_elbo_give_a_figure_that_says_so(
    history: Any, command: Any, tmp_path: Path
) -> None:
    path = history("gram", fold=0, seed=0, valid=4)
    assert "histories of an older version" in texts(draw_elbo(elbo_data([path])))[0]
    assert command(main, "elbo", "--histories", path, "--output", tmp_path / "elbo").code == 0
    assert (tmp_path / "elbo.svg").exists() and (tmp_path / "elbo.png").exists()


def test_curves_hold_the_values_of_the_evaluations(synthetic_evaluation: Make) -> None:
    evaluations = [
        synthetic_evaluation(
            seed=seed,
            values={"coverage_macro": value},
            several={"accuracy": value, "coverage_macro": value},
        )
        for seed, value in ((0, 0.4), (1, 0.6))
    ]
    data = completions_data(evaluations)
    several = data[(data["x"] == 2) & (data["metric"] == "accuracy")]
    assert (
        list(several["value"]) == [40.0, 60.0]
        and list(several["inputs"]) == [4, 4]
        and several["ceiling"].isna().all()
    )
    figure = draw_completions(data)
    drawn = figure.axes[0].containers[0].lines[0]
    assert list(drawn.get_xdata()) == [0, 1] and list(drawn.get_ydata()) == [
        25.0,
        pytest.approx(50.0),
    ]
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["1\n(6)", "2\n(4)"]
    bars = figure.axes[0].containers[0].lines[2][0].get_segments()[1]
    assert list(bars[:, 1]) == [pytest.approx(40.0), pytest.approx(60.0)]
    one_found = next(line for line in figure.axes[1].lines if line.get_linestyle() == ":")
    assert list(one_found.get_ydata()) == [100.0, 50.0]
    width = width_data(evaluations)
    assert sorted(width["x"].unique()) == [1, 2, 5, 20]
    ceiling = next(line for line in draw_width(width).axes[0].lines if line.get_linestyle() == "--")
    assert list(ceiling.get_ydata()) == [90.0] * 4
    assert {"samples per input", "completions found (%)"} <= set(texts(draw_width(width)))


def test_two_places_are_not_joined_and_three_are(synthetic_evaluation: Make) -> None:
    two = synthetic_evaluation()
    three = synthetic_evaluation()
    row = three["by_completions"][-1]
    three["by_completions"].append(row | {"n_completions": 12, "inputs": 7})
    for evaluation, line in ((two, "None"), (three, "-")):
        figure = draw_completions(completions_data([evaluation]))
        assert figure.axes[0].containers[0].lines[0].get_linestyle() == line
        assert figure.legends[0].get_lines()[0].get_linestyle() == line
    # However far apart numbers of completions are, each has its place and its count of inputs.
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "1\n(6)",
        "2\n(4)",
        "12\n(7)",
    ]


def test_the_papers_figure_stands_beside_the_same_board(synthetic_evaluation: Make) -> None:
    """Its points of 8x8 at the numbers of completions that are tested, in the panel of accuracy
    alone.
    """
    papers = read_figure4(Path(__file__).parents[1] / "resources/figure4.csv")
    evaluation = synthetic_evaluation(task="nqueens8-cpu")
    numbers = {row["n_completions"] for row in evaluation["by_completions"]}
    beside = completions_data([evaluation], papers).query("metric == @PAPERS")
    assert set(beside["x"]) == numbers & set(papers["x"])
    left, right = draw_completions(completions_data([evaluation], papers)).axes
    crosses = [line for line in left.get_lines() if line.get_marker() == PAPERS_SIGN["marker"]]
    drawn = sorted(value for line in crosses for value in line.get_ydata())
    assert drawn == sorted(beside["value"])
    assert PAPERS_SIGN["marker"] not in {line.get_marker() for line in right.get_lines()}
    evaluation["run"]["task"] = "nqueens7"
    assert PAPERS not in set(completions_data([evaluation], papers)["metric"])


def test_methods_stand_beside_each_other_and_bars_over_hollow_markers(
    synthetic_evaluation: Make,
) -> None:
    """A bar shorter than a marker, and a marker under another, would not be seen."""
    evaluations = [
        synthetic_evaluation(method=method, seed=seed, values={"coverage_macro": 0.5 + seed / 100})
        for method in ("deterministic", "gram")
        for seed in (0, 1)
    ]
    for figure in (
        draw_completions(completions_data(evaluations)),
        draw_width(width_data(evaluations)),
    ):
        twin, gram = (container.lines for container in figure.axes[1].containers)
        assert set(twin[0].get_xdata()).isdisjoint(gram[0].get_xdata())
        marks, (cap, *_), (bar,) = gram
        assert marks.get_markerfacecolor() == "white"
        assert min(cap.get_zorder(), bar.get_zorder()) > marks.get_zorder()
        assert "means over 2 seeds" in figure.get_suptitle()


def test_a_figure_of_several_tasks_is_refused(
    synthetic_evaluation: Make, command: Any, tmp_path: Path
) -> None:
    for task in ("nqueens5", "nqueens7"):
        files.write_json(tmp_path / f"{task}.json", synthetic_evaluation(task=task))
    given = ("--evaluations", tmp_path / "nqueens5.json", tmp_path / "nqueens7.json")
    for name in ("completions", "width"):
        outcome = command(main, name, *given, "--output", tmp_path / name)
        assert outcome.code == 2
        assert "files of nqueens5 and nqueens7: a figure shows one task" in outcome.err


def test_the_width_figure_shows_the_papers_average_of_each_task(synthetic_evaluation: Make) -> None:
    values: dict[str, float | None] = {"coverage_micro": 0.5, "coverage_paper": 0.75}
    for task, value in (("coloring5", 50), ("nqueens5", 75)):
        figure = draw_width(width_data([synthetic_evaluation(task=task, values=values)]))
        assert list(figure.axes[1].containers[0].lines[0].get_ydata()) == [value] * 4
        assert figure.axes[1].get_title(loc="left") == "Completions found, the paper's average"


def test_the_legends_of_all_methods_fit(synthetic_evaluation: Make, history: Any) -> None:
    evaluations = [synthetic_evaluation(method=method) for method in rows_of()]
    histories = [history(method, fold=0, seed=0, valid=4) for method in rows_of()]
    figures = (
        draw_completions(completions_data(evaluations)),
        draw_width(width_data(evaluations)),
        draw_training(training_data(histories)),
    )
    for figure in figures:
        figure.draw_without_rendering()
        (legend,) = figure.legends
        extent = legend.get_window_extent()
        assert {text.get_text() for text in legend.get_texts()} >= {
            row.name for row in rows_of().values()
        }
        assert extent.x0 >= 0 and extent.x1 <= figure.bbox.x1 and extent.y0 >= 0
        assert extent.y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes)


def test_a_metric_over_nothing_is_not_drawn(synthetic_evaluation: Make) -> None:
    data = completions_data([synthetic_evaluation(several={"accuracy": None})])
    assert list(data.loc[data["metric"] == "accuracy", "x"]) == [1]


def test_every_method_of_the_paper_has_its_own_colour_and_marker() -> None:
    for signs in (COLOURS, MARKERS):
        assert len({signs[method] for method in rows_of()}) == len(rows_of())


@pytest.fixture(scope="module")
def samples(data_folder: Path) -> dict[str, pd.DataFrame]:
    """Samples of an invented GRAM, which finds both completions and fails in between, and of a twin
    that unites them.
    """
    split = load_split(data_folder, "test")
    rows: dict[str, list[dict[str, Any]]] = {"gram": [], "deterministic": []}
    for index, input_id in enumerate(split.input_ids):
        known = split.of(index)
        drawn = [
            (known[0], 0),
            (known[-1], len(known) - 1),
            (known[-1], len(known) - 1),
            (split.inputs[index], -1),
        ]
        united = known.max(axis=0)  # a queen wherever any completion has one
        for sample, (tokens, completion) in enumerate(drawn):
            rows["gram"].append(
                {
                    "input_id": input_id,
                    "sample": sample,
                    "tokens": tokens,
                    "completion_id": completion,
                }
            )
            answer = {"tokens": united, "completion_id": 0 if len(known) == 1 else -1}
            rows["deterministic"].append({"input_id": input_id, "sample": sample} | answer)
    return {method: pd.DataFrame(table) for method, table in rows.items()}


def test_boards_are_chosen_by_the_stated_rule(
    data_folder: Path, samples: dict[str, pd.DataFrame]
) -> None:
    split = load_split(data_folder, "test")
    inputs = test_inputs([data_folder])
    several = sorted(split.input_ids[split.counts > 1])
    rows = board_rows(inputs, samples["gram"], samples["deterministic"], 3)
    assert [row.input_id for row in rows] == [several[place] for place in (0, 2, 4)]
    for row in rows:
        assert row.exist == 2 and row.samples == 4 and row.invalid == 1 and not row.answer_valid
        assert [times for _, times in row.drawn] == [2, 1]  # the more frequent one first
        (index,) = np.flatnonzero(split.input_ids == row.input_id)
        assert {tokens.tobytes() for tokens, _ in row.drawn} == {
            tokens.tobytes() for tokens in split.of(index)
        }


def test_chosen_inputs_are_spread_over_all_with_several_completions() -> None:
    inputs = pd.DataFrame({"input_id": range(40), "exist": [2] * 25 + [1] * 15})
    assert list(chosen_inputs(inputs, 4)["input_id"]) == [0, 8, 16, 24]
    assert list(chosen_inputs(inputs, 1)["input_id"]) == [0]
    assert list(chosen_inputs(inputs, 30)["input_id"])[-1] == 39  # too few with several
    assert len(chosen_inputs(inputs, 99)) == 40


def colours(axes: Any) -> list[str]:
    """The colours of the crowns on a board."""
    crowns = (patch for patch in axes.patches if isinstance(patch, Polygon))
    return [to_hex(crown.get_facecolor()).upper() for crown in crowns]


def marked(axes: Any) -> int:
    """How many cells of a board are marked as attacked."""
    cells = (patch for patch in axes.patches if isinstance(patch, Rectangle))
    return [to_hex(cell.get_facecolor()).upper() for cell in cells].count(WRONG_CELL)


def test_an_attacked_given_queen_is_still_seen_as_given(data_folder: Path) -> None:
    given, board = np.ones(25, dtype=np.uint8), np.ones(25, dtype=np.uint8)
    given[0] = board[0] = board[4] = 2  # two queens in one row, of which one was given
    axes = new_figure(2, 2).subplots()
    draw_board(axes, load_task([data_folder]).board(given, board))
    assert colours(axes) == [GIVEN, ADDED] and marked(axes) == 2


def test_without_a_completion_an_invalid_sample_is_shown(
    data_folder: Path, samples: dict[str, pd.DataFrame]
) -> None:
    task, inputs = load_task([data_folder]), test_inputs([data_folder])
    nothing = samples["gram"].assign(completion_id=-1)
    (row,) = board_rows(inputs, nothing, samples["deterministic"], 1)
    assert row.drawn == [] and row.invalid == row.samples == 4
    board = draw_boards(task, [row], 5).axes[1]
    assert colours(board) and board.get_title(loc="left") == "one of the invalid"


def test_boards_show_counts_and_conflicts(
    data_folder: Path, samples: dict[str, pd.DataFrame]
) -> None:
    task = load_task([data_folder])
    rows = board_rows(test_inputs([data_folder]), samples["gram"], samples["deterministic"], 2)
    figure = draw_boards(task, rows, 5)
    seen = texts(figure)
    assert seen.count("drawn 2 of 4") == 2 and seen.count("drawn 1 of 4") == 2
    assert seen.count("GRAM: 2 of 2 found, 1 of 4 samples invalid") == 2
    assert isinstance(task, NQueens)
    attacked = int(task.conflicts(rows[0].answer[None]).sum())
    assert attacked > 0 and f"{attacked} queens attacked" in seen
    assert marked(figure.axes[3]) == attacked
    assert len(colours(figure.axes[3])) == (rows[0].answer == 2).sum()
    # What GRAM found has no conflicts, and the given queen keeps its colour.
    found = colours(figure.axes[1])
    assert marked(figure.axes[1]) == 0 and found.count(GIVEN) == (rows[0].board == 2).sum()
    assert "(1 not shown)" in " ".join(texts(draw_boards(task, [wide(rows[0])], 2)))


def wide(row: Any) -> Any:
    """The row as if GRAM had found one more completion."""
    return replace(row, drawn=[*row.drawn, row.drawn[0]], exist=3)


def test_a_lost_given_queen_and_a_missing_one_are_told(
    data_folder: Path, samples: dict[str, pd.DataFrame]
) -> None:
    row = board_rows(test_inputs([data_folder]), samples["gram"], samples["deterministic"], 1)[0]
    task = load_task([data_folder])
    alone = np.ones(25, dtype=np.uint8)
    assert faults(replace(row, answer=alone), task) == "1 given queen missing"
    assert faults(replace(row, answer=row.board), task) == "1 of 5 queens"
    assert faults(replace(row, answer_valid=True), task) == ""
    completion = row.drawn[0][0]
    odd = np.where((completion == 1) & (row.board == 1), 0, completion)  # neither empty nor a queen
    assert faults(replace(row, answer=odd), task) == "unknown tokens"
    axes = new_figure(2, 2).subplots()
    draw_board(axes, task.board(row.board, alone))
    assert [patch.get_fill() for patch in axes.patches if isinstance(patch, Polygon)] == [
        False
    ] * int((row.board == 2).sum())


def test_same_input_same_bytes(
    synthetic_evaluation: Make,
    history: Any,
    samples: dict[str, pd.DataFrame],
    data_folder: Path,
    tmp_path: Path,
    command: Any,
) -> None:
    evaluation = tmp_path / "test.json"
    files.write_json(evaluation, synthetic_evaluation())
    for method, table in samples.items():
        table.to_parquet(tmp_path / f"{method}.parquet")
    chosen = [f"{method}={tmp_path / method}.parquet" for method in ("gram", "deterministic")]
    calls: dict[str, list[object]] = {
        "training": ["--histories", history("gram", fold=0, seed=0, valid=4)],
        "completions": ["--evaluations", evaluation],
        "width": ["--evaluations", evaluation],
        "boards": ["--samples", *chosen, "--data", data_folder, "--rows", 2],
    }
    for name, arguments in calls.items():
        for folder in ("once", "again"):
            assert command(main, name, *arguments, "--output", tmp_path / folder / name).code == 0
        for suffix in (".svg", ".png"):
            once, again = (
                (tmp_path / folder / name).with_suffix(suffix).read_bytes()
                for folder in ("once", "again")
            )
            assert once == again and len(once) > 5000
        assert b"<dc:date>" not in (tmp_path / "once" / name).with_suffix(".svg").read_bytes()


def test_real_samples_make_a_board_figure(
    gram_run: Path, deterministic_run: Path, data_folder: Path, command: Any, tmp_path: Path
) -> None:
    chosen = []
    for method, folder in (("gram", gram_run), ("deterministic", deterministic_run)):
        path = tmp_path / f"{method}.parquet"
        given = (
            "--run",
            folder,
            "--data",
            data_folder,
            "--depth",
            1,
            "--width",
            2,
            "--device",
            "cpu",
            "--samples",
            path,
        )
        assert command(evaluate_main, *given, "--output", tmp_path / "test.json").code == 0
        chosen.append(f"{method}={path}")
    output = tmp_path / "boards"
    assert (
        command(
            main, "boards", "--samples", *chosen, "--data", data_folder, "--output", output
        ).code
        == 0
    )
    assert output.with_suffix(".svg").exists() and output.with_suffix(".png").exists()


def test_boards_refuse_what_they_cannot_draw(
    data_folder: Path, samples: dict[str, pd.DataFrame], command: Any, tmp_path: Path
) -> None:
    for method, table in samples.items():
        table.assign(input_id=table["input_id"] + 1000).to_parquet(tmp_path / f"{method}.parquet")
    chosen = [f"{method}={tmp_path / method}.parquet" for method in ("gram", "deterministic")]
    other = tmp_path / "other"
    shutil.copytree(data_folder, other)
    card = files.read_json(other / "card.json")
    card["settings"] |= {"task": "nqueens6", "generator": {"removed": [4]}}
    files.write_json(other / "card.json", card)
    for arguments, expected in (
        (
            ("--samples", chosen[0], chosen[0], "--data", data_folder),
            "expected gram=FILE deterministic=FILE",
        ),
        (("--samples", *chosen, "--data", data_folder), "give samples and data of the same task"),
        (("--samples", *chosen, "--data", data_folder, other), "different sizes"),
        (("--samples", *chosen, "--data", data_folder, "--rows", 0), "from 1 to 100"),
        (
            ("--samples", "gram=absent.parquet", chosen[1], "--data", data_folder),
            "absent.parquet: no such file",
        ),
    ):
        outcome = command(main, "boards", *arguments, "--output", tmp_path / "boards")
        assert outcome.code == 2 and expected in outcome.err and len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "boards.svg").exists()


def test_a_task_without_boards_is_refused(data_folder: Path, command: Any, tmp_path: Path) -> None:
    shutil.copytree(data_folder, tmp_path / "graphs")
    card = files.read_json(tmp_path / "graphs/card.json")
    card["settings"] |= {"task": "coloring5", "generator": {}}
    files.write_json(tmp_path / "graphs/card.json", card)
    samples = ("--samples", "gram=a", "deterministic=b")
    more = ("--data", tmp_path / "graphs", "--output", tmp_path / "b")
    outcome = command(main, "boards", *samples, *more)
    assert outcome.code == 2 and "coloring5: its puzzles are no boards" in outcome.err


def test_a_sudoku_is_painted_with_digits_and_boxes() -> None:
    task = make_task("sudoku4", {"fewest_givens": 4, "most_givens": 8})
    solved = task.parse("1234/3412/2143/4321")
    puzzle = np.where(np.arange(16) < 3, solved, task.parse("..../..../..../...."))
    wrong = solved.copy()
    wrong[0] = wrong[1]  # a given digit is another one, which stands twice in its row
    boards = on_boards(task)
    axes = new_figure(2, 2).subplots()
    draw_board(axes, boards.board(puzzle, wrong))
    assert [text.get_text() for text in axes.texts] == list("2234341221434321")
    assert [text.get_color() for text in axes.texts] == [ADDED, GIVEN, GIVEN] + [ADDED] * 13
    # The two of the row, and with each of them one that stands in the same column.
    assert marked(axes) == 3 and boards.faults(puzzle, wrong) == [
        "3 cells in conflict",
        "1 given digit changed",
    ]
    draw_board(axes := new_figure(2, 2).subplots(), boards.board(puzzle))
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"] and marked(axes) == 0
    assert sum(patch.get_width() == 2 for patch in axes.patches) == 4  # boxes


def test_a_broken_history_is_named(history: Any, command: Any, tmp_path: Path) -> None:
    path = history("gram", fold=0, seed=0, valid=4)
    path.write_text("{broken\n", encoding="utf-8")
    outcome = command(main, "training", "--histories", path, "--output", tmp_path / "training")
    assert outcome.code == 2 and f"{path}: not a JSON-lines file" in outcome.err


def test_methods_of_one_configuration_are_told_apart() -> None:
    """Those of the committed configurations that draw figures of all their runs."""
    for name in ("config.yaml", "reference.yaml", "proving_ground.yaml"):
        runs = yaml.safe_load(
            (Path(__file__).parents[1] / "config" / name).read_text(encoding="utf-8")
        )["runs"]
        for task in {entry["task"] for entry in runs}:
            methods = {
                method for entry in runs if entry["task"] == task for method in entry["methods"]
            }
            signs = signs_of(methods).values()
            for of_one in (
                {sign.color for sign in signs},
                {sign.marker for sign in signs},
            ):
                assert len(of_one) == len(methods), name


def test_what_is_new_gets_a_sign_of_its_own() -> None:
    new = [f"new{number}" for number in range(40)]
    signs = signs_of(["gram", "deterministic", *new])
    assert len(set(signs.values())) == 42 and signs["gram"].color == COLOURS["gram"]
    assert signs_of([*reversed(new), "gram"])["new0"] == signs_of([*new, "gram"])["new0"]
