# The paper's tables: its numbers beside the mean over the configured seeds. Table 1, and the ablations of table 3.
#
# in:   results/eval/{task}/{method}/seed{seed}/test.json of every run under `runs` (table1) or `ablations` (table3);
#       resources/reported.csv
# out:  results/tables/{table1,table3}.md (to read), .csv (one row per number), .tex (for a paper), .html (inside the report)


rule table:
    input:
        evaluations=lambda wildcards: SHOWN_IN[wildcards.table],
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
    log:
        "results/logs/table/{table}.log",
    benchmark:
        "results/benchmarks/table/{table}.tsv"
    wildcard_constraints:
        table=either(SHOWN_IN),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    params:
        # Only tracked: after an edit of the code, the table is written again and marks what older code made.
        code=code_hash(),
    message:
        "Write {wildcards.table} from all its configured runs"
    shell:
        "python -m gram.tables {wildcards.table} --evaluations {input.evaluations} --reported {input.reported}"
        " --output results/tables/{wildcards.table} > {log} 2>&1"
