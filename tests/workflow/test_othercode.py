"""A results folder that another version of the code made: what is said of it before a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gram.system.code_version import code_hash

ROOT = Path(__file__).parents[2]
OWN = ("gram.train.__main__", "gram.tasks.nqueens")
Write = Callable[..., Any]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write("train", content, ...)``: jobs of a rule, with their files; None: none."""

    def jobs(rule: str, *contents: Any) -> list[Any]:
        found = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{rule}{number}.json"
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                path.write_text(text, encoding="utf-8")
            output = {"meta" if rule == "train" else "json": str(path)}
            found.append(SimpleNamespace(rule=SimpleNamespace(name=rule), output=output))
        return found

    return jobs


def said(*jobs: Any) -> list[str]:
    """The lines of workflow/rules/othercode.smk, whose text is plain Python."""
    names: dict[str, Any] = {"json": json, "Path": Path}
    exec((ROOT / "workflow/rules/othercode.smk").read_text(encoding="utf-8"), names)
    return list(names["made_by_other_code"](SimpleNamespace(jobs=[one for g in jobs for one in g])))


def by(**changed: Any) -> dict[str, Any]:
    """Who made a result: the present code, but for what is changed."""
    present = {"code_hash": code_hash(OWN), "code_of": list(OWN), "gram_version": "0.2.0"}
    return present | {"commit": "a" * 40} | changed


def test_results_of_the_present_code_need_no_line(write: Write) -> None:
    whole = {"code_hash": code_hash()}  # before modules were noted
    evaluated = {"run": {"evaluated_by": by()}}
    assert said(write("train", by(), whole, None), write("evaluate", evaluated, None)) == []


def test_results_of_an_earlier_version_are_counted_with_what_to_do(write: Write) -> None:
    earlier = {"code_hash": "0" * 12, "gram_version": "0.1.0", "commit": "7d9c1790000"}
    runs = write("train", by(), earlier, earlier, by(code_hashes=["1" * 12, code_hash(OWN)]), None)
    evaluated = write("evaluate", {"run": {"evaluated_by": earlier}}, {"run": {}}, "{broken")
    trained, tested = said(runs, evaluated)
    assert trained.startswith("results/: 3 of 4 runs were trained by another version of the code (")
    assert "(gram 0.1.0, commit 7d9c179; gram 0.2.0, commit aaaaaaa)" in trained
    assert "To keep all of them, `snakemake --touch` comes first" in trained
    assert trained.endswith("`snakemake --forcerun train` trains all anew")
    assert "1 of 1 runs were evaluated by another version" in tested
    assert "`snakemake --forcerun evaluate` evaluates all anew" in tested


def test_many_versions_are_counted(write: Write) -> None:
    runs = [by(code_hash="0" * 12, commit=f"{number}" * 40) for number in range(5)]
    (line,) = said(write("train", *runs))
    assert "commit 2222222, and 2 more)" in line
