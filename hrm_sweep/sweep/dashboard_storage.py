"""The storage as optuna-dashboard is given it, which reads constraints where Optuna kept them before its version 5.

Without this its plots take every trial for feasible, and its best trial may be one that violates a constraint.
"""

from __future__ import annotations

import copy
from collections.abc import Container

from optuna.storages import BaseStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.sweep.goals import is_feasible

_OLD_KEY = "constraints"


class DashboardStorage(_CachedStorage):
    """A cache of its own on the same database."""

    @staticmethod
    def of(storage: BaseStorage) -> DashboardStorage:
        """As `open_storage` gives it."""
        assert isinstance(storage, _CachedStorage)
        return DashboardStorage(storage._backend)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        return [_with_old_key(trial) for trial in super().get_all_trials(study_id, deepcopy, states)]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """That of all trials where none is feasible, for the dashboard wants one."""
        best = super().get_best_trial(study_id)
        if is_feasible(best):
            return best
        complete = super().get_all_trials(study_id, deepcopy=False, states=(TrialState.COMPLETE,))
        sign = 1 if self.get_study_directions(study_id)[0].name == "MAXIMIZE" else -1
        feasible = [trial for trial in complete if is_feasible(trial) and trial.values]
        return max(feasible, key=lambda trial: (sign * trial.values[0], -trial.number), default=best)


def _with_old_key(trial: FrozenTrial) -> FrozenTrial:
    violations = list(trial.constraints.values())
    if not violations:
        return trial
    shown = copy.copy(trial)
    shown._system_attrs = {**trial.system_attrs, _OLD_KEY: violations}
    return shown
