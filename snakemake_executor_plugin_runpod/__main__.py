"""``python -m snakemake_executor_plugin_runpod``: list or end what is left over (reap), say what
runs cost (costs), and where one could run (where).
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from snakemake_executor_plugin_runpod.api import URL, ApiError, Client, patiently
from snakemake_executor_plugin_runpod.catalogue import where
from snakemake_executor_plugin_runpod.errors import RunPodError
from snakemake_executor_plugin_runpod.fleet import PREFIX, SECONDS_TO_END
from snakemake_executor_plugin_runpod.key import load_key
from snakemake_executor_plugin_runpod.ledger import costs, read_ledger
from snakemake_executor_plugin_runpod.settings import words


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
            f"{pod['id']}  {pod['status']:<12}  {pod.get('cost') or 0:.2f} $/h  {pod['name']} "
            f" {what}"
        )
    whose = f"of run {run}" if run else "of any run"
    print(
        f"{len(pods)} pods {whose}, {left} left" + ("" if yes or not pods else "; --yes ends them")
    )
    return left


def removals(state: Path) -> list[str]:
    """What RunPod answered to pods that asked to be removed, as they noted it in a state folder: a
    line for each pod.
    """
    notes = sorted((state / "jobs").glob("*/removal.txt"))
    return [f"{note.parent.name} has asked: {_last_line(note)}" for note in notes]


def _last_line(path: Path) -> str:
    return (path.read_text(encoding="utf-8").splitlines() or [""])[-1]


def print_where(client: Client, gpu_types: list[str], min_cuda: str | None, count: int) -> int:
    """A table of the data centers where a run could have what it needs; 1 if there is none."""
    lines = patiently(lambda: where(client, gpu_types, min_cuda, count), SECONDS_TO_END)
    if not lines:
        cuda = f" with CUDA {min_cuda} or later" if min_cuda else ""
        print(f"no data center has {' or '.join(gpu_types)}{cuda} in stock now")
        return 1
    print("\n".join(lines))
    return 0


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
        "--state",
        type=Path,
        help=(
            "the run's state folder (runpod-state): also shows what RunPod answered to pods that"
            " asked to be removed"
        ),
    )
    reaping.add_argument(
        "--yes", action="store_true", help="end them; also those of a head that is at work"
    )
    cost = commands.add_parser("costs", help="pods, hours and dollars of each run in a ledger")
    cost.add_argument("ledger", type=Path)
    placing = commands.add_parser(
        "where", help="data centers that have a GPU type in stock, network volumes and CPU pods"
    )
    placing.add_argument(
        "--gpu-types", required=True, help="as in runpod-gpu-types, comma-separated"
    )
    placing.add_argument("--min-cuda", help="as in runpod-min-cuda, like 13.0")
    placing.add_argument("--count", type=int, default=1, help="GPUs of a pod (default: 1)")
    for asking in (reaping, placing):
        asking.add_argument(
            "--key-file",
            type=Path,
            help="file of mode 0600 with the API key; default: RUNPOD_API_KEY",
        )
        asking.add_argument(
            "--api-url", default=URL, help="address of the API (default: %(default)s)"
        )
    arguments = parser.parse_args()
    try:
        if arguments.command == "costs":
            print_costs(arguments.ledger)
            return 0
        client = Client(load_key(arguments.key_file), arguments.api_url)
        if arguments.command == "where":
            return print_where(
                client, words(arguments.gpu_types), arguments.min_cuda, arguments.count
            )
        left = reap(client, arguments.run, yes=arguments.yes)
        if arguments.state is not None:
            print(*removals(arguments.state), sep="\n")
        return 1 if arguments.yes and left else 0
    except RunPodError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
