# Results of another version of the code, such as those of a folder that an earlier version made: what is there, and what to do.
#
# in:   results/runs/{task}/{method}/seed{seed}/meta.json, results/eval/{task}/{method}/seed{seed}/test.json
# out:  no files; a line before the plan for those that other code trained, and one for those that it evaluated
from gram.system.code_version import present_code

VERSIONS = 3  # that are named


def made_by(path, *keys):
    """What a JSON file says of the code that made it; None where it does not, and whoever reads it next says why."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        for key in keys:
            found = found[key]
        return found if isinstance(found["code_hash"], str) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def version_of(by):
    """A version of the code in words: that of gram, and the commit where it is known."""
    commit = by.get("commit")
    name = f"gram {by.get('gram_version', 'of an unknown version')}"
    return f"{name}, commit {commit[:7]}" if isinstance(commit, str) else name


def made_by_other_code(dag):
    """Lines about the results that are there and that another version of the code made."""
    for rule, file, keys, done, again in (
        ("train", "meta", (), "trained", "trains"),
        ("evaluate", "json", ("run", "evaluated_by"), "evaluated", "evaluates"),
    ):
        paths = [str(job.output.get(file)) for job in dag.jobs if job.rule.name == rule]
        found = [by for by in (made_by(path, *keys) for path in paths) if by]
        # A training that other code went on with has several hashes.
        hashes = [set(by.get("code_hashes", [by["code_hash"]])) for by in found]
        other = [by for by, own in zip(found, hashes) if own != {present_code(by)}]
        if other:
            versions = sorted(set(map(version_of, other)))
            more = f", and {len(versions) - VERSIONS} more" * (len(versions) > VERSIONS)
            yield (
                f"results/: {len(other)} of {len(found)} runs were {done} by another version of the code"
                f" ({'; '.join(versions[:VERSIONS])}{more}). This command makes those anew whose settings or"
                " commands are others by now (-n lists them), and the tables mark the rest as stale. To keep all"
                f" of them, `snakemake --touch` comes first; `snakemake --forcerun {rule}` {again} all anew"
            )
