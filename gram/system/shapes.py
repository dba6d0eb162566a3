"""What the JSON files of this project hold, as JSON Schemas: a damaged file is one line that names
the key.

Only what is read is asked for, so that files of older versions stay readable; further keys may
stand in them. All numbers are finite and of at most 64 bits, see
:func:`gram.system.files.parse_json`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from gram.system import files
from gram.system.errors import GramError, short
from gram.system.names import LONGEST, NAME

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
A_NAME: Schema = {"type": "string", "pattern": f"^({NAME.pattern})$", "maxLength": LONGEST}
NUMBER: Schema = {"type": "number"}
SOME_TEXT: Schema = {"type": ["string", "null"]}
YES_OR_NO: Schema = {"type": ["boolean", "null"]}
MAPPING: Schema = {"type": "object"}
TRAIN_AGAIN = "delete it and train the run again"
MOST = 2**53  # up to here a float holds every integer


def whole(least: int = 0) -> Schema:
    """An integer from ``least`` to :data:`MOST`."""
    return {"type": "integer", "minimum": least, "maximum": MOST}


def mapping(*, needed: dict[str, Schema], **more: Schema) -> Schema:
    """An object with the keys ``needed``; those in ``more`` may be missing."""
    return {"type": "object", "properties": needed | more, "required": list(needed)}


def each(values: Schema, least: int = 0) -> Schema:
    """An object with any keys, at least ``least``, all of whose values are alike."""
    return {"type": "object", "additionalProperties": values, "minProperties": least}


def rows(row: Schema) -> Schema:
    """A list of alike values."""
    return {"type": "array", "items": row}


def either(*schemas: Schema) -> Schema:
    """One of several."""
    return {"anyOf": list(schemas)}


MD5: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
# A metric: its sums, their ratio (null where there is nothing to divide by), and what can be
# reached.
RATIO = mapping(
    needed={
        "value": {"type": ["number", "null"]},
        "numerator": NUMBER,
        "denominator": {"type": "number", "minimum": 0},
    },
    ceiling={"type": ["number", "null"]},
)
# The same over at least one input.
FOUND: Schema = {"allOf": [RATIO, {"properties": {"value": NUMBER}}]}
# A metric, or a count, which has no sums.
METRIC: Schema = {
    **RATIO,
    "required": ["value"],
    "dependentRequired": {"numerator": ["denominator"], "denominator": ["numerator"]},
}
# card.json of a data set.
CARD = mapping(
    needed={
        "task": A_NAME,
        "settings": MAPPING,
        "tables": mapping(
            needed={
                name: mapping(needed={"rows": whole(), "md5": MD5})
                for name in ("train", "valid", "test", "completions")
            }
        ),
    }
)
# Of a run that was kept before its last step.
HOW_FAR = mapping(needed={"step": whole(1), "steps": whole(1)})
# meta.json of a run; what a kept run has besides is in the last keys.
META = mapping(
    needed={
        "task": A_NAME,
        "method": A_NAME,
        "seed": whole(),
        "steps": whole(),
        "parameters": whole(),
        "training_examples": whole(),
        "supervision_steps": whole(),
        "seconds": {"type": "number", "minimum": 0},
        "data_md5": mapping(needed={"train": MD5, "valid": MD5}),
        "settings": MAPPING,
        "processes": whole(1),
        "peak_memory_bytes": whole(),
        "code_hash": TEXT,
        "commit": SOME_TEXT,
        "dirty": YES_OR_NO,
        "torch": TEXT,
        "device": TEXT,
    },
    code_hashes={"type": "array", "items": TEXT, "minItems": 1},
    code_of={"type": "array", "items": TEXT, "minItems": 1},
    files_md5=each(MD5),
    kept_weights=mapping(
        needed={"which": {"enum": ["ema", "raw"]}, "dtype": TEXT, "md5": MD5, "md5_of_full": MD5},
        history_md5=MD5,
    ),
    initial_weights=either({"type": "null"}, mapping(needed={"steps": whole()})),
    unfinished=HOW_FAR,
)
COUNTS = each(mapping(needed={"inputs": whole(), "valid": whole()}))
# A line of history.jsonl: losses, or what a rollout solves and bounds.
HISTORY_LINE = {
    "if": {"properties": {"event": {"const": "rollout"}}},
    "then": mapping(
        needed={"event": TEXT, "step": whole(), "train": COUNTS, "valid": COUNTS},
        raw=mapping(needed={"train": COUNTS, "valid": COUNTS}),
        elbo=mapping(needed={name: each(NUMBER, 1) for name in ("full", "surrogate")}),
    ),
    "else": {
        **mapping(needed={"event": {"const": "losses"}, "step": whole()}),
        "additionalProperties": NUMBER,
    },
}
# A table in short: its runs, and the options of the command that wrote it.
SUMMARY = mapping(needed={"runs": rows(TEXT), "options": TEXT})
SAMPLES_MD5 = "samples_md5"  # the fact with the MD5 of the Parquet file of an evaluation's samples
CODE = mapping(needed={"code_hash": TEXT}, code_of={"type": "array", "items": TEXT, "minItems": 1})
# An MD5, or for a pooled evaluation one for each fold.
PER_FOLD = either(TEXT, each(TEXT, 1))
# The facts of a run in an evaluation.
RUN = mapping(
    needed={
        "task": TEXT,
        "method": TEXT,
        "seed": whole(),
        "split": TEXT,
        "inputs": whole(),
        "data_md5": either(each(TEXT, 1), each(each(TEXT, 1), 1)),
        "depth": whole(1),
        "width": whole(1),
        "draws": whole(1),
        "act": {"type": "boolean"},
        "sampler": TEXT,
        "weights": TEXT,
        "parameters": whole(),
        "supervision_steps_seen": whole(),
        "training_examples": whole(),
        "trained_by": CODE,
        "evaluated_by": CODE,
    },
    calls=whole(1),
    folds=whole(1),
    unfinished=HOW_FAR,
    training_seconds={"type": "number", "minimum": 0},
    weights_dtype=TEXT,
    rollout_seed=whole(),
    noise_scale={"type": "number", "minimum": 0},
    checkpoint=PER_FOLD,
    checkpoint_md5=PER_FOLD,
    **{SAMPLES_MD5: MD5},
)


def row_of_metrics(names: str, **known: Schema) -> Schema:
    """A row of a table of metrics: some ``known`` keys, and the metrics ``names``, separated by
    blanks.
    """
    return mapping(needed=known | dict.fromkeys(names.split(), RATIO))


# What is measured where completions are counted; tasks with rules of their own count what breaks
# these as well.
MEASURED = (
    "accuracy accuracy_paper exact_match accuracy_best accuracy_vote accuracy_lprm "
    "coverage_paper coverage_micro coverage_macro"
).split()


# What is measured of boards from nothing.
OF_VALIDITY = "accuracy distinct seen seen_answers entropy".split()
# What is measured where an input has one right answer.
OF_EXACT = (
    "accuracy accuracy_tokens accuracy_vote accuracy_vote2 accuracy_lprm accuracy_best "
    "accuracy_verified"
).split()


def measured(**known: Schema) -> Schema:
    """All metrics over some inputs, beside the keys ``known``."""
    return {
        **mapping(needed=known | dict.fromkeys(MEASURED, RATIO)),
        "additionalProperties": METRIC,
        # A count of violations, and its mean.
        "dependentRequired": {
            "conflict_edges": ["conflict_edges_mean"],
            "conflict_edges_mean": ["conflict_edges"],
        },
    }


def all_of(names: Sequence[str]) -> Schema:
    """These metrics, and others beside them."""
    return {**mapping(needed=dict.fromkeys(names, RATIO)), "additionalProperties": METRIC}


# What the keys of evaluations were called in the version before.
FORMER_NAMES = {
    "hostile": "several",
    "hostile_accuracy": "accuracy_several",
    "hostile_coverage_macro": "coverage_macro_several",
}
SLICE = measured(inputs=whole())
# The sections of an evaluation, whichever command writes them.
SECTIONS: dict[str, Schema] = {
    "run": RUN,
    "overlap_with_training": row_of_metrics("inputs completions"),
    "metrics": {
        "if": {"required": ["distinct"]},
        "then": all_of(OF_VALIDITY),
        "else": {
            "if": {"required": ["accuracy_tokens"]},
            "then": all_of(OF_EXACT),
            "else": measured(slices=mapping(needed={"baseline": SLICE, "several": SLICE})),
        },
    },
    "by_fact": rows(
        row_of_metrics(" ".join(OF_EXACT), fact=TEXT, bin=TEXT, least=whole(-MOST), inputs=whole())
    ),
    "by_times": rows(mapping(needed={"times": whole(1), "seen": whole(), "new": whole()})),
    "listed": mapping(needed={"seen": whole(), "new": whole()}),
    "by_completions": rows(
        row_of_metrics("accuracy coverage_macro", n_completions=whole(), inputs=whole())
    ),
    "by_width": rows(
        row_of_metrics("coverage_paper coverage_micro coverage_macro", width=whole(1))
    ),
    "by_depth_and_width": rows(
        mapping(
            needed={"depth": whole(1), "width": whole(1)}
            | dict.fromkeys(("accuracy", "accuracy_vote", "accuracy_lprm", "accuracy_best"), FOUND)
        )
    ),
    "halting": row_of_metrics("accuracy never steps"),
    "by_halting_step": rows(row_of_metrics("trajectories accuracy", step=whole(1))),
    "by_sampler": rows(
        row_of_metrics(
            "accuracy coverage_paper coverage_micro coverage_macro accuracy_several "
            "coverage_macro_several",
            sampler=TEXT,
            width=whole(1),
            rollout_seed=whole(),
        )
    ),
    "summary": rows(MAPPING),
    "by_supervision_step": rows(
        row_of_metrics("log_m kl cross_entropy", group=TEXT, step=whole(1))
    ),
}


def evaluation(sections: tuple[str, ...] = ()) -> Schema:
    """An evaluation that has these sections beside the facts of its run; of others, what is there
    is checked.
    """
    return {"type": "object", "properties": SECTIONS, "required": ["run", *sections]}


@functools.cache
def _evaluation(sections: tuple[str, ...]) -> Draft202012Validator:
    return Draft202012Validator(evaluation(sections))


@functools.cache
def _validator(name: str) -> Draft202012Validator:
    known = {"card": CARD, "meta": META, "history": HISTORY_LINE, "summary": SUMMARY}
    return Draft202012Validator(known[name])


def check(validator: Draft202012Validator, value: Any, where: str, what: str, fix: str) -> Any:
    """``value``, if it is as the schema says.

    Args:
        validator: of the schema.
        value: from :func:`gram.system.files.read_json`.
        where: the file, and the line of it.
        what: the file should be, as "the meta.json of a run".
        fix: what to do if it is not.

    Raises:
        GramError: names the first key that is missing or has another kind of value.
    """
    error = next(validator.iter_errors(value), None)
    while error is not None and error.context:  # of several alternatives, what the nearest lacks
        error = max(error.context, key=lambda one: len(one.absolute_path))
    if error is None:
        return value
    keys = [str(key) for key in error.absolute_path]
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = next(key for key in error.validator_value if key not in error.instance)
        problem = f"{'.'.join([*keys, missing])} is missing"
    else:
        rule = f"{error.validator} {short(error.validator_value)}"
        problem = f"{'.'.join(keys) or 'all of it'} is {short(error.instance)}, against {rule}"
    raise GramError(f"{where}: not {what} ({problem}); {fix}")


def _read(path: Path, validator: Draft202012Validator, what: str, fix: str) -> dict[str, Any]:
    found: dict[str, Any] = check(validator, files.read_json(path), str(path), what, fix)
    return found


def read_card(path: Path) -> dict[str, Any]:
    """``card.json`` of a data set.

    Raises:
        GramError: missing, broken, or another file.
    """
    fix = "delete its folder and build it again"
    return _read(path, _validator("card"), "the card of a data set", fix)


def read_meta(path: Path) -> dict[str, Any]:
    """``meta.json`` of a run.

    Raises:
        GramError: missing, broken, or another file.
    """
    return _read(path, _validator("meta"), "the meta.json of a run", TRAIN_AGAIN)


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's ``history.jsonl``.

    Raises:
        GramError: missing, broken, or another file.
    """
    lines = files.read_json_lines(path)
    for number, line in enumerate(lines, start=1):
        check(_validator("history"), line, f"{path}:{number}", "a line of a history", TRAIN_AGAIN)
    return lines


