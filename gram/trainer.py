"""One training run (section 2.3): its step, what is watched, and the state from which it resumes bit for bit."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gram import checkpoint, files, losses, optim
from gram.data import Split, load_split
from gram.errors import GramError
from gram.inference import rollout
from gram.models.factory import build_model, parameter_count
from gram.provenance import child_seed, peak_memory_bytes, provenance, seeded_generator
from gram.settings import RunSettings
from gram.stream import Stream
from gram.tasks import make_task


class Trainer:
    """One training run on one device.

    Args:
        settings: the run's settings.
        data: folder of the task's data set.
        output: the run's folder.
        device: where to train.
    """

    def __init__(self, settings: RunSettings, data: Path, output: Path, device: torch.device) -> None:
        self.settings, self.config, self.output, self.device = settings, settings.train, output, device
        torch.set_num_threads(self.config.threads)
        torch.use_deterministic_algorithms(device.type == "cpu")
        self.task = make_task(settings.task, settings.data.generator)
        self.splits = {name: load_split(data, name) for name in ("train", "valid")}
        self.model = build_model(
            settings.model,
            length=self.task.length,
            vocabulary=self.task.vocabulary,
            seed=child_seed(settings.seed, "weights"),
        ).to(device)
        self.optimizer = optim.build_optimizer(self.model, self.config)
        self.ema = optim.EMA(self.model, self.config.ema_decay)
        self.draws = seeded_generator(device, settings.seed, "draws")
        self.noise = seeded_generator(device, settings.seed, "noise")
        self.stream = Stream(self.splits["train"], self.model, self.config, self.draws)
        self.step = 0
        self.seconds = 0.0
        self.sessions = 1
        self.history: list[dict[str, Any]] = []
        self.sums: dict[str, Tensor] = {}
        self.bad_step = torch.full((), -1, dtype=torch.int64, device=device)

    def _precision(self) -> torch.autocast:
        """The context in which the network runs: the forward pass in the run's precision."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bf16")

    # One step -----------------------------------------------------------------------------------------------------

    def train_step(self) -> None:
        """One supervision step of every row of the carry, and one optimizer step."""
        config, stream = self.config, self.stream
        for group in self.optimizer.param_groups:
            group["lr"] = optim.learning_rate(self.step, config)
        inputs, targets = stream.inputs, stream.targets
        with self._precision():
            out = self.model(
                stream.state,
                inputs,
                targets=targets,
                noise=self.model.draw_noise(inputs, self.noise),
                uncharged_noise=config.uncharged_noise,
                charge_all=config.charged == "all",
            )
        stream.record(out)
        hits = out.logits.argmax(dim=-1) == targets
        exact = hits.all(dim=-1)
        terms = {"cross_entropy": losses.cross_entropy(out.logits, targets, config.cross_entropy).mean()}
        loss = terms["cross_entropy"]
        if out.charges:
            kl, nats = losses.balanced_kl(out.charges, config)
            loss = loss + optim.beta(self.step, config) * kl.mean()
            terms["kl_nats"] = nats.mean()
        terms["halt_loss"] = losses.halt_loss(out.halt, exact).mean()
        terms["value_loss"] = self._value_loss(exact, hits)
        loss = loss + config.halt_weight * terms["halt_loss"] + config.lprm_weight * terms["value_loss"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        terms["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.grad_clip)
        self.optimizer.step()
        self.ema.update()
        stream.advance()
        self._accumulate(loss, terms | {"posterior_exact": exact.float().mean()})
        self.step += 1

    def _value_loss(self, exact: Tensor, hits: Tensor) -> Tensor:
        """LPRM: rows at their last step teach the value of every state of their trajectory."""
        stream = self.stream
        reward = exact.float() if self.config.lprm_reward == "exact" else hits.float().mean(dim=-1)
        weight = (stream.visited & stream.finishing[:, None]).float()
        error = losses.value_loss(self.model.value(stream.summaries), reward[:, None])
        return (error * weight).sum() / weight.sum().clamp(min=1)

    def _accumulate(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Add to the sums that the next line of the history averages; stays on the device."""
        finite = torch.isfinite(loss) & torch.isfinite(terms["grad_norm"])
        self.bad_step = torch.where(finite | (self.bad_step >= 0), self.bad_step, self.step)
        for name, term in (terms | {"loss": loss}).items():
            self.sums[name] = self.sums.get(name, 0) + term.detach()

    # What is watched ------------------------------------------------------------------------------------------------

    def check_finite(self) -> None:
        """Stop if any loss or gradient so far was NaN or infinite.

        Raises:
            GramError: names the step and the last good resume state.
        """
        bad = int(self.bad_step)
        if bad >= 0:
            saved = self.resume_path.exists()
            kept = f"the last good state is kept in {self.resume_path}" if saved else "nothing was saved yet"
            raise GramError(f"{self.output}: loss or gradient is NaN or infinite at step {bad}; {kept}; lower train: learning_rate")

    def log_losses(self) -> None:
        """A history line with the mean of every loss term since the line before."""
        self.check_finite()
        config = self.config
        last = max((line["step"] for line in self.history if line["event"] == "losses"), default=0)
        means = {name: float(total) / (self.step - last) for name, total in sorted(self.sums.items())}
        rates = {"learning_rate": optim.learning_rate(self.step - 1, config), "beta": optim.beta(self.step - 1, config)}
        self.history.append({"event": "losses", "step": self.step} | means | rates)
        self.sums = {}

    def log_rollouts(self) -> dict[str, Any]:
        """A history line with the validity of prior rollouts of the averaged weights, by number of completions."""
        line: dict[str, Any] = {"event": "rollout", "step": self.step}
        for name, split in self.splits.items():
            line[name] = self._rollout_counts(split, name)
        self.history.append(line)
        return line

    def _rollout_counts(self, split: Split, name: str) -> dict[str, dict[str, int]]:
        """Valid prior samples among the first inputs of a split: {one, several} -> {valid, inputs}."""
        limit = min(self.config.eval_inputs, len(split.inputs))
        # Rows are sorted by content; a stride takes a spread of them.
        chosen = [math.floor(i * len(split.inputs) / limit) for i in range(limit)]
        inputs = split.inputs[chosen]
        counts = {"one": {"valid": 0, "inputs": 0}, "several": {"valid": 0, "inputs": 0}}
        if not limit:
            return counts
        # A generator of its own, so that watching the run does not change it.
        generator = seeded_generator(self.device, self.settings.seed, "watch", name, self.step)
        tokens = torch.from_numpy(inputs).long().to(self.device)
        with self._precision():
            result = rollout(self.ema.model, tokens, depth=self.config.N_sup, generator=generator)
        valid = self.task.is_valid(inputs, result.tokens.cpu().numpy().astype("uint8"))
        several = split.counts[chosen] > 1
        for key, mask in (("one", ~several), ("several", several)):
            counts[key] = {"valid": int(valid[mask].sum()), "inputs": int(mask.sum())}
        return counts

    # Saving and resuming --------------------------------------------------------------------------------------------

    @property
    def resume_path(self) -> Path:
        """Not an output of the workflow, which deletes those when a job fails."""
        return self.output / "resume.safetensors"

    def identity(self) -> str:
        """Hash of what a resume state must share with the run: settings and data."""
        facts = self.settings.as_dict()
        facts["data_md5"] = {name: split.md5 for name, split in self.splits.items()}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def save_resume_state(self) -> None:
        """Write everything that continuing needs; only after the losses so far were found finite."""
        self.check_finite()
        tensors = (
            checkpoint.prefixed("model", self.model.state_dict())
            | checkpoint.prefixed("ema", self.ema.model.state_dict())
            | checkpoint.prefixed("optimizer", checkpoint.optimizer_tensors(self.optimizer))
            | checkpoint.prefixed("stream", self.stream.tensors())
            | checkpoint.prefixed("sums", self.sums)
            | {"draws": self.draws.get_state(), "noise": self.noise.get_state()}
        )
        facts = {
            "identity": self.identity(),
            "step": self.step,
            "seconds": self.seconds,
            "sessions": self.sessions,
            "history": self.history,
        }
        checkpoint.write_tensors(self.resume_path, tensors, facts)

    def restore(self) -> bool:
        """Continue from the resume state if there is one for these settings and data; returns whether."""
        if not self.resume_path.exists():
            return False
        tensors, facts = checkpoint.read_tensors(self.resume_path)
        if facts.get("identity") != self.identity():
            print(f"{self.resume_path}: saved for other settings or data; starting from step 0", file=sys.stderr)
            return False
        checkpoint.load_strictly(self.model, checkpoint.under("model", tensors), self.resume_path)
        checkpoint.load_strictly(self.ema.model, checkpoint.under("ema", tensors), self.resume_path)
        checkpoint.load_optimizer(self.optimizer, checkpoint.under("optimizer", tensors))
        self.stream.load_tensors(checkpoint.under("stream", tensors))
        self.sums = {name: tensor.to(self.device) for name, tensor in checkpoint.under("sums", tensors).items()}
        self.draws.set_state(tensors["draws"])
        self.noise.set_state(tensors["noise"])
        self.step, self.seconds, self.history = facts["step"], facts["seconds"], facts["history"]
        self.sessions = facts["sessions"] + 1
        return True

    def save_results(self) -> None:
        """Write weights, history and meta, then drop the resume state."""
        checkpoint.save_weights(self.output / "weights.safetensors", ema=self.ema.model, raw=self.model)
        files.write_text(self.output / "history.jsonl", "".join(json.dumps(line) + "\n" for line in self.history))
        meta = {
            "task": self.settings.task,
            "method": self.settings.method,
            "seed": self.settings.seed,
            "steps": self.step,
            "parameters": parameter_count(self.model),
            "training_examples": self.step * self.config.batch_size // self.config.N_sup,
            "supervision_steps": self.step * self.config.batch_size,
            "data_md5": {name: split.md5 for name, split in self.splits.items()},
            "settings": self.settings.as_dict(),
            "seconds": round(self.seconds, 1),
            "steps_per_second": round(self.step / max(self.seconds, 1e-9), 2),
            "sessions": self.sessions,
            "peak_memory_bytes": peak_memory_bytes(self.device),
            **provenance(self.device),
        }
        files.write_json(self.output / "meta.json", meta)
        self.resume_path.unlink(missing_ok=True)
