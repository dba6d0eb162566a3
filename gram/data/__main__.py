"""``python -m gram.data``: the data set of a task."""

from __future__ import annotations

from pathlib import Path

from gram.data.splits import build
from gram.settings.config import data_settings, load_experiment
from gram.settings.documents import yaml_option
from gram.system import files
from gram.system.errors import Parser, run


def main() -> None:
    """Build the data set of a task: train, valid, test, completions and a readable card with counts
    and MD5s.
    """
    parser = Parser(prog="python -m gram.data", description=main.__doc__)
    parser.add_argument(
        "--experiment", type=Path, required=True, help="a file of config/experiments"
    )
    parser.add_argument("--task", help="default: the experiment's name; with folds {name}-fold{i}")
    parser.add_argument(
        "--overrides",
        type=yaml_option("--overrides"),
        default={},
        help="sections as YAML or JSON, merged over the file",
    )
    parser.add_argument("--output", type=files.own_folder, required=True, help="folder to write")
    parser.add_argument(
        "--sources",
        type=Path,
        help="folder with what gram.fetch brought, of a family that needs it",
    )
    args = parser.parse_args()
    experiment = load_experiment(args.experiment, args.overrides)
    card = build(
        data_settings(experiment, args.task or args.experiment.stem), args.output, args.sources
    )
    for name, facts in card["tables"].items():
        print(f"{name}: {facts['rows']} rows, {facts['inputs']} inputs, md5 {facts['md5']}")


if __name__ == "__main__":
    run(main)
