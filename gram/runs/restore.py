"""``python -m gram.restore``: a kept reference run in the place of a training, if it has the
settings and data asked for.
"""

from __future__ import annotations

from pathlib import Path

from gram.runs import trained
from gram.runs.trained import HISTORY, KEPT, META, WEIGHTS
from gram.settings.config import check_card, first_difference, load_run
from gram.system import files, shapes
from gram.system.errors import GramError, Parser, run, short

RESTORED = (WEIGHTS, HISTORY, META)
OF_KEPT_RUN = ("config.json", *RESTORED)
GIT = "restore it with git"
TRAIN_IT = "leave reference_runs out of the configuration to train the run here"


def trained_here(folder: Path) -> bool:
    """Whether ``folder`` holds a run as training left it, which a kept one must never replace.

    Without its meta.json, or with one that a fault of the disk emptied, there is none: nothing
    shows such a run, and to train it again would delete it as well.

    Raises:
        GramError: its meta.json is damaged.
    """
    meta = folder / META
    if not meta.exists() or (meta.is_file() and not meta.stat().st_size):
        return False
    content = files.read_json(meta)
    return not isinstance(content, dict) or KEPT not in content


def check(reference: Path, config: Path, card: Path) -> None:
    """Whether a kept run is the one that training with ``config`` on the data set of ``card`` would
    make.

    Keys that came after it was kept have their defaults, so that it stays usable while settings are
    added.

    Raises:
        GramError: other settings or data, weights that are not those of its meta, or a file that is
            missing.
    """
    for name in OF_KEPT_RUN:
        if not (reference / name).exists():
            raise GramError(
                f"{reference / name}: missing from a reference run; restore it with git, or keep"
                " the run again"
            )
    meta = shapes.read_meta(reference / META)
    if KEPT not in meta:
        raise GramError(
            f"{reference / 'meta.json'}: no {KEPT}: not a kept run; write it with `python -m"
            " gram.export`"
        )
    fix = TRAIN_IT + (
        f", or check out commit {meta['commit'][:12]}, which made it" if meta["commit"] else ""
    )
    try:
        kept = load_run(reference / "config.json")
    except GramError as error:
        raise GramError(f"{error}; the reference run was trained by other code: {fix}") from error
    wanted = load_run(config)
    if difference := first_difference(kept.without_execution(), wanted.without_execution()):
        key, there, here = difference
        raise GramError(
            f"{reference / 'config.json'}: {key}: {short(there)}, but {short(here)} in {config}: "
            f"the reference run was trained with other settings: {fix}"
        )
    trained.check_settings(kept, reference / "config.json", meta, reference / META)
    check_card(card, wanted.data, config)
    tables = shapes.read_card(card)["tables"]
    for split, md5 in meta["data_md5"].items():
        if split not in tables:
            raise GramError(f"{reference / META}: data_md5: {short(split)} is no split; {GIT}")
        if md5 != tables[split]["md5"]:
            raise GramError(
                f"{reference}: trained on a {split} split with MD5 {md5}, but {card} has"
                f" {tables[split]['md5']}: {fix}"
            )
    trained.check_file(reference, meta, WEIGHTS)
    trained.read_history(reference)


def restore(reference: Path, config: Path, card: Path, output: Path) -> None:
    """Copy a kept run to ``output``, after :func:`check`.

    Raises:
        GramError: a run that was trained there, or as of :func:`check`; nothing is written then.
    """
    if trained_here(output):
        raise GramError(
            f"{output}: holds a run that was trained here; move it away to restore {reference}, or"
            f" keep it: {TRAIN_IT}"
        )
    check(reference, config, card)
    for name in RESTORED:
        files.copy(reference / name, output / name)


def main() -> None:
    """Copy a kept run to where a training would leave it; fails if it has other settings or data
    than were asked for.
    """
    parser = Parser(prog="python -m gram.restore", description=main.__doc__)
    parser.add_argument(
        "--reference", type=Path, required=True, help="folder that python -m gram.export wrote"
    )
    parser.add_argument(
        "--config", type=Path, required=True, help="config.json of the run that is asked for"
    )
    parser.add_argument("--card", type=Path, required=True, help="card.json of its data set")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    args = parser.parse_args()
    restore(args.reference, args.config, args.card, args.output)


if __name__ == "__main__":
    run(main)
