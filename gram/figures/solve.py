"""``python -m gram.solve``: one's own puzzle: its completions that a trained network finds, and how
surely.

    python -m gram.solve Q....../......./......./......./......./......./.......

The weights are kept in this repository, or those of any run trained here (``--run``). Every sample
is one rollout of the prior, as in an evaluation: nothing tells the network whether an answer is
right. What is valid is decided afterwards, by the task.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gram.data.splits import Split, assign_splits
from gram.evaluate.evaluation import load_model
from gram.evaluate.judges import JUDGES
from gram.evaluate.scoring import Drawn, score
from gram.figures.solutions import draw_solutions
from gram.figures.style import write
from gram.models.network import Given, Network, State
from gram.models.rollout import Rollout, Stop, rollouts
from gram.models.samplers import Sampler
from gram.runs.facts import settings_noted
from gram.runs.trained import META, WEIGHTS, Trained, read_trained
from gram.settings import EvaluateConfig, RunSettings
from gram.settings.config import split_fold
from gram.settings.parsing import parse
from gram.settings.tasks import FAMILIES, family_and_size, family_of, judge_of
from gram.system.code_version import PACKAGE
from gram.system.errors import GramError, Parser, run, short
from gram.system.progress import progress
from gram.system.provenance import choose_device, seeded_generator
from gram.system.shapes import read_evaluation
from gram.tables.reference import DEFAULT_TASK
from gram.tasks import Task, Tokens, make_task, task_class

KEPT_RUNS = PACKAGE.parent / "resources/reference_runs"
# Of the kept runs of a size, the one is taken that is best by this on its validation split
# (valid.json beside its test.json): how many of a board's completions 20 samples find, which is
# what is asked of it here. The test split chooses nothing, so that the accuracy on it, which is
# printed, is no better than it should be.
CHOSEN_BY = "coverage_macro"
# What it does not ask with, of the settings that an evaluation notes: it draws its own independent
# samples, of the puzzle as it is.
NOT_ASKED_WITH = ("sampler", "forms", "seed", "precision")
BATCH = 500  # samples at a time
BAR_DELAY = 2  # seconds: a shorter rollout shows no bar
WIDTH = 100  # columns of the text
FIRST_FAMILY, _ = family_and_size(DEFAULT_TASK)  # of puzzles, where none is named
ARGUMENT = "BOARD"  # what the puzzle on the command line is called


class Run(NamedTuple):
    """A trained run that can be asked.

    Attributes:
        folder: with its config.json and weights.safetensors.
        settings: of its training.
        task: what it was trained on.
        config: the test-time compute of its evaluation; without one, as many steps as in training.
        tested: its evaluation on the test split; None without one.
        validated: that on the validation split.
    """

    folder: Path
    settings: RunSettings
    task: Task
    config: EvaluateConfig
    tested: dict[str, Any] | None
    validated: dict[str, Any] | None

    @property
    def rank(self) -> float:
        """What a run is chosen by, see :data:`CHOSEN_BY`; below all others if it was not
        validated.
        """
        return -1.0 if self.validated is None else float(metric(self.validated, CHOSEN_BY) or 0)


def metric(evaluation: dict[str, Any], name: str) -> float | None:
    """The value of a metric of an evaluation over all its inputs."""
    return evaluation["metrics"][name]["value"]


def evaluation_of(folder: Path, found: Trained, split: str) -> dict[str, Any] | None:
    """What ``gram.evaluate`` wrote of a run and a split, where the workflow puts it; None if there
    is none of these weights.

    Args:
        folder: ROOT/runs/TASK/METHOD/SEED; the evaluation is in ROOT/eval/TASK/METHOD/SEED.
        found: the run.
        split: "valid" or "test".
    """
    *root, kind, task, method, seed = folder.resolve().parts
    path = Path(*root, "eval", task, method, seed, f"{split}.json")
    if kind != "runs" or not path.exists():
        return None
    evaluation = read_evaluation(path, ("metrics",))
    run, settings = evaluation["run"], found.settings
    same_run = all(run[key] == getattr(settings, key) for key in ("task", "method", "seed"))
    same_weights = run.get("checkpoint_md5") == found.weights_md5
    return evaluation if same_run and same_weights and run["split"] == split else None


def load(folder: Path) -> Run:
    """The run in ``folder``; its network is built by :func:`network`.

    Raises:
        GramError: no run there, or a broken file.
    """
    for name in ("config.json", WEIGHTS, META):
        if not (folder / name).exists():
            raise GramError(
                f"{folder}: holds no {name}; name the folder of a trained run, "
                "such as results/runs/TASK/METHOD/seed0"
            )
    found = read_trained(folder)
    settings = found.settings
    tested, validated = (evaluation_of(folder, found, split) for split in ("test", "valid"))
    config = EvaluateConfig(depth=settings.train.N_sup)
    if tested:
        asked = [name for name in settings_noted() if name not in NOT_ASKED_WITH]
        facts = {name: tested["run"][name] for name in asked if name in tested["run"]}
        config = parse(EvaluateConfig, facts, f"{folder}: its evaluation")
    task = make_task(settings.task, settings.data.generator)
    return Run(folder, settings, task, config, tested, validated)


def choose(family: str, size: int, root: Path = KEPT_RUNS) -> Run:
    """The kept run for puzzles of a family and a size: the best by :data:`CHOSEN_BY`, the first by
    name of equal ones.

    Args:
        family: a key of ``gram.settings.tasks.FAMILIES``.
        size: of the puzzle.
        root: folder of the kept runs, SET/runs/TASK/METHOD/SEED below it.

    Raises:
        GramError: no run of that size is kept.
    """
    kept: dict[tuple[str, int], list[Path]] = {}
    for weights in sorted(root.glob("*/runs/*/*/seed*/weights.safetensors")):
        kept.setdefault(family_and_size(weights.parts[-4]), []).append(weights.parent)
    if (family, size) not in kept:
        known = ", ".join(f"{name}{number}" for name, number in sorted(kept)) or "none"
        raise GramError(
            f"no weights are kept for {family}{size} (kept: {known}); train a network for it, "
            "and name the folder of its run with --run"
        )
    return max(map(load, kept[family, size]), key=lambda found: found.rank)


def network(chosen: Run, device: torch.device) -> Network:
    """The trained network of a run, ready for rollouts."""
    torch.set_num_threads(chosen.settings.train.threads)
    weights = chosen.folder / WEIGHTS
    return load_model(chosen.settings, chosen.task, weights, chosen.config, device)


class Watched(Sampler):
    """Independent trajectories that tell of every supervision step.

    Args:
        after_step: called after each.
        noise: whether the prior's noise is drawn; without it every trajectory of an input is the
            same.
    """

    def __init__(self, after_step: Callable[[], object], *, noise: bool) -> None:
        self.after_step = after_step
        self.noisy = noise

    def noise(self, model: Network, rows: int, generator: torch.Generator) -> Tensor | None:
        drawn = super().noise(model, rows, generator)
        return drawn if self.noisy or drawn is None else torch.zeros_like(drawn)

    def move(self, state: State) -> State:
        self.after_step()
        return state


@dataclass(frozen=True)
class Answer:
    """One completion among the samples.

    Attributes:
        tokens: [L_out], in the task's canonical form.
        times: how many samples are this one.
        value: the mean of what the value head said of them, in (0, 1); None of a network without
            one.
    """

    tokens: Tokens
    times: int
    value: float | None


@dataclass(frozen=True)
class Solved:
    """The samples of one puzzle, after every supervision step.

    Attributes:
        task: of the puzzle.
        puzzle: [L] tokens.
        completions: all that exist, [m, L_out].
        tokens: what each sample answers after each step, [steps, W, L_out].
        value: the value head's opinion of that, [steps, W]; None of a network without one.
        found: which completion that is, [steps, W]; -1 for none.
    """

    task: Task
    puzzle: Tokens
    completions: Tokens
    tokens: Tokens
    value: NDArray[np.float32] | None
    found: NDArray[np.int64]

    def mean_value(self, number: int) -> float | None:
        """The mean value of the samples that end at completion ``number``; -1 for those that end at
        none.
        """
        chosen = self.found[-1] == number
        return None if self.value is None else float(self.value[-1, chosen].mean())

    @property
    def answers(self) -> list[Answer]:
        """The distinct completions that the samples end at, the most frequent first, then in the
        order of the enumeration.
        """
        numbers, times = np.unique(self.found[-1][self.found[-1] >= 0], return_counts=True)
        found = [
            Answer(self.completions[number], count, self.mean_value(number))
            for number, count in zip(numbers.tolist(), times.tolist(), strict=True)
        ]
        return sorted(found, key=lambda answer: -answer.times)

    @property
    def invalid(self) -> int:
        """How many samples end at no completion."""
        return int((self.found[-1] < 0).sum())


def completions_of(task: Task, puzzle: Tokens) -> Tokens:
    """All completions of a puzzle [L], at least one: [m, L_out].

    Raises:
        GramError: it has none; says why where that can be seen.
    """
    found = task.completions(puzzle)
    if not len(found):
        why = task.contradiction(puzzle) or "all possible answers were tried"
        raise GramError(f"this {task.describe(puzzle)} has no completion: {why}")
    return found


def draw_steps(
    chosen: Run,
    model: Network,
    puzzle: Tokens,
    *,
    samples: int | None = None,
    depth: int | None = None,
    seed: int = 0,
    noise: bool = True,
) -> Drawn:
    """What samples of a puzzle answer after every supervision step: [steps, W, ...]; see
    :func:`solve` for the arguments.
    """
    device = next(model.parameters()).device
    depth = depth or chosen.config.depth
    draws = (samples or chosen.config.width) if model.samples else 1
    stops = [Stop(step, chosen.config.act) for step in range(1, depth + 1)]
    generator = seeded_generator(device, chosen.settings.seed, "solve", seed)
    parts = []
    bar = progress(
        total=depth * -(-draws // BATCH),
        desc="solve",
        unit="step",
        leave=False,
        delay=BAR_DELAY,
        disable=None,  # but for terminals: a notebook or a file would keep it
    )
    with bar:
        sampler = Watched(bar.update, noise=noise)
        for start in range(0, draws, BATCH):
            rows = torch.from_numpy(puzzle).long().to(device)
            rows = rows.expand(min(BATCH, draws - start), -1)
            part = rollouts(
                model,
                Given(rows),
                stops=stops,
                generator=generator,
                sampler=sampler,
                noise_scale=chosen.config.noise_scale,
            )
            parts.append(part)
    steps = [Rollout(*map(torch.cat, zip(*read, strict=True))) for read in zip(*parts, strict=True)]
    columns = [torch.stack(column).cpu().numpy() for column in zip(*steps, strict=True)]
    return Drawn(columns[0].astype(np.uint8), *columns[1:])


def solve(
    chosen: Run,
    puzzle: Tokens,
    *,
    samples: int | None = None,
    depth: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    noise: bool = True,
) -> Solved:
    """Draw samples of a puzzle; the same for the same arguments on the same machine.

    Args:
        chosen: the run that is asked.
        puzzle: [L] tokens, from the task's ``parse``.
        samples: how many, by default as the run was evaluated; a network that does not sample is
        asked once.
        depth: supervision steps of each, by default as the run was evaluated.
        seed: of the noise.
        device: the CPU by default.
        noise: False switches the noise off, see :class:`Watched`.

    Raises:
        GramError: a puzzle that has no completion.
    """
    task = chosen.task
    completions = completions_of(task, puzzle)
    model = network(chosen, device or torch.device("cpu"))
    drawn = draw_steps(chosen, model, puzzle, samples=samples, depth=depth, seed=seed, noise=noise)
    steps = len(drawn.tokens)
    # Scored as if every step were an input of its own.
    split = Split(
        input_ids=np.arange(steps),
        inputs=np.tile(puzzle, (steps, 1)),
        completions=np.tile(completions, (steps, 1)),
        offsets=np.arange(steps + 1) * len(completions),
        md5="",
    )
    return Solved(
        task=task,
        puzzle=puzzle,
        completions=completions,
        tokens=drawn.tokens,
        value=drawn.value if model.has_value else None,
        found=score(task, split, drawn).found,
    )


def describe_run(chosen: Run) -> str:
    """Which run answers, its settings, and how good it is on inputs that it was not trained on, in
    one line.
    """
    settings, tested = chosen.settings, chosen.tested
    text = f"network: {settings.task} {settings.method} seed {settings.seed}"
    if tested is None:
        return f"{text}; not evaluated: `python -m gram.evaluate` writes its test.json"
    facts = tested["run"]
    text = f"{text}, {facts['parameters']:,} parameters"
    if CHOSEN_BY not in tested["metrics"]:  # of another judge than that of completions
        found = [
            f"{what} {100 * value:.1f} %"
            for name, what in JUDGES[judge_of(settings.task)].HEADLINES.items()
            if (value := metric(tested, name)) is not None
        ]
        samples = f"{facts['width']:,} samples of {facts['depth']} steps"
        return f"{text}; tested on {facts['inputs']} x {samples}: {', '.join(found)}"
    found_of = {name: 100 * (metric(tested, name) or 0) for name in ("accuracy", CHOSEN_BY)}
    return (
        f"{text}; on {facts['inputs']} test inputs"
        f" {found_of['accuracy']:.1f} % of samples are valid, {facts['width']} samples of"
        f" {facts['depth']} steps find {found_of[CHOSEN_BY]:.1f} % of an input's completions"
    )


def trained_on(chosen: Run, puzzle: Tokens) -> bool | None:
    """Whether a puzzle [L] was among the training inputs of a run: its data set is made again, and
    looked at; None of one that is made from files.
    """
    if family_of(chosen.settings.task).sources:
        return None
    settings, enumeration = chosen.settings, chosen.task.examples()
    same = (enumeration.inputs == puzzle).all(axis=1)
    splits = assign_splits(enumeration, settings.data.split, split_fold(settings.task)[1])
    return bool((splits[same] == "train").any())


def side_by_side(blocks: Sequence[Sequence[str]], width: int = WIDTH, gap: int = 3) -> list[str]:
    """Blocks of lines beside each other, as many as ``width`` columns hold, then below."""
    column = max((len(line) for block in blocks for line in block), default=0) + gap
    together = max(1, (width + gap) // column)
    lines: list[str] = []
    for start in range(0, len(blocks), together):
        shown = blocks[start : start + together]
        height = max(map(len, shown))
        for row in range(height):
            cells = [block[row] if row < len(block) else "" for block in shown]
            lines.append("".join(cell.ljust(column) for cell in cells).rstrip())
        lines.append("")
    return lines


def report(chosen: Run, solved: Solved) -> str:
    """What ``python -m gram.solve`` prints."""
    task, exist = solved.task, len(solved.completions)
    depth, samples = solved.found.shape
    answers = solved.answers
    seen = {True: "yes", False: "no", None: "not known"}[trained_on(chosen, solved.puzzle)]
    lines = [
        f"{task.describe(solved.puzzle)}; completions that exist: {exist}; trained on it: {seen}",
        *textwrap.wrap(describe_run(chosen), WIDTH, subsequent_indent="  ", break_on_hyphens=False),
        f"  from {os.path.relpath(chosen.folder)}",
        (
            f"samples: {samples}, of {depth} supervision steps each; valid:"
            f" {samples - solved.invalid}; completions found: {len(answers)} of {exist}"
        ),
        "",
    ]
    lines += side_by_side(
        [
            [*title(answer, samples), *task.format(solved.puzzle, answer.tokens).splitlines()]
            for answer in answers
        ]
    )
    if solved.invalid and (value := solved.mean_value(-1)) is not None:
        lines.append(f"mean value of the samples that are not valid: {value:.2f}")
    if solved.value is not None:
        lines.append("value: how sure the network itself is, from 0 to 1, without a verifier")
    if len(answers) < exist and samples > 1:
        lines.append("--samples draws more, and may find those that are missing")
    return "\n".join(lines).strip()


def title(answer: Answer, samples: int) -> list[str]:
    """Two lines over an answer: its share of the samples, and its value."""
    share = f"{100 * answer.times / samples:.0f} % ({answer.times} of {samples})"
    return [share] if answer.value is None else [share, f"value {answer.value:.2f}"]


def read_source(words: Sequence[str]) -> tuple[str, str]:
    """The text of a puzzle, and where it stands, from the arguments: the puzzle itself, a file, or
    ``-``.

    Raises:
        GramError: something that is no text, or a file that cannot be read.
    """
    text = " ".join(words)
    try:
        if text == "-":
            return sys.stdin.read(), "standard input"
        if os.path.isfile(text):
            return Path(text).read_text(encoding="utf-8"), text
    except (OSError, ValueError) as error:  # ValueError also for what is no name of a file
        raise GramError(f"{short(text)}: cannot be read as text: {error}") from error
    return text, ARGUMENT


def read_puzzle(
    words: Sequence[str], family: str = FIRST_FAMILY, folder: Path | None = None
) -> tuple[Run, Tokens]:
    """The puzzle of the arguments, and the run that is to solve it.

    Args:
        words: as of :func:`read_source`.
        family: of the puzzle, where no run says it.
        folder: the run; the best kept one of the puzzle's size without it.

    Raises:
        GramError: no puzzle, one of another size than the run's, or one without a completion.
    """
    text, source = read_source(words)
    chosen = load(folder) if folder else None
    if chosen:
        family, _ = family_and_size(chosen.settings.task)
    try:
        size = task_class(family).size_of(text)
    except GramError as error:
        no_file = "; nor is there such a file" * (source == ARGUMENT)
        raise GramError(f"{source}: {error}{no_file}") from error
    try:
        chosen = chosen or choose(family, size)
        puzzle = chosen.task.parse(text)
        completions_of(chosen.task, puzzle)
    except GramError as error:
        raise GramError(f"{source}: {error}") from error
    return chosen, puzzle


def drawing_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of a command that asks a network for ``--samples``, with how it is asked.

    Raises:
        GramError: fewer than one sample or supervision step.
    """
    parser.add_argument("--depth", type=int, help="supervision steps (default: as evaluated)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:0")
    parser.add_argument("--picture", type=Path, help="file to draw, .png or .svg")
    args = parser.parse_args()
    for name in ("samples", "depth"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise GramError(f"--{name}: {value} is less than 1")
    return args


def main() -> None:
    """Complete a puzzle of your own with a trained network: every distinct completion that it
    draws, with its share and value.

    A board is its rows, of . (empty) and Q (a queen), parted by slashes, spaces or lines.
    """
    parser = Parser(prog="python -m gram.solve", description=main.__doc__)
    parser.add_argument(
        "board",
        nargs="+",
        metavar=ARGUMENT,
        help="the board, a file with it, or - for standard input",
    )
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        default=FIRST_FAMILY,
        help="of the puzzle (default: %(default)s)",
    )
    parser.add_argument(
        "--run",
        type=Path,
        help=(
            "folder of a trained run (default: of the kept ones of that size, the one that finds"
            " most completions of validation inputs)"
        ),
    )
    parser.add_argument("--samples", type=int, help="how many (default: as the run was evaluated)")
    args = drawing_arguments(parser)
    chosen, puzzle = read_puzzle(args.board, args.family, args.run)
    if warning := chosen.task.unfamiliar(puzzle):
        print(f"warning: {warning}: answers may be worse", file=sys.stderr)
    solved = solve(
        chosen,
        puzzle,
        samples=args.samples,
        depth=args.depth,
        seed=args.seed,
        device=choose_device(args.device),
    )
    print(report(chosen, solved))
    if args.picture:
        samples = solved.found.shape[1]
        titled = [(answer.tokens, "\n".join(title(answer, samples))) for answer in solved.answers]
        write(draw_solutions(chosen.task, puzzle, titled), args.picture)


if __name__ == "__main__":
    run(main)
