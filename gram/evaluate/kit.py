"""``python -m gram.kit``: a training on a machine that is there for minutes.

``prepare`` makes a folder on any CPU with all that a bare machine needs, ``run`` trains there, for
as many steps as fit into the time, evaluates and packs, and ``take`` brings what was packed into
``results/``, as if it had been trained here. See docs/KIT.md.
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import re
import signal
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

import gram
from gram import ROOMS
from gram.data.splits import build
from gram.evaluate.evaluation import load_subject, write_evaluation
from gram.runs import trained
from gram.runs.export import export_unfinished
from gram.runs.trained import HISTORY, META, RESUME, UNFINISHED, WEIGHTS, how_far
from gram.settings import EvaluateConfig, RunSettings, TrainConfig
from gram.settings.config import (
    add_overrides,
    check_card,
    evaluate_settings,
    load_experiment,
    load_run,
    resolve,
)
from gram.settings.parsing import parse
from gram.system import files, shapes
from gram.system.code_version import code_hash
from gram.system.errors import GramError, Interrupted, Parser, run
from gram.system.provenance import choose_device, provenance
from gram.system.stopping import listening
from gram.system.timelimit import WAY_OUT, TimeLimit, began, seconds
from gram.system.writer import only_writer
from gram.train.__main__ import introduce
from gram.train.duration import drain, timed
from gram.train.loop import train
from gram.train.trainer import WRITTEN, Trainer

CONFIG, EVALUATE, PACKAGES, FACTS = "config.json", "evaluate.json", "packages.txt", "kit.json"
PACKED = "packed.tar"
OF_RUN = (CONFIG, WEIGHTS, HISTORY, META)
EVALUATED = ("test.json", "test.samples.parquet")
TRIED = 100  # steps from which the rate is told
ALONE = 10  # of them, those in which libraries still prepare themselves
MARGIN = 0.95  # of the time that is left for training, planned for steps
RESERVE = 90.0  # seconds for the export of the weights and the evaluation
# Settings that name a step, and keep their place in a schedule of another length.
SCALED = ("beta_decay_steps", "carry_prior_from")
SOURCES = Path(gram.__file__).parent


# On a CPU -----------------------------------------------------------------------------------------


def needed_packages(project: Path) -> list[str]:
    """What training and evaluation import, as ``pyproject.toml`` asks for it: ``torch>=2.11``.

    Args:
        project: the file.
    """
    with project.open("rb") as handle:
        declared = tomllib.load(handle)["project"]["dependencies"]
    imported = {
        name.partition(".")[0]
        for room in ROOMS[: ROOMS.index("evaluate") + 1]
        for path in (SOURCES / room).rglob("*.py")
        for name in imports(path)
    }
    distributions = importlib.metadata.packages_distributions()
    names = {
        normal(distribution) for name in imported for distribution in distributions.get(name, [])
    }
    return [line for line in declared if normal(re.split(r"[<>=!~ \[]", line)[0]) in names]


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a source file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def normal(name: str) -> str:
    """The name of a distribution in the one form in which two are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def prepare(
    settings: RunSettings, test_time: EvaluateConfig, output: Path, sources: Path | None = None
) -> None:
    """Write a kit for one training: sources, data set, frozen settings and a list of packages.

    Args:
        settings: of the training; its steps are the most that will be taken.
        test_time: of its evaluation.
        output: a folder that is not there yet, or empty.
        sources: as of :func:`gram.data.splits.build`.

    Raises:
        GramError: a folder with something in it, or one that cannot be written.
    """
    if output.exists() and any(output.iterdir()):
        raise GramError(f"{output}: is not empty; name a new folder")
    for path in sorted(SOURCES.rglob("*.py")):
        files.copy(path, output / "gram" / path.relative_to(SOURCES))
    build(settings.data, output / "data", sources)
    files.write_json(output / CONFIG, settings.as_dict())
    files.write_json(output / EVALUATE, asdict(test_time))
    packages = needed_packages(SOURCES.parent / "pyproject.toml")
    files.write_text(output / PACKAGES, "".join(f"{line}\n" for line in packages))
    made_by = provenance(torch.device("cpu"))
    sums = {
        path.relative_to(output).as_posix(): files.md5(path)
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }
    facts = {key: made_by[key] for key in ("commit", "dirty", "code_hash")}
    files.write_json(output / FACTS, facts | {"files": sums})


