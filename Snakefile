# GRAM, reproduced. `snakemake` builds what config/config.yaml lists under `quick`: data, runs, evaluations, a table and figures;
# `snakemake table1_small` (or `all`, with the figures) what it lists under `runs`. With `quick: null` both are the same.
#
# The grammar of result paths. Names in braces come from the configuration, so every file below can be asked for by its name:
#
#   results/data/{task}/{train,valid,test,completions}.parquet, card.json, checked.json
#   results/runs/{task}/{method}/seed{seed}/config.json, weights.safetensors, meta.json, history.jsonl
#   results/eval/{task}/{method}/seed{seed}/test.json, test.samples.parquet
#   results/eval/{task}/{method}/seed{seed}/scaling.json, samplers.json, carried.json, trajectories.json; built only when asked for
#   results/tables/{table}.{md,csv,tex,html}; in short {table}.summary.{json,rst}, for the front page of the report
#   results/tables/{table}.costs.{md,csv,html}; what its runs took, and what was paid for pods
#   results/figures/{table}/{task}/{training,elbo,completions,width,boards}.{svg,png}; of the runs in that table
#   results/figures/{table}/{task}/{scaling,halting,samplers,carried,trajectories}.{svg,png}; by `snakemake scaling` and so on
#   results/{logs,benchmarks}/{rule}/...  what each job printed; its seconds and memory
#
#   {task}    a file of config/experiments (nqueens7). One with `folds: 5` is trained as nqueens5-fold0 to nqueens5-fold4,
#             and its evaluation results/eval/nqueens5/... pools theirs.
#   {method}  a key of `methods` in that file (gram); below results/eval also one of its `evaluations` (gram@deep).
#   {seed}    any whole number.
#   {table}   a table of resources/paper.yaml, which names the key of the configuration that lists its runs (table1: `runs`,
#             table3: `ablations`); or quick, the part of table1 under `quick`.
from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/readable.smk"


configfile: "config/config.yaml"


report: "workflow/report/front.rst"


include: "workflow/rules/configuration.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/estimate.smk"


# Seconds each, from small files: on a cluster they run beside Snakemake itself, rather than wait in a queue.
localrules:
    configure,
    check_data,
    pool,
    table,
    costs,


# The milestones. They stay in this file: Snakemake ignores a default target that stands in an included one.


rule quick:
    default_target: True
    input:
        # A report of no target shows all that is built.
        built if REPORTING else everything(DEFAULT),


rule table1_small:
    input:
        results_of("table1"),


rule all:
    input:
        everything("table1"),


rule datasets:
    input:
        checked("table1"),


rule evaluations:
    input:
        checked("table1"),
        evaluations_of("table1"),


rule scaling:
    input:
        figures(DEFAULT, figures_from("scaling"), SCALED),


rule samplers:
    input:
        figures(DEFAULT, figures_from("samplers"), SAMPLED),


rule carried:
    input:
        figures(DEFAULT, figures_from("carried"), STEERED),


rule trajectories:
    input:
        figures(DEFAULT, figures_from("trajectories"), RECURRENT),


include: "workflow/rules/targets.smk"
include: "workflow/rules/othercode.smk"
include: "workflow/rules/unfinished.smk"