def read_summary(path: Path) -> dict[str, Any]:
    """``{table}.summary.json`` of a table.

    Raises:
        GramError: missing, broken, or another file.
    """
    return _read(path, _validator("summary"), "a table in short", "delete it and build it again")


def with_names_of_now(content: Any) -> Any:
    """An evaluation of which slices and rows of samplers have no :data:`FORMER_NAMES`."""
    if not isinstance(content, dict):
        return content
    metrics, rows = content.get("metrics"), content.get("by_sampler")
    if isinstance(metrics, dict) and "slices" in metrics:
        content |= {"metrics": metrics | {"slices": _renamed(metrics["slices"])}}
    if isinstance(rows, list):
        content |= {"by_sampler": list(map(_renamed, rows))}
    return content


def _renamed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {FORMER_NAMES.get(key, key): one for key, one in value.items()}


def read_evaluation(path: Path, sections: tuple[str, ...] = ()) -> dict[str, Any]:
    """An evaluation, as ``gram.evaluate`` and the commands beside it write it.

    One that was made before ``evaluate.noise_scale`` was a setting drew with 1, and says so here;
    one by the version before has names of now.

    Args:
        path: the JSON file.
        sections: what it must hold beside the facts of its run.

    Raises:
        GramError: missing, broken, or another file.
    """
    fix = "delete it and build it again"
    content = with_names_of_now(files.read_json(path))
    schema, what = _evaluation(sections), "the evaluation needed here"
    found: dict[str, Any] = check(schema, content, str(path), what, fix)
    found["run"].setdefault("noise_scale", 1.0)
    return found
