"""`stop_when`: a study that has stopped getting better, by its main goal, ends before its budget.

Read off the storage at every decision, so it is the same for all workers and after a restart. Should a trial that was
running by then turn out better after all, the study goes on; of the terminator, once somebody has looked again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from optuna.trial import TrialState

from hrm_sweep.sweep.goals import is_feasible, score
from hrm_sweep.sweep.study import Chain, Study
from hrm_sweep.sweep.terminator import Verdict, known_verdict


@dataclass(frozen=True)
class NoImprovement:
    """The last trials brought nothing better. best: the trial that was not bettered; None where nothing has
    completed."""

    trials_without_improvement: int
    limit: int
    best: int | None

    to_go_on: ClassVar[str] = "a larger number there goes on"

    def __str__(self) -> str:
        than = "" if self.best is None else f" than trial {self.best}"
        return (
            f"the last {self.trials_without_improvement} trials brought nothing better{than} "
            f"(stop_when: no_improvement is {self.limit})"
        )


Enough = NoImprovement | Verdict
"""Why no further trial is started. As a text it says why; `to_go_on` says what to do about it."""


def enough(study: Study, all_chains: Sequence[Chain]) -> Enough | None:
    """Whether the study has come to its `stop_when`; None while it goes on, and where it has none."""
    return _no_improvement(study, all_chains) or _nothing_left_to_gain(study)


def _no_improvement(study: Study, all_chains: Sequence[Chain]) -> NoImprovement | None:
    """Trials count in the order in which they ended, once they completed or were pruned. Failed ones say nothing of
    what there is to find; one that violates a constraint is never the best."""
    limit = study.space.stop_when.no_improvement
    if limit is None:
        return None
    sign = 1 if study.space.objective.goal == "maximize" else -1
    judged = [chain.last for chain in all_chains if chain.last.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    judged.sort(key=lambda trial: (trial.datetime_complete or datetime.min, trial.number))
    best: int | None = None
    highest, since = -math.inf, 0
    for trial in judged:
        value = score(trial) if trial.state is TrialState.COMPLETE and is_feasible(trial) else None
        worth = -math.inf if value is None else sign * value
        if worth > highest:
            best, highest, since = trial.number, worth, 0
        else:
            since += 1
    return NoImprovement(since, limit, best) if since >= limit else None


def _nothing_left_to_gain(study: Study) -> Verdict | None:
    """What the last look found, where the terminator is still asked for and would have looked at so few trials."""
    wanted = study.space.stop_when.terminator
    verdict = None if wanted is None else known_verdict(study)
    if wanted is None or verdict is None or verdict.trials < wanted.min_trials:
        return None
    return verdict if verdict.is_enough else None
