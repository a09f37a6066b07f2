"""The training loop. HRM_SPEC; DESIGN contract 2.

Knows neither Optuna nor diagnosis: whoever started the run reads metrics.jsonl, and stops it through `stop`.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import RunLength
from hrm_sweep.data import PuzzleFolder, train_iteration
from hrm_sweep.errors import DiskFullError, NonFiniteError
from hrm_sweep.evaluation.accuracy import EVALUATION_ROWS, Accuracy, accuracy_of, data_shape, evaluation_sums
from hrm_sweep.evaluation.device import Device, attention_error, rows_on
from hrm_sweep.evaluation.selection import subset_indices
from hrm_sweep.model.checkpoint import STATE_VERSION, apply_weights, load_state, weights_to_save
from hrm_sweep.model.hrm import HRM, Carry, Rows, each_tensor
from hrm_sweep.runs import (
    Cause,
    MetricRow,
    MetricsWriter,
    RunDirectory,
    State,
    Status,
    StopReason,
    cut_back,
    describe_environment,
    disk_full_explained,
    replaced_atomically,
    write_environment,
    write_status,
)
from hrm_sweep.training.compilation import Compilation, compiling
from hrm_sweep.training.learner import Learner, Update
from hrm_sweep.training.ranks import Ranks
from hrm_sweep.training.start import start_from
from hrm_sweep.training.telemetry import Interval, gradient_norms, norms_by_module, unchanged_by_module


@dataclass(frozen=True)
class Prepared:
    """A configuration that can start: its data exists and is open, its length is known, its device is there."""

    config: RunConfig
    data: PuzzleFolder
    length: RunLength
    device: Device
    start: Path | None = None  # the weights that a new run begins with


class Run:
    """The state of a run while it trains; `train` is the loop.

    Where several ranks train one run, all go through here in step; the first of them writes the files.
    """

    def __init__(
        self,
        prepared: Prepared,
        directory: RunDirectory,
        status: Status,
        stop: Callable[[], StopReason | None],
        on_row: Callable[[MetricRow], None],
        say: Callable[[str], None],
        ranks: Ranks,
    ) -> None:
        self.config, self.data = prepared.config, prepared.data
        self.length, self.device, self.start = prepared.length, prepared.device, prepared.start
        self.directory, self.status = directory, status
        self.stop, self.on_row, self.say, self.ranks = stop, on_row, say, ranks

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            model = HRM(self.config.arch, data_shape(self.data.train), self.device.dtype)
        model.to(self.device.torch_device)
        self.model = model
        self.learner = Learner(
            model, self.config, scheduled_steps=self.length.scheduled_steps, seed=self.config.seed, ranks=ranks
        )
        self.interval = Interval(self.learner)
        self.iteration, self.position = 1, 0  # the pass over the data, counted from 1, and batches taken of it
        self.best: tuple[float, float] | None = None  # exact accuracy, then cell accuracy
        self.solved = False
        self.seconds_before, self.started = 0.0, time.monotonic()
        self.last_update: Update | None = None
        self._enter_stage(0)

    def train(self, resume: bool) -> Status:
        """The loop: next batch, step, row, evaluation, checkpoint, and whether to stop."""
        self._describe()
        if resume:
            self._resume()
        if self.start is not None:
            for line in start_from(self.model, self.start):
                self.say(line)
        compilation = Compilation(self.config, self.model, self.device, self.say)
        with MetricsWriter(self.directory.metrics) as self.metrics, compiling(compilation):
            while self.iteration <= self.length.intervals and not self.solved:
                if self._stage_of(self.iteration) != self.stage:
                    self._enter_stage(self._stage_of(self.iteration))
                    self.learner.carry = None
                    last = len(self.config.stages or ()) - 1
                    self.say(f"stage {self.stage} begins; they are counted from 0 to {last}")
                for batch in self._batches():
                    self._step(batch)
                    compilation.step(self.length.trained_steps - self.learner.steps)
                    if reason := self._stop_reason():
                        return self._stopped(reason)
                    if self.learner.steps >= self.length.scheduled_steps:
                        break
                self._end_of_interval()
            self._write_train_row_if_any()
        return self._completed()

    def _stage_of(self, iteration: int) -> int:
        return self.config.stage_at((iteration - 1) * self.config.eval_interval)

    def _enter_stage(self, number: int) -> None:
        """Train on with what the stage says; weights and the state of both optimizers stay."""
        self.stage = number
        now = self.config.stage(number)
        self.model.arch = self.model.inner.arch = now.arch
        self.learner.config = now
        self.learner.optimizer.weight_decay = now.weight_decay

    def _batches(self) -> itertools.islice[Rows]:
        passes = train_iteration(
            self.data.train,
            seed=self.config.seed,
            iteration=self.iteration,
            global_batch_size=self.config.global_batch_size,
            epochs_per_iter=self.config.eval_interval,
        )
        share = self.ranks.share(self.config.global_batch_size)
        return itertools.islice((rows_on(batch, self.device, share) for _, batch in passes), self.position, None)

    def _step(self, batch: Rows) -> None:
        ends_row = (self.learner.steps + 1) % self.config.log_interval == 0
        loss = self.learner.backward(batch)
        before = {name: p.detach().clone() for name, p in self.model.named_parameters()} if ends_row else {}
        gradients = self._gradient_norms() if ends_row else {}
        self.last_update = self.learner.update()
        self.position += 1
        self.interval.add(loss, self.last_update)
        if ends_row:
            moved = {name: p.detach() - before[name] for name, p in self.model.named_parameters()}
            updates: dict[str, Mapping[str, float]] = {
                "update_norm": norms_by_module(moved),
                "unchanged_tensors": unchanged_by_module(moved),
            }
            self._write_train_row({**gradients, **updates, **self._weight_norms()})
        elif self.device.torch_device.type == "cpu" and self.ranks.largest(not torch.isfinite(loss.total)):
            self._write_train_row({})  # on a GPU the look would wait for the device: there the interval's row tells

    def _gradient_norms(self) -> dict[str, dict[str, float]]:
        norms = {"grad_norm": gradient_norms(self.model)}
        if self.model.puzzle_table is not None:
            given = self.learner.puzzle_gradient
            norms["puzzle_emb"] = {"grad_norm": 0.0 if given is None else float(given.gradient.norm())}
        return norms

    def _weight_norms(self) -> dict[str, dict[str, float]]:
        return {"weight_norm": norms_by_module(dict(self.model.named_parameters()))}

    def _write_train_row_if_any(self) -> None:
        if not self.interval.is_empty:
            self._write_train_row(self._weight_norms())

    def _write_train_row(self, modules: Mapping[str, Mapping[str, float]]) -> None:
        assert self.last_update is not None
        row = self.interval.row(
            epoch=self.length.epoch_at(self.learner.steps),
            time_s=self._seconds(),
            update=self.last_update,
            modules=modules,
        )
        self._emit(row)

    def _emit(self, row: MetricRow) -> None:
        """Write a row. A value that is not finite ends the run here, before a checkpoint can keep broken weights."""
        if self.config.stages is not None:
            row = dataclasses.replace(row, values={**row.values, "stage": self.stage})
        if self.ranks.is_first:
            self.metrics.write(row)
            self.on_row(row)
        if broken := row.non_finite():
            shown = ", ".join(broken[:4]) + (f" and {len(broken) - 4} more" if len(broken) > 4 else "")
            raise NonFiniteError(
                f"non-finite at optimizer step {row.step}: {shown}; the last good checkpoint is kept; "
                "try a third of lr, or a longer warm-up"
            )

    def _end_of_interval(self) -> None:
        if self._stage_of(self.iteration + 1) != self.stage:
            self._write_train_row_if_any()  # a row belongs to one stage
        result = self._evaluate()
        epoch = self.iteration * self.config.eval_interval
        values = {**result.values, "count": result.count, "act_steps": result.act_steps}
        self._emit(MetricRow("eval", self.learner.steps, epoch, self._seconds(), values))
        self.iteration, self.position = self.iteration + 1, 0
        exact = result.exact_accuracy
        score = None if exact is None else (exact, result.values["accuracy"])
        is_best = score is not None and (self.best is None or score > self.best)
        if is_best:
            self.best = score
        limit = self.config.stop_when_solved
        self.solved = limit is not None and exact is not None and exact >= limit
        if self.config.checkpoint:
            self._save(best=is_best)
        if self.config.checkpoint_every_eval:
            self._save_weights()
        if self.ranks.is_first:
            write_status(self.directory.status, self._status())

    def _evaluate(self) -> Accuracy:
        config, split = self.learner.config, self.data.test
        indices = subset_indices("selection", split.n_examples, config.eval_puzzles)
        sums = evaluation_sums(
            self.model,
            split,
            indices[self.ranks.share(len(indices))],
            config.arch.loss.loss_type,
            self.device,
            steps=config.arch.halt_max_steps,
            rows_at_once=min(EVALUATION_ROWS, config.micro_batch_size or EVALUATION_ROWS),
        )
        return accuracy_of(self.ranks.hear_all(sums), config.arch.halt_max_steps)

    def _stop_reason(self) -> StopReason | None:
        """What the first rank knows, so that all end after the same step."""
        reasons = list(StopReason)
        mine = self._own_stop_reason() if self.ranks.is_first else None
        agreed = self.ranks.largest(0 if mine is None else 1 + reasons.index(mine))
        return reasons[agreed - 1] if agreed else None

    def _own_stop_reason(self) -> StopReason | None:
        limit = self.config.max_seconds
        if limit is not None and self._seconds() >= limit:
            return StopReason.REQUESTED
        return self.stop()

    def _stopped(self, reason: StopReason) -> Status:
        at = f"at optimizer step {self.learner.steps} of {self.length.trained_steps}"
        if reason is StopReason.PRUNED:
            self.say(f"pruned {at}")
            return self._status().ended(State.PRUNED, exit_code=0, message=f"pruned {at}")
        if self.config.checkpoint:
            self._save(best=False)
        self.say(f"stopped {at} ({reason}); --resume continues")
        cause = Cause.PREEMPTED if reason is StopReason.PREEMPTED else None
        return self._status().ended(State.STOPPED, cause=cause, exit_code=0, message=f"stopped {at}")

    def _completed(self) -> Status:
        if self.config.checkpoint:
            self._save_weights()
        solved = "" if self.best is None else f", best exact accuracy {self.best[0]:.3f}"
        self.say(f"done: {self.learner.steps} optimizer steps in {self._seconds():.1f} s{solved}")
        return self._status().ended(State.COMPLETED, exit_code=0)

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _status(self) -> Status:
        return self.status.at_step(self.learner.steps, self.length.trained_steps, self.device.peak_bytes())

    def _describe(self) -> None:
        directory, device = self.directory, self.device
        if not self.ranks.is_first:
            return
        write_environment(
            directory.environment,
            describe_environment(
                device=str(device.torch_device),
                device_name=device.name,
                dtype=str(device.dtype).removeprefix("torch."),
                attention_backend="scaled_dot_product_attention",
                threads=device.threads,
                attention_error=attention_error(device),
            ),
        )
        parameters = sum(p.numel() for p in self.model.parameters())
        self.say(
            f"{parameters:,} parameters, {self.length.trained_steps} optimizer steps, "
            f"{self.length.intervals} evaluations, {device.torch_device} {device.dtype}".replace("torch.", "")
            + (f", {self.ranks.count} processes" if self.ranks.count > 1 else "")
        )

    def _save(self, *, best: bool) -> None:
        """Write last.pt, and let best.pt be the same file where this is the best evaluation so far."""
        directory, state = self.directory, self._state()
        if not self.ranks.is_first:
            return
        with replaced_atomically(directory.last_checkpoint) as temporary:
            _save_tensors(state, temporary)
        if best:
            with replaced_atomically(directory.best_checkpoint) as temporary:
                temporary.unlink()
                try:
                    os.link(directory.last_checkpoint, temporary)
                except OSError:  # a file system without hard links
                    shutil.copyfile(directory.last_checkpoint, temporary)

    def _save_weights(self) -> None:
        if not self.ranks.is_first:
            return
        with replaced_atomically(self.directory.step_weights(self.learner.steps)) as temporary:
            _save_tensors(weights_to_save(self.model), temporary)

    def _state(self) -> dict[str, object]:
        """The whole run, whatever the number of ranks, so that any other number can go on from it."""
        assert self.learner.carry is not None
        carry = each_tensor([self.learner.carry], lambda share: self.ranks.gather(share[0]))
        rows = carry.rows
        return {
            "version": STATE_VERSION,
            "model": self.model.state_dict(),
            "optimizer": self.learner.optimizer.state(),
            "exploration": self.learner.exploration.get_state(),
            "carry": [carry.z_H, carry.z_L, carry.steps, carry.halted],
            "rows": [rows.inputs, rows.labels, rows.puzzle_identifiers],
            "interval": self.interval.state(),
            "iteration": self.iteration,
            "position": self.position,
            "stage": self.stage,
            "best": None if self.best is None else list(self.best),
            "solved": self.solved,
            "seconds": self._seconds(),
        }

    def _resume(self) -> None:
        """Go on where last.pt stands; what metrics.jsonl holds beyond it moves to metrics.lost.jsonl."""
        directory = self.directory
        if not directory.last_checkpoint.is_file():
            self._cut_back(0)
            self.say("no checkpoint yet: starting from the beginning")
            return
        state = load_state(directory.last_checkpoint)
        device = self.device.torch_device
        apply_weights(self.model, state["model"], str(directory.last_checkpoint))
        self.learner.optimizer.load_state(state["optimizer"])
        self.learner.exploration.set_state(state["exploration"])
        share = self.ranks.share(self.config.global_batch_size)
        z_H, z_L, steps, halted = (tensor[share].to(device) for tensor in state["carry"])
        rows = Rows(*(tensor[share].to(device) for tensor in state["rows"]))
        self.learner.carry = Carry(z_H, z_L, steps, halted, rows)
        self.interval.load_state(state["interval"], device)
        self.iteration, self.position = state["iteration"], state["position"]
        self._enter_stage(state.get("stage", 0))
        self.best = None if state["best"] is None else (state["best"][0], state["best"][1])
        self.solved = state["solved"]
        self.seconds_before = state["seconds"]
        if not self.interval.is_empty:  # the learning rates of its last step, should the run end here
            self.last_update = Update(*self.learner.learning_rates(self.learner.steps), None)
        lost = self._cut_back(self.learner.steps)
        self.say(f"continuing at optimizer step {self.learner.steps}" + (f" ({lost} rows cut)" if lost else ""))

    def _cut_back(self, step: int) -> int:
        directory = self.directory
        return cut_back(directory.metrics, step, directory.lost_metrics) if self.ranks.is_first else 0


def _save_tensors(content: Mapping[str, object], path: Path) -> None:
    with disk_full_explained(path):
        try:
            torch.save(content, path)
        except RuntimeError as error:  # torch's writer hides the operating system's reason
            raise DiskFullError(
                f"{path}: the checkpoint could not be written, the disk may be full ({str(error).splitlines()[0]}); "
                "free some space and continue with --resume"
            ) from None
