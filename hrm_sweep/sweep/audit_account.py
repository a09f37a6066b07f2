"""Reads off a study's trials what its pruners saved, and what the audited ones tell of what they cost."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.report.audit import AuditedTrial, PrunedTrial, PrunerAudit, RanToItsEnd, first_above_zero
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit import Condemnation, condemnation_of, pruner_of
from hrm_sweep.sweep.constraints import CONSTRAINTS
from hrm_sweep.sweep.goals import curve_of, score
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.study import STATES, Study


def audit_account(study: Study) -> PrunerAudit:
    """The study as it stands, a trial and its retries counted as one."""
    last = [chain.last for chain in study.chains() if chain.is_given_out]
    pruned = [
        trial
        for trial in last
        if trial.state is TrialState.PRUNED and pruner_of(trial.user_attrs) != CONSTRAINTS  # no pruner, nor audited
    ]
    audited = [(trial, mark) for trial in last if (mark := condemnation_of(trial.user_attrs)) is not None]
    completed = [trial for trial in last if trial.state is TrialState.COMPLETE]
    at_epoch = _by_epoch(trial for trial in completed if attributes.AUDITED not in trial.user_attrs)
    metric = study.space.objective.metric
    return PrunerAudit(
        metric=metric,
        maximize=study.space.objective.goal == "maximize",
        share=study.space.audit,
        pruned_trials=[_pruned(trial, at_epoch) for trial in pruned],
        audited=[_audited(trial, mark) for trial, mark in audited],
        completed=[
            RanToItsEnd(
                number=trial.number,
                value=value,
                is_audited=attributes.AUDITED in trial.user_attrs,
                solves_from=first_above_zero(list(curve_of(trial).items()), metric),
            )
            for trial in completed
            if (value := score(trial)) is not None and math.isfinite(value)
        ],
        trained_s=sum(_trained_s(trial) for trial in last),
        saved_s=sum(_saved_s(study, trial) for trial in pruned),
        spent_s=sum(max(0.0, _trained_s(trial) - mark.time_s) for trial, mark in audited),
    )


def _by_epoch(trials: Iterable[FrozenTrial]) -> dict[int, list[float]]:
    """What the trials scored, by the epoch at which they did."""
    found: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        for epoch, value in curve_of(trial).items():
            found[epoch].append(value)
    return found


def _pruned(trial: FrozenTrial, at_epoch: Mapping[int, list[float]]) -> PrunedTrial:
    """at_epoch: what the trials that ran to their end, condemned by no pruner, scored."""
    curve = curve_of(trial)
    epoch = max(curve, default=None)
    return PrunedTrial(
        number=trial.number,
        pruner=pruner_of(trial.user_attrs),
        epoch=epoch,
        value=None if epoch is None else curve[epoch],
        completed=() if epoch is None else at_epoch.get(epoch, ()),
    )


def _audited(trial: FrozenTrial, mark: Condemnation) -> AuditedTrial:
    value = score(trial) if trial.state is TrialState.COMPLETE else None
    return AuditedTrial(trial.number, mark.condemned_by, mark.epoch, STATES[trial.state], value)


def _trained_s(trial: FrozenTrial) -> float:
    """Seconds of training, with those of earlier attempts; of a trial that goes on, or of which it is not known, 0."""
    given = trial.user_attrs.get(attributes.SECONDS)
    return float(given) if isinstance(given, int | float) else 0.0


def _saved_s(study: Study, pruned: FrozenTrial) -> float:
    """What was left of a pruned trial, at the pace at which it had come so far."""
    reached, epochs = max(curve_of(pruned), default=None), study.space.epochs_of(values_of(pruned))
    if not reached or epochs is None or reached >= epochs:
        return 0.0
    return _trained_s(pruned) * (epochs / reached - 1)
