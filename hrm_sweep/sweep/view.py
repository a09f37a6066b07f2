"""What a study looks like right now, for `report` to draw: read from the storage alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.report.pace import TimeLeft
from hrm_sweep.report.terminal import TO_BE_RETRIED, StudyView, TrialLine
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit import audit_mark
from hrm_sweep.sweep.goals import curve_of, front, score, shown_goals
from hrm_sweep.sweep.paces import Paces
from hrm_sweep.sweep.reachable import is_drawn
from hrm_sweep.sweep.remedies import comparable, remedy_mark, values_of
from hrm_sweep.sweep.status import measured_rate
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import ENDED, Chain, Study

_FEWEST_FOR_IMPORTANCES = 4


def study_view(study: Study, running_s: float, paces: Paces | None = None) -> StudyView:
    """The study with all its trials as they stand. A trial whose values are still being drawn is left out.

    Times left are told where `paces` of earlier looks are given.
    """
    trials = patiently(study.trials)
    all_chains = patiently(study.chains)
    last = {chain.last.number for chain in all_chains}
    due = {_last_failed(chain) for chain in all_chains if study.is_due(chain)}
    running = [chain for chain in all_chains if chain.last.state is TrialState.RUNNING]
    left = {} if paces is None else paces.look(running)
    objective = study.space.objective
    maximize = objective.is_maximized
    lines = [
        _line(
            trial,
            maximize,
            study.space.epochs_of(values_of(trial)),
            is_last=trial.number in last,
            is_due=trial.number in due,
            left=left.get(trial.number),
        )
        for trial in trials
        if trial.state.is_finished() or is_drawn(study.space, values_of(trial))
    ]
    ended = [chain for chain in all_chains if study.has_ended(chain)]
    budget = study.space.budget.trials
    rate = None if paces is None or len(ended) >= budget else measured_rate(ended, trials)
    return StudyView(
        name=study.name,
        metric=objective.metric,
        maximize=maximize,
        ended=len(ended),
        budget=budget,
        running_s=running_s,
        trials=lines,
        left_s=None if rate is None else rate.seconds_for(budget - len(ended)),
        goals=shown_goals(objective),
        front=tuple(trial.number for trial in front(objective, trials)) if objective.beside else (),
    )


def _last_failed(chain: Chain) -> int | None:
    """The attempt that the next one repeats, which may wait in the queue already."""
    return next((one.number for one in reversed(chain.attempts) if one.state is TrialState.FAIL), None)


def _line(
    trial: FrozenTrial, maximize: bool, epochs: int | None, *, is_last: bool, is_due: bool, left: TimeLeft | None
) -> TrialLine:
    state = ENDED.get(trial.state, "running")
    if state == "failed" and is_due:
        state = TO_BE_RETRIED
    elif state == "failed" and not is_last:
        state = "retried"
    curve = curve_of(trial)
    values = [value for value in curve.values() if math.isfinite(value)]
    best = None if not values else max(values) if maximize else min(values)
    last_step = max(curve, default=None)
    return TrialLine(
        number=trial.number,
        state=state,
        values=values_of(trial),
        epoch=last_step,
        epochs=epochs,
        latest=None if last_step is None else curve[last_step],
        best=score(trial) if trial.state is TrialState.COMPLETE else best,
        said=_said(trial),
        remedy_of=trial.user_attrs.get(attributes.REMEDY_OF),
        is_audited=attributes.AUDITED in trial.user_attrs,
        curve=tuple(value for _, value in sorted(curve.items())),
        left=left,
        goals=tuple(trial.values or ()) if trial.state is TrialState.COMPLETE else (),
        violates=str(trial.user_attrs.get(attributes.VIOLATES, "")),
    )


def _said(trial: FrozenTrial) -> str:
    attrs = trial.user_attrs
    parts = [remedy_mark(attrs), audit_mark(attrs), attrs.get(attributes.PRUNED_BY)]
    if trial.state is TrialState.COMPLETE and attributes.VIOLATES in attrs:
        parts.append(f"violates a constraint: {attrs[attributes.VIOLATES]}")
    if attributes.CAUSE in attrs:
        parts.append(f"{attrs[attributes.CAUSE]}: {attrs.get(attributes.MESSAGE, '')}".rstrip(": "))
    if attributes.REPLICATE_OF in attrs:
        parts.append(f"replicate of trial {attrs[attributes.REPLICATE_OF]}")
    if trial.state is not TrialState.COMPLETE:
        parts.append(attrs.get(attributes.VERDICT))
    return "; ".join(part for part in parts if part)


def importances(study: Study) -> tuple[dict[str, float], int]:
    """Importance of each parameter for the main goal (PED-ANOVA) and the number of completed trials; none when those
    are too few."""
    inside = comparable(study)
    complete = inside.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    n = len(complete)
    if n < _FEWEST_FOR_IMPORTANCES or _all_equal([score(trial) for trial in complete]):
        return {}, n
    # At least five trials among the best, as PED-ANOVA wants, but never more than half.
    evaluator = PedAnovaImportanceEvaluator(target_quantile=min(0.5, max(0.1, 5 / n)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = get_param_importances(inside, evaluator=evaluator, target=_main_value)
    return {name: share for name, share in found.items() if not math.isnan(share)}, n


def _main_value(trial: FrozenTrial) -> float:
    return float(trial.values[0])


def _all_equal(values: Sequence[float | None]) -> bool:
    return len(set(values)) <= 1
