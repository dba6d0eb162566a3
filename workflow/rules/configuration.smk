# The configuration, and the experiments under it: how they are read, and what is said of what cannot be.
#
# in:   config/config.yaml (and what --configfile and --config lay over it), config/experiments/*.yaml
# out:  no files; functions that common.smk calls at once
import math
import os
from pathlib import Path

import jsonschema
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.utils import update_config

from gram.settings.config import (
    check_listed,
    data_settings,
    evaluate_settings,
    experiment_files,
    load_experiment,
    split_fold,
)
from gram.settings.documents import parse_yaml, read_yaml
from gram.system.errors import GramError, short, suggestion
from gram.system.names import RULE, is_experiment_name, split_evaluation
from gram.runs.restore import trained_here
from gram.tasks import checked_task

# Those that --configfile names come first, and of them the last counts most; the one of the Snakefile stands at the end.
CONFIG_FILES = [os.path.relpath(path) for path in workflow.configfiles]
COMMAND_LINE = dict(
    entry.split("=", maxsplit=1) for entry in workflow.config_settings.config_args or []
)


def read_command_line():
    """Lay what --config gives over the configuration once more, as YAML: Snakemake reads numbers in lists, and null, as text."""
    for key, text in COMMAND_LINE.items():
        try:
            update_config(config, {key: parse_yaml(text, f"--config {key}")})
        except GramError as error:
            raise WorkflowError(f"{error}")


def source_of(key):
    """Where the value of a key of the configuration comes from: a file, --config, or all that are merged into it."""
    by_weight = [CONFIG_FILES[-1], *CONFIG_FILES[:-1]]
    contents = {path: load_configfile(path) for path in by_weight} | {"--config": COMMAND_LINE}
    having = [path for path, content in contents.items() if key in content]
    if not having:  # a key that is missing
        return " + ".join(by_weight)
    parts = [path for path in having if contents[path][key]]
    if isinstance(config[key], dict) and parts:
        return " + ".join(parts)
    return having[-1]


# In JSON's schema 1.0 is an integer, and infinity a number.
STRICT = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) is int
            or (type(value) is float and math.isfinite(value)),
        }
    ),
)


def check_config():
    """Stop at the first key or value that the schema does not know, naming the file, the key and what was meant."""
    schema = read_yaml(Path(workflow.basedir, "workflow/schemas/config.schema.yaml"))
    # A table of the paper that was added brings the key under which its runs are listed.
    listing = {"type": "array", "$ref": "#/$defs/entries"}
    schema["properties"] = dict.fromkeys(LISTED_UNDER.values(), listing) | schema["properties"]
    for table, key in LISTED_UNDER.items():
        if schema["properties"][key].get("$ref") != listing["$ref"]:
            raise WorkflowError(
                f"resources/paper.yaml: {table}: listed_under: {key} lists no runs; name another key"
            )
    for error in STRICT(schema).iter_errors(config):
        key_path = "".join(
            f"[{key}]" if isinstance(key, int) else f": {key}" for key in error.absolute_path
        )
        # The message begins with the value, which may be a whole list of runs.
        message = error.message.replace(repr(error.instance), short(error.instance))
        first = next(iter(error.absolute_path), None)
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            unknown = next(key for key in error.instance if key not in known)
            message = f"unknown key {short(unknown)}; {suggestion(unknown, known, 'known keys')}"
            first = unknown if first is None else first
        elif error.validator == "pattern":  # whose first sentence says more than the expression
            expected = error.schema["description"].partition(". ")[0]
            message = f"{short(error.instance)} does not fit: {expected}"
        raise WorkflowError(f"{source_of(first)}{key_path}: {message}")


