# What the trainings of a dry run, or of a start, would cost, if the configuration says on which GPU (key `estimate`).
#
# in:   resources/gpus.yaml, resources/benchmarks/*.json
# out:  no files; lines that begin with ESTIMATE, on the terminal
import atexit
import subprocess


def print_estimate():
    """Print GPU hours and dollars of the trainings that the targets need and that are not there; in a process with torch."""
    jobs = [
        job for job in workflow.dag.needrun_jobs(exclude_finished=False) if job.rule.name == "train"
    ]
    names = sorted("{task}/{method}/seed{seed}".format(**job.wildcards_dict) for job in jobs)
    if names:
        command = [
            sys.executable,
            "-m",
            "gram.bench",
            "estimate",
            "--workflow",
            "-",
            "--trainings",
            *names,
        ]
        # An estimate that fails says why, and stops nothing.
        subprocess.run(command, input=json.dumps(config), text=True, check=False)


def print_estimate_of_dry_run():
    """Nothing for --report, --lint and the like, for a DAG that could not be built, and for --quiet all."""
    silent = any(kind.name == "ALL" for kind in workflow.output_settings.quiet or [])
    if workflow.dryrun and workflow.dag is not None and not silent:
        print_estimate()


# Without the key there is nothing to say: the default is trained on a CPU. Jobs read this file too, in processes of their own.
if config.get("estimate") and workflow.is_main_process:

    # Snakemake runs no hook in a dry run, and the jobs are known only after this file was read. So this runs at the end, where the
    # lines stand below those of all jobs; at a start, the hook prints them before the first job.
    atexit.register(print_estimate_of_dry_run)

    onstart:
        print_estimate()
