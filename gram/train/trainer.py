"""One training run (section 2.3): its step, what is watched, and the state from which it resumes
bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch_config

from gram.data.splits import load_split
from gram.models.factory import build_model, parameter_count
from gram.models.network import Shape, forward_in, multiply_in
from gram.runs import checkpoint, trained, warm_start
from gram.runs.made_by import made_by
from gram.runs.trained import HISTORY, META, RESUME, WEIGHTS
from gram.settings import RunSettings
from gram.settings.config import check_card
from gram.system import files
from gram.system.code_version import code_hash
from gram.system.errors import GramError, Interrupted, short
from gram.system.machine import explained, micro_batch_fix
from gram.system.provenance import peak_memory_bytes, provenance, seeded_generator
from gram.system.seeds import child_seed
from gram.system.stopping import named
from gram.tasks import make_task
from gram.train import losses, optim
from gram.train.distributed import Processes
from gram.train.objectives import objective_of, supervise
from gram.train.stream import Stream, draw_symmetries
from gram.train.watch import observed, solved

WRITTEN = (WEIGHTS, HISTORY, META, RESUME)
FROM_START = "delete it to start from step 0"


class Trainer:
    """One training run, on one device or on the devices of several processes.

    Args:
        settings: the run's settings.
        data: folder of the task's data set.
        output: the run's folder.
        device: where to train.
        processes: the processes that share the run; each has a trainer of its own, and calls the
            same methods of it.

    Raises:
        GramError: settings that exclude each other, broken data, or a carry that does not fit in
            memory.
    """

    def __init__(
        self,
        settings: RunSettings,
        data: Path,
        output: Path,
        device: torch.device,
        processes: Processes | None = None,
    ) -> None:
        self.settings, self.config, self.output, self.device = (
            settings,
            settings.train,
            output,
            device,
        )
        self.processes = processes or Processes()
        self.rows = self.processes.rows(self.config.batch_size)
        self.micro_batch = min(
            self.config.micro_batch or self.config.batch_size, self.rows.stop - self.rows.start
        )
        self.supervision_steps = self.config.N_sup if self.config.supervision == "all" else 1
        torch.set_num_threads(self.config.threads)
        torch.use_deterministic_algorithms(device.type == "cpu")
        self.matmul = multiply_in(self.config.matmul, device)
        self.task = make_task(settings.task, settings.data.generator)
        check_card(data / "card.json", settings.data, f"the settings of {output}")
        self.splits = {name: load_split(data, name) for name in ("train", "valid")}
        self.data_md5 = {name: split.md5 for name, split in self.splits.items()}
        self.draws = seeded_generator(device, settings.seed, "draws")
        self.noise = seeded_generator(device, settings.seed, "noise")
        with explained(str(output), lambda: "the carry does not fit; lower train: batch_size"):
            self.model = build_model(
                settings.model, Shape.of(self.task), seed=child_seed(settings.seed, "weights")
            ).to(device)
            start = self.config.initial_weights
            self.warm_start = (
                warm_start.load(Path(start), self.model, self.data_md5) if start else None
            )
            self.optimizer = optim.build_optimizer(self.model, self.config)
            self.ema = optim.EMA(
                self.model, self.config.ema_decay, corrected=self.config.ema_correction
            )
            self.stream = Stream(
                self.splits["train"],
                self.model,
                self.config,
                self.draws,
                self.rows,
                draw_symmetries(self.task, settings, device),
            )
            self.gradients = optim.allocate_gradients(self.model)
        if self.config.compile != "none":
            # Saving what was compiled for the next process now and then ends this one with a
            # segmentation fault (pytorch/pytorch issue 177442; seen in the tests with torch 2.13).
            # The kernels are kept all the same, by a cache of their own.
            functorch_config.enable_autograd_cache = False
            # In place, so that the names of the weights stay; the averaged weights, rolled out now
            # and then, are not compiled.
            self.model.compile(
                dynamic=False, mode="reduce-overhead" if self.config.compile == "graphs" else None
            )
        self.step = 0
        self.seconds = 0.0
        self.sessions = 1
        objective = objective_of(self.model)
        self.made_by = made_by("gram.train.__main__", settings, self.model, objective)
        self._provenance: dict[str, Any] = {}
        # Of all code that took a step of this run, the last last.
        self.code_hashes = [code_hash(tuple(self.made_by))]
        self.history: list[dict[str, Any]] = []
        self.sums: dict[str, Tensor] = {}
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        # A step can take minutes on a CPU, so it can be given up on the way: until it has its
        # gradients it changes only the carry and the generators, and it keeps a copy of these.
        # Not on GPUs, where steps are short and memory is dear; nor for several processes, which
        # end a step together.
        self.gives_up_steps = device.type == "cpu" and self.processes.count == 1
        self._before: dict[str, dict[str, Tensor]] = {}  # that copy, while a step is on the way
        # Held by whoever changes the step's number, the weights or the history, or writes them.
        self.changing = threading.RLock()

    def precision(self) -> torch.autocast:
        """The context in which the network runs: the forward pass in the run's precision."""
        return forward_in(self.config.precision, self.device)

    # One step -------------------------------------------------------------------------------------

    def train_step(self) -> None:
        """One optimizer step, on one supervision step of every row of the carry, or on all N_sup of
        a fresh batch.

        Nothing in it waits for the device, but for the meeting of several processes.

        Raises:
            GramError: out of memory, or torch.compile failed.
            PeerLost: another process has ended.
        """
        config, stream = self.config, self.stream
        with self.changing:
            if self.gives_up_steps:
                self._before = self._carry_and_draws()
        optim.set_rates(self.optimizer, self.step, config)
        # In place: the gradients stay ours, where a CUDA graph would reuse its own memory for those
        # of the next micro-batch.
        self.optimizer.zero_grad(set_to_none=False)
        terms: dict[str, Tensor] = {}
        with explained(
            f"{self.output}: step {self.step}",
            lambda: f"{micro_batch_fix(self.micro_batch)}; {self._kept()}",
        ):
            for n in range(self.supervision_steps):
                if n > 0:
                    stream.advance()
                reward = self._supervise(terms)
            if self.model.has_value:
                value_loss = self._value_loss(reward)
                (config.lprm_weight * value_loss).backward()  # type: ignore[no-untyped-call]
                terms["value_loss"] = value_loss.detach()
                terms["loss"] = terms["loss"] + config.lprm_weight * terms["value_loss"]
            self.processes.all_reduce_sum([*self.gradients, *terms.values()])
            terms["grad_norm"] = torch.nn.utils.clip_grad_norm_(
                self.model.parameters(), config.grad_clip or math.inf
            )
            with self.changing:
                self.optimizer.step()
                self.ema.update(self.step)
                stream.advance()
                self._accumulate(terms)
                self.step += 1
                self._before = {}

    def _carry_and_draws(self) -> dict[str, dict[str, Tensor]]:
        """A copy of what a step changes before it has its gradients."""
        carry = {name: tensor.clone() for name, tensor in self.stream.tensors().items()}
        return {"stream": carry, "draws": self._draw_states()}

    def _draw_states(self) -> dict[str, Tensor]:
        """The states of the generators."""
        return {"draws": self.draws.get_state(), "noise": self.noise.get_state()}

    def _supervise(self, terms: dict[str, Tensor]) -> Tensor:
        """One supervision step, forward and backward, of this process's rows; adds its share to
        every mean in ``terms``.

        Returns:
            The reward r of each row, if this is its last step: fp32 [b].
        """
        config, stream = self.config, self.stream
        # Drawn for the rows of all processes, so that theirs do not depend on how many there are.
        noise = self.model.training_noise(config.batch_size, self.noise)
        beside = None
        if stream.rolled is not None:
            beside = self.model.draw_noise(config.batch_size, self.noise)
        noise, beside = (one if one is None else one[self.rows] for one in (noise, beside))
        taken = stream.taken(noise, beside)
        rewards = []
        for start in range(0, len(taken.last), self.micro_batch):
            rows = slice(start, start + self.micro_batch)
            if config.compile == "graphs":
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            with self.precision():
                step, hits, row_terms, weights, rolled = supervise(
                    self.model, config, self.step, taken.part(rows)
                )
            means = {name: self._mean(term) for name, term in row_terms.items()}
            loss = sum(
                (weight * means[name] for name, weight in weights.items()),
                start=torch.zeros((), device=self.device),
            )
            loss.backward()  # type: ignore[no-untyped-call]
            stream.record(step, rows, rolled)
            for name, term in (means | {"loss": loss}).items():
                terms[name] = terms.get(name, 0) + term.detach()
            rewards.append(
                hits.all(dim=-1).float()
                if config.lprm_reward == "exact"
                else hits.float().mean(dim=-1)
            )
        return torch.cat(rewards)

    def _mean(self, values: Tensor) -> Tensor:
        """The share of some rows [b'] in the mean over all rows and supervision steps of an
        optimizer step.
        """
        return values.sum() / (self.config.batch_size * self.supervision_steps)

    def _value_loss(self, reward: Tensor) -> Tensor:
        """LPRM: rows at their last step teach the value of every state of their trajectory; this
        process's share of the mean.

        Apart from the other losses, because how many states there are is known only after all
        micro-batches. The heads read detached states, so this pass does not enter the core.
        """
        stream = self.stream
        weight = (stream.visited & stream.finishing[:, None]).float()
        states = weight.sum()
        self.processes.all_reduce_sum([states])
        D = stream.state.h.shape[-1]
        read = stream.summaries.view(*stream.summaries.shape[:2], -1, D)  # [b, N_sup, reads, D]
        error = losses.value_loss(self.model.value(read), reward[:, None, None]).sum(dim=-1)
        return (error * weight).sum() / states.clamp(min=1)

    def _accumulate(self, terms: dict[str, Tensor]) -> None:
        """Add to the sums that the next line of the history averages; stays on the device."""
        finite = torch.isfinite(terms["loss"]) & torch.isfinite(terms["grad_norm"])
        self.bad_step = torch.where(finite | (self.bad_step >= 0), self.bad_step, self.step)
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0) + term

    # What is watched ------------------------------------------------------------------------------

    def check_finite(self) -> None:
        """Stop if any loss or gradient so far was NaN or infinite.

        Raises:
            GramError: names the step and the last good resume state.
        """
        bad = int(self.bad_step)
        if bad >= 0:
            what = f"{self.output}: loss or gradient is NaN or infinite at step {bad}"
            raise GramError(f"{what}; {self._kept()}; lower train: learning_rate")

    def check_weights(self) -> None:
        """Stop if a weight, averaged or not, is NaN or infinite, which no loss has shown yet.

        Raises:
            GramError: names the tensor and the last good resume state.
        """
        for kind, model in (("", self.model), ("averaged ", self.ema.model)):
            if name := checkpoint.not_finite(model.state_dict()):
                what = (
                    f"{self.output}: {kind}weights: {name} is NaN or infinite at step {self.step}"
                )
                raise GramError(f"{what}; {self._kept()}; lower train: learning_rate")

    def log_losses(self) -> None:
        """A history line with the mean of every loss term since the line before."""
        self.check_finite()
        steps = self.step - self._last_line("losses", 0)
        means = {name: float(total) / steps for name, total in sorted(self.sums.items())}
        rates = optim.rates(self.step - 1, self.config)
        with self.changing:
            self.history.append({"event": "losses", "step": self.step} | means | rates)
            self.sums = {}

    def _last_line(self, event: str, default: int) -> int:
        """The step of the history's last line of a kind."""
        steps = (line["step"] for line in reversed(self.history) if line["event"] == event)
        return next(steps, default)

    @property
    def losses_due(self) -> bool:
        """Whether :meth:`log_losses` is to write a line at this step, and has not."""
        due = self.step == self.config.steps or self.step % self.config.log_every == 0
        return due and self._last_line("losses", 0) < self.step

    @property
    def rollouts_due(self) -> bool:
        """Whether :meth:`log_rollouts` is to write a line at this step, and has not."""
        due = self.step == self.config.steps or self.step % self.config.eval_every == 0
        return due and self._last_line("rollout", -1) < self.step

    def log_rollouts(self) -> dict[str, Any]:
        """A history line with what the averaged weights solve and bound, see
        :func:`gram.train.watch.observed`, and what the weights themselves solve of the same inputs
        with the same noise: an average can be far behind.
        """

        def generator(*names: str) -> torch.Generator:
            return seeded_generator(self.device, self.settings.seed, *names, self.step)

        with (
            self.precision(),
            explained(
                f"{self.output}: rollouts at step {self.step}", lambda: "lower train: eval_inputs"
            ),
        ):
            found = observed(self.ema.model, self.task, self.splits, self.config, generator)
            if self.step and self.config.ema_decay:
                raw = solved(self.ema.raw(), self.task, self.splits, self.config, generator)
            else:  # the same weights
                raw = {name: found[name] for name in self.splits}
        with self.changing:
            self.history.append({"event": "rollout", "step": self.step} | found | {"raw": raw})
        return self.history[-1]

    # Saving and resuming --------------------------------------------------------------------------

    @property
    def resume_path(self) -> Path:
        """Not an output of the workflow, which deletes those when a job fails."""
        return self.output / RESUME

    def _kept(self) -> str:
        return (
            f"the last good state is kept in {self.resume_path}"
            if self.resume_path.exists()
            else "nothing was saved yet"
        )

    def identity(self) -> str:
        """Hash of what a resume state must share with the run: settings, but for those of its
        execution, and data.
        """
        facts = self.settings.without_execution()
        facts["data_md5"] = self.data_md5
        facts["initial_md5"] = self.warm_start["md5"] if self.warm_start else None
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def save_resume_state(self) -> None:
        """Write everything that continuing needs, with as many processes as may be.

        A step that is on its way is left out: the state is that before it.

        Raises:
            GramError: a loss or a weight was not finite, or the file cannot be written.
        """
        with self.changing:
            self.check_finite()
            self.check_weights()
            before = self._before or {
                "stream": self.stream.tensors(),
                "draws": self._draw_states(),
            }
            carry = {
                name: self.processes.all_gather(tensor) for name, tensor in before["stream"].items()
            }
            tensors = (
                checkpoint.prefixed("model", self.model.state_dict())
                | checkpoint.prefixed("ema", self.ema.model.state_dict())
                | checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer))
                | checkpoint.prefixed("stream", carry)
                | checkpoint.prefixed("sums", self.sums)
                | before["draws"]
            )
            meta = self._meta(
                carry["finished"], self.processes.all_reduce_max(peak_memory_bytes(self.device))
            )
            facts = {
                "identity": self.identity(),
                "meta": meta,  # for whoever keeps the run as it stands
                "step": self.step,
                "seconds": self.seconds,
                "sessions": self.sessions,
                "code_hashes": self.code_hashes,
                "history": self.history,
            }
            if self.processes.first:
                checkpoint.write_tensors(self.resume_path, tensors, facts)
            self.processes.wait()

    def stopped(self, number: int) -> Interrupted:
        """Save the state, if there is any, and say how a signal has ended the run.

        To be called by all processes.
        """
        where = f"{self.output}: {named(number)}"
        if self.step == 0 and not self.processes.all_reduce_max(len(self.history)):
            return Interrupted(
                f"{where}: stopped before the first step, with nothing to save", number
            )
        self.save_resume_state()
        again = "run the same command again to go on"
        return Interrupted(f"{where}: state saved at step {self.step}; {again}", number)

    def last_message(self, number: int) -> str:
        """What a thread says before it ends the process within a step, whose result is lost."""
        if self.gives_up_steps:
            return str(self.stopped(number))
        where = f"{self.output}: {named(number)}: ended within step {self.step}"
        return f"{where}; {self._kept()}; run the same command again to go on"

    def restore(self) -> bool:
        """Continue from the resume state if there is one for these settings and data; returns
        whether.

        Raises:
            GramError: it is damaged.
        """
        if not self.resume_path.exists():
            return False
        tensors, facts = checkpoint.read_tensors(self.resume_path, FROM_START)
        if facts.get("identity") != self.identity():
            self._note("saved for other settings or data; starting from step 0")
            return False
        try:
            self._load(tensors, facts)
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError, AttributeError) as error:
            cause = short(str(error).partition("\n")[0])
            raise GramError(f"{self.resume_path}: damaged ({cause}); {FROM_START}") from error
        # A state from before codes were listed in it was saved by one that nobody knows.
        before = facts.get("code_hashes", ["unknown"])
        if before != self.code_hashes:
            self._note("saved by another version of the code; the tables will mark its results")
        self.code_hashes = list(dict.fromkeys([*before, *self.code_hashes]))
        return True

    def _note(self, text: str) -> None:
        """Say something of the resume state, once for all processes."""
        if self.processes.first:
            print(f"{self.resume_path}: {text}", file=sys.stderr)

    def _load(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Take over what :meth:`save_resume_state` wrote."""
        checkpoint.load_strictly(self.model, checkpoint.under("model", tensors), self.resume_path)
        checkpoint.load_strictly(self.ema.model, checkpoint.under("ema", tensors), self.resume_path)
        checkpoint.load_optimizer(self.optimizer, checkpoint.under("optimizer", tensors))
        self.stream.load_tensors(checkpoint.under("stream", tensors))
        self.sums = {
            name: tensor.to(self.device)
            for name, tensor in checkpoint.under("sums", tensors).items()
        }
        self.draws.set_state(tensors["draws"])
        self.noise.set_state(tensors["noise"])
        step, history = facts["step"], facts["history"]
        if not 0 <= step <= self.config.steps:
            raise ValueError(f"step {step} of {self.config.steps}")
        self.step, self.seconds = int(step), float(facts["seconds"])
        self.history = [dict(line) for line in history]
        self.sessions = int(facts["sessions"]) + 1

    def save_results(self) -> None:
        """Write weights, history and meta, then drop the resume state.

        Raises:
            GramError: a weight is not finite, or a file cannot be written; the resume state stays.
        """
        self.check_weights()
        finished = self.processes.all_gather(self.stream.finished)
        peak_memory = self.processes.all_reduce_max(peak_memory_bytes(self.device))
        if not self.processes.first:
            return
        weights, history = self.output / WEIGHTS, self.output / HISTORY
        checkpoint.save_weights(weights, ema=self.ema.model, raw=self.model)
        files.write_text(history, "".join(json.dumps(line) + "\n" for line in self.history))
        md5s = {path.name: files.md5(path) for path in (weights, history)}
        meta = self._meta(finished, peak_memory) | {trained.FILES_MD5: md5s}
        files.write_json(self.output / META, meta)
        self.resume_path.unlink(missing_ok=True)

    def provenance(self) -> dict[str, Any]:
        """Where the run comes from, as of the first call: it asks git, for which a signal has no
        time.
        """
        self._provenance = self._provenance or provenance(self.device, self.made_by)
        return self._provenance

    def _meta(self, finished: Tensor, peak_memory: int) -> dict[str, Any]:
        """What ``meta.json`` says of the run as it stands.

        Args:
            finished: trajectories that have ended in each row of all processes.
            peak_memory: bytes of the process with the most.
        """
        spent = {
            "steps": self.step,
            "training_examples": int(finished.sum()),
            "supervision_steps": self.step * self.supervision_steps * self.config.batch_size,
            "seconds": round(self.seconds, 1),
        }
        return {
            "task": self.settings.task,
            "method": self.settings.method,
            "seed": self.settings.seed,
            "parameters": parameter_count(self.model),
            **warm_start.added(spent, self.warm_start),
            "initial_weights": self.warm_start,
            "data_md5": self.data_md5,
            "settings": self.settings.as_dict(),
            "steps_per_second": round(self.step / max(self.seconds, 1e-9), 2),
            "sessions": self.sessions,
            "processes": self.processes.count,
            "matmul": self.matmul,  # how products of fp32 numbers were made
            "peak_memory_bytes": peak_memory,
            **self.provenance(),
            "code_hashes": self.code_hashes,
        }
