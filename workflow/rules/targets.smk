# Targets of the command line that nothing makes: what was probably meant, in one line. Included last, since it asks all rules.
#
# in:   the command line
# out:  no files
import difflib
import itertools
import re

from snakemake.cli import get_argument_parser
from snakemake.io import strip_wildcard_constraints

WILDCARD = re.compile(r"{(\w+)}")


def asked_for():
    """The targets of the command line, by Snakemake's own parser: it tells them to a workflow only after its files are read."""
    if not (COMMAND and workflow.is_main_process):
        return []
    return get_argument_parser().parse_args(sys.argv[1:]).targets or []


def paths_of_rules():
    """The patterns of all outputs, with wildcards as in ``{task}``."""
    outputs = (str(output) for rule in workflow.rules for output in rule.output)
    return sorted({strip_wildcard_constraints(output) for output in outputs})


def read_as(pattern, text):
    """The wildcards of a pattern in a text, whatever their values are, or None if the rest differs."""
    names = WILDCARD.split(pattern)
    names[::2] = map(re.escape, names[::2])
    names[1::2] = [f"(?P<{name}>[^/]+)" for name in names[1::2]]
    match = re.fullmatch("".join(names), text)
    return match and match.groupdict()


def wrong_value(wildcards):
    """What is wrong with the wildcards of a path that no rule makes, or that a rule cannot make; None if nothing is."""
    task, method, table = (wildcards.get(name) for name in ("task", "method", "table"))
    known = [name for name, runs in RUNS.items() if runs]
    if table and table not in known:
        return f"no table {short(table)}; {suggestion(table, known, 'known ones')}"
    if task and split_fold(task)[0] not in EXPERIMENTS:
        return no_experiment(task)
    if task and task not in BASE:
        return f"no fold {short(task)}; {suggestion(task, BASE, 'known ones')}"
    row = method and join_evaluation(method, wildcards.get("evaluation", ""))
    if row and (wrong := no_method(row, BASE[task])):
        return wrong
    if not re.fullmatch(SEED, wildcards.get("seed", "0")):
        return f"seed{wildcards['seed']}: a seed is a whole number, as in seed0"
    if table and task:
        runs_of(table, task)  # raises
    return None


def filled(pattern, path, table):
    """The path of a pattern that is most like another path: names of folders and files that fit are left as they are there."""
    example = {"task": tasks_of(DEFAULT)[0], "method": "gram", "seed": "0", "table": table}
    parts = [
        given if read_as(part, given) else part.format_map(example)
        for part, given in zip(Path(pattern).parts, Path(path).parts)
    ]
    return str(Path(*parts))


def meant_by(path):
    """The end of a message about a path or a rule that there is not."""
    depth = len(Path(path).parts)
    patterns = [pattern for pattern in paths_of_rules() if len(Path(pattern).parts) == depth]
    patterns = [pattern for pattern in patterns if "{evaluation}" not in pattern]
    known = [rule.name for rule in workflow.rules if not rule.has_wildcards()]
    known += [filled(pattern, path, table) for pattern, table in itertools.product(patterns, RUNS)]
    if close := difflib.get_close_matches(path, known, n=1):
        return f"did you mean {close[0]!r}?"
    milestones = ", ".join(rule.name for rule in workflow.rules if not rule.output)
    return f"targets: {milestones}, or a file: the head of Snakefile says which there are"


def check_target(target):
    """Stop if a target is neither a rule nor a file that one makes.

    Raises:
        WorkflowError: it is none of these; says which name in it is wrong.
    """
    path = target if os.path.isabs(target) else os.path.relpath(target)
    if workflow.is_rule(target):
        return
    products = itertools.chain.from_iterable(one.products() for one in workflow.rules)
    if match := next(filter(None, (product.match(path) for product in products)), None):
        if wrong := wrong_value(match.groupdict()):
            raise WorkflowError(f"{target}: {wrong}")
        return
    for wildcards in filter(None, (read_as(pattern, path) for pattern in paths_of_rules())):
        if wrong := wrong_value(wildcards):
            raise WorkflowError(f"{target}: {wrong}")
        parts = EXPERIMENTS[BASE[wildcards["task"]]].tasks(BASE[wildcards["task"]])
        if wildcards["task"] not in parts:
            raise WorkflowError(
                f"{target}: {wildcards['task']} is made in folds; ask for {', '.join(parts)}"
            )
    raise WorkflowError(f"{target}: nothing makes this; {meant_by(path)}")


try:
    for target in asked_for():
        check_target(target)
except WorkflowError as error:
    refuse(str(error))
