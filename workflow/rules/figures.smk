# The figures of one task, of its runs in one table; each as SVG (in the report) and PNG. Which there are, what each is made of and
# what is said of it stands in gram/figures, in the module that draws it.
#
# in:   results/runs/{task}/{method}/seed{seed}/history.jsonl, meta.json of those runs, or of their folds
#       results/eval/{task}/{method}/seed{seed}/test.json, test.samples.parquet, scaling.json, samplers.json, carried.json,
#       trajectories.json
#       results/data/{task}/test.parquet, card.json
# out:  results/figures/{table}/{task}/training, elbo, completions, width, boards .svg and .png
#       results/figures/{table}/{task}/scaling, halting, samplers, carried, trajectories .svg and .png, by milestones
#       of their own
from functools import partial

for figure in FIGURES:

    rule:
        name:
            f"{figure}_figure"
        input:
            unpack(partial(inputs_of_figure, name=figure)),
        output:
            svg=report(
                f"results/figures/{{table}}/{{task}}/{figure}.svg",
                caption="../report/figure.rst",
                category="Figures",
                labels={"table": "{table}", "task": "{task}", "figure": FIGURES[figure].label},
            ),
            png=f"results/figures/{{table}}/{{task}}/{figure}.png",
        log:
            f"results/logs/{figure}_figure/{{table}}/{{task}}.log",
        benchmark:
            f"results/benchmarks/{figure}_figure/{{table}}/{{task}}.tsv"
        wildcard_constraints:
            task=either(EXPERIMENTS),
        # Seconds, from small files.
        localrule: True
        conda:
            "../../envs/conda/environment.yaml"
        resources:
            mem_mb=2000,
        params:
            # With `output`, a param is not tracked: what is drawn follows from the inputs, and another caption draws nothing anew.
            figure=lambda wildcards, output, name=figure: name,
            options=lambda wildcards, input, output, name=figure: options_of_figure(
                wildcards, input, name
            ),
            caption=lambda wildcards, input, output, name=figure: caption_of_figure(
                wildcards, input, name
            ),
        message:
            f"Draw {FIGURES[figure].drawn.format(task='{wildcards.task}')}, for {{wildcards.table}}"
        # One text for all, because it is filled when the loop has long ended.
        shell:
            "python -m gram.figures {params.figure:q} {params.options:q}"
            " --output results/figures/{wildcards.table:q}/{wildcards.task:q}/{params.figure:q} > {log:q} 2>&1"
