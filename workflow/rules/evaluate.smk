# Every run on the test split of its task, and the folds of a task pooled to one result.
#
# in:   results/runs/{task}/{method}/seed{seed}/config.json, weights.safetensors, meta.json
#       results/data/{task}/train.parquet (what training has met), test.parquet, card.json
#       resources/checksums.tsv, by its name only
# out:  results/eval/{task}/{method}/seed{seed}/test.json: metrics with numerators and denominators
#       results/eval/{task}/{method}/seed{seed}/test.samples.parquet: every sample that was drawn
#       results/eval/{task}/{method}@{evaluation}/...: the same two of the same weights, with the settings that the experiment
#       calls so under `evaluations`
#       results/eval/{task}/{method}/seed{seed}/scaling.json: accuracy over depth and width, and the halting depth
#       results/eval/{task}/{method}/seed{seed}/samplers.json: independent samples beside other samplers
#       results/eval/{task}/{method}/seed{seed}/trajectories.json: where the latent states of one input go
#       results/eval/{task}/{method}/seed{seed}/carried.json: the KL of every supervision step along steered trajectories
#       (these three take minutes and stand outside `rule all`; with folds, one job takes all of them)


rule evaluate:
    input:
        config="results/runs/{task}/{method}/seed{seed}/config.json",
        weights="results/runs/{task}/{method}/seed{seed}/weights.safetensors",
        meta="results/runs/{task}/{method}/seed{seed}/meta.json",
        train="results/data/{task}/train.parquet",
        test="results/data/{task}/test.parquet",
        card="results/data/{task}/card.json",
    output:
        json="results/eval/{task}/{method}/seed{seed}/test.json",
        samples="results/eval/{task}/{method}/seed{seed}/test.samples.parquet",
    log:
        "results/logs/evaluate/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=TRAINABLE,
    conda:
        "../../envs/conda/environment.yaml"
    threads: lambda wildcards: threads_of(wildcards.task, wildcards.method)
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        device=DEVICE,
    params:
        *tracked("evaluate"),
        # With `output`, a param is not tracked; these are, one by one, above.
        settings=lambda wildcards, output: settings_of(
            evaluate_settings, wildcards.task, row_of(wildcards)
        ),
        name=lambda wildcards: option("--name", wildcards.get("evaluation")),
    message:
        "Evaluate {wildcards.method} on the test split of {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m gram.launch --device {resources.device:q}"
        " gram.evaluate --run results/runs/{wildcards.task:q}/{wildcards.method:q}/seed{wildcards.seed:q}"
        " --data results/data/{wildcards.task:q} --checksums resources/checksums.tsv --split test --settings {params.settings:q}"
        " --output {output.json:q} --samples {output.samples:q} {params.name:q} > {log:q} 2>&1"


use rule evaluate as evaluate_by_name with:
    output:
        json="results/eval/{task}/{method}@{evaluation}/seed{seed}/test.json",
        samples="results/eval/{task}/{method}@{evaluation}/seed{seed}/test.samples.parquet",
    log:
        "results/logs/evaluate/{task}/{method}@{evaluation}/seed{seed}.log",
    benchmark:
        "results/benchmarks/evaluate/{task}/{method}@{evaluation}/seed{seed}.tsv"
    message:
        "Evaluate {wildcards.method} as {wildcards.evaluation} on the test split of {wildcards.task}, seed {wildcards.seed}"


rule pool:
    input:
        evaluations=lambda wildcards: for_parts(
            wildcards, "results/eval/{part}/{method}/seed{seed}/test.json"
        ),
        samples=lambda wildcards: for_parts(
            wildcards, "results/eval/{part}/{method}/seed{seed}/test.samples.parquet"
        ),
    output:
        json="results/eval/{task}/{method}/seed{seed}/test.json",
        samples="results/eval/{task}/{method}/seed{seed}/test.samples.parquet",
    log:
        "results/logs/pool/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/pool/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=FOLDED,
        method="[^/]+",  # also gram@deep
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Pool the folds of {wildcards.task}: {wildcards.method}, seed {wildcards.seed}"
    shell:
        "python -m gram.pool --evaluations {input.evaluations:q} --fold-samples {input.samples:q}"
        " --output {output.json:q} --samples {output.samples:q} > {log:q} 2>&1"


