"""What the trials of a study are worth by its goals: the curve of each, its values, and the front.

Optuna takes no reports of a study with several goals, and its TPE sampler fails on a pruned trial that has some. So the
curves of such a study are kept in a system attribute of each trial, where no sampler looks and which the dashboard does
not list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import optuna
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.report.goals import ShownGoal
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.measures import Violations
from hrm_sweep.sweep.objective import Objective
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import Study


def score(trial: FrozenTrial) -> float | None:
    """The value of the main goal; None where there is none. (`trial.value` raises where there are several goals.)"""
    return trial.values[0] if trial.values else None


def curve_of(trial: FrozenTrial) -> dict[int, float]:
    """The main goal at each evaluation, by epoch."""
    kept = trial.system_attrs.get(attributes.CURVE)
    return trial.intermediate_values if kept is None else {int(epoch): float(value) for epoch, value in kept}


def keep_curve(study: Study, trial_id: int, curve: Mapping[int, float]) -> None:
    """Keep all evaluations of a trial so far. Raises UpdateFinishedTrialError when somebody has ended it."""
    patiently(lambda: study.storage.set_trial_system_attr(trial_id, attributes.CURVE, sorted(curve.items())))


def keep_violations(trial: optuna.Trial, violations: Violations) -> None:
    """Tell Optuna how far a trial violates each constraint that can be told."""
    for name, violation in violations.by_quantity.items():
        patiently(partial(_set_constraint, trial, name, violation))
    if violations.said:
        patiently(lambda: trial.set_user_attr(attributes.VIOLATES, violations.said))


def _set_constraint(trial: optuna.Trial, name: str, violation: float) -> None:
    """Optuna warns where one is set twice, as after an outage of the database."""
    if name not in trial.storage.get_trial(trial._trial_id).constraints:
        trial.set_constraint(name, violation)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial violates no constraint, as far as is known."""
    return all(violation <= 0 for violation in trial.constraints.values())


def front(objective: Objective, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The completed trials that violate no constraint and that no other of these beats: none is at least as good in
    every goal and better in one. The best by the main goal first, the earlier first of equals.

    With one goal: the trials with the best value.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values and is_feasible(trial)]
    ranked = sorted((tuple(-worth for worth in _worths(objective, one)), one.number, one) for one in complete)
    found: list[tuple[tuple[float, ...], FrozenTrial]] = []
    for losses, _, trial in ranked:  # whoever beats a trial comes before it
        if not any(_beats(other, losses) for other, _ in found):
            found.append((losses, trial))
    return [trial for _, trial in found]


def shown_goals(objective: Objective) -> tuple[ShownGoal, ...]:
    """The goals as a report shows them; empty where there is one, for then there is no front to show."""
    return tuple(ShownGoal(goal.metric, goal.is_maximized) for goal in objective.goals) if objective.beside else ()


def _worths(objective: Objective, trial: FrozenTrial) -> Sequence[float]:
    return [goal.worth(value) for goal, value in zip(objective.goals, trial.values, strict=True)]


def _beats(losses: tuple[float, ...], others: tuple[float, ...]) -> bool:
    return losses != others and all(loss <= other for loss, other in zip(losses, others, strict=True))
