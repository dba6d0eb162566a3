# The figures of one task, of its runs in one table; each as SVG (in the report) and PNG.
#
# in:   results/runs/{task}/{method}/seed{seed}/history.jsonl, meta.json of those runs, or of their folds
#       results/eval/{task}/{method}/seed{seed}/test.json, test.samples.parquet, scaling.json, samplers.json, carried.json
#       results/data/{task}/test.parquet, card.json
# out:  results/figures/{table}/{task}/training, elbo, completions, width, boards .svg and .png
#       results/figures/{table}/{task}/scaling, halting, samplers, carried .svg and .png, by milestones
#       of their own


rule training_figure:
    input:
        histories=lambda wildcards: for_runs(
            wildcards.table,
            wildcards.task,
            "results/runs/{part}/{method}/seed{seed}/history.jsonl",
        ),
        metas=lambda wildcards: for_runs(
            wildcards.table, wildcards.task, "results/runs/{part}/{method}/seed{seed}/meta.json"
        ),
    output:
        svg=report(
            "results/figures/{table}/{task}/training.svg",
            caption="../report/training.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "training: inputs solved, losses",
            },
        ),
        png="results/figures/{table}/{task}/training.png",
    log:
        "results/logs/training_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/training_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the training curves of {wildcards.task}, for {wildcards.table}"
    shell:
        "python -m gram.figures training --histories {input.histories:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/training > {log:q} 2>&1"


rule elbo_figure:
    input:
        histories=lambda wildcards: for_runs(
            wildcards.table,
            wildcards.task,
            "results/runs/{part}/{method}/seed{seed}/history.jsonl",
        ),
        metas=lambda wildcards: for_runs(
            wildcards.table, wildcards.task, "results/runs/{part}/{method}/seed{seed}/meta.json"
        ),
    output:
        svg=report(
            "results/figures/{table}/{task}/elbo.svg",
            caption="../report/elbo.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "training: likelihood bound (ELBO)",
            },
        ),
        png="results/figures/{table}/{task}/elbo.png",
    log:
        "results/logs/elbo_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/elbo_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the ELBO of {wildcards.task}, for {wildcards.table}"
    shell:
        "python -m gram.figures elbo --histories {input.histories:q} --output results/figures/{wildcards.table:q}/{wildcards.task:q}/elbo > {log:q} 2>&1"


rule completions_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.table, wildcards.task),
        reported="resources/figure4.csv",
    output:
        svg=report(
            "results/figures/{table}/{task}/completions.svg",
            caption="../report/completions.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "by number of completions: accuracy",
            },
        ),
        png="results/figures/{table}/{task}/completions.png",
    log:
        "results/logs/completions_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/completions_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw accuracy and coverage of {wildcards.task} against the number of completions, for {wildcards.table}"
    shell:
        "python -m gram.figures completions --evaluations {input.evaluations:q} --reported {input.reported:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/completions > {log:q} 2>&1"


rule width_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.table, wildcards.task),
    output:
        svg=report(
            "results/figures/{table}/{task}/width.svg",
            caption="../report/width.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "by number of samples: coverage",
            },
        ),
        png="results/figures/{table}/{task}/width.png",
    log:
        "results/logs/width_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/width_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw coverage of {wildcards.task} against the number of samples, for {wildcards.table}"
    shell:
        "python -m gram.figures width --evaluations {input.evaluations:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/width > {log:q} 2>&1"


rule boards_figure:
    input:
        gram=lambda wildcards: compared_samples(wildcards.table, wildcards.task, "gram"),
        deterministic=lambda wildcards: compared_samples(
            wildcards.table, wildcards.task, "deterministic"
        ),
        tests=lambda wildcards: for_parts(wildcards, "results/data/{part}/test.parquet"),
        cards=lambda wildcards: for_parts(wildcards, "results/data/{part}/card.json"),
    output:
        svg=report(
            "results/figures/{table}/{task}/boards.svg",
            caption="../report/boards.rst",
            category="Figures",
            labels={"table": "{table}", "task": "{task}", "figure": "boards and answers"},
        ),
        png="results/figures/{table}/{task}/boards.png",
    log:
        "results/logs/boards_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/boards_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    params:
        seed=lambda wildcards: compared_seed(wildcards.table, wildcards.task),
        folders=lambda wildcards: for_parts(wildcards, "results/data/{part}"),
    message:
        "Draw boards of {wildcards.task}, for {wildcards.table}"
    shell:
        "python -m gram.figures boards --samples gram={input.gram:q} deterministic={input.deterministic:q} --data {params.folders:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/boards > {log:q} 2>&1"


rule scaling_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(
            wildcards.table, wildcards.task, SCALING, deep_methods(wildcards.table, wildcards.task)
        ),
    output:
        svg=report(
            "results/figures/{table}/{task}/scaling.svg",
            caption="../report/scaling.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "by depth and samples: accuracy",
            },
        ),
        png="results/figures/{table}/{task}/scaling.png",
    log:
        "results/logs/scaling_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/scaling_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw accuracy of {wildcards.task} over depth and width, for {wildcards.table}"
    shell:
        "python -m gram.figures scaling --evaluations {input.evaluations:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/scaling > {log:q} 2>&1"


rule halting_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(
            wildcards.table, wildcards.task, SCALING, deep_methods(wildcards.table, wildcards.task)
        ),
    output:
        svg=report(
            "results/figures/{table}/{task}/halting.svg",
            caption="../report/halting.rst",
            category="Figures",
            labels={"table": "{table}", "task": "{task}", "figure": "halting: at which step"},
        ),
        png="results/figures/{table}/{task}/halting.png",
    log:
        "results/logs/halting_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/halting_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw where the trajectories of {wildcards.task} halt, for {wildcards.table}"
    shell:
        "python -m gram.figures halting --evaluations {input.evaluations:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/halting > {log:q} 2>&1"


rule samplers_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(
            wildcards.table, wildcards.task, SAMPLERS, ["gram"]
        ),
    output:
        svg=report(
            "results/figures/{table}/{task}/samplers.svg",
            caption="../report/samplers.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "samplers: ways to draw samples",
            },
        ),
        png="results/figures/{table}/{task}/samplers.png",
    log:
        "results/logs/samplers_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/samplers_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the samplers of {wildcards.task} at equal compute, for {wildcards.table}"
    shell:
        "python -m gram.figures samplers --evaluations {input.evaluations:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/samplers > {log:q} 2>&1"


rule carried_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(
            wildcards.table,
            wildcards.task,
            CARRIED,
            steered_methods(wildcards.table, wildcards.task),
        ),
    output:
        svg=report(
            "results/figures/{table}/{task}/carried.svg",
            caption="../report/carried.rst",
            category="Figures",
            labels={
                "table": "{table}",
                "task": "{task}",
                "figure": "by supervision step: is the choice carried?",
            },
        ),
        png="results/figures/{table}/{task}/carried.png",
    log:
        "results/logs/carried_figure/{table}/{task}.log",
    benchmark:
        "results/benchmarks/carried_figure/{table}/{task}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the KL of every supervision step on {wildcards.task}, for {wildcards.table}"
    shell:
        "python -m gram.figures carried --evaluations {input.evaluations:q}"
        " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/carried > {log:q} 2>&1"
