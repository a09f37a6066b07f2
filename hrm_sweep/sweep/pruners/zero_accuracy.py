"""zero_accuracy: the model has not solved a single puzzle by epoch N."""

from __future__ import annotations

import math
from typing import ClassVar

from hrm_sweep.config.run import Fraction, NonNegativeInt, PositiveInt
from hrm_sweep.sweep.pruners.base import Progress, Pruner, at_epoch

CELLS_GAIN = 0.005
"""What `unless_cells_improve: true` calls an improvement: more than three standard errors of the cell accuracy of 1000
sudokus of 81 cells (0.0016 at an accuracy of 0.7)."""


class ZeroAccuracy(Pruner):
    """Prunes when the highest exact accuracy of all evaluations so far is 0, at the first evaluation at or after
    `epoch` and at each one from there on.

    Epochs are no measure of training: with the published Sudoku-1k recipe epoch 20 is optimizer step 26 of 26,041, and
    every healthy run is at 0 there. So, for recipes of few steps an epoch:

    min_steps             not before this many optimizer steps.
    unless_cells_improve  not while the latest evaluation got more cells right than any before it, by this share
                          (true: 0.005); a first evaluation counts as an improvement.

    NaN evaluations are left out; a run that was never evaluated with a number is not pruned.
    """

    name: ClassVar[str] = "zero_accuracy"
    epoch_option: ClassVar[str | None] = "epoch"

    epoch: PositiveInt = 20
    min_steps: NonNegativeInt = 0
    unless_cells_improve: bool | Fraction = False

    def verdict(self, progress: Progress) -> str | None:
        latest = progress.latest
        if latest is None or latest.epoch < self.epoch or latest.step < self.min_steps:
            return None
        solved = _known(progress, "exact_accuracy")
        if not solved or max(solved) > 0 or self._cells_improve(progress):
            return None
        seen = "1 evaluation" if len(solved) == 1 else f"{len(solved)} evaluations"
        return f"{at_epoch(self, progress)}: no puzzle solved in {seen} up to optimizer step {latest.step}"

    def needs_metrics(self, metric: str) -> bool:
        return metric != "exact_accuracy" or self.min_steps > 0 or self.unless_cells_improve is not False

    def _cells_improve(self, progress: Progress) -> bool:
        if self.unless_cells_improve is False:
            return False
        wanted = CELLS_GAIN if self.unless_cells_improve is True else self.unless_cells_improve
        *before, latest = _known(progress, "accuracy") or [math.nan]
        return not before or latest > max(before) + wanted


def _known(progress: Progress, name: str) -> list[float]:
    """The values of all evaluations that have a number."""
    values = [row.get(name) for row in progress.evaluations]
    return [value for value in values if value is not None and not math.isnan(value)]
