# The data sets, made and checked against the sums that stand in this repository.
#
# in:   config/experiments/{experiment}.yaml: generator, split; resources/checksums.tsv
#       what a family's examples are made from, if they are not made from nothing: downloaded, or from the folder `sources`
# out:  results/sources/{family}/{file}
#       results/data/{task}/train.parquet, valid.parquet, test.parquet, completions.parquet, card.json
#       results/data/{task}/checked.json


rule fetch:
    output:
        "results/sources/{family}/{file}",
    log:
        "results/logs/fetch/{family}/{file}.log",
    benchmark:
        "results/benchmarks/fetch/{family}/{file}.tsv"
    wildcard_constraints:
        family=either(FAMILIES),
        file="[^/]+",
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=1000,
    params:
        # A string, not an input: another folder brings the same file, whose sum is checked.
        folder=lambda wildcards, output: option("--folder", config.get("sources")),
    message:
        "Bring {wildcards.file} of {wildcards.family}"
    shell:
        "python -m gram.fetch --family {wildcards.family:q} --file {wildcards.file:q} {params.folder:q} --output {output:q}"
        " > {log:q} 2>&1"


rule data:
    input:
        lambda wildcards: sources_of(wildcards.task),
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
        sources=lambda wildcards, output: folder_of_sources(wildcards.task),
    message:
        "Build the data set {wildcards.task}"
    shell:
        "python -m gram.data --experiment {params.experiment:q} --task {wildcards.task:q} --overrides {params.overrides:q}"
        " --output results/data/{wildcards.task:q} {params.sources:q} > {log:q} 2>&1"


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
