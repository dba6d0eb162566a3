# The paper's tables: its numbers beside the mean over the configured seeds. Those of resources/paper.yaml, and a quick part of
# Table 1.
#
# in:   results/eval/{task}/{method}/seed{seed}/test.json of every run under the key of the configuration that
#       resources/paper.yaml names: `runs` for table1, `ablations` for table3; `quick` for quick; resources/reported.csv
# out:  results/tables/{table}.md (to read), .csv (one row per number), .tex (for a paper), .html (inside the report)
#       results/tables/{table}.summary.rst (the report's front page), .summary.json (the same, and which runs these are)
#       results/tables/{table}.costs.md, .csv, .html: what these runs took, from their meta.json and the ledger of rented pods
# At its end a run prints the result of the tables that were among its targets, in a few lines.
# If a job fails, the tables that wait for it are written without it, and the runs that it fails are marked in them.


onerror:
    # A group of jobs fails as one. Who stops Snakemake stops its jobs, and none of them has failed.
    ended = set() if workflow.scheduler._user_kill else workflow.scheduler.failed
    failed = {job for one in ended for job in getattr(one, "jobs", [one])}
    record_failures(failed)
    for table, there, lost in written_without(failed, workflow.dag):
        write_with_holes(table, there, lost)
        print(
            f"results/tables/{table}.md: {len(lost)} of {len(RUNS[table])} runs marked as failed",
            file=sys.stderr,
        )


onsuccess:
    record_failures([])  # forgets those whose files are there by now
    silent = any(kind.name == "ALL" for kind in workflow.output_settings.quiet or [])
    for table in [] if silent else tables_in(workflow.dag):
        print_result(table)


rule table:
    input:
        evaluations=lambda wildcards: evaluations_to_show(wildcards.table),
        # The meta.json of each run is read as well, where it is there, for overridden settings and kept runs. It is not named: it
        # is older than the evaluation, and who has deleted results/runs must not train anew for a table.
        reported="resources/reported.csv",
    output:
        md="results/tables/{table}.md",
        csv="results/tables/{table}.csv",
        tex="results/tables/{table}.tex",
        html=report(
            "results/tables/{table}.html",
            caption="../report/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        summary="results/tables/{table}.summary.json",
        front="results/tables/{table}.summary.rst",
    log:
        "results/logs/table/{table}.log",
    benchmark:
        "results/benchmarks/table/{table}.tsv"
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
        options=config_options(),  # a resource, because these are not tracked: the same runs in another file change nothing
    params:
        # Only tracked: after an edit of the code, the table is written again and marks what older code made.
        code=code_hash(),
        layout=lambda wildcards: layout_of(wildcards.table),
        # Only tracked: the command reads it from the file, whose other tables are not this one's.
        declared=lambda wildcards: declared_as(wildcards.table),
    message:
        "Write {wildcards.table} from all its configured runs"
    shell:
        "python -m gram.tables {params.layout:q} --evaluations {input.evaluations:q} --reported {input.reported:q}"
        " --options={resources.options:q}"
        " --output results/tables/{wildcards.table:q} > {log:q} 2>&1"


rule costs:
    input:
        metas=lambda wildcards: metas_of(wildcards.table),
        # Only to come last: the pods that evaluate are paid by then, since the executor pays before it says that a job is done.
        evaluations=lambda wildcards: evaluations_of(wildcards.table),
        # Once it exists, a ledger that has grown writes the table again. During a run it only grows before this job.
        ledger=lambda wildcards: [LEDGER] if os.path.exists(LEDGER) else [],
    output:
        md="results/tables/{table}.costs.md",
        csv="results/tables/{table}.costs.csv",
        html=report(
            "results/tables/{table}.costs.html",
            caption="../report/costs.rst",
            category="Tables",
            labels={"table": "{table}: costs"},
        ),
    log:
        "results/logs/costs/{table}.log",
    benchmark:
        "results/benchmarks/costs/{table}.tsv"
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=1000,
    params:
        # By its name, because the first pods of all write it after Snakemake has looked for it.
        ledger=LEDGER,
    message:
        "Add up what the runs of {wildcards.table} took"
    shell:
        "python -m gram.tables costs --metas {input.metas:q} --ledger {params.ledger:q}"
        " --output results/tables/{wildcards.table:q}.costs > {log:q} 2>&1"
