# What all rules share. The checked configuration, the constraints of the wildcards, and the lists of targets.
#
# in:   config/config.yaml (and what --configfile lays over it), config/experiments/*.yaml
# out:  no files; the names in capitals below, and the functions that resolve the settings of a job
import dataclasses
import json
import os
from pathlib import Path

import jsonschema
import yaml
from snakemake.exceptions import WorkflowError

from gram.code_version import code_hash
from gram.config import data_settings, evaluate_settings, load_experiment, method_section
from gram.errors import GramError
from gram.restore import trained_here

CONFIG_FILES = " + ".join(sorted(os.path.relpath(path) for path in workflow.configfiles))


def check_config():
    """Stop at the first key or value that the schema does not know, naming the files, the key and what is known."""
    schema = yaml.safe_load(Path(workflow.basedir, "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(config):
        key_path = "".join(f"[{key}]" if isinstance(key, int) else f": {key}" for key in error.absolute_path)
        where = f"{CONFIG_FILES}{key_path}"
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            unknown = ", ".join(repr(key) for key in error.instance if key not in known)
            raise WorkflowError(f"{where}: unknown key {unknown}; known keys: {', '.join(known)}")
        raise WorkflowError(f"{where}: {error.message}")


def load_experiments():
    """Every file of config/experiments, with the configuration's overrides; all, so that any task can be asked for."""
    paths = {path.stem: path for path in sorted(Path("config/experiments").glob("*.yaml"))}
    for name in config["overrides"]:
        if name not in paths:
            raise WorkflowError(f"{CONFIG_FILES}: overrides: no experiment {name!r}; known ones: {', '.join(paths)}")
    experiments = {}
    for name, path in paths.items():
        overrides = config["overrides"].get(name)
        try:
            experiments[name] = load_experiment(path, overrides)
        except GramError as error:
            laid = f" (with the overrides in {CONFIG_FILES})" if overrides else ""
            raise WorkflowError(f"{' '.join(str(error).split())}{laid}")
    return experiments


def configured_runs(key):
    """(task, method, seed) of every entry of the list under ``key``, each once and in order."""
    found = set()
    for number, entry in enumerate(config[key]):
        where = f"{CONFIG_FILES}: {key}[{number}]"
        if entry["task"] not in EXPERIMENTS:
            raise WorkflowError(f"{where}: task: no experiment {entry['task']!r}; known ones: {', '.join(EXPERIMENTS)}")
        known = EXPERIMENTS[entry["task"]].methods
        for method in entry["methods"]:
            if method not in known:
                raise WorkflowError(f"{where}: methods: no {method!r} in {entry['task']}; known ones: {', '.join(known)}")
        found |= {(entry["task"], method, seed) for method in entry["methods"] for seed in entry["seeds"]}
    return sorted(found)


def reference_runs():
    """The runs, as task/method/seed0, that are restored from ``reference_runs`` instead of trained."""
    if config["reference_runs"] is None:
        return []
    where = f"{CONFIG_FILES}: reference_runs: {config['reference_runs']}"
    found = [path.parent for path in sorted(Path(config["reference_runs"]).glob("runs/*/*/seed*/weights.safetensors"))]
    if not found:
        raise WorkflowError(f"{where}: holds no runs/{{task}}/{{method}}/seed{{seed}}/weights.safetensors; null trains all runs")
    names = ["/".join(path.parts[-3:]) for path in found]
    for name in names:
        # Snakemake would delete it to make the place for the restored one.
        if trained_here(Path("results/runs", name)):
            raise WorkflowError(
                f"{where}: would replace results/runs/{name}, which was trained here; move that away, or set reference_runs to null"
            )
    return names


def frozen(settings):
    """Settings as JSON in one fixed order: Snakemake compares params as text, and only a change of meaning may count."""
    return json.dumps(settings, sort_keys=True)


def resolved(function, task, *arguments):
    """What ``function`` of gram.config resolves for a task."""
    try:
        return function(EXPERIMENTS[BASE[task]], *arguments)
    except GramError as error:  # a method of another experiment, asked for by a file's name
        raise WorkflowError(error)


def settings_of(function, task, *arguments):
    """What :func:`resolved` gives, as JSON."""
    return frozen(dataclasses.asdict(resolved(function, task, *arguments)))


def threads_of(task, method):
    """CPU threads of a training or evaluation: a setting, because the last bits of a result depend on it."""
    return resolved(method_section, task, method, "train").threads


def overrides_of(task, *sections, method=None):
    """The overrides of a task that a job depends on, as JSON: these sections, and the same ones under its method."""
    overrides = config["overrides"].get(BASE[task], {})
    chosen = {name: overrides[name] for name in sections if name in overrides}
    own = (overrides.get("methods") or {}).get(method) or {}
    if kept := {name: own[name] for name in sections if name in own}:
        chosen["methods"] = {method: kept}
    return frozen(chosen)


def evaluations_of(task, path=None, methods=None):
    """The evaluations of a task's configured runs, or another file of each; of all methods, or of some."""
    runs = [(name, method, seed) for name, method, seed in RUNS if name == task and method in (methods or [method])]
    return [(path or EVALUATION).format(task=name, method=method, seed=seed) for name, method, seed in runs]


def for_parts(wildcards, path):
    """``path`` for each trained part of a task, which is the task itself or its folds."""
    return [path.format(part=part, **wildcards) for part in EXPERIMENTS[wildcards.task].tasks(wildcards.task)]


def for_runs(task, path):
    """``path`` for every configured run of a task, or of its folds."""
    runs = [(method, seed) for name, method, seed in RUNS if name == task]
    return [path.format(part=part, method=method, seed=seed) for part in EXPERIMENTS[task].tasks(task) for method, seed in runs]


def compared_seed(task):
    """The first configured seed that GRAM and its deterministic twin share on a task, or None."""
    seeds = {
        method: {seed for name, other, seed in RUNS if (name, other) == (task, method)} for method in ("gram", "deterministic")
    }
    return min(seeds["gram"] & seeds["deterministic"], default=None)


def either(names):
    """A regular expression for one of the names, and for nothing if there are none."""
    return "|".join(sorted(names)) or "(?!)"


check_config()
EXPERIMENTS = load_experiments()
RUNS = configured_runs("runs")
ABLATIONS = configured_runs("ablations")
TASKS = sorted({task for task, _, _ in RUNS})
# The experiment of every trainable task, and of every experiment.
BASE = {part: name for name, experiment in EXPERIMENTS.items() for part in [name, *experiment.tasks(name)]}

# A task with folds is never trained itself, so that exactly one rule makes each file.
TRAINABLE = either(part for name, experiment in EXPERIMENTS.items() for part in experiment.tasks(name))
FOLDED = either(name for name, experiment in EXPERIMENTS.items() if experiment.split.folds > 1)
CONFIGURED = either(TASKS)
# Begins the constraint of the wildcard that opens a path, and looks ahead to its seed.
REFERENCE_RUNS = reference_runs()
RESTORED = f"(?:{either(REFERENCE_RUNS)})/"


wildcard_constraints:
    method=either({method for experiment in EXPERIMENTS.values() for method in experiment.methods}),
    seed="0|[1-9][0-9]*",


EVALUATION = "results/eval/{task}/{method}/seed{seed}/test.json"
EVALUATIONS = [path for task in TASKS for path in evaluations_of(task)]
# Targets of their own, so that a deleted one is made again.
FOLD_EVALUATIONS = [path for task in TASKS for path in for_runs(task, "results/eval/{part}/{method}/seed{seed}/test.json")]
CHECKED = [f"results/data/{part}/checked.json" for task in TASKS for part in EXPERIMENTS[task].tasks(task)]
# What a table of the paper is made from.
SHOWN_IN = {
    "table1": EVALUATIONS,
    "table3": [EVALUATION.format(task=task, method=method, seed=seed) for task, method, seed in ABLATIONS],
}
TABLES = expand("results/tables/table1.{format}", format=["md", "csv", "tex", "html"])
# The board figure draws N-Queens, and needs both models.
BOARDS = {task: seed for task in TASKS if task.startswith("nqueens") and (seed := compared_seed(task)) is not None}
FIGURES = expand(
    "results/figures/{figure}.{format}",
    figure=[f"{task}/{name}" for task in TASKS for name in ("training", "elbo", "completions", "width")]
    + [f"{task}/boards" for task in BOARDS],
    format=["svg", "png"],
)
# What takes more minutes than it should take from every build.
SCALING = "results/eval/{task}/{method}/seed{seed}/scaling.json"
SAMPLERS = "results/eval/{task}/{method}/seed{seed}/samplers.json"
SAMPLED = [task for task in TASKS if evaluations_of(task, methods=["gram"])]
SCALING_FIGURES = expand("results/figures/{task}/{name}.{format}", task=TASKS, name=["scaling", "halting"], format=["svg", "png"])
SAMPLERS_FIGURES = expand("results/figures/{task}/samplers.{format}", task=SAMPLED, format=["svg", "png"])
