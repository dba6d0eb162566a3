"""A task from a file, a method and a sampler are added by files of their own, without an edit
elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from tests.pages import cells

ROOT = Path(__file__).parents[1]
TOY = ROOT / "tests/extension"

# Every step of the workflow, in one process, because starting one takes seconds.
STEPS = """
import importlib, shlex, sys
for line in sys.stdin:
    module, *arguments = shlex.split(line)
    sys.argv = [module, *arguments]
    importlib.import_module(module).main()
"""
RUN, DATA, EVAL = (f"results/{kind}/toy4" for kind in ("runs", "data", "eval"))
LINES = f"""
gram.data.fetch --family toy --file toy.csv --output results/sources/toy/toy.csv
gram.data.__main__ --experiment config/experiments/toy4.yaml --sources results/sources/toy
  --output {DATA}
gram.settings.config --experiment config/experiments/toy4.yaml --method toy
  --output {RUN}/toy/seed0/config.json
gram.train.__main__ --config {RUN}/toy/seed0/config.json --data {DATA} --device cpu
  --output {RUN}/toy/seed0
gram.evaluate.__main__ --run {RUN}/toy/seed0 --data {DATA} --device cpu
  --settings "{{sampler: toy, width: 4, depth: 1}}"
  --output {EVAL}/toy/seed0/test.json --samples {EVAL}/toy/seed0/test.samples.parquet
gram.tables.__main__ table1 --evaluations {EVAL}/toy/seed0/test.json
  --reported resources/reported.csv --output results/tables/table1
gram.tables.__main__ words --evaluations {EVAL}/toy/seed0/test.json
  --reported resources/reported.csv --output results/tables/words
gram.figures.__main__ training --histories {RUN}/toy/seed0/history.jsonl
  --output results/figures/training
gram.figures.__main__ elbo --histories {RUN}/toy/seed0/history.jsonl --output results/figures/elbo
gram.figures.__main__ letters --evaluations {EVAL}/toy/seed0/test.json
  --output results/figures/letters
"""

# A table of a paper, its numbers, and what the toy is called there.
WORDS = """
words:
  title: "Words: the paper beside this reproduction"
  help: words of four letters
  listed_under: words
  note: All letters are digits.
  closed: true
  claims:
    - {text: the toy is better than the other, metric: accuracy, more: toy, less: deterministic}
  parts:
    words-a:
      heading: "{task}, as in the paper"
      tasks: {four_letters: toy4}
      metrics: {solved: accuracy}
      columns: [accuracy, distinct]
      rows:
        toy: {paper: Word Net, label: The toy, generative: true}
        other: {paper: Letter Net}
"""
OF_WORDS = """words-a,four_letters,Word Net,1M,solved,97.5,0.5,
words-a,four_letters,Letter Net,1M,solved,51.0,,
"""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server on this machine that has the toy's file."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=os.fspath(TOY))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def folder(port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the toy laid over it, after all steps."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("gram", "config", "resources/reported.csv", "resources/paper.yaml"):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    before = digests(folder)
    for name in ("gram", "config"):
        shutil.copytree(TOY / name, folder / name, dirs_exist_ok=True)
    declared = folder / "gram/settings/tasks/toy.py"
    declared.write_text(
        declared.read_text(encoding="utf-8").replace(":8000", f":{port}"), encoding="utf-8"
    )
    assert before.items() <= digests(folder).items()  # nothing that was there is another
    for name, lines in (("paper.yaml", WORDS), ("reported.csv", OF_WORDS)):
        with (folder / "resources" / name).open("a", encoding="utf-8") as file:
            file.write(lines)
    environment = {**os.environ, "PYTHONPATH": os.fspath(folder)}
    done = subprocess.run(
        [sys.executable, "-c", STEPS],
        input=LINES.strip().replace("\n  ", " ") + "\n",
        text=True,
        cwd=folder,
        env=environment,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


def digests(folder: Path) -> dict[str, str]:
    """The content of every file of the package and the configuration, by its name."""
    paths = [path for name in ("gram", "config") for path in (folder / name).rglob("*.*")]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file()
    }


def test_the_file_came_from_its_url(folder: Path) -> None:
    fetched = folder / "results/sources/toy/toy.csv"
    assert fetched.read_bytes() == (TOY / "toy.csv").read_bytes()
    assert [path.name for path in fetched.parent.iterdir()] == ["toy.csv"]


def test_the_toy_learns_what_no_list_of_answers_says(folder: Path) -> None:
    content = json.loads((folder / "results/eval/toy4/toy/seed0/test.json").read_text())
    assert content["metrics"]["accuracy"]["value"] == 1
    assert content["metrics"]["wrong_letters_mean"]["value"] == 0
    assert content["run"]["sampler"] == "toy"
    samples = pd.read_parquet(folder / "results/eval/toy4/toy/seed0/test.samples.parquet")
    # The sampler gives all trajectories of an input the same noise, so that they answer alike.
    assert (samples.groupby("input_id")["tokens"].agg(lambda t: len(set(map(bytes, t)))) == 1).all()


def test_table_and_figures_have_it(folder: Path) -> None:
    table = (folder / "results/tables/table1.md").read_text()
    assert "toy4" in table and "100.0 (1)" in table
    for name in ("training", "elbo", "letters"):
        assert (folder / f"results/figures/{name}.svg").stat().st_size > 1000


def test_a_table_of_a_paper_is_an_entry_in_one_file(folder: Path) -> None:
    text = (folder / "results/tables/words.md").read_text()
    assert text.startswith("# Words: the paper beside this reproduction\n")
    assert "\nAll letters are digits.\n" in text and "\n## toy4, as in the paper\n" in text
    head, _, toy, other, *_ = text[text.index("| method") :].splitlines()
    assert [cells(line) for line in (head, toy, other)] == [
        ["method", "accuracy: paper", "accuracy: ours", "accuracy: gap"],
        ["The toy", "97.5 ± 0.5", "100.0 (1)", "+2.5"],
        ["Letter Net", "51.0", "not run", "—"],
    ]
    assert "distinct" in text and "seen_answers" not in text  # of the metrics, those it names
