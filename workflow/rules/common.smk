# What all rules share. The checked configuration, the constraints of the wildcards, and the lists of targets.
#
# in:   config/config.yaml (and what --configfile lays over it), config/experiments/*.yaml
# out:  no files; the names in capitals below, and the functions that resolve the settings of a job
import dataclasses
import functools
import json
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from gram.system.code_version import code_hash
from gram.settings.config import (
    data_settings,
    evaluate_settings,
    method_section,
    resolve,
    split_fold,
)
from gram.system.errors import GramError, short, suggestion
from gram.settings.lineage import BASED_ON
from gram.system.names import EVALUATED_AS, join_evaluation, split_evaluation
from gram.settings.tasks import FAMILIES, family_and_size, family_of
from gram.figures.declared import declared
from gram.tables.paper import MAIN, paper_tables
from gram.runs.restore import OF_KEPT_RUN


def frozen(settings):
    """Settings as JSON in one fixed order: Snakemake compares params as text, and only a change of meaning may count."""
    return json.dumps(settings, sort_keys=True)


def resolved(function, task, *arguments):
    """What ``function`` of gram.config resolves for a task."""
    try:
        return function(EXPERIMENTS[BASE[task]], *arguments)
    except GramError as error:  # a method of another experiment, asked for by a file's name
        raise WorkflowError(error)


def readable(function):
    """What ``function`` reads of files of this repository."""
    try:
        return function()
    except GramError as error:
        raise WorkflowError(error)


def settings_of(function, task, *arguments):
    """What :func:`resolved` gives, as JSON."""
    return frozen(dataclasses.asdict(resolved(function, task, *arguments)))


def lines_of(values, *keys):
    """Nested settings as lines, by their keys: {"train: steps": "train: steps: 1000"}."""
    if not isinstance(values, dict):
        return {": ".join(keys): f"{': '.join(keys)}: {frozen(values)}"}
    found = {}
    for key, value in values.items():
        found |= lines_of(value, *keys, key)
    return found


@functools.cache
def data_lines(task):
    """The settings of a data set as lines."""
    return lines_of(dataclasses.asdict(resolved(data_settings, task, task)), "data")


@functools.cache
def section_lines(section, task, method):
    """One section of a method's settings as lines."""
    return lines_of(dataclasses.asdict(resolved(method_section, task, method, section)), section)


def row_of(wildcards):
    """The method of a job, or what a table calls an evaluation of it that has a name: gram@deep. None of a job without one."""
    return wildcards.get("method") and join_evaluation(
        wildcards.method, wildcards.get("evaluation", "")
    )


def tracked(*sections):
    """A param per setting of these sections, its line: where one has changed, the reason for a rerun is that one.

    Snakemake compares params as a set of values, so that each says its own name. A job without such a setting has None.
    """

    def lines(task, method):
        found = {}
        for section in sections:
            found |= data_lines(task) if section == "data" else section_lines(section, task, method)
        return found

    names = {}
    for task, experiment in EXPERIMENTS.items():
        for method in experiment.methods:
            names |= lines(task, method)
    return [
        lambda wildcards, name=name: lines(wildcards.task, row_of(wildcards)).get(name)
        for name in names
    ]


def threads_of(task, method):
    """CPU threads of a training or evaluation: a setting, because the last bits of a result depend on it."""
    return resolved(method_section, task, method, "train").threads


def processes_of(task, method):
    """Processes of a training, and so its GPUs. With fewer in the profile's total, Snakemake gives the job that many."""
    return resolved(method_section, task, method, "train").processes


def processes_in(resources, wildcards):
    """Processes of a training with these resources: as many as it got GPUs.

    Where a cluster wants its GPUs named otherwise (gpu: 0 and gres: "gpu:4", say), as many as its settings ask for.
    """
    return resources.get("gpu") or processes_of(wildcards.task, wildcards.method)


