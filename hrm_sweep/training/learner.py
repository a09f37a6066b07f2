"""One optimizer step: forward, backward, both optimizers at the learning rate of the schedule. HRM_SPEC 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import learning_rate
from hrm_sweep.model.hrm import HRM, Carry, Parts, Rows, StepOutput, each_tensor
from hrm_sweep.model.losses import StepLoss, act_loss
from hrm_sweep.training.optimizers import AdamATan2, sign_sgd_step
from hrm_sweep.training.ranks import Ranks


@dataclass(frozen=True)
class Update:
    """What an optimizer step did: its learning rates, and the rows of the puzzle embedding it visited (or None)."""

    lr: float
    puzzle_emb_lr: float
    visited: Tensor | None


@dataclass(frozen=True)
class PuzzleGradient:
    """The gradient (B, ndim) of the embedding rows of a whole batch, and their identifiers (B,)."""

    identifiers: Tensor
    gradient: Tensor


class Learner:
    """A model with its optimizers and its ACT carry. `backward` and then `update` are one optimizer step.

    Of each batch, and of the carry, it holds the rows of its own rank; parameters, gradients and the state of the
    optimizers are the same on all ranks.
    """

    def __init__(
        self, model: HRM, config: RunConfig, *, scheduled_steps: int, seed: int, ranks: Ranks | None = None
    ) -> None:
        self.model = model
        self.config = config
        self.ranks = ranks or Ranks.alone()
        self.scheduled_steps = scheduled_steps
        self.parameters: list[Tensor] = list(model.parameters())
        self.optimizer = AdamATan2(self.parameters, config.weight_decay, config.beta1, config.beta2)
        self.exploration = torch.Generator().manual_seed(seed)
        self.carry: Carry | None = None
        self.output: StepOutput | None = None
        self.puzzle_gradient: PuzzleGradient | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self.optimizer.steps

    def backward(self, batch: Rows) -> StepLoss:
        """One ACT step on `batch`, this rank's rows, leaving d(total / B) of the whole batch in the gradients.

        Returns the loss of this rank's rows. They go through the model `micro_batch_size` at a time.
        """
        for parameter in self.parameters:
            parameter.grad = None
        rows = len(batch.inputs)
        carry = self.carry if self.carry is not None else self.model.initial_carry(batch)
        minimum_steps = self._explore(rows, batch.inputs.device)
        size = self.config.micro_batch_size or rows
        if size >= rows:
            self.carry, self.output, loss = self._backward_part(carry, batch, minimum_steps, rows)
        else:
            parts = [
                self._backward_part(
                    _cut(carry, part), _cut(batch, part), None if minimum_steps is None else minimum_steps[part], rows
                )
                for part in (slice(start, start + size) for start in range(0, rows, size))
            ]
            carries, outputs, losses = zip(*parts, strict=True)
            self.carry, self.output, loss = each_tensor(carries, torch.cat), _joined(outputs), _added_up(losses)
        self._share_gradients()
        return loss

    def _explore(self, rows: int, device: torch.device) -> Tensor | None:
        """This rank's part of what is drawn for the whole batch."""
        slots = rows * self.ranks.count
        drawn = self.model.explore(slots, self.exploration)
        return None if drawn is None else drawn[self.ranks.share(slots)].to(device)

    def _backward_part(
        self, carry: Carry, batch: Rows, minimum_steps: Tensor | None, rows: int
    ) -> tuple[Carry, StepOutput, StepLoss]:
        """Add the gradients of some of the `rows` rows of this rank."""
        carry, output = self.model.train_step(carry, batch, minimum_steps)
        loss = act_loss(carry, output, self.config.arch.loss.loss_type)
        (loss.total / (rows * self.ranks.count)).backward()  # type: ignore[no-untyped-call]
        return carry, output, loss

    def _share_gradients(self) -> None:
        """Make the gradients of this rank's rows those of the whole batch."""
        assert self.carry is not None
        assert self.output is not None
        self.ranks.add_up([parameter.grad for parameter in self.parameters if parameter.grad is not None])
        leaf = self.output.puzzle_leaf
        self.puzzle_gradient = None
        if leaf is not None and leaf.grad is not None:
            identifiers = self.ranks.gather(self.carry.rows.puzzle_identifiers)
            self.puzzle_gradient = PuzzleGradient(identifiers, self.ranks.gather(leaf.grad))

    def update(self) -> Update:
        """Apply the gradients that `backward` left."""
        lr, puzzle_emb_lr = self.learning_rates(self.steps + 1)
        self.optimizer.step(lr)
        visited: Tensor | None = None
        table, given = self.model.puzzle_table, self.puzzle_gradient
        if table is not None and given is not None:
            visited = sign_sgd_step(
                table,
                given.identifiers,
                given.gradient,
                lr=puzzle_emb_lr,
                weight_decay=self.config.puzzle_emb_weight_decay,
            )
        return Update(lr, puzzle_emb_lr, visited)

    def learning_rates(self, step: int) -> tuple[float, float]:
        """(lr, puzzle_emb_lr) of optimizer step `step` = 1, 2, ..."""
        return tuple(  # type: ignore[return-value]
            learning_rate(
                base,
                step,
                total_steps=self.scheduled_steps,
                warmup_steps=self.config.lr_warmup_steps,
                min_ratio=self.config.lr_min_ratio,
            )
            for base in (self.config.lr, self.config.puzzle_emb_lr)
        )


def _cut(whole: Parts, part: slice) -> Parts:
    return each_tensor([whole], lambda one: one[0][part])


def _joined(outputs: Sequence[StepOutput]) -> StepOutput:
    """The output of all rows from that of their parts, without the graphs; the leaf keeps its gradient."""
    whole = each_tensor(outputs, lambda tensors: torch.cat([tensor.detach() for tensor in tensors]))
    if whole.puzzle_leaf is not None:
        gradients = [output.puzzle_leaf.grad for output in outputs if output.puzzle_leaf is not None]
        if all(gradient is not None for gradient in gradients):
            whole.puzzle_leaf.grad = torch.cat([gradient for gradient in gradients if gradient is not None])
    return whole


def _added_up(losses: Sequence[StepLoss]) -> StepLoss:
    """The loss of all rows from that of their parts, without gradient."""
    names = losses[0].sums
    total = torch.stack([loss.total.detach() for loss in losses]).sum()
    return StepLoss(total, {name: torch.stack([loss.sums[name] for loss in losses]).sum() for name in names})
