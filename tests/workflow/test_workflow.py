"""The workflow as a user meets it: what is built, and what an edit builds again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG, NQUEENS5, NQUEENS6 = (
    "config/config.yaml",
    "config/experiments/nqueens5.yaml",
    "config/experiments/nqueens6.yaml",
)
TABLE_1, TABLE_3 = (f"Write {table} from all its configured runs" for table in ("table1", "table3"))
COSTS = "Add up what the runs of table1 took"


def training(task: str, method: str, seed: int = 0) -> set[str]:
    """The jobs that make one trained and evaluated run of a task without folds."""
    return {
        f"Freeze the settings of {method} on {task}, seed {seed}",
        f"Train {method} on {task}, seed {seed}",
        f"Evaluate {method} on the test split of {task}, seed {seed}",
    }


def shown(task: str, *more: str) -> set[str]:
    """The jobs that show the evaluations of a task, and more figures of it."""
    figures = (
        "accuracy and coverage of {} against the number of completions",
        "coverage of {} against the number of samples",
    )
    return {TABLE_1, COSTS} | {
        f"Draw {figure.format(task)}, for table1" for figure in (*figures, *more)
    }


@pytest.fixture(scope="module")
def finished(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A workflow that was run once, by `snakemake` without a flag."""
    workflow = tiny(tmp_path_factory.mktemp("finished") / "gram")
    # A data set that nobody listed passes, and that is said where the user sees it.
    assert "note: nqueens6 is not listed in resources/checksums.tsv" in workflow.snakemake()
    assert workflow.planned() == set()
    return workflow


@pytest.fixture
def built(finished: Any, tmp_path: Path) -> Any:
    """A copy of the finished workflow to change, with its times and Snakemake's records."""
    return finished.copied(tmp_path / "gram")


