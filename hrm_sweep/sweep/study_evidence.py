"""Builds the StudyEvidence of a study: its trials from the storage, what they ran on from their run directories."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.diagnosis import Severity, StudyEvidence
from hrm_sweep.diagnosis.study_evidence import End, StudyParameter, StudyTrial
from hrm_sweep.diagnosis.summary import names_a_fault
from hrm_sweep.runs import RunDirectory
from hrm_sweep.runs.environment import read_environment
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.best import puzzles_behind
from hrm_sweep.sweep.constraints import CONSTRAINTS
from hrm_sweep.sweep.goals import curve_of, is_feasible, score
from hrm_sweep.sweep.keys import limits, number_kind
from hrm_sweep.sweep.parameters import Parameter
from hrm_sweep.sweep.pruners import PRUNERS
from hrm_sweep.sweep.study import Chain, Study, cause_of_trial

_ENDS = {TrialState.COMPLETE: End.COMPLETE, TrialState.PRUNED: End.PRUNED, TrialState.FAIL: End.FAILED}


def gather_study_evidence(study: Study) -> StudyEvidence:
    """Everything known about a study as it stands, finished or going on; trials of other programs among it.

    Of each run directory environment.json is read, and diagnosis.json where the trial's verdict is no healthy one; of
    metrics only those of the best trial.
    """
    maximize = study.space.objective.goal == "maximize"
    evidence = StudyEvidence(
        name=study.name,
        metric=study.space.objective.metric,
        maximize=maximize,
        budget=study.space.budget.trials,
        parameters=tuple(_parameter(name, one) for name, one in _searched(study).items()),
        trials=tuple(_trial(study, chain, maximize=maximize) for chain in study.chains()),
        confirms=None if study.space.confirm is None else study.space.confirm.of,
    )
    return dataclasses.replace(evidence, evaluated_puzzles=_evaluated_puzzles(study, evidence))


def _searched(study: Study) -> Mapping[str, Parameter]:
    """The parameters; of a confirmation none, for it only varies the seed."""
    return study.space.parameters if study.space.confirm is None else {}


def _parameter(name: str, one: Parameter) -> StudyParameter:
    least, most = limits(name)
    low, high = (None, None) if one.values is not None else one.range
    return StudyParameter(
        name, one.values, low, high, log=one.log, whole=number_kind(name) is int, least=least, most=most
    )


def _trial(study: Study, chain: Chain, *, maximize: bool) -> StudyTrial:
    last = chain.last
    directory = study.run_directory(chain.first.number)
    return StudyTrial(
        number=last.number,
        values={name: value for name, value in last.params.items() if name in _searched(study)},
        end=End.OPEN if study.is_due(chain) else _ENDS.get(last.state, End.OPEN),
        failures=tuple(cause_of_trial(each) for each in chain.attempts if each.state is TrialState.FAIL),
        pruned_by=_pruned_by(last),
        leading=_leading(directory, last),
        objective=_objective(last, maximize=maximize),
        is_baseline=any(point.items() <= last.params.items() for point in study.space.first),
        environment=read_environment(directory.environment),
    )


def _objective(trial: FrozenTrial, *, maximize: bool) -> float | None:
    if trial.state is TrialState.COMPLETE:
        value = score(trial)
        return value if value is not None and math.isfinite(value) and is_feasible(trial) else None
    if trial.state is not TrialState.PRUNED:
        return None
    values = [value for value in curve_of(trial).values() if math.isfinite(value)]
    return None if not values else max(values) if maximize else min(values)


def _pruned_by(trial: FrozenTrial) -> str | None:
    """The pruner that a reason such as `median at epoch 8: ...` begins with, or `constraints`; of the diagnosis pruner,
    which rule.

    A trial that another program pruned gives no reason.
    """
    if trial.state is not TrialState.PRUNED:
        return None
    name, _, rest = str(trial.user_attrs.get(attributes.PRUNED_BY, "")).partition(" at ")
    if name == "diagnosis":
        return rest.split(": ")[1] if rest.count(": ") >= 2 else name
    return name if name in PRUNERS or name == CONSTRAINTS else None


def _leading(directory: RunDirectory, trial: FrozenTrial) -> str | None:
    """The rule that leads the diagnosis of a run. Opened only where its verdict says that one fired."""
    verdict = trial.user_attrs.get(attributes.VERDICT)
    if verdict is None or not names_a_fault(str(verdict)):
        return None
    try:
        findings = json.loads(directory.diagnosis.read_text(encoding="utf-8"))["findings"]
        return next(
            str(each["rule"]) for each in findings if each["verdict"] == "fired" and Severity(each["severity"]).is_sick
        )
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return None  # not there, damaged, or judged healthy since


def _evaluated_puzzles(study: Study, evidence: StudyEvidence) -> int | None:
    """How many puzzles the best trial was last evaluated on; trials of a study share them."""
    for trial in evidence.ranked[:1]:
        first = next(chain.first.number for chain in study.chains() if chain.last.number == trial.number)
        return puzzles_behind(study.run_directory(first))
    return None