def time_limit(resources):
    """Seconds after which a training saves and ends by itself, before its `runtime` (minutes) does that; 0 for none.

    Ten minutes, of less than two hours a twelfth, are for what comes before: Snakemake, which starts anew in every job.
    """
    seconds = 60 * resources.get("runtime", 0)
    return seconds - min(600, seconds // 12)


def sources_of(task):
    """The files that a data set is made from, where its family needs some."""
    family, _ = family_and_size(task)
    return [f"results/sources/{family}/{source.file}" for source in FAMILIES[family].sources]


def folder_of_sources(task):
    """The option of gram.data that names their folder; nothing where there are none."""
    return option("--sources", sources_of(task) and f"results/sources/{family_and_size(task)[0]}")


def option(name, value):
    """An option of a command as a list of words, which is empty without a value."""
    return [name, value] if value else []


def kept_files(wildcards):
    """The files of a kept run. From a function, for in a pattern braces in the folder's name would be wildcards."""
    folder = Path(config["reference_runs"], "runs/{task}/{method}/seed{seed}".format(**wildcards))
    return [str(folder / name) for name in OF_KEPT_RUN]


def initial_weights_of(task, method, seed):
    """The files from which a training starts, if it names any."""
    path = resolved(resolve, task, task, method, int(seed)).train.initial_weights
    if not path:
        return []
    # Of a path of nothing but separators, Snakemake would leave nothing.
    return [*filter(None, [path.rstrip(os.sep)]), str(Path(path).parent / "meta.json")]


def overrides_of(task, *sections, method=None):
    """The overrides of a task that a job depends on, as JSON: these sections, also under its method and what that is based on."""
    overrides = config["overrides"].get(BASE[task], {})
    chosen = {name: overrides[name] for name in sections if name in overrides}
    given = overrides.get("methods") or {}
    methods = {}
    for name in EXPERIMENTS[BASE[task]].ancestors(method) if method else []:
        own = given.get(name) or {}
        if kept := {key: own[key] for key in (*sections, BASED_ON) if key in own}:
            methods[name] = kept
    return frozen(chosen | {"methods": methods} if methods else chosen)


def runs_of(table, task, methods=None):
    """(method, seed) of the runs of a task that stand in a table; of all methods, or of some."""
    found = [
        (method, seed)
        for name, method, seed in RUNS[table]
        if name == task and (methods is None or method in methods)
    ]
    if not found:
        raise WorkflowError(
            f"results/figures/{table}/{task}: no such run in {source_of(LISTED_UNDER[table])}: {LISTED_UNDER[table]}"
        )
    return found


def tasks_of(table):
    """The tasks of a table."""
    return sorted({task for task, _, _ in RUNS[table]})


def evaluations_of(table, task=None, path=None, methods=None):
    """The evaluations in a table, or another file of each; of all tasks, or of one."""
    return [
        (path or EVALUATION).format(task=name, method=method, seed=seed)
        for name in ([task] if task else tasks_of(table))
        for method, seed in runs_of(table, name, methods)
    ]


def for_parts(wildcards, path):
    """``path`` for each trained part of a task, which is the task itself or its folds."""
    return [
        path.format(part=part, **wildcards)
        for part in EXPERIMENTS[wildcards.task].tasks(wildcards.task)
    ]


def for_runs(table, task, path):
    """``path`` for every run of a task in a table, or for its folds; below results/runs, where a training stands once."""
    parts = EXPERIMENTS[task].tasks(task)
    trainings = path.startswith("results/runs/")
    found = [
        path.format(
            part=part, method=split_evaluation(method)[0] if trainings else method, seed=seed
        )
        for part in parts
        for method, seed in runs_of(table, task)
    ]
    return list(dict.fromkeys(found))


def compared_seed(table, task):
    """The first seed that GRAM and its deterministic twin share on a task in a table, or None."""
    gram, twin = (
        {seed for one, seed in runs_of(table, task) if one == method}
        for method in ("gram", "deterministic")
    )
    return min(gram & twin, default=None)


def compared_samples(table, task, method):
    """The samples of one of the two models with that seed."""
    return f"results/eval/{task}/{method}/seed{compared_seed(table, task)}/test.samples.parquet"


def figures_of(table, task):
    """The figures of a task in a table, as its family lists them; one of samples shows both models."""
    names = family_of(task).figures
    if unknown := [name for name in names if name not in FIGURES]:
        meant = suggestion(unknown[0], FIGURES, "known ones")
        raise WorkflowError(f"{family_and_size(task)[0]}: no figure {short(unknown[0])}; {meant}")
    compared = compared_seed(table, task) is not None
    return [name for name in names if compared or FIGURES[name].of != "samples"]


def figures_from(of):
    """The figures that are made of one kind of files."""
    return [name for name, shown in FIGURES.items() if shown.of == of]


def inputs_of_figure(wildcards, name):
    """The files that a figure is made of, by what the command calls them."""
    table, task, shown = wildcards.table, wildcards.task, FIGURES[name]
    if shown.of == "histories":
        run = "results/runs/{part}/{method}/seed{seed}"
        found = {
            "histories": for_runs(table, task, f"{run}/history.jsonl"),
            "metas": for_runs(table, task, f"{run}/meta.json"),
        }
    elif shown.of == "samples":
        found = {
            "gram": compared_samples(table, task, "gram"),
            "deterministic": compared_samples(table, task, "deterministic"),
            "tests": for_parts(wildcards, "results/data/{part}/test.parquet"),
            "cards": for_parts(wildcards, "results/data/{part}/card.json"),
        }
    elif shown.of == "evaluations":
        found = {"evaluations": evaluations_of(table, task)}
    else:
        path = f"results/eval/{{task}}/{{method}}/seed{{seed}}/{shown.of}.json"
        methods = MEASURED_ON[shown.of](table, task)
        found = {"evaluations": evaluations_of(table, task, path, methods)}
    return found | ({"reported": shown.paper} if shown.paper else {})


def options_of_figure(wildcards, input, name):
    """The options, as words, that name the files of a figure."""
    shown = FIGURES[name]
    if shown.of == "histories":
        given = ["--histories", *input.histories]
    elif shown.of == "samples":
        given = ["--samples", f"gram={input.gram}", f"deterministic={input.deterministic}"]
        given += ["--data", *for_parts(wildcards, "results/data/{part}")]
    else:
        given = ["--evaluations", *input.evaluations]
    return given + option("--reported", shown.paper and input.reported)


def caption_of_figure(wildcards, input, name):
    """A figure's text in the report."""
    of_samples = FIGURES[name].of == "samples"
    seed = compared_seed(wildcards.table, wildcards.task) if of_samples else None
    count = len(input.get("histories", input.get("evaluations", [])))
    return FIGURES[name].caption.format(task=wildcards.task, count=count, seed=seed)


def trained_methods(table, task):
    """The methods of a task in a table, without evaluations of them that have names."""
    return sorted({method for method, _ in runs_of(table, task) if EVALUATED_AS not in method})


def deep_methods(table, task):
    """The methods that answer in several steps, so that more of them can be tried."""
    methods = trained_methods(table, task)
    return [method for method in methods if resolved(evaluate_settings, task, method).depth > 1]


def steered_methods(table, task):
    """The methods with a posterior, along whose trajectories a KL can be measured."""
    methods = trained_methods(table, task)
    models = {method: resolved(method_section, task, method, "model") for method in methods}
    return [m for m in methods if getattr(models[m], "guidance", "none") != "none"]


def recurrent_methods(table, task):
    """The methods whose answer comes from a state that goes on, of a task that is trained as one; the states of folds do not pool."""
    if EXPERIMENTS[task].split.folds > 1:
        return []
    return [
        m for m in deep_methods(table, task) if resolved(method_section, task, m, "train").N_sup > 1
    ]


def results_of(table):
    """A table with what it is made from, as targets of their own, so that one that was deleted is made again.

    The data sets are checked, not named: making them again would train again, whether that is needed or not.
    """
    made = [
        for_runs(table, task, path)
        for task in tasks_of(table)
        for path in (
            "results/runs/{part}/{method}/seed{seed}/weights.safetensors",
            "results/eval/{part}/{method}/seed{seed}/test.json",
        )
    ]
    return [checked(table), *made, evaluations_of(table), tables(table)]


def checked(table):
    """The checks of the data sets of a table."""
    return [
        f"results/data/{part}/checked.json"
        for task in tasks_of(table)
        for part in EXPERIMENTS[task].tasks(task)
    ]


def tables(table):
    """A table in all formats, and in short."""
    return expand(
        "results/tables/{table}.{format}",
        table=table,
        format=["md", "csv", "tex", "html", "summary.json", "summary.rst"],
    )


def metas_of(table):
    """What each run of a table noted about its training, folds one by one."""
    return [
        path
        for task in tasks_of(table)
        for path in for_runs(table, task, "results/runs/{part}/{method}/seed{seed}/meta.json")
    ]


def costs_of(table):
    """What the runs of a table took, in all formats."""
    return expand(
        "results/tables/{table}.costs.{format}", table=table, format=["md", "csv", "html"]
    )


def figures(table, names, tasks):
    """Figures of the runs in a table, each in both formats."""
    return expand(
        "results/figures/{table}/{task}/{name}.{format}",
        table=table,
        task=tasks,
        name=names,
        format=["svg", "png"],
    )


def everything(table):
    """A table, its costs and its figures, with all of :func:`results_of`."""
    drawn = [figures(table, figures_of(table, task), [task]) for task in tasks_of(table)]
    return [results_of(table), costs_of(table), drawn]


def device():
    """Where jobs compute: as configured.

    Where --resources gpu=N asks for GPUs, as profiles/local does, `auto` may not do without one:
    gram.launch then refuses a machine that has none. A job on another machine, which is a process of
    its own with the GPUs that it got, must find CUDA: nobody wants to pay for a GPU and train beside it.
    """
    asked = workflow.global_resources.get("gpu").value
    if not asked or config["device"] != "auto":
        return config["device"]
    return "gpu" if workflow.is_main_process else "cuda"


def layout_of(table):
    """The table of the paper that a table is laid out as: quick is a part of the first."""
    return table if table in PAPER_TABLES else MAIN


def declared_as(table):
    """What resources/paper.yaml says of a table, as JSON."""
    return frozen(dataclasses.asdict(PAPER_TABLES[layout_of(table)]))


def either(names):
    """A regular expression for one of the names, and for nothing if there are none; short, for it stands in the report.

    That of nqueens8, nqueens10 and nqueens8-cpu is nqueens(?:10|8)|nqueens8-cpu.
    """
    numbers = {}
    for name in sorted(names):
        stem = name.rstrip("0123456789")
        numbers.setdefault(stem, []).append(name.removeprefix(stem))
    alike = [
        re.escape(stem) + (found[0] if len(found) == 1 else f"(?:{'|'.join(found)})")
        for stem, found in numbers.items()
    ]
    return "|".join(alike) or "(?!)"


try:
    PAPER_TABLES = readable(paper_tables)
    # Every figure by its name: what gram/figures says of it.
    FIGURES = {name: one.shown for name, one in readable(declared).items()}
    # The tables: under which key of the configuration their runs are listed.
    LISTED_UNDER = {MAIN: PAPER_TABLES[MAIN].listed_under, "quick": "quick"}
    LISTED_UNDER |= {name: table.listed_under for name, table in PAPER_TABLES.items()}
    read_command_line()
    check_config()
    DEVICE = device()
    EXPERIMENTS, BROKEN = load_experiments()
    RUNS = {table: configured_runs(key) for table, key in LISTED_UNDER.items()}
    check_quick()
    REFERENCE_RUNS = reference_runs()
except (WorkflowError, GramError) as error:
    refuse(str(error))
for message in BROKEN.values() if workflow.is_main_process else []:
    logger.warning(f"left out: {message}")
DEFAULT = "quick" if RUNS["quick"] else "table1"
# The experiment of every trainable task, and of every experiment.
BASE = {
    part: name
    for name, experiment in EXPERIMENTS.items()
    for part in [name, *experiment.tasks(name)]
}

# A task with folds is never trained itself, so that exactly one rule makes each file.
TRAINABLE = either(
    part for name, experiment in EXPERIMENTS.items() for part in experiment.tasks(name)
)
FOLDED = either(name for name, experiment in EXPERIMENTS.items() if experiment.split.folds > 1)
# Begins the constraint of the wildcard that opens a path, and looks ahead to its seed.
RESTORED = f"(?:{either(REFERENCE_RUNS)})/"
SEED = "0|[1-9][0-9]*"


wildcard_constraints:
    method=f"[^/{EVALUATED_AS}]+",  # which are known, `resolved` says better than "no rule"
    evaluation=f"[^/{EVALUATED_AS}]+",
    seed=SEED,
    table=either(table for table, runs in RUNS.items() if runs),


EVALUATION = "results/eval/{task}/{method}/seed{seed}/test.json"
# What rented pods cost: runpod-state of profiles/runpod. Without that profile there is none.
LEDGER = "results/runpod/ledger.jsonl"
# What takes more minutes than it should take from every build, and the methods of which it is measured.
MEASURED_ON = {
    "scaling": deep_methods,
    "samplers": lambda table, task: ["gram"],
    "carried": steered_methods,
    "trajectories": recurrent_methods,
}
STEERED = [task for task in tasks_of(DEFAULT) if steered_methods(DEFAULT, task)]
SCALED = [task for task in tasks_of(DEFAULT) if deep_methods(DEFAULT, task)]
RECURRENT = [task for task in tasks_of(DEFAULT) if recurrent_methods(DEFAULT, task)]
SAMPLED = sorted({task for task, method, _ in RUNS[DEFAULT] if method == "gram"})
