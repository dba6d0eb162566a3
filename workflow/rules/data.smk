# The data sets, made from nothing and checked against the sums that stand in this repository.
#
# in:   config/experiments/{experiment}.yaml: generator, split; resources/checksums.tsv
# out:  results/data/{task}/train.parquet, valid.parquet, test.parquet, completions.parquet, card.json
#       results/data/{task}/checked.json


rule data:
    output:
        train="results/data/{task}/train.parquet",
        valid="results/data/{task}/valid.parquet",
        test="results/data/{task}/test.parquet",
        completions="results/data/{task}/completions.parquet",
        card="results/data/{task}/card.json",
    log:
        "results/logs/data/{task}.log",
    benchmark:
        "results/benchmarks/data/{task}.tsv"
    wildcard_constraints:
        task=TRAINABLE,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    params:
        *tracked("data"),
        # A string, not an input: an edited comment must not build the data anew.
        experiment=lambda wildcards: EXPERIMENTS[BASE[wildcards.task]].path,
        # With `output`, a param is not tracked. What this one means is, setting by setting, above.
        overrides=lambda wildcards, output: overrides_of(wildcards.task, "generator", "split"),
    message:
        "Build the data set {wildcards.task}"
    shell:
        "python -m gram.data --experiment {params.experiment:q} --task {wildcards.task:q} --overrides {params.overrides:q}"
        " --output results/data/{wildcards.task:q} > {log:q} 2>&1"


rule check_data:
    input:
        tables=rules.data.output,
        checksums="resources/checksums.tsv",
    output:
        "results/data/{task}/checked.json",
    log:
        "results/logs/check_data/{task}.log",
    benchmark:
        "results/benchmarks/check_data/{task}.tsv"
    wildcard_constraints:
        task=TRAINABLE,
    # First of what can run. No job waits for it: trainings and evaluations compare what they read themselves, and a check that is
    # repeated, because another sum was listed, must not repeat them.
    priority: 1
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=2000,
    message:
        "Check the content of {wildcards.task} against {input.checksums}"
    # tee, because a data set that is not listed there passes, and that should be seen.
    shell:
        "python -m gram.checksums verify --card results/data/{wildcards.task:q}/card.json --checksums {input.checksums:q}"
        " --output {output:q} 2>&1 | tee {log:q}"
