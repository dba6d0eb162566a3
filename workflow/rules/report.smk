# What `snakemake --report` shows, and why it cannot; what a run prints at its end, and which tables it writes if a job failed.
#
# in:   results/tables/{table}.summary.json: the runs in a table that is built, and the options it was built with
# out:  no files; what stands in the report is marked with report() in tables.smk and figures.smk
import shlex
import subprocess

from gram.system.shapes import read_summary

# Where the report follows the run of the same command, what that builds is its target.
REPORTING = "--report-after-run" not in sys.argv and any(
    argument.partition("=")[0] == "--report" for argument in sys.argv
)


def config_options():
    """The options of this command that change the configuration, as they would be typed; "" without any."""
    paths = [os.path.relpath(path) for path in workflow.overwrite_configfiles]
    given = ["--configfile", *paths] if paths else []
    if workflow.config_settings.config:
        given += ["--config", *workflow.config_settings.config_args]
    return shlex.join(given)


def why_no_report(table):
    """Why a table cannot be reported: it is not built, or was built for other runs; None if it can be."""
    path = Path(f"results/tables/{table}.summary.json")
    if not path.exists():
        return f"results/tables/{table}.html is not built yet: run the same command without --report first"
    try:
        made = read_summary(path)
    except GramError as error:
        return str(error)
    if set(made["runs"]) == {f"{task}/{method}/seed{seed}" for task, method, seed in RUNS[table]}:
        return None
    other = f"results/tables/{table}.html has other runs than the configuration lists under {LISTED_UNDER[table]}"
    if made["options"] == config_options():
        return f"{other} by now: run the same command without --report first"
    built_by = f"snakemake {made['options']}".strip()
    return f"{other}: it was built by `{built_by}`, so add --report to that; or build it anew first"


def evaluations_to_show(table):
    """The evaluations in a table; an error where a report asks for a table that is not built."""
    if REPORTING and (reason := why_no_report(table)):
        refuse(reason)
    return evaluations_of(table)


def built_parts(table):
    """What is built of a table: itself, its costs and its figures, also those with milestones of their own."""
    costs = costs_of(table) if os.path.exists(f"results/tables/{table}.costs.html") else []
    drawn = [
        f"results/figures/{table}/{task}/{name}.svg" for task in tasks_of(table) for name in FIGURES
    ]
    return [*tables(table), *costs, *filter(os.path.exists, drawn)]


def built(wildcards):
    """What a report shows for which no target is named: the parts of all tables that are built for this configuration."""
    reasons = {table: why_no_report(table) for table, runs in RUNS.items() if runs}
    found = [table for table, reason in reasons.items() if reason is None]
    foreign = [
        reason
        for table, reason in reasons.items()
        if reason and os.path.exists(f"results/tables/{table}.summary.json")
    ]
    if not found:
        refuse("; ".join(foreign or [reasons[DEFAULT]]))
    for reason in foreign:
        print(f"note: left out of the report: {reason}", file=sys.stderr)
    return [part for table in found for part in built_parts(table)]


def print_result(table):
    """Print a table's result, and where everything lies; one that cannot be printed says why, and stops nothing."""
    command = f"snakemake --report reports/report.html {config_options()}".strip()
    arguments = ["--layout", layout_of(table), "--evaluations", *evaluations_of(table)]
    arguments += ["--reported", "resources/reported.csv", "--report", command]
    arguments += ["--page", f"results/tables/{table}.md", "--figures", f"results/figures/{table}"]
    subprocess.run([sys.executable, "-m", "gram.tables", "summary", *arguments], check=False)


def tables_in(dag):
    """The tables that were asked for."""
    return sorted({job.wildcards.table for job in dag.jobs if job.rule.name == "table"})


def written_without(failed, dag):
    """The tables that were asked for and wait for a failed job: (table, evaluations that are there, runs that failed)."""
    made_by = {str(path): job for job in dag.jobs for path in job.output}
    for table in tables_in(dag):
        there, lost = [], []
        for task, method, seed in RUNS[table]:
            path = EVALUATION.format(task=task, method=method, seed=seed)
            job = made_by.get(path)
            if job is None or not dag.needrun(job) or dag.finished(job):
                there.append(path)
            elif failed.intersection(dag.bfs(dag.dependencies, job)):
                lost.append(f"{task}/{method}/seed{seed}")
        if lost:
            yield table, there, lost


def write_with_holes(table, there, lost):
    """Write a table from the evaluations that are there, marking the runs that failed; and mark it as unfinished."""
    arguments = [layout_of(table), "--evaluations", *there, "--failed", *lost]
    arguments += ["--reported", "resources/reported.csv", f"--options={config_options()}"]
    arguments += ["--output", f"results/tables/{table}"]
    subprocess.run([sys.executable, "-m", "gram.tables", *arguments], check=True)
    # Its record is that of an earlier time, with other inputs perhaps, and says nothing of this one.
    for job in workflow.dag.jobs:
        if job.rule.name == "table" and job.wildcards.table == table:
            workflow.persistence.started(job)