@pytest.fixture(scope="module")
def page(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the finished workflow."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert "WARNING" not in finished.snakemake("--report", str(path))
    return Path(path)


def test_builds_everything_that_the_grammar_of_paths_promises(finished: Any) -> None:
    run = ("config.json", "weights.safetensors", "meta.json", "history.jsonl")
    wanted = [
        f"results/runs/{task}/gram/seed0/{name}"
        for task in ("nqueens5-fold0", "nqueens5-fold1", "nqueens6")
        for name in run
    ]
    wanted += [
        f"results/data/nqueens6/{name}.parquet"
        for name in ("train", "valid", "test", "completions")
    ]
    wanted += ["results/data/nqueens6/card.json", "results/data/nqueens6/checked.json"]
    wanted += [
        f"results/eval/{task}/deterministic/seed0/test.json"
        for task in ("nqueens5", "nqueens5-fold0")
    ]
    wanted += [
        f"results/tables/table1.{suffix}"
        for suffix in (
            "md",
            "csv",
            "tex",
            "html",
            "costs.md",
            "costs.csv",
            "costs.html",
            "summary.rst",
        )
    ]
    figures = (
        "nqueens5/boards",
        "nqueens5/training",
        "nqueens5/elbo",
        "nqueens6/completions",
        "nqueens6/width",
    )
    wanted += [
        f"results/figures/table1/{name}.{suffix}" for name in figures for suffix in ("svg", "png")
    ]
    wanted += [
        "results/logs/train/nqueens6/gram/seed0.log",
        "results/benchmarks/train/nqueens6/gram/seed0.tsv",
    ]
    assert [path for path in wanted if not (finished / path).exists()] == []
    # One model only: there is nothing to compare on a board.
    assert not (finished / "results/figures/table1/nqueens6/boards.svg").exists()
    # The pooled evaluation counts every input once: 25 with one queen kept, 100 with two.
    run_facts = finished.json("results/eval/nqueens5/gram/seed0/test.json")["run"]
    assert (run_facts["task"], run_facts["folds"], run_facts["inputs"]) == ("nqueens5", 2, 125)


def test_learning_rate_of_an_experiment_reruns_that_experiment_only(built: Any) -> None:
    built.edit(NQUEENS6, lambda experiment: experiment["train"].update(learning_rate=3e-4))
    assert built.planned() == training("nqueens6", "gram") | shown(
        "nqueens6", "the training curves of {}", "the ELBO of {}"
    )


def test_learning_rate_of_a_method_reruns_that_method_only(built: Any) -> None:
    built.edit(
        NQUEENS5,
        lambda experiment: experiment["methods"]["gram"].update(train={"learning_rate": 3e-4}),
    )
    folds = training("nqueens5-fold0", "gram") | training("nqueens5-fold1", "gram")
    figures = shown("nqueens5", "the training curves of {}", "the ELBO of {}", "boards of {}")
    assert built.planned() == folds | {"Pool the folds of nqueens5: gram, seed 0"} | figures


def test_comments_order_and_spelling_of_settings_rerun_nothing(built: Any) -> None:
    def reverse(value: Any) -> Any:
        return (
            {key: reverse(value[key]) for key in reversed(value)}
            if isinstance(value, dict)
            else value
        )

    for path in (NQUEENS5, NQUEENS6):
        content = reverse(yaml.safe_load(built.text(path)))
        content["train"]["learning_rate"] = "1.0e-04"  # the default, said in another way
        built.write(path, content, comment="# A comment.\n")
    config = reverse(yaml.safe_load(built.text(CONFIG)))
    built.write(CONFIG, config | {"runs": [reverse(entry) for entry in reversed(config["runs"])]})
    assert built.planned() == set()


def test_another_device_reruns_nothing(built: Any) -> None:
    assert built.planned("--config", "device=auto") == set()


def test_a_new_seed_trains_that_seed_only(built: Any) -> None:
    built.edit(CONFIG, lambda config: config["runs"][0].update(seeds=[0, 1]))
    methods = ("gram", "deterministic")
    new = {
        job
        for fold in (0, 1)
        for method in methods
        for job in training(f"nqueens5-fold{fold}", method, seed=1)
    }
    pooled = {f"Pool the folds of nqueens5: {method}, seed 1" for method in methods}
    # The boards show the first seed, so they stay.
    assert built.planned() == new | pooled | shown(
        "nqueens5", "the training curves of {}", "the ELBO of {}"
    )


@pytest.mark.parametrize("where", ["experiment", "override"])
def test_test_time_compute_trains_nothing(built: Any, where: str) -> None:
    if where == "experiment":
        built.edit(NQUEENS6, lambda experiment: experiment["evaluate"].update(width=3))
    else:
        built.edit(
            CONFIG, lambda config: config["overrides"]["nqueens6"].update(evaluate={"width": 3})
        )
    assert built.planned() == {"Evaluate gram on the test split of nqueens6, seed 0"} | shown(
        "nqueens6"
    )


def test_a_deleted_evaluation_rebuilds_its_consumers_only(built: Any) -> None:
    (built / "results/eval/nqueens6/gram/seed0/test.json").unlink()
    first = {"Evaluate gram on the test split of nqueens6, seed 0"} | shown("nqueens6")
    assert built.planned() == first
    (built / "results/eval/nqueens5-fold1/deterministic/seed0/test.json").unlink()
    fold = "Evaluate deterministic on the test split of nqueens5-fold1, seed 0"
    pooled = "Pool the folds of nqueens5: deterministic, seed 0"
    assert built.planned() == first | {fold, pooled} | shown("nqueens5", "boards of {}")


def test_listing_a_new_sum_checks_again_and_trains_nothing(built: Any) -> None:
    built.python("gram.checksums", "record", "--cards", "results/data/nqueens6/card.json")
    tasks = ("nqueens5-fold0", "nqueens5-fold1", "nqueens6")
    assert built.jobs() == {
        f"Check the content of {task} against resources/checksums.tsv" for task in tasks
    }
    assert built.planned() == set()


def test_edited_code_marks_the_table_and_trains_nothing(built: Any) -> None:
    before = built.text("results/tables/table1.csv")
    source = built.text("gram/train/losses.py")
    (built / "gram/train/losses.py").write_text(source + "# A comment.\n", encoding="utf-8")
    assert built.planned(own_code=True) == set()
    (built / "gram/train/losses.py").write_text(source + "EDITED = True\n", encoding="utf-8")
    text = built.snakemake(own_code=True)
    assert re.findall(r"^Job \d+: (.*)$", text, flags=re.MULTILINE) == [TABLE_1]
    assert "of 5 runs were trained by another version of the code" in text
    assert "snakemake --forcerun train" in text
    assert "stale" in built.text("results/tables/table1.csv") and "stale" not in before


def test_table_1_works_alone(built: Any) -> None:
    before = built.text("results/tables/table1.md")
    shutil.rmtree(built / "results/tables")
    shutil.rmtree(built / "results/figures")
    assert built.jobs("results/tables/table1.md") == {TABLE_1}
    assert built.text("results/tables/table1.md") == before


def test_table_3_builds_the_ablations_and_no_more(built: Any) -> None:
    assert built.jobs("results/tables/table3.md") == training("nqueens6", "deterministic") | {
        TABLE_3
    }
    assert "+ DS + HR + SG (GRAM)" in built.text("results/tables/table3.md")
    assert built.planned() == set()  # nothing of the default depends on it


def test_a_table_that_was_added_is_built_from_the_runs_listed_for_it(built: Any) -> None:
    paper = built.text("resources/paper.yaml")
    entry = "\nsmall: {title: Small, help: small, listed_under: small_runs, parts: {small: {rows: "
    (built / "resources/paper.yaml").write_text(
        paper + entry + "{gram: {paper: GRAM}}}}}\n", encoding="utf-8"
    )
    part = [{"task": "nqueens6", "methods": ["gram"], "seeds": [0]}]
    built.edit(CONFIG, lambda config: config.update(small_runs=part))
    made = built.jobs("results/tables/small.md", own_code=True)
    assert made == {"Write small from all its configured runs"}
    assert built.text("results/tables/small.md").startswith("# Small\n")
    assert built.planned(own_code=True) == set()  # the other tables are as they were


def test_quick_is_a_part_of_the_runs_with_a_table_and_figures_of_its_own(built: Any) -> None:
    part = [{"task": "nqueens6", "methods": ["gram"], "seeds": [0]}]
    built.edit(CONFIG, lambda config: config.update(quick=part))
    quick = {
        job.replace("table1", "quick")
        for job in shown("nqueens6", "the training curves of {}", "the ELBO of {}")
    }
    assert built.jobs() == quick  # what is trained for table 1 is shared
    assert built.planned() == built.planned("table1_small") == built.planned("all") == set()
    text = built.text("results/tables/quick.md")
    assert "## nqueens6" in text and "## nqueens5" not in text
    assert (built / "results/figures/quick/nqueens6/width.svg").exists() and not (
        built / "results/figures/quick/nqueens5"
    ).exists()
    # A new seed in table 1 alone leaves quick as it is.
    built.edit(CONFIG, lambda config: config["runs"][1].update(seeds=[0, 1]))
    assert built.planned() == set() and TABLE_1 in built.planned("table1_small")


def test_report_holds_tables_figures_and_captions(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    words = re.sub(r"(\\n|\s)+", " ", text)  # the page keeps texts as JSON
    for said in (
        "Generative Recursive Reasoning, reproduced",
        "On the 25 of 125 test inputs that have several solutions, ",
        "The settings of nqueens6 were overridden for this run",
        "Training runs on nqueens5: 4.",
        "are the runs with seed 0",
    ):
        assert said in words
    for path in (
        "results/tables/table1.html",
        "results/tables/table1.costs.html",
        "results/figures/table1/nqueens5/boards.svg",
        "results/figures/table1/nqueens6/width.svg",
    ):
        assert path in text


# Snakemake's page hides what stands above the window, which is more where the window is lower.
@pytest.mark.parametrize(("width", "height"), [(1280, 620), (1440, 900), (400, 800)])
def test_front_page_of_the_report_is_not_cut(
    page: Path, browse: Any, width: int, height: int
) -> None:
    with browse(page, width, height) as browser:
        for again in (False, True):  # as it opens, and as the house brings it back
            if again:
                browser.click("nav nav a")
            for first in (".prose h1", ".prose p"):
                assert browser.cut(first) == {}, first
                assert browser.covered(first) is None
            assert browser.wider() == []
            # The last line can be scrolled to, and the first one after it.
            for place in (".prose ul:last-of-type li:last-child", ".prose h1"):
                browser.scroll_to(place)
                assert browser.cut(place) == {}, place


@pytest.mark.parametrize(("width", "height"), [(1280, 620), (400, 800)])
def test_everything_in_the_report_opens_from_the_file_alone(
    page: Path, browse: Any, width: int, height: int
) -> None:
    with browse(page, width, height) as browser:
        shown = browser.run("return Object.keys(results)")
        figures = {path for path in shown if path.endswith(".svg")}
        tables = set(shown) - figures
        assert len(figures) > 5 and len(tables) == 2
        # The boards are drawn on the front page itself.
        assert browser.run("return document.querySelectorAll('.picture svg g').length") > 100
        for category, results in (("Figures", figures), ("Tables", tables)):
            seen = set()
            for number in range(len(results)):
                browser.click("nav nav a")  # the house: the menu
                browser.click_link(category)
                browser.click("nav td a", 2 * number)
                seen.add(browser.run("return app.state.resultPath"))
                if category == "Figures":
                    browser.wait("return document.querySelector('.p-3 > img').naturalWidth > 0")
                    assert browser.cut(".p-3 > img", vertically=False) == {}
                else:
                    assert browser.in_frame("return document.querySelectorAll('tbody tr').length")
                assert browser.wider() == []
            assert seen == results
        assert browser.outside() == []
        browser.run("new Image().src = 'http://report.invalid/'")  # one that would be seen
        browser.wait("return performance.getEntriesByName('http://report.invalid/').length")
        assert browser.outside() == ["http://report.invalid/"]


def test_the_report_is_reached_by_keyboard(page: Path, browse: Any) -> None:
    with browse(page, 1280, 620) as browser:
        links = browser.tabbed()
        assert {"Workflow", "Statistics", "About", "Figures", "Tables", "Steps", "Times"} <= set(
            links
        )
        browser.tab_to("Figures")
        browser.enter()
        assert browser.run("return app.state.category") == "Figures"
        # Beside each result the eye, which the style sheet says in words as well, and the i.
        rows = browser.run("return document.querySelectorAll('nav tbody tr').length")
        links = browser.tabbed()
        assert rows > 5 and links.count("open") == links.count("about") == rows
        browser.tab_to("open")
        browser.enter()
        browser.wait("return document.querySelector('.p-3 > img').naturalWidth > 0")
        browser.tab_to("about")
        browser.enter()
        assert browser.run("return app.state.navbarMode") == "resultinfo"
        # The links of the front page itself, where Snakemake's own do nothing.
        browser.open(page)
        for category in ("Figures", "Tables"):
            browser.run("document.querySelector('.prose ul a').focus()")
            browser.tab_to(category)
            browser.enter()
            browser.wait(
                "return document.querySelectorAll('nav tbody tr').length"
                f" == Object.values(categories[{category!r}]).flat().length"
            )
        browser.tab_to("Times")
        browser.enter()
        browser.wait("return app.state.content == 'stats'")
        assert browser.run("return document.querySelector('.prose')") is None


def test_report_without_a_target_shows_what_is_built(built: Any) -> None:
    built.edit(
        CONFIG,
        lambda config: config.update(
            quick=[{"task": "nqueens6", "methods": ["gram"], "seeds": [0]}]
        ),
    )
    # Plain `snakemake` would build quick now; what is there is shown.
    built.snakemake("--report", "report.html")
    assert "results/tables/table1.html" in built.text("report.html")
    assert "results/tables/quick.html" not in built.text("report.html")
    assert "results/tables/quick.html is not built yet" in built.snakemake(
        "results/tables/quick.md", "--report", "no.html", fails=True
    )
    built.snakemake()
    assert "WARNING" not in built.snakemake("--report", "report.html")
    for path in ("tables/table1", "tables/quick", "tables/quick.costs"):
        assert f"results/{path}.html" in built.text("report.html")
    assert "results/figures/quick/nqueens6/width.svg" in built.text("report.html")


def test_report_of_another_configuration_says_which_options_are_missing(built: Any) -> None:
    run = {"task": "nqueens6", "methods": ["gram"], "seeds": [0]}
    built.write("config/other.yaml", {"runs": [run], "quick": None})
    options = ("--configfile", "config/other.yaml", "--config", "device=auto")
    built.snakemake(*options)
    said = built.snakemake("--report", "no.html", fails=True)
    assert "`snakemake --configfile config/other.yaml --config device=auto`" in said
    assert "Missing metadata" not in said and not (built / "no.html").exists()
    assert "WARNING" not in built.snakemake(*options, "--report", "report.html")
    assert "results/figures/table1/nqueens6/width.svg" in built.text("report.html")


def test_lint_is_clean(committed: Any, tmp_path: Path) -> None:
    assert "Congratulations" in committed(tmp_path / "gram").snakemake("--lint")


@pytest.mark.parametrize(
    "configuration",
    [
        "config.yaml",
        "smoke.yaml",
        "proving_ground.yaml",
        "axial.yaml",
        "single_gpu.yaml",
        "paper.yaml",
    ],
)
def test_the_committed_configurations_are_valid(
    committed: Any, tmp_path: Path, configuration: str
) -> None:
    workflow = committed(tmp_path / "gram")
    assert TABLE_1 in workflow.planned("table1_small", "--configfile", f"config/{configuration}")


def test_plain_snakemake_builds_the_quick_part_of_the_default(
    committed: Any, tmp_path: Path
) -> None:
    jobs = committed(tmp_path / "gram").planned()
    assert "Write quick from all its configured runs" in jobs and TABLE_1 not in jobs
    trained = {job for job in jobs if job.startswith("Train ")}
    # Two methods, and one with half the steps, two seeds, four folds.
    assert len(trained) == 24 and not [job for job in trained if "coloring" in job]


def test_a_run_outside_the_configuration_is_built_by_its_name(
    committed: Any, tmp_path: Path
) -> None:
    workflow = committed(tmp_path / "gram")
    workflow.edit(
        CONFIG,
        lambda config: config.update(
            runs=[{"task": "nqueens5", "methods": ["gram"], "seeds": [0]}], quick=None
        ),
    )
    data = {"Build the data set nqueens8"}
    assert (
        workflow.planned("results/eval/nqueens8/gram/seed7/test.json")
        == training("nqueens8", "gram", seed=7) | data
    )


def test_a_run_follows_the_run_whose_weights_it_starts_from(built: Any) -> None:
    start = {
        "train": {"initial_weights": "results/runs/{task}/gram/seed{seed}/weights.safetensors"}
    }
    built.edit(NQUEENS6, lambda experiment: experiment["methods"].update(further=start))
    evaluation = "results/eval/nqueens6/further/seed{}/test.json"
    # That of seed 0 is there; that of seed 5 is trained first.
    assert built.planned(evaluation.format(0)) == training("nqueens6", "further")
    both = training("nqueens6", "further", seed=5) | training("nqueens6", "gram", seed=5)
    assert built.planned(evaluation.format(5)) == both - {
        "Evaluate gram on the test split of nqueens6, seed 5"
    }
    # Weights made anew train anew.
    built.snakemake(evaluation.format(0))
    built.edit(
        NQUEENS6, lambda experiment: experiment["methods"].update(gram={"train": {"beta1": 0.8}})
    )
    again = training("nqueens6", "gram") | training("nqueens6", "further")
    assert built.planned(evaluation.format(0)) == again - {
        "Evaluate gram on the test split of nqueens6, seed 0",
        "Freeze the settings of further on nqueens6, seed 0",
    }
