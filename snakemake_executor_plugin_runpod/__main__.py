"""``python -m snakemake_executor_plugin_runpod``: list or end what is left over (reap), and say what runs cost (costs)."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from snakemake_executor_plugin_runpod.api import URL, ApiError, Client, patiently
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.fleet import PREFIX, SECONDS_TO_END
from snakemake_executor_plugin_runpod.key import load_key
from snakemake_executor_plugin_runpod.ledger import costs, read_ledger


def reap(client: Client, run: str | None, *, yes: bool) -> int:
    """List the pods of a run, or of all; end them if ``yes``. How many of them are still there."""
    named = re.compile(
        rf"{PREFIX}-{re.escape(run) if run else '.+'}-[0-9a-f]{{6}}-.+-[0-9a-f]{{8}}"
    )
    pods = [pod for pod in patiently(client.pods, SECONDS_TO_END) if named.fullmatch(pod["name"])]
    left = 0
    for pod in sorted(pods, key=lambda pod: pod["name"]):
        what = "left"
        if yes:
            try:
                patiently(lambda pod_id=pod["id"]: client.delete(pod_id), SECONDS_TO_END)  # type: ignore[misc]
                what = "ended"
            except ApiError as error:
                what = f"NOT ended: {error}"
        left += what != "ended"
        print(
            f"{pod['id']}  {pod['status']:<12}  {pod.get('cost') or 0:.2f} $/h  {pod['name']}  {what}"
        )
    whose = f"of run {run}" if run else "of any run"
    print(
        f"{len(pods)} pods {whose}, {left} left" + ("" if yes or not pods else "; --yes ends them")
    )
    return left


def print_costs(path: Path) -> None:
    """A Markdown table of what each run cost."""
    found = costs(read_ledger(path))  # before anything is printed: a broken ledger is an error
    print("| run | pods | hours | dollars |\n|---|---:|---:|---:|")
    for run, (count, hours, dollars) in found.items():
        print(f"| {run} | {count} | {hours:.2f} | {dollars:.2f} |")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m snakemake_executor_plugin_runpod")
    commands = parser.add_subparsers(dest="command", required=True)
    reaping = commands.add_parser(
        "reap", help="list the pods that this executor made and that still exist, or end them"
    )
    reaping.add_argument(
        "--run", help="only those of the run of this name (runpod-run); default: of every run"
    )
    reaping.add_argument(
        "--key-file", type=Path, help="file of mode 0600 with the API key; default: RUNPOD_API_KEY"
    )
    reaping.add_argument("--api-url", default=URL, help="address of the API (default: %(default)s)")
    reaping.add_argument(
        "--yes", action="store_true", help="end them; also those of a head that is at work"
    )
    cost = commands.add_parser("costs", help="pods, hours and dollars of each run in a ledger")
    cost.add_argument("ledger", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "costs":
            print_costs(arguments.ledger)
            return 0
        left = reap(
            Client(load_key(arguments.key_file), arguments.api_url),
            arguments.run,
            yes=arguments.yes,
        )
        return 1 if arguments.yes and left else 0
    except RunPodError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
