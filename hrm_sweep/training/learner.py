"""One optimizer step: forward, backward, both optimizers at the learning rate of the schedule. HRM_SPEC 2 and 3."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hrm_sweep.config import RunConfig
from hrm_sweep.config.schedule import learning_rate
from hrm_sweep.model.hrm import HRM, Carry, Rows, StepOutput
from hrm_sweep.model.losses import StepLoss, act_loss
from hrm_sweep.training.optimizers import AdamATan2, sign_sgd_step


@dataclass(frozen=True)
class Update:
    """What an optimizer step did: its learning rates, and the rows of the puzzle embedding it visited (or None)."""

    lr: float
    puzzle_emb_lr: float
    visited: Tensor | None


class Learner:
    """A model with its optimizers and its ACT carry. `backward` and then `update` are one optimizer step."""

    def __init__(self, model: HRM, config: RunConfig, *, scheduled_steps: int, seed: int) -> None:
        self.model = model
        self.config = config
        self.scheduled_steps = scheduled_steps
        self.parameters: list[Tensor] = list(model.parameters())
        self.optimizer = AdamATan2(self.parameters, config.weight_decay, config.beta1, config.beta2)
        self.exploration = torch.Generator().manual_seed(seed)
        self.carry: Carry | None = None
        self.output: StepOutput | None = None

    @property
    def steps(self) -> int:
        """Optimizer steps taken."""
        return self.optimizer.steps

    def backward(self, batch: Rows) -> StepLoss:
        """One ACT step on `batch`, leaving d(total / B) in the gradients."""
        for parameter in self.parameters:
            parameter.grad = None
        carry = self.carry if self.carry is not None else self.model.initial_carry(batch)
        self.carry, self.output = self.model.train_step(carry, batch, self.exploration)
        loss = act_loss(self.carry, self.output, self.config.arch.loss.loss_type)
        (loss.total / len(batch.inputs)).backward()  # type: ignore[no-untyped-call]
        return loss

    def update(self) -> Update:
        """Apply the gradients that `backward` left."""
        assert self.carry is not None
        assert self.output is not None
        lr, puzzle_emb_lr = self.learning_rates(self.steps + 1)
        self.optimizer.step(lr)
        visited: Tensor | None = None
        leaf, table = self.output.puzzle_leaf, self.model.puzzle_table
        if table is not None and leaf is not None and leaf.grad is not None:
            visited = sign_sgd_step(
                table,
                self.carry.rows.puzzle_identifiers,
                leaf.grad,
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
