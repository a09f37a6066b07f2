"""How an attempt at a trial ended."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import TrialState

from hrm_sweep.runs import Cause
from hrm_sweep.runs.unseen import Unseen
from hrm_sweep.sweep.failures import Failure
from hrm_sweep.sweep.measures import NO_VIOLATIONS, Violations


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: complete with a value, pruned with a reason, or failed.

    value       of the main goal; `beside` it those of the other goals, in their order.
    violations  of constraints, as far as they can be told.
    unseen      what a run of a confirmation that is complete solves of unseen puzzles.
    """

    state: TrialState
    value: float | None = None
    pruned_by: str | None = None
    failure: Failure | None = None
    beside: tuple[float, ...] = ()
    violations: Violations = NO_VIOLATIONS
    unseen: Unseen | None = None

    @property
    def values(self) -> list[float] | None:
        """What Optuna is told."""
        return None if self.value is None else [self.value, *self.beside]

    @staticmethod
    def failed(cause: Cause, message: str) -> Outcome:
        return Outcome(TrialState.FAIL, failure=Failure(cause, message))
