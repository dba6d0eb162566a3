# Table 1: the paper's numbers beside the mean over the configured seeds.
#
# in:   results/eval/{task}/{method}/seed{seed}/test.json of every configured run; resources/reported.csv
# out:  results/tables/table1.md (to read), .csv (one row per number), .tex (for a paper), .html (inside the report)


rule table1:
    input:
        evaluations=EVALUATIONS,
        reported="resources/reported.csv",
    output:
        md="results/tables/table1.md",
        csv="results/tables/table1.csv",
        tex="results/tables/table1.tex",
        html=report(
            "results/tables/table1.html",
            caption="../report/table1.rst",
            category="Tables",
            labels={"table": "Table 1"},
        ),
    log:
        "results/logs/table1/table1.log",
    benchmark:
        "results/benchmarks/table1/table1.tsv"
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    params:
        # Only tracked: after an edit of the code, the table is written again and marks what older code made.
        code=code_hash(),
    message:
        "Write table 1 from all configured runs"
    shell:
        "python -m gram.tables table1 --evaluations {input.evaluations} --reported {input.reported}"
        " --output results/tables/table1 > {log} 2>&1"