rule scale_depth_and_width:
    input:
        configs=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/config.json"
        ),
        weights=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/weights.safetensors"
        ),
        metas=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/meta.json"
        ),
        trains=lambda wildcards: for_parts(wildcards, "results/data/{part}/train.parquet"),
        tests=lambda wildcards: for_parts(wildcards, "results/data/{part}/test.parquet"),
        cards=lambda wildcards: for_parts(wildcards, "results/data/{part}/card.json"),
    output:
        "results/eval/{task}/{method}/seed{seed}/scaling.json",
    log:
        "results/logs/scale_depth_and_width/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/scale_depth_and_width/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    threads: lambda wildcards: threads_of(wildcards.task, wildcards.method)
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        device=DEVICE,
    params:
        *tracked("evaluate"),
        # With `output`, a param is not tracked; these are, one by one, above.
        settings=lambda wildcards, output: settings_of(
            evaluate_settings, wildcards.task, wildcards.method
        ),
        runs=lambda wildcards: for_parts(wildcards, "results/runs/{part}/{method}/seed{seed}"),
        folders=lambda wildcards: for_parts(wildcards, "results/data/{part}"),
    message:
        "Measure {wildcards.method} on {wildcards.task} over depth and width, seed {wildcards.seed}"
    shell:
        "python -m gram.launch --device {resources.device:q}"
        " gram.scaling --run {params.runs:q} --data {params.folders:q} --checksums resources/checksums.tsv --split test"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


rule compare_samplers:
    input:
        configs=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/config.json"
        ),
        weights=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/weights.safetensors"
        ),
        metas=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/meta.json"
        ),
        trains=lambda wildcards: for_parts(wildcards, "results/data/{part}/train.parquet"),
        tests=lambda wildcards: for_parts(wildcards, "results/data/{part}/test.parquet"),
        cards=lambda wildcards: for_parts(wildcards, "results/data/{part}/card.json"),
    output:
        "results/eval/{task}/{method}/seed{seed}/samplers.json",
    log:
        "results/logs/compare_samplers/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/compare_samplers/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    threads: lambda wildcards: threads_of(wildcards.task, wildcards.method)
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        device=DEVICE,
    params:
        *tracked("evaluate"),
        # With `output`, a param is not tracked; these are, one by one, above.
        settings=lambda wildcards, output: settings_of(
            evaluate_settings, wildcards.task, wildcards.method
        ),
        runs=lambda wildcards: for_parts(wildcards, "results/runs/{part}/{method}/seed{seed}"),
        folders=lambda wildcards: for_parts(wildcards, "results/data/{part}"),
    message:
        "Compare the samplers on {wildcards.task}: {wildcards.method}, seed {wildcards.seed}"
    shell:
        "python -m gram.launch --device {resources.device:q}"
        " gram.compare_samplers --run {params.runs:q} --data {params.folders:q} --checksums resources/checksums.tsv --split test"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


rule measure_carried:
    input:
        configs=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/config.json"
        ),
        weights=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/weights.safetensors"
        ),
        metas=lambda wildcards: for_parts(
            wildcards, "results/runs/{part}/{method}/seed{seed}/meta.json"
        ),
        trains=lambda wildcards: for_parts(wildcards, "results/data/{part}/train.parquet"),
        cards=lambda wildcards: for_parts(wildcards, "results/data/{part}/card.json"),
    output:
        "results/eval/{task}/{method}/seed{seed}/carried.json",
    log:
        "results/logs/measure_carried/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_carried/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=either(EXPERIMENTS),
    conda:
        "../../envs/conda/environment.yaml"
    threads: lambda wildcards: threads_of(wildcards.task, wildcards.method)
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        device=DEVICE,
    params:
        settings=lambda wildcards: settings_of(evaluate_settings, wildcards.task, wildcards.method),
        runs=lambda wildcards: for_parts(wildcards, "results/runs/{part}/{method}/seed{seed}"),
        folders=lambda wildcards: for_parts(wildcards, "results/data/{part}"),
    message:
        "Measure what {wildcards.method} carries between supervision steps on {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m gram.launch --device {resources.device:q}"
        " gram.carried --run {params.runs:q} --data {params.folders:q} --checksums resources/checksums.tsv --split train"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


rule measure_trajectories:
    input:
        config="results/runs/{task}/{method}/seed{seed}/config.json",
        weights="results/runs/{task}/{method}/seed{seed}/weights.safetensors",
        meta="results/runs/{task}/{method}/seed{seed}/meta.json",
        train="results/data/{task}/train.parquet",
        test="results/data/{task}/test.parquet",
        card="results/data/{task}/card.json",
    output:
        "results/eval/{task}/{method}/seed{seed}/trajectories.json",
    log:
        "results/logs/measure_trajectories/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/measure_trajectories/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=TRAINABLE,
    conda:
        "../../envs/conda/environment.yaml"
    threads: lambda wildcards: threads_of(wildcards.task, wildcards.method)
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: 8000 * attempt,
        device=DEVICE,
    params:
        settings=lambda wildcards: settings_of(evaluate_settings, wildcards.task, wildcards.method),
    message:
        "Follow the states of {wildcards.method} on one input of {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m gram.launch --device {resources.device:q}"
        " gram.trajectories --run results/runs/{wildcards.task:q}/{wildcards.method:q}/seed{wildcards.seed:q}"
        " --data results/data/{wildcards.task:q} --checksums resources/checksums.tsv --split test"
        " --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
