"""A study in Python: its search space, and its trials as a table of pandas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, SupportsIndex

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.diagnosis.loaded_run import LoadedRun, load_run
from hrm_sweep.errors import StudyError
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.goals import score
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.storage import chosen_storage
from hrm_sweep.sweep.study import STATES, Chain, Study, open_study


@dataclass(frozen=True)
class LoadedStudy:
    """A study that may go on meanwhile: every call looks at it anew, and changes nothing."""

    study: Study

    @property
    def name(self) -> str:
        return self.study.name

    @property
    def space(self) -> SearchSpace:
        return self.study.space

    def to_pandas(self) -> pd.DataFrame:
        """One row per trial, by number; the attempts that a retry continued are rows of their own, `retried`.

        Columns: `number`, `state` (complete, pruned, failed, retried, running, waiting), `value` (of the objective, of
        complete trials; with several goals that of the first, and `value.METRIC` for each other one), `violates` (in
        words, where the space has constraints), a column for each parameter of the space and for each other key that a
        remedy changed, `cause` (of a failure), `pruned_by` (rule, epoch and reason), `verdict` (what the diagnosis
        leads with), `seconds` (from start to end) and `run_dir`, which `load_run` takes. What a trial does not have is
        None or NaN.
        """
        attempts = [(chain, attempt) for chain in self.study.chains() for attempt in chain.attempts]
        changed = [name for _, attempt in attempts for name in values_of(attempt)]
        names = list(dict.fromkeys([*self.space.parameters, *changed]))
        rows = [_row(self.study, chain, attempt, names) for chain, attempt in attempts]
        beside = [f"value.{goal.metric}" for goal in self.space.objective.beside]
        beside += ["violates"] if self.space.constraints else []
        columns = ["number", "state", "value", *beside, *names, "cause", "pruned_by", "verdict", "seconds", "run_dir"]
        table = pd.DataFrame(rows, columns=columns).sort_values("number", ignore_index=True)
        return table.astype({"value": "float64", "seconds": "float64"})

    def run(self, number: int) -> LoadedRun:
        """The run of a trial. Raises StudyError when there is no such trial, RunDirectoryError when its run is not on
        this machine, or has not begun."""
        trials = self.study.trials()
        if not isinstance(number, SupportsIndex) or not 0 <= number < len(trials):
            raise StudyError(f"{self.name}: there is no trial {number}; there are {len(trials)}, counted from 0")
        return load_run(self.study.run_directory(self.study.first_attempt_of(trials[number])).path)

    def __repr__(self) -> str:
        return f"<study {self.name}: {len(self.study.trials())} trials>"


def load_study(name: str, storage: str | None = None) -> LoadedStudy:
    """The study `name` in the database at the URL `storage`: by default the one that `hrm-sweep` would take, that is
    HRM_SWEEP_STORAGE or trials/optuna.db. Raises StudyError, naming those that exist, or StorageError."""
    return LoadedStudy(open_study(chosen_storage(storage), name))


def _beside(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """The values of the other goals, and which constraints it violates."""
    values = trial.values if trial.state is TrialState.COMPLETE else None
    found: dict[str, Any] = {
        f"value.{goal.metric}": values[place] if values else None
        for place, goal in enumerate(study.space.objective.beside, start=1)
    }
    return {**found, "violates": trial.user_attrs.get(attributes.VIOLATES)} if study.space.constraints else found


def _row(study: Study, chain: Chain, trial: FrozenTrial, names: list[str]) -> Mapping[str, Any]:
    values, given = values_of(trial), trial.user_attrs
    state = STATES[trial.state]
    if trial.state is TrialState.FAIL and trial.number != chain.last.number:
        state = "retried"
    began, ended = trial.datetime_start, trial.datetime_complete
    return {
        "number": trial.number,
        "state": state,
        "value": score(trial) if trial.state is TrialState.COMPLETE else None,
        **_beside(study, trial),
        **{name: values.get(name) for name in names},
        "cause": given.get(attributes.CAUSE),
        "pruned_by": given.get(attributes.PRUNED_BY),
        "verdict": given.get(attributes.VERDICT),
        "seconds": None if began is None or ended is None else (ended - began).total_seconds(),
        "run_dir": given.get(attributes.RUN_DIR) or study.run_directory(chain.first.number).path.as_posix(),
    }
