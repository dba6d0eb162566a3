"""The streaming carry: rows of a batch that live for at most N_sup supervision steps and are then
replaced by fresh inputs.
"""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from torch import Tensor

from gram.data.splits import Split
from gram.models.network import Given, Network, State, Step
from gram.settings import RunSettings, TrainConfig
from gram.settings.agreement import check_halting
from gram.system.errors import GramError
from gram.system.seeds import child_seed
from gram.tasks import Task
from gram.train.objectives import Rolled, Rows


def draw_symmetries(
    task: Task, settings: RunSettings, device: torch.device
) -> tuple[Tensor, Tensor] | None:
    """As many symmetries of the task as the settings ask for, drawn by the run's seed, as
    :class:`Stream` takes them.

    Raises:
        GramError: a task of which none is known.
    """
    if not settings.train.symmetries:
        return None
    known = task.symmetries()
    if known is None:
        raise GramError(f"train: symmetries: {task.name} has none; use symmetries: 0")
    random = Random(child_seed(settings.seed, "symmetries"))
    drawn = [known.draw(random) for _ in range(settings.train.symmetries)]
    places, tokens = (np.stack(tables).astype(np.int64) for tables in zip(*drawn, strict=True))
    return torch.from_numpy(places).to(device), torch.from_numpy(tokens).to(device)