# On the machine -----------------------------------------------------------------------------------


def check_kit(kit: Path) -> dict[str, Any]:
    """What ``kit.json`` says of the code: commit and whether it had changes.

    Raises:
        GramError: a file of the kit is missing or another one, or other code is running.
    """
    facts: dict[str, Any] = files.read_json(kit / FACTS)
    for name, md5 in facts["files"].items():
        if files.md5(kit / name) != md5:
            raise GramError(f"{kit / name}: not as it was prepared; bring the kit here again")
    if facts["code_hash"] != code_hash():
        raise GramError(
            f"{kit}: prepared with code {facts['code_hash']}, and this is {code_hash()}; run the"
            " command in the kit's folder"
        )
    return {key: facts[key] for key in ("commit", "dirty")}


def with_steps(settings: RunSettings, steps: int) -> RunSettings:
    """The settings of a run with another number of steps; :data:`SCALED` keep their share of it."""
    share = steps / settings.train.steps
    changed = {
        name: round(value * share)
        for name in SCALED
        if (value := getattr(settings.train, name)) is not None
    }
    values = asdict(settings.train) | changed | {"steps": steps}
    return replace(settings, train=parse(TrainConfig, values, "kit: train"))


def fitted(
    settings: RunSettings, data: Path, scratch: Path, device: torch.device, end: float
) -> RunSettings:
    """The settings with as many steps as fit, told from the first hundred, which are then thrown
    away: a schedule that ends elsewhere has other first steps, too.

    Args:
        settings: of the run, with the most steps that are wanted.
        data: folder of its data set.
        scratch: folder in which a state is written, to see how long that takes.
        device: where it trains.
        end: when training has to end, on the clock of :func:`time.monotonic`.

    Raises:
        GramError: the time is too short for a single step.
    """
    trainer = Trainer(settings, data, scratch, device)
    config = settings.train
    first = timed(trainer.train_step, 1, device)  # which compiles
    start = time.monotonic()
    trainer.log_rollouts()
    drain(device)
    rollouts = time.monotonic() - start
    start = time.monotonic()
    trainer.save_resume_state()
    saving = time.monotonic() - start
    if config.steps > ALONE:
        timed(trainer.train_step, min(ALONE, config.steps) - 1, device)
    rate = timed(trainer.train_step, max(1, min(TRIED, config.steps) - ALONE), device)
    each = rate + rollouts / config.eval_every + saving / config.save_every
    left = end - time.monotonic()
    steps = min(config.steps, int(MARGIN * (left - first - 2 * rollouts - saving) / each))
    print(
        f"{1000 * rate:.3g} ms a step, {left:.0f} s left: {max(steps, 0):,} of {config.steps:,}"
        " steps",
        file=sys.stderr,
        flush=True,
    )
    if steps < 1:
        raise GramError(
            f"kit: {left:.0f} seconds are too short for a step and what comes around it; give a"
            " longer --time-limit, or a smaller --reserve"
        )
    return settings if steps == config.steps else with_steps(settings, steps)


def place_of(settings: RunSettings) -> Path:
    """Where a run lies in ``runs``, and its evaluation in ``eval``."""
    return Path(settings.task, settings.method, f"seed{settings.seed}")


