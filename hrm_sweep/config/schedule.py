"""How long a run is, and the learning rate at each step. Arithmetic only: no torch, so that planning can use it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hrm_sweep.config.run import RunConfig


@dataclass(frozen=True)
class RunLength:
    """Steps of a run. HRM_SPEC 3 and 4.

    scheduled_steps     floor(epochs * total_groups * mean_puzzle_examples / global_batch_size), the schedule's span.
    steps_per_interval  full batches in one evaluation interval; the last, partial batch of each interval is dropped.
    intervals           epochs / eval_interval.
    """

    scheduled_steps: int
    steps_per_interval: int
    intervals: int
    eval_interval: int

    @staticmethod
    def of(config: RunConfig, total_groups: int, mean_puzzle_examples: float) -> RunLength:
        rows_per_epoch = total_groups * mean_puzzle_examples
        return RunLength(
            scheduled_steps=int(config.epochs * rows_per_epoch / config.global_batch_size),
            steps_per_interval=int(config.eval_interval * rows_per_epoch / config.global_batch_size),
            intervals=config.epochs // config.eval_interval,
            eval_interval=config.eval_interval,
        )

    @property
    def trained_steps(self) -> int:
        """Steps that are really taken: at most `scheduled_steps`, fewer where intervals drop partial batches."""
        return min(self.scheduled_steps, self.steps_per_interval * self.intervals)

    def epoch_at(self, step: int) -> float:
        """Nominal epochs done after `step` steps."""
        return step / self.steps_per_interval * self.eval_interval if self.steps_per_interval else 0.0

    def step_at(self, epoch: float) -> int:
        """Steps done after `epoch` nominal epochs."""
        return int(epoch / self.eval_interval * self.steps_per_interval)

    def first_evaluation_at_or_after(self, epoch: float) -> int:
        """The epoch of the first evaluation at or after `epoch`."""
        return math.ceil(epoch / self.eval_interval) * self.eval_interval


def uneven_shares(config: RunConfig, processes: int) -> str | None:
    """What is wrong with training in so many processes, each of which has an equal share of every batch."""
    rest = config.global_batch_size % processes
    if not rest:
        return None
    above = config.global_batch_size - rest + processes
    below = f" or {config.global_batch_size - rest}" if config.global_batch_size > processes else ""
    return (
        f"{config.global_batch_size} rows cannot be shared equally by {processes} processes; use {above}{below}, "
        "or another number of processes"
    )


def learning_rate(base: float, step: int, *, total_steps: int, warmup_steps: int, min_ratio: float) -> float:
    """Learning rate of optimizer step `step` = 1, 2, ...: linear warm-up, then cosine to `min_ratio`; HRM_SPEC 3."""
    if step < warmup_steps:
        return base * step / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return base * (min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress)))
