"""What a pruner is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import optuna
from optuna.trial import FrozenTrial

from hrm_sweep.runs import MetricRow
from hrm_sweep.sweep.parts import Part


@dataclass(frozen=True)
class Progress:
    """What a pruner may look at when a trial has been evaluated again.

    study        the Optuna study with all its trials; it has one objective.
    trial        the trial as it stands: its intermediate values, by epoch, are finite.
    evaluations  every evaluation row of the run so far, also those of an earlier attempt; values may be NaN or absent.
    metric       what the study decides by, for example exact_accuracy.
    epochs       how many epochs the run has in all.
    solved_at    the exact accuracy at which the run ends before that (stop_when_solved); None where it does not.
    directory    the run directory; None where there is none.
    """

    study: optuna.Study
    trial: FrozenTrial
    evaluations: tuple[MetricRow, ...]
    metric: str
    epochs: int
    directory: Path | None = None
    solved_at: float | None = None

    @property
    def latest(self) -> MetricRow | None:
        return self.evaluations[-1] if self.evaluations else None

    @property
    def is_at_its_end(self) -> bool:
        """Whether this was the last evaluation, so that there is nothing left to save."""
        if self.latest is None:
            return False
        solved = self.latest.get("exact_accuracy")
        is_solved = self.solved_at is not None and solved is not None and solved >= self.solved_at
        return is_solved or self.latest.epoch >= self.epochs


class Pruner(Part, ABC):
    """Decides after each evaluation whether a trial should end. Its fields are its options in the search space.

    epoch_option  the option that says from which epoch on it may end a trial, so that `NAME at EPOCH` can set it.
    reads_files   whether it looks into the run directory.
    """

    name: ClassVar[str]
    epoch_option: ClassVar[str | None] = None
    reads_files: ClassVar[bool] = False

    @abstractmethod
    def verdict(self, progress: Progress) -> str | None:
        """Why the trial should end now, beginning with this pruner's name; None to let it go on.

        Asked only when there is a new evaluation. A NaN is no reason to prune: such a run ends by itself, as failed.
        """

    def needs_metrics(self, metric: str) -> bool:
        """Whether it looks at more of an evaluation than its epoch and `metric`, which the storage has too."""
        return self.reads_files


def at_epoch(pruner: Pruner, progress: Progress) -> str:
    """How every reason begins: `name at epoch E`."""
    latest = progress.latest
    return f"{pruner.name} at epoch {latest.epoch:g}" if latest else pruner.name