def run_kit(
    kit: Path, output: Path, device: torch.device, *, limit: float, reserve: float, since: float
) -> Path:
    """Train the kit's run, evaluate it and pack it; called again, it goes on where it was.

    Args:
        kit: its folder.
        output: laid out as ``results`` is.
        device: where to compute.
        limit: seconds that all of it may take; 0 for no limit, and then all steps are taken.
        reserve: those of them that are not for training.
        since: when they began, on the clock of :func:`time.monotonic`.

    Returns:
        The packed file.

    Raises:
        GramError: a kit that is not as it was prepared, or too little time.
        Interrupted: a signal came; at the time limit it is caught, once there is a state to keep.
    """
    made_by = check_kit(kit)
    settings, data = load_run(kit / CONFIG), kit / "data"
    folder = output / "runs" / place_of(settings)
    config = folder / CONFIG
    with only_writer(folder, WRITTEN):
        if config.exists():
            settings = load_run(config)
        else:
            if limit:
                with tempfile.TemporaryDirectory(dir=folder) as scratch:
                    end = since + limit - reserve
                    settings = fitted(settings, data, Path(scratch), device, end)
            files.write_json(config, settings.as_dict())
        root = output
        if not (folder / META).exists():
            trainer = Trainer(settings, data, folder, device)
            trainer.provenance().update(made_by)
            introduce(trainer)
            with listening() as stops:
                try:
                    train(trainer, limit=TimeLimit(max(limit - reserve, 1) if limit else 0, since))
                except Interrupted as error:
                    if stops.number != signal.SIGALRM or not (folder / RESUME).exists():
                        raise
                    print(error, file=sys.stderr)
                    root = output / "unfinished"
                    export_unfinished(folder, root / "runs" / place_of(settings))
                stops.begin_anew()
    packed = pack(root, data, settings, output / PACKED)
    if limit:  # an evaluation that the limit cuts saves on the way, and can go on at home
        left = since + limit - WAY_OUT - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 1e-3))
    try:
        evaluated(root, kit, settings, device, made_by)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return pack(root, data, settings, packed)


def evaluated(
    root: Path, kit: Path, settings: RunSettings, device: torch.device, made_by: dict[str, Any]
) -> None:
    """Write the evaluation of a run on the test split, as ``gram.evaluate`` does."""
    config = parse(EvaluateConfig, files.read_json(kit / EVALUATE), str(kit / EVALUATE))
    subject = load_subject(root / "runs" / place_of(settings), kit / "data", "test", config, device)
    output, samples = (root / "eval" / place_of(settings) / name for name in EVALUATED)
    write_evaluation(subject, config, output, samples, made_by)


def pack(root: Path, data: Path, settings: RunSettings, packed: Path) -> Path:
    """Put a run, what there is of its evaluation, and its data set into one file."""
    place = place_of(settings)
    kinds = {
        Path("data", settings.task): (data, [path.name for path in sorted(data.iterdir())]),
        Path("runs", place): (root / "runs" / place, OF_RUN),
        Path("eval", place): (root / "eval" / place, EVALUATED),
    }
    found = {
        folder / name: packed_folder / name
        for packed_folder, (folder, names) in kinds.items()
        for name in names
        if (folder / name).is_file()
    }
    with files.atomic_write(packed) as temporary, tarfile.open(temporary, "w") as archive:
        for path, name in found.items():
            archive.add(path, name.as_posix(), recursive=False)
    return packed


# At home ------------------------------------------------------------------------------------------


def take(packed: Path, results: Path) -> Path:
    """Bring a packed run into ``results``; returns its folder there.

    Raises:
        GramError: no file of a kit, one with a run that does not belong together, another data set
            than the one in ``results``, or a run that is there already; nothing is written then.
    """
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results, prefix=".kit-") as temporary:
        unpacked = Path(temporary)
        names = unpack(packed, unpacked)
        configs = [name for name in names if name.parts[0] == "runs" and name.name == CONFIG]
        if len(configs) != 1:
            raise GramError(f"{packed}: holds {len(configs)} runs, and a kit packs one")
        place = Path(configs[0].parent).relative_to("runs")
        settings, meta, _ = trained.read_trained(unpacked / "runs" / place)
        trained.read_history(unpacked / "runs" / place)
        if place_of(settings) != place:
            raise GramError(f"{packed}: {place} holds the run {place_of(settings)}; pack it again")
        folder, data = results / "runs" / place, Path("data", settings.task)
        check_data(unpacked / data, results / data, settings, meta)
        if any((folder / name).exists() for name in WRITTEN):
            raise GramError(f"{folder}: holds a run already; move it away first")
        # One after another, so that nothing is older than what it was made from.
        for kind in ("data", "runs", "eval"):
            for name in sorted(names, key=order):
                if name.parts[0] == kind and not (kind == "data" and (results / name).exists()):
                    files.copy(unpacked / name, results / name)
    return folder


def order(name: PurePosixPath) -> tuple[bool, str]:
    """Settings before what comes of them."""
    return name.name != CONFIG, name.name


