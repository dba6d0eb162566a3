# The same command goes on: what a failed, killed or interrupted job left behind, or a fault of the disk, is a reason to run.
#
# in:   .snakemake: Snakemake's marks of jobs that began; .snakemake/auxiliary/failed.json, which files failed jobs did not make
# out:  no files; jobs that are run again, or one line that says which file nothing can make
#
# Snakemake deletes the outputs of a job that begins. If they are missing afterwards, that is no reason for it to make them again:
# a table whose inputs are missing counts as finished. And where an input cannot be made, it takes an old one without a word, and
# without an old one it says so in many lines. So its look at half-made files, which stands between the plan of all jobs and the
# choice of those to run, looks further here, and so does what follows a plan that failed.
from snakemake.dag import DAG
from snakemake.exceptions import InputFunctionException, RuleException
from snakemake.io import is_flagged


def missing(path):
    """Whether there is no such file, here and now."""
    return not os.path.lexists(path)


def record_of_failures():
    """The file that lists what failed jobs did not make."""
    return Path(workflow.persistence.aux_path, "failed.json")


def failed_before():
    """What jobs of earlier runs failed to make and is still missing; what was made since, by hand perhaps, has its place."""
    try:
        listed = json.loads(record_of_failures().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return set()  # none has failed, or the record was cut by a power cut
    return {path for path in listed if missing(path)}


def record_failures(jobs):
    """List what these jobs did not make, beside what is still missing from earlier runs."""
    paths = {str(path) for job in jobs for path in job.output} | failed_before()
    record, temporary = record_of_failures(), record_of_failures().with_suffix(".tmp")
    temporary.write_text(
        json.dumps(sorted(path for path in paths if missing(path))), encoding="utf-8"
    )
    temporary.replace(record)


def unfinished(dag):
    """The outputs that have to be made though Snakemake counts them as finished, each with the reason."""
    failed, found = failed_before(), {}
    for job in dag.jobs:
        begun = workflow.persistence._filter_incomplete_keys(map(str, job.output))
        for path in map(str, job.output):
            if missing(path):
                if path in begun or path in failed:
                    found[path] = "its job failed" if path in failed else "its job has not ended"
            elif os.path.isfile(path) and not os.path.getsize(path):
                found[path] = "it is empty"
    return found


def restoring(path):
    """How to get back a file that no rule makes."""
    return (
        "restore it with git"
        if Path(path).parts[0] in ("resources", "config")
        else "correct the setting that names it, or put it there"
    )


async def why_unmade(dag, path, seen=()):
    """Why nothing can make a file that should be made; "" if something can, or need not, as the file is there and is no result."""
    if path in seen:
        return f"{path} is made from itself"
    makers = dag.output_index.match_producers(path)
    reason = "" if makers or not missing(path) else f"{path} is missing, and no rule makes it"
    for maker in makers:
        try:
            job = await dag.new_job(maker, targetfile=path)
        except (WorkflowError, RuleException) as error:  # of a function of its inputs
            inner = error.__cause__ or error.__context__
            told = inner if inner and isinstance(error, InputFunctionException) else error
            reason = " ".join(str(told).split())
            continue
        for needed in map(str, job.input):
            if reason := await why_unmade(dag, needed, (*seen, path)):
                wanted = f"; rule {maker.name} needs it"
                reason += "" if "; " in reason else f"{wanted}: {restoring(needed)}"
                break
        else:
            return ""
    return reason


async def unmade_target(dag):
    """Which target nothing can make, and why; "" if something can make all."""
    needed = [path for rule in dag.targetrules for path in (await dag.rule2job(rule)).input]
    for path in map(str, [*needed, *dag.targetfiles]):
        if reason := await why_unmade(dag, path):
            return f"{path} cannot be made: {reason}"
    return ""


async def check_inputs(dag):
    """Stop where a rule makes a file, but cannot, and an older one lies there. The line names it and what it lacks."""
    for job in dag.jobs:
        made = set().union(*dag.dependencies[job].values())
        for path in map(str, job.input):
            if path not in made and (reason := await why_unmade(dag, path)):
                refuse(f"{path} cannot be made: {reason}")


def check_shown(dag):
    """Stop where a report is to show what is not built, at the first such file."""
    for job in dag.jobs:
        for path in job.output:
            if is_flagged(path, "report") and missing(path):
                refuse(f"{path} is not built yet: run the same command without --report first")


async def look_at_what_is_there(dag):
    """In the place of Snakemake's look at half-made files: what else has to be made again, and what cannot be."""
    if REPORTING:
        check_shown(dag)
    elif workflow.is_main_process and not dag.ignore_incomplete and not workflow.touch:
        await check_inputs(dag)
        for line in made_by_other_code(dag):
            print(f"note: {line}", file=sys.stderr)
        for path, reason in unfinished(dag).items():
            dag.forcefiles.add(path)
            print(f"note: {path}: {reason}; it is made again", file=sys.stderr)
    await look_at_what_is_there.original(dag)


async def plan(dag, *arguments, **options):
    """In the place of Snakemake's plan: where that fails since nothing can make a file, the line that says why."""
    try:
        await plan.original(dag, *arguments, **options)
    except (WorkflowError, RuleException):
        if why := await unmade_target(dag):
            refuse(why)
        raise


# The methods may be these already: a program can read several workflows.
look_at_what_is_there.original = getattr(DAG.check_incomplete, "original", DAG.check_incomplete)
DAG.check_incomplete = look_at_what_is_there
plan.original = getattr(DAG.init, "original", DAG.init)
DAG.init = plan