class Stream:
    """Training inputs and the carry, all on one device; advancing it needs no synchronisation with
    the host.

    A process may own only some rows of the carry: ``b`` of the global batch's B. Every process
    makes the draws of all B rows and keeps its own, so that the rows do not depend on how many
    processes there are.

    Args:
        split: the training inputs with their completions.
        model: gives z_0.
        config: batch_size (B), N_sup, and how rows are drawn, revealed, staggered and halted.
        generator: source of all draws; its device is the carry's.
        rows: the rows of the carry that this process owns; all without it.
        symmetries: ``places`` [S, L] and ``tokens`` [S, vocabulary] of as many symmetries as
            ``config`` asks for; None without.

    Attributes:
        age: [b] supervision steps that each row has had, 0..N_sup - 1 while a step is taken.
        first: [b] age at which the row entered (above 0 only for the first rows of a staggered
        carry).
        least: [b] supervision steps that a row must have had before it may halt.
        halts: [b] whether the present step asks to halt.
        revealed: [b, L] bool, positions at which the row's input shows its target; [b, 0] without
        ``reveal``.
        finished: [b] int64, trajectories that have ended in each row.
        symmetry: [b] int64, which symmetry changes each row; [0] without any.
        state: latent state of each row.
        summaries: [b, N_sup, D] first tokens of h after each step of the row's trajectory, for the
            value loss; [b, N_sup, 0] without a value head.

    Raises:
        GramError: settings that exclude each other.
    """

    def __init__(
        self,
        split: Split,
        model: Network,
        config: TrainConfig,
        generator: torch.Generator,
        rows: slice | None = None,
        symmetries: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        check_halting(config)
        device = generator.device
        self.config = config
        self.generator = generator
        self.model = model
        self._rows = rows or slice(config.batch_size)
        self._rolls = config.heads_on == "prior" and model.has_value
        counts = torch.from_numpy(split.counts)
        self._inputs = torch.from_numpy(split.inputs).long().to(device)
        self._completions = torch.from_numpy(split.completions).long().to(device)
        self._counts = counts.to(device)
        self._offsets = torch.from_numpy(split.offsets[:-1]).to(device)
        self._owner = torch.repeat_interleave(torch.arange(len(counts)), counts).to(device)
        self._places = torch.arange(
            int(split.counts.max()), device=device
        )  # of a completion among those of its input
        everywhere = torch.arange(config.batch_size, device=device)[self._rows]
        staggered = config.stagger and config.supervision == "streaming"
        self.age = everywhere % config.N_sup if staggered else torch.zeros_like(everywhere)
        self.first = self.age.clone()
        self.finished = torch.zeros_like(everywhere)
        self._least_hidden = self._fewest_hidden() if config.reveal > 0 else 0
        self._symmetries = symmetries
        self.pair, self.least = self._draw(), self._draw_least()
        self.symmetry = self._draw_symmetry()
        self.revealed = self._draw_revealed()
        h, l = self._start()  # noqa: E741
        self.state = State(h.clone(), l.clone())
        # Where a rollout of the prior stands on each row, if the heads learn on one.
        self.rolled = State(h.clone(), l.clone()) if self._rolls else None
        states = model.reads if config.lprm_reads == "transition" else 1
        summary = states * h.shape[-1] if model.has_value else 0
        self.summaries = torch.zeros(len(everywhere), config.N_sup, summary, device=device)
        self.halts = torch.zeros_like(everywhere, dtype=torch.bool)

    def _draw(self) -> Tensor:
        """A random (input, completion) pair for every row: [b] row numbers of the completions."""
        B, device = self.config.batch_size, self.generator.device
        if self.config.sampling == "pairs":
            pair = torch.randint(
                len(self._completions), (B,), generator=self.generator, device=device
            )
        else:
            index = torch.randint(len(self._inputs), (B,), generator=self.generator, device=device)
            uniform = torch.rand(B, generator=self.generator, device=device, dtype=torch.float64)
            pair = self._offsets[index] + (uniform * self._counts[index]).long()
        return pair[self._rows]

    def _draw_symmetry(self) -> Tensor:
        """A random symmetry for every row: [b]; [0] where there are none, for which nothing is
        drawn.
        """
        device = self.generator.device
        if self._symmetries is None:
            return torch.zeros(0, dtype=torch.int64, device=device)
        count, B = len(self._symmetries[0]), self.config.batch_size
        return torch.randint(count, (B,), generator=self.generator, device=device)[self._rows]

    def _changed(self, tokens: Tensor) -> Tensor:
        """Inputs or targets [b, L], or several of each row [b, m, L], as the symmetry of the row
        has them.
        """
        if self._symmetries is None:
            return tokens
        several = (1,) * (tokens.dim() - 2)
        places, names = (
            table[self.symmetry].view(len(tokens), *several, -1).expand(*tokens.shape[:-1], -1)
            for table in self._symmetries
        )
        return names.gather(-1, tokens.gather(-1, places))

    def _fewest_hidden(self) -> int:
        """The fewest positions that any training input leaves open.

        Raises:
            GramError: inputs that cannot show a part of the answer and still leave less open than
                all others.
        """
        if self._inputs.shape[1] != self._completions.shape[1]:
            raise GramError(
                "train: reveal: this task's inputs hold no part of its answers; use reveal: 0"
            )
        fewest = int((self._inputs[self._owner] != self._completions).sum(dim=1).min())
        if fewest < 2:
            raise GramError(
                f"train: reveal: an input leaves {fewest} positions open, and none can leave fewer;"
                " use reveal: 0"
            )
        return fewest

    def _draw_revealed(self) -> Tensor:
        """For every row the positions at which a fresh input would show its target: bool [b, L].

        A share ``reveal`` of the rows is revealed until 1 to fewest - 1 positions are open, fewest
        being the fewest of any training input, so that no revealed input is one of the data set's,
        in any split.
        """
        config, device = self.config, self.generator.device
        if config.reveal == 0:
            return torch.zeros(len(self.age), 0, dtype=torch.bool, device=device)
        B, L = config.batch_size, self._inputs.shape[1]
        chosen = torch.rand(B, generator=self.generator, device=device) < config.reveal
        left = torch.randint(1, self._least_hidden, (B,), generator=self.generator, device=device)
        order = torch.rand(B, L, generator=self.generator, device=device)
        chosen, left, order = chosen[self._rows], left[self._rows], order[self._rows]
        hidden = self._inputs[self._owner[self.pair]] != self.targets
        # The positions that stay open are the first ``left`` of the hidden ones in a random order.
        rank = torch.where(hidden, order, torch.inf).argsort(dim=1).argsort(dim=1)
        return hidden & (rank >= left[:, None]) & chosen[:, None]

    def _start(self) -> State:
        """z_0 for every row."""
        z0 = self.model.initial_state(self.config.batch_size, self.generator)
        return z0.part(self._rows)

    def _draw_least(self) -> Tensor:
        """Supervision steps that each row must have had before it may halt in the present step, as
        HRM draws them: [b].
        """
        config, device = self.config, self.generator.device
        if config.halt == "none":
            return torch.full_like(self.age, config.N_sup)
        B = config.batch_size
        explores = torch.rand(B, generator=self.generator, device=device) < config.halt_exploration
        steps = torch.randint(
            2, max(config.N_sup, 2) + 1, (B,), generator=self.generator, device=device
        )
        return torch.where(explores, steps, 1)[self._rows]

    @property
    def inputs(self) -> Tensor:
        """[b, L] int64."""
        inputs = self._changed(self._inputs[self._owner[self.pair]])
        return (
            torch.where(self.revealed, self.targets, inputs) if self.config.reveal > 0 else inputs
        )

    @property
    def targets(self) -> Tensor:
        """[b, L] int64."""
        return self._changed(self._completions[self.pair])

    @property
    def last(self) -> Tensor:
        """Whether the present step is the row's N_sup-th: bool [b]."""
        return self.age + 1 >= self.config.N_sup

    def taken(self, noise: Tensor | None, rolled: Tensor | None = None) -> Rows:
        """What the present supervision step takes of all rows, with the noise [b, ...] for them,
        and for the rollouts of the prior beside them, if there are any.
        """
        beside = (
            None
            if self.rolled is None
            # All completions of each row's input, as the row shows them.
            else Rolled(
                self.rolled,
                rolled,
                self._changed(self._completions[self._candidates(self.pair)]),
            )
        )
        return Rows(
            self.state, Given(self.inputs), self.targets, noise, self.last, self.age, beside
        )

    def _candidates(self, pair: Tensor) -> Tensor:
        """Row numbers of the completions of the input of each pair; where it has fewer than the
        most, its first again: [b'] -> [b', m].
        """
        owner = self._owner[pair][:, None]
        return self._offsets[owner] + torch.where(
            self._places < self._counts[owner], self._places, 0
        )

    @property
    def finishing(self) -> Tensor:
        """Whether the present step, once recorded, is the row's end, at N_sup or by halting before:
        bool [b].
        """
        return self.last | (self.halts & (self.age + 1 >= self.least))

    @property
    def visited(self) -> Tensor:
        """Steps of each row's trajectory that ``summaries`` holds: bool [b, N_sup]."""
        steps = torch.arange(self.config.N_sup, device=self.age.device)
        return (steps >= self.first[:, None]) & (steps <= self.age[:, None])

    def record(self, step: Step, rows: slice, rolled: State | None = None) -> None:
        """Copy what a step gave for some of the rows, and where the rollouts beside them stand;
        call for all of them before :meth:`advance`.

        To be called after the step's backward pass, which may still read the old state.
        """
        for kept, new in zip(self.state, step.state, strict=True):
            kept[rows] = new
        if self.rolled is not None and rolled is not None:
            for kept, new in zip(self.rolled, rolled, strict=True):
                kept[rows] = new
        self.halts[rows] = self.model.halting(step.halt.detach())
        age = self.age[rows, None, None].expand(-1, 1, step.summary.shape[-1])
        self.summaries[rows].scatter_(1, age, step.summary.float()[:, None])
        if step.carried is not None:
            self._accept(step.carried.argmax(dim=-1), rows)

    def _accept(self, answers: Tensor, rows: slice) -> None:
        """Make an answer [b', L_out] that is a completion of its row's input, as the row shows it,
        the row's target.
        """
        pair = self.pair[rows]
        candidates = self._candidates(pair)
        equal = (self._completions[candidates] == answers[:, None]).all(dim=-1)
        found = candidates.gather(1, equal.int().argmax(dim=1, keepdim=True)).squeeze(1)
        agrees = equal.any(dim=1)
        if self.config.reveal > 0:
            shown = self.revealed[rows]
            agrees &= ((self._completions[found] == self._completions[pair]) | ~shown).all(dim=1)
        self.pair[rows] = torch.where(agrees, found, pair)

    def advance(self) -> None:
        """Age every row, and replace those that are finishing by fresh inputs at z_0."""
        done = self.finishing
        self.finished = self.finished + done
        self.pair = torch.where(done, self._draw(), self.pair)
        if self._symmetries is not None:
            self.symmetry = torch.where(done, self._draw_symmetry(), self.symmetry)
        self.revealed = torch.where(done[:, None], self._draw_revealed(), self.revealed)
        self.least = self._draw_least()
        self.age = torch.where(done, 0, self.age + 1)
        self.first = torch.where(done, 0, self.first)
        z0, mask = self._start(), done[:, None, None]

        def begun(state: State) -> State:
            """A state of all rows, at z_0 where a row begins anew."""
            return State(torch.where(mask, z0.h, state.h), torch.where(mask, z0.l, state.l))

        self.state = begun(self.state)
        if self.rolled is not None:
            self.rolled = begun(self.rolled)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed training needs; the first dimension of each is the rows."""
        beside = (
            {} if self.rolled is None else {"rolled_h": self.rolled.h, "rolled_l": self.rolled.l}
        )
        return (
            {
                "age": self.age,
                "first": self.first,
                "least": self.least,
                "finished": self.finished,
                "pair": self.pair,
                "revealed": self.revealed,
                "h": self.state.h,
                "l": self.state.l,
                "summaries": self.summaries,
            }
            | beside
            | ({} if self._symmetries is None else {"symmetry": self.symmetry})
        )

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave, from all B rows of the carry."""
        # Cloned, so that the rows of one process are aligned as in a training that was never
        # interrupted.
        own = {
            name: tensor[self._rows].clone().to(self.age.device) for name, tensor in tensors.items()
        }
        self.age, self.first, self.least, self.finished = (
            own["age"],
            own["first"],
            own["least"],
            own["finished"],
        )
        self.pair, self.revealed, self.summaries = own["pair"], own["revealed"], own["summaries"]
        self.symmetry = own.get("symmetry", self.symmetry)
        self.state = State(own["h"], own["l"])
        if self.rolled is not None:
            self.rolled = State(own["rolled_h"], own["rolled_l"])
