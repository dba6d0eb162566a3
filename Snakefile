# GRAM, reproduced. `snakemake` builds what config/config.yaml lists: data, runs, evaluations, table 1 and the figures.
#
# The grammar of result paths. Names in braces come from the configuration, so every file below can be asked for by its name:
#
#   results/data/{task}/{train,valid,test,completions}.parquet, card.json, checked.json
#   results/runs/{task}/{method}/seed{seed}/config.json, weights.safetensors, meta.json, history.jsonl
#   results/eval/{task}/{method}/seed{seed}/test.json, test.samples.parquet
#   results/eval/{task}/{method}/seed{seed}/scaling.json, samplers.json; built only when asked for
#   results/figures/{task}/{training,elbo,completions,width,boards}.{svg,png}
#   results/figures/{task}/{scaling,halting,samplers}.{svg,png}; by `snakemake scaling` and `snakemake samplers`
#   results/tables/{table1,table3}.{md,csv,tex,html}; table3 is built only when asked for
#   results/{logs,benchmarks}/{rule}/...  what each job printed; its seconds and memory
#
#   {task}    a file of config/experiments (nqueens8). One with `folds: 5` is trained as nqueens5-fold0 to nqueens5-fold4,
#             and its evaluation results/eval/nqueens5/... pools theirs.
#   {method}  a key of `methods` in that file (gram).
#   {seed}    any whole number.
from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


report: "workflow/report/front.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"


# The milestones. They stay in this file: Snakemake ignores a default target that stands in an included one.


rule all:
    default_target: True
    input:
        EVALUATIONS,
        FOLD_EVALUATIONS,
        TABLES,
        FIGURES,


rule datasets:
    input:
        CHECKED,


rule evaluations:
    input:
        EVALUATIONS,


rule scaling:
    input:
        SCALING_FIGURES,


rule samplers:
    input:
        SAMPLERS_FIGURES,
