# The figures of one task, each as SVG (in the report) and PNG.
#
# in:   results/runs/{task}/{method}/seed{seed}/history.jsonl, meta.json of the task's configured runs,
#       or of their folds
#       results/eval/{task}/{method}/seed{seed}/test.json, test.samples.parquet, scaling.json, samplers.json
#       results/data/{task}/test.parquet, card.json
# out:  results/figures/{task}/training, elbo, completions, width, boards .svg and .png
#       results/figures/{task}/scaling, halting, samplers .svg and .png, outside `rule all`


rule training_figure:
    input:
        histories=lambda wildcards: for_runs(wildcards.task, "results/runs/{part}/{method}/seed{seed}/history.jsonl"),
        metas=lambda wildcards: for_runs(wildcards.task, "results/runs/{part}/{method}/seed{seed}/meta.json"),
    output:
        svg=report(
            "results/figures/{task}/training.svg",
            caption="../report/training.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "training"},
        ),
        png="results/figures/{task}/training.png",
    log:
        "results/logs/training_figure/{task}.log",
    benchmark:
        "results/benchmarks/training_figure/{task}.tsv"
    wildcard_constraints:
        task=CONFIGURED,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the training curves of {wildcards.task}"
    shell:
        "python -m gram.figures training --histories {input.histories}"
        " --output results/figures/{wildcards.task}/training > {log} 2>&1"


rule elbo_figure:
    input:
        histories=lambda wildcards: for_runs(wildcards.task, "results/runs/{part}/{method}/seed{seed}/history.jsonl"),
        metas=lambda wildcards: for_runs(wildcards.task, "results/runs/{part}/{method}/seed{seed}/meta.json"),
    output:
        svg=report(
            "results/figures/{task}/elbo.svg",
            caption="../report/elbo.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "ELBO"},
        ),
        png="results/figures/{task}/elbo.png",
    log:
        "results/logs/elbo_figure/{task}.log",
    benchmark:
        "results/benchmarks/elbo_figure/{task}.tsv"
    wildcard_constraints:
        task=CONFIGURED,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the ELBO of {wildcards.task}"
    shell:
        "python -m gram.figures elbo --histories {input.histories} --output results/figures/{wildcards.task}/elbo > {log} 2>&1"


rule completions_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.task),
    output:
        svg=report(
            "results/figures/{task}/completions.svg",
            caption="../report/completions.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "by number of completions"},
        ),
        png="results/figures/{task}/completions.png",
    log:
        "results/logs/completions_figure/{task}.log",
    benchmark:
        "results/benchmarks/completions_figure/{task}.tsv"
    wildcard_constraints:
        task=CONFIGURED,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw accuracy and coverage of {wildcards.task} against the number of completions"
    shell:
        "python -m gram.figures completions --evaluations {input.evaluations}"
        " --output results/figures/{wildcards.task}/completions > {log} 2>&1"


rule width_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.task),
    output:
        svg=report(
            "results/figures/{task}/width.svg",
            caption="../report/width.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "by width"},
        ),
        png="results/figures/{task}/width.png",
    log:
        "results/logs/width_figure/{task}.log",
    benchmark:
        "results/benchmarks/width_figure/{task}.tsv"
    wildcard_constraints:
        task=CONFIGURED,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw coverage of {wildcards.task} against the number of samples"
    shell:
        "python -m gram.figures width --evaluations {input.evaluations}"
        " --output results/figures/{wildcards.task}/width > {log} 2>&1"


rule boards_figure:
    input:
        gram=lambda wildcards: f"results/eval/{wildcards.task}/gram/seed{BOARDS[wildcards.task]}/test.samples.parquet",
        deterministic=lambda wildcards: (
            f"results/eval/{wildcards.task}/deterministic/seed{BOARDS[wildcards.task]}/test.samples.parquet"
        ),
        tests=lambda wildcards: for_parts(wildcards, "results/data/{part}/test.parquet"),
        cards=lambda wildcards: for_parts(wildcards, "results/data/{part}/card.json"),
    output:
        svg=report(
            "results/figures/{task}/boards.svg",
            caption="../report/boards.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "boards"},
        ),
        png="results/figures/{task}/boards.png",
    log:
        "results/logs/boards_figure/{task}.log",
    benchmark:
        "results/benchmarks/boards_figure/{task}.tsv"
    wildcard_constraints:
        task=either(BOARDS),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    params:
        seed=lambda wildcards: BOARDS[wildcards.task],
        folders=lambda wildcards: for_parts(wildcards, "results/data/{part}"),
    message:
        "Draw boards of {wildcards.task}"
    shell:
        "python -m gram.figures boards --samples gram={input.gram} deterministic={input.deterministic} --data {params.folders}"
        " --output results/figures/{wildcards.task}/boards > {log} 2>&1"


rule scaling_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.task, SCALING),
    output:
        svg=report(
            "results/figures/{task}/scaling.svg",
            caption="../report/scaling.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "by depth and width"},
        ),
        png="results/figures/{task}/scaling.png",
    log:
        "results/logs/scaling_figure/{task}.log",
    benchmark:
        "results/benchmarks/scaling_figure/{task}.tsv"
    wildcard_constraints:
        task=CONFIGURED,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw accuracy of {wildcards.task} over depth and width"
    shell:
        "python -m gram.figures scaling --evaluations {input.evaluations}"
        " --output results/figures/{wildcards.task}/scaling > {log} 2>&1"


rule halting_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.task, SCALING),
    output:
        svg=report(
            "results/figures/{task}/halting.svg",
            caption="../report/halting.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "halting depth"},
        ),
        png="results/figures/{task}/halting.png",
    log:
        "results/logs/halting_figure/{task}.log",
    benchmark:
        "results/benchmarks/halting_figure/{task}.tsv"
    wildcard_constraints:
        task=CONFIGURED,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw where the trajectories of {wildcards.task} halt"
    shell:
        "python -m gram.figures halting --evaluations {input.evaluations}"
        " --output results/figures/{wildcards.task}/halting > {log} 2>&1"


rule samplers_figure:
    input:
        evaluations=lambda wildcards: evaluations_of(wildcards.task, SAMPLERS, methods=["gram"]),
    output:
        svg=report(
            "results/figures/{task}/samplers.svg",
            caption="../report/samplers.rst",
            category="Figures",
            labels={"task": "{task}", "figure": "samplers"},
        ),
        png="results/figures/{task}/samplers.png",
    log:
        "results/logs/samplers_figure/{task}.log",
    benchmark:
        "results/benchmarks/samplers_figure/{task}.tsv"
    wildcard_constraints:
        task=either(SAMPLED),
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Draw the samplers of {wildcards.task} at equal compute"
    shell:
        "python -m gram.figures samplers --evaluations {input.evaluations}"
        " --output results/figures/{wildcards.task}/samplers > {log} 2>&1"
