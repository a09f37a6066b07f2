"""How an attempt at a trial ended."""

from __future__ import annotations

from dataclasses import dataclass

from optuna.trial import TrialState

from hrm_sweep.runs import Cause
from hrm_sweep.runs.unseen import Unseen
from hrm_sweep.sweep.failures import Failure


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: complete with a value, pruned with a reason, or failed. A run of a confirmation that is
    complete has its evaluation on unseen puzzles as well."""

    state: TrialState
    value: float | None = None
    pruned_by: str | None = None
    failure: Failure | None = None
    unseen: Unseen | None = None

    @staticmethod
    def failed(cause: Cause, message: str) -> Outcome:
        return Outcome(TrialState.FAIL, failure=Failure(cause, message))