def unpack(packed: Path, folder: Path) -> list[PurePosixPath]:
    """The names of the files in a packed run, which then lie in ``folder``.

    Raises:
        GramError: it is none.
    """
    try:
        with tarfile.open(packed) as archive:
            members = archive.getmembers()
            names = [PurePosixPath(member.name) for member in members]
            for member, name in zip(members, names, strict=True):
                if not member.isreg() or name.parts[0] not in ("data", "runs", "eval"):
                    raise GramError(f"{packed}: holds {member.name!r}: no file of `gram.kit run`")
            archive.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise GramError(f"{packed}: no file of `gram.kit run` ({error})") from error
    return names


def check_data(unpacked: Path, here: Path, settings: RunSettings, meta: dict[str, Any]) -> None:
    """Whether a packed run was trained on the data set that came with it, which is the one here, if
    there is one.

    Raises:
        GramError: it was not.
    """
    tables = {}
    for folder in (unpacked, here):
        card = folder / "card.json"
        if folder == unpacked or card.exists():
            check_card(card, settings.data, str(unpacked))
            tables[folder] = shapes.read_card(card)["tables"]
    for folder, found in tables.items():
        for split, md5 in meta["data_md5"].items():
            if found[split]["md5"] != md5:
                raise GramError(
                    f"{folder}: its {split} split has MD5 {found[split]['md5']}, and the run was"
                    f" trained on {md5}"
                )
    if here in tables and tables[here] != tables[unpacked]:
        raise GramError(f"{here}: another data set than the one that the run came with")


# The command --------------------------------------------------------------------------------------


def main() -> None:
    """Train on a machine that is there for minutes: prepare a folder for it, run in that folder
    there, take home what was packed.
    """
    parser = Parser(prog="python -m gram.kit", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare", help="on any CPU: all that a bare machine needs")
    preparing.add_argument(
        "--experiment", type=Path, required=True, help="a file of config/experiments"
    )
    preparing.add_argument("--method", required=True)
    preparing.add_argument("--task", help="default: the experiment's name; with folds one of them")
    preparing.add_argument("--seed", type=int, default=0)
    add_overrides(preparing)
    preparing.add_argument("--sources", type=Path, help="as of gram.data")
    preparing.add_argument("--output", type=files.own_folder, required=True, help="folder to write")
    running = commands.add_parser("run", help="there, in that folder: train, evaluate and pack")
    running.add_argument("--kit", type=Path, default=Path("."), help="the folder (default: .)")
    running.add_argument("--output", type=files.own_folder, default=Path("results"))
    running.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:0")
    running.add_argument(
        "--time-limit",
        type=seconds,
        default=0.0,
        help="seconds since the start of this command that all of it may take; 0: no limit",
    )
    running.add_argument(
        "--reserve",
        type=seconds,
        default=RESERVE,
        help=f"of them, for export and evaluation (default: {RESERVE:g})",
    )
    taking = commands.add_parser("take", help="at home: bring what was packed into results/")
    taking.add_argument("packed", type=Path, help=PACKED)
    taking.add_argument("--results", type=files.own_folder, default=Path("results"))
    args = parser.parse_args()
    {"prepare": prepared, "run": ran, "take": took}[args.command](args)


def prepared(args: argparse.Namespace) -> None:
    """``prepare``, from its arguments."""
    experiment = load_experiment(args.experiment, args.overrides)
    task = args.task or args.experiment.stem
    if task not in (known := experiment.tasks(args.experiment.stem)):
        raise GramError(f"--task {task}: not of {args.experiment}; its tasks: {', '.join(known)}")
    settings = resolve(experiment, task, args.method, args.seed)
    prepare(settings, evaluate_settings(experiment, args.method), args.output, args.sources)
    print(
        f"{args.output}: bring it to the machine, and there, in that folder:\n"
        f"  pip install -r {PACKAGES} && python -m gram.kit run --time-limit SECONDS"
    )


def ran(args: argparse.Namespace) -> None:
    """``run``, from its arguments."""
    packed = run_kit(
        args.kit,
        args.output,
        choose_device(args.device),
        limit=args.time_limit,
        reserve=args.reserve,
        since=began(),
    )
    print(f"{packed}: bring it home, and there: python -m gram.kit take {packed.name}")


def took(args: argparse.Namespace) -> None:
    """``take``, from its arguments."""
    folder = take(args.packed, args.results)
    unfinished = shapes.read_meta(folder / META).get(UNFINISHED)
    print(f"{folder}: {how_far(unfinished) if unfinished else 'trained to its end'}")


if __name__ == "__main__":
    run(main)