def load_experiments():
    """Every file of config/experiments, with the configuration's overrides, so that any task can be asked for.

    Second, what is wrong with those that cannot be read, by their names: it is told to whoever asks for one, and stops no other.
    """
    paths = {path.stem: path for path in experiment_files(Path("config/experiments"))}
    for name in config["overrides"]:
        if name not in paths:
            meant = suggestion(name, paths, "known ones")
            raise WorkflowError(
                f"{source_of('overrides')}: overrides: no experiment {short(name)}; {meant}"
            )
    experiments, broken = {}, {}
    for name, path in paths.items():
        overrides = config["overrides"].get(name)
        try:
            experiments[name] = read_experiment(path, overrides)
        except GramError as error:
            said = " ".join(str(error).split())
            if overrides:
                raise WorkflowError(f"{said} (with the overrides in {source_of('overrides')})")
            broken[name] = said
    return experiments, broken


def read_experiment(path, overrides):
    """An experiment that is known to make a task, and, without the overrides, to mean here what it meant where it was written."""
    experiment = load_experiment(path, overrides)
    try:
        checked_task(data_settings(experiment, path.stem))
    except GramError as error:
        raise GramError(f"{path}: {error}")
    if workflow.is_main_process:
        check_listed(load_experiment(path) if overrides else experiment)
    return experiment


def no_experiment(name):
    """What is said of a task that has no file, or one that cannot be read."""
    if split_fold(name)[0] in BROKEN:
        return BROKEN[split_fold(name)[0]]
    if not is_experiment_name(split_fold(name)[0]):
        return f"{short(name)} is no task: {RULE}"
    meant = suggestion(name, EXPERIMENTS, "known ones")
    return f"no experiment {short(name)} in config/experiments; {meant}"


def no_method(method, task):
    """What is said of a method that the experiment of a task does not have, or of an evaluation of one; None of one that it has."""
    known = EXPERIMENTS[task].methods
    trained, _ = split_evaluation(method)
    if trained not in known:
        return f"no {short(trained)} in {task}; {suggestion(trained, known, 'known ones')}"
    try:
        evaluate_settings(EXPERIMENTS[task], method)
    except GramError as error:
        return str(error)
    return None


def configured_runs(key):
    """(task, method, seed) of every entry of the list under ``key``, each once and in order; none for null."""
    found = set()
    for number, entry in enumerate(config.get(key) or []):
        where = f"{source_of(key)}: {key}[{number}]"
        if entry["task"] not in EXPERIMENTS:
            raise WorkflowError(f"{where}: task: {no_experiment(entry['task'])}")
        for method in entry["methods"]:
            if wrong := no_method(method, entry["task"]):
                raise WorkflowError(f"{where}: methods: {wrong}")
        found |= {
            (entry["task"], method, seed) for method in entry["methods"] for seed in entry["seeds"]
        }
    return sorted(found)


def reference_runs():
    """The runs, as task/method/seed0, that are restored from ``reference_runs`` instead of trained."""
    if config["reference_runs"] is None:
        return []
    where = f"{source_of('reference_runs')}: reference_runs: {config['reference_runs']}"
    found = [
        path.parent
        for path in sorted(
            Path(config["reference_runs"]).glob("runs/*/*/seed*/weights.safetensors")
        )
    ]
    if not found:
        raise WorkflowError(
            f"{where}: holds no runs/{{task}}/{{method}}/seed{{seed}}/weights.safetensors; null trains all runs"
        )
    for folder in found:
        # Of what is missing here, Snakemake would say only that no rule makes it, in many lines.
        if missing := [name for name in OF_KEPT_RUN if not (folder / name).is_file()]:
            raise WorkflowError(
                f"{where}: {folder / missing[0]} is missing; restore it with git, or keep the run again"
            )
    names = ["/".join(path.parts[-3:]) for path in found]
    for name in names:
        # Snakemake would delete it to make the place for the restored one.
        if trained_here(Path("results/runs", name)):
            raise WorkflowError(
                f"{where}: would replace results/runs/{name}, which was trained here; move that away, or set reference_runs to null"
            )
    return names


def check_quick():
    """Stop where `quick` asks for more than `runs`, which is what a file laid over the default forgets."""
    more = sorted(set(RUNS["quick"]) - set(RUNS["table1"]))
    if more:
        task, method, seed = more[0]
        raise WorkflowError(
            f"{source_of('quick')}: quick: {method} on {task}, seed {seed}, is not among runs; list there what is, or `quick: null`"
        )
