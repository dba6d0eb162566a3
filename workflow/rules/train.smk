# One training run per task, method and seed, or a kept one in its place.
#
# in:   results/data/{task}/train.parquet, valid.parquet, card.json
#       resources/checksums.tsv, which names the data that training may read: only by its name, since a newly listed sum must
#       not train anew
#       weights.safetensors and meta.json that a run's train.initial_weights names
#       {reference_runs}/runs/{task}/{method}/seed{seed}/ of the runs that are kept there, if the configuration names a folder
# out:  results/runs/{task}/{method}/seed{seed}/config.json: all settings of the run
#       results/runs/{task}/{method}/seed{seed}/weights.safetensors, meta.json, history.jsonl
# kept: results/runs/{task}/{method}/seed{seed}/resume.safetensors while a run is unfinished. It is not an output, because
#       Snakemake deletes the outputs of a failed job; so the same command goes on where a killed run last saved.


rule configure:
    output:
        "results/runs/{task}/{method}/seed{seed}/config.json",
    log:
        "results/logs/configure/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/configure/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=TRAINABLE,
    conda:
        "../../envs/conda/environment.yaml"
    resources:
        mem_mb=500,
    params:
        # Without the section evaluate: test-time compute must not train anew.
        *tracked("data", "model", "train"),
        experiment=lambda wildcards: EXPERIMENTS[BASE[wildcards.task]].path,
        # With `output`, a param is not tracked. What this one means is, setting by setting, above.
        overrides=lambda wildcards, output: overrides_of(
            wildcards.task, "generator", "split", "model", "train", method=wildcards.method
        ),
    message:
        "Freeze the settings of {wildcards.method} on {wildcards.task}, seed {wildcards.seed}"
    shell:
        "python -m gram.config --experiment {params.experiment:q} --task {wildcards.task:q} --method {wildcards.method:q}"
        " --seed {wildcards.seed:q} --overrides {params.overrides:q} --output {output:q} > {log:q} 2>&1"


rule train:
    input:
        config="results/runs/{task}/{method}/seed{seed}/config.json",
        train="results/data/{task}/train.parquet",
        valid="results/data/{task}/valid.parquet",
        card="results/data/{task}/card.json",
        initial=lambda wildcards: initial_weights_of(**wildcards),
    output:
        weights="results/runs/{task}/{method}/seed{seed}/weights.safetensors",
        meta="results/runs/{task}/{method}/seed{seed}/meta.json",
        history="results/runs/{task}/{method}/seed{seed}/history.jsonl",
    log:
        "results/logs/train/{task}/{method}/seed{seed}.log",
    benchmark:
        "results/benchmarks/train/{task}/{method}/seed{seed}.tsv"
    wildcard_constraints:
        task=f"(?!{RESTORED})(?:{TRAINABLE})" if REFERENCE_RUNS else TRAINABLE,
    conda:
        "../../envs/conda/environment.yaml"
    threads:
        lambda wildcards: threads_of(wildcards.task, wildcards.method)
        * processes_of(wildcards.task, wildcards.method)
    resources:
        gpu=lambda wildcards: processes_of(wildcards.task, wildcards.method),
        # A process with CUDA and torch.compile takes some GB of the machine; one that had too little gets more.
        mem_mb=lambda wildcards, attempt: 8000
        * attempt
        * processes_of(wildcards.task, wildcards.method),
        # Resources, because these are not tracked: another device must not train anew.
        device=DEVICE,
        long_trainings=config["long_trainings"],
    params:
        # With `resources`, a param is not tracked: neither another number of GPUs nor more time trains anew.
        processes=lambda wildcards, resources: processes_in(resources, wildcards),
        time_limit=lambda wildcards, resources: time_limit(resources),
    message:
        "Train {wildcards.method} on {wildcards.task}, seed {wildcards.seed}; to watch it: tail -f {log}"
    shell:
        "python -m gram.launch --device {resources.device:q} --processes {params.processes:q}"
        " gram.train --config {input.config:q} --data results/data/{wildcards.task:q} --checksums resources/checksums.tsv"
        " --output results/runs/{wildcards.task:q}/{wildcards.method:q}/seed{wildcards.seed:q}"
        " --long-trainings {resources.long_trainings:q} --time-limit {params.time_limit:q} > {log:q} 2>&1"


if REFERENCE_RUNS:

    rule restore:
        input:
            config="results/runs/{task}/{method}/seed{seed}/config.json",
            card="results/data/{task}/card.json",
            reference=kept_files,
        output:
            weights="results/runs/{task}/{method}/seed{seed}/weights.safetensors",
            meta="results/runs/{task}/{method}/seed{seed}/meta.json",
            history="results/runs/{task}/{method}/seed{seed}/history.jsonl",
        log:
            "results/logs/restore/{task}/{method}/seed{seed}.log",
        benchmark:
            "results/benchmarks/restore/{task}/{method}/seed{seed}.tsv"
        wildcard_constraints:
            task=f"(?={RESTORED})(?:{TRAINABLE})",
        localrule: True
        conda:
            "../../envs/conda/environment.yaml"
        resources:
            mem_mb=500,
        params:
            folder=config["reference_runs"],
        message:
            "Restore {wildcards.method} on {wildcards.task}, seed {wildcards.seed}, from {params.folder}"
        shell:
            "python -m gram.restore"
            " --reference {params.folder:q}/runs/{wildcards.task:q}/{wildcards.method:q}/seed{wildcards.seed:q}"
            " --config {input.config:q} --card {input.card:q}"
            " --output results/runs/{wildcards.task:q}/{wildcards.method:q}/seed{wildcards.seed:q} > {log:q} 2>&1"
