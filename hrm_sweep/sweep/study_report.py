"""Gathers the report of a study: from the storage, and from the run directory of its best trial."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial

from hrm_sweep.config import config_text, flattened
from hrm_sweep.diagnosis import MissingEvidence, StudyEvidence, diagnose_study
from hrm_sweep.diagnosis.regions import Ending, Kind, cause_name, concentrations, endings_of
from hrm_sweep.diagnosis.study_evidence import End, StudyTrial
from hrm_sweep.errors import HrmSweepError
from hrm_sweep.evaluation.share import Share
from hrm_sweep.report.study_report import BestTrial, Cost, EndingCount, ReportedTrial, Searched, StudyReport
from hrm_sweep.report.terminal import StudyView, TrialLine, spelled
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit_account import audit_account
from hrm_sweep.sweep.best import best_of
from hrm_sweep.sweep.confirm.kept import confirmation_of
from hrm_sweep.sweep.confirm.results import confirmation_report
from hrm_sweep.sweep.goals import curve_of
from hrm_sweep.sweep.holdout import best_trial, measure_holdout
from hrm_sweep.sweep.parameters import Parameter
from hrm_sweep.sweep.space import SearchSpace
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.study_evidence import gather_study_evidence
from hrm_sweep.sweep.view import importances, study_view


def study_report(
    study: Study, *, measure: bool, next_commands: Sequence[tuple[str, str]], now: datetime
) -> StudyReport:
    """Look at a study as it stands, finished or going on.

    measure  whether the best trial is evaluated on the unseen puzzles, where that was not done before.
    """
    trials = study.trials()
    view = study_view(study, _wall_s(trials))
    evidence = gather_study_evidence(study)
    try:
        failure_map, problem = concentrations(evidence), ""
    except MissingEvidence as missing:
        failure_map, problem = (), str(missing)
    shares, completed = importances(study)
    lines = {line.number: line for line in view.trials}
    reported = [_reported(trial, lines[trial.number]) for trial in trials if trial.number in lines]
    return StudyReport(
        view=view,
        searched=[Searched(name, choices(one)) for name, one in study.space.parameters.items()],
        setting=list(_setting(study.space, evidence).items()),
        best=_best(study, evidence, measure=measure),
        trials=reported,
        evidence=evidence,
        diagnosis=diagnose_study(evidence),
        endings=_endings(evidence, lines),
        failure_map=failure_map,
        failure_map_problem=problem,
        audit=audit_account(study),
        importances=shares,
        importances_of=completed,
        cost=_cost(reported, view),
        next_commands=next_commands,
        written_at=f"{now:%Y-%m-%d %H:%M}",
        confirmation=None if (confirming := confirmation_of(study)) is None else confirmation_report(confirming),
    )


def choices(parameter: Parameter) -> str:
    """What a parameter could be, in words: `2, 4 or 8`, `1e-06 to 0.003 by ratio`."""
    if parameter.values is not None:
        shown = [_short(value) for value in parameter.values]
        text = shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
    else:
        low, high = parameter.range
        step = f" in steps of {_short(parameter.step)}" if parameter.step is not None else ""
        text = f"{_short(low)} to {_short(high)}{' by ratio' if parameter.log else ''}{step}"
    if parameter.when:
        conditions = (f"{key} {_wanted(wanted)}" for key, wanted in parameter.when.items())
        text += f", only where {' and '.join(conditions)}"
    return text


def _wanted(wanted: Any) -> str:
    if isinstance(wanted, tuple):
        return f"is {' or '.join(_short(one) for one in wanted)}"
    return wanted if isinstance(wanted, str) and wanted[:1] in "<>=!" else f"is {_short(wanted)}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _setting(space: SearchSpace, evidence: StudyEvidence) -> dict[str, str]:
    sampler = space.sampler.model_dump(mode="json", exclude_none=True)
    pruners = [
        name + (f" ({spelled(given)})" if (given := pruner.model_dump(mode="json", exclude_none=True)) else "")
        for name, pruner in space.pruner.items()
    ]
    puzzles = f", on {evidence.evaluated_puzzles:,} puzzles" if evidence.evaluated_puzzles else ""
    return {
        "decided by": "; ".join(f"{goal.metric}, {goal.goal}" for goal in space.objective.goals) + puzzles,
        **({"kept to": ", ".join(map(str, space.constraints.values()))} if space.constraints else {}),
        "sampler": f"{sampler.pop('name')} ({spelled(sampler)})" if len(sampler) > 1 else space.sampler.name,
        "pruned by": ", ".join(pruners) or "nothing",
        **({"audited": f"{space.audit:.0%} of the trials that a pruner condemns go on"} if space.audit else {}),
        "fixed": spelled(flattened(space.overrides)) or "as in its base",
        "tried first": f"{len(space.first)} known point{'' if len(space.first) == 1 else 's'}",
        "budget": f"{space.budget.trials} trials" + _or_less(space),
    }


def _or_less(space: SearchSpace) -> str:
    limit, terminator = space.stop_when.no_improvement, space.stop_when.terminator
    ends = [
        "" if limit is None else f"{limit} without improvement",
        "" if terminator is None else "when the terminator finds nothing left to gain",
    ]
    return "".join(f", or {end}" for end in ends if end)


def _best(study: Study, evidence: StudyEvidence, *, measure: bool) -> BestTrial | None:
    if best_trial(study) is None:
        return None
    problem = None
    if measure:
        try:
            if measure_holdout(study) is None:
                problem = "every test puzzle was used for selection"
        except HrmSweepError as error:
            problem = str(error)
    found = best_of(study)
    if found.holdout is None and problem is None:
        problem = "it was not asked for"
    return BestTrial(
        number=found.trial,
        value=found.value,
        values=found.values,
        config_path=found.directory.config.as_posix(),
        config_text=config_text(found.config),
        puzzles=found.puzzles,
        unseen=None if found.holdout is None else Share(found.holdout.exact_accuracy, found.holdout.n),
        unseen_problem=problem if found.holdout is None else None,
        ties=_ties(evidence),
    )


def _ties(evidence: StudyEvidence) -> tuple[int, ...] | None:
    if not evidence.ranked:
        return None
    leader = evidence.ranked[0]
    try:
        return tuple(trial.number for trial in evidence.ties(leader) if trial.number != leader.number)
    except MissingEvidence:
        return None


def _reported(trial: FrozenTrial, line: TrialLine) -> ReportedTrial:
    flops = trial.user_attrs.get(attributes.TRAIN_FLOPS)
    return ReportedTrial(
        line=line,
        curve=tuple(sorted(curve_of(trial).items())),
        seconds=None if trial.duration is None else trial.duration.total_seconds(),
        train_flops=float(flops) if isinstance(flops, int | float) and math.isfinite(flops) else None,
    )


def _endings(evidence: StudyEvidence, lines: Mapping[int, TrialLine]) -> list[EndingCount]:
    alike: dict[Ending, list[int]] = defaultdict(list)
    for trial in evidence.ended:
        for ending in _bad_ends(trial):
            alike[ending].append(trial.number)
    counted = [
        EndingCount(str(ending), len(numbers), tuple(numbers), lines[numbers[0]].said)
        for ending, numbers in alike.items()
    ]
    return sorted(counted, key=lambda one: (-one.count, one.name))


def _bad_ends(trial: StudyTrial) -> Iterator[Ending]:
    """How a trial ended badly. What failed and was tried again is no end: only a trial that failed for good failed, for
    the cause of its last attempt."""
    if trial.end is End.FAILED:
        yield Ending(Kind.CAUSE, cause_name(trial.failures[-1] if trial.failures else None))
    yield from (ending for ending in endings_of(trial) if ending.kind is not Kind.CAUSE)


def _cost(trials: Iterable[ReportedTrial], view: StudyView) -> Cost:
    by_state: dict[str, float] = defaultdict(float)
    flops: list[float] = []
    for trial in trials:
        by_state[trial.line.state] += trial.seconds or 0.0
        if trial.train_flops is not None:
            flops.append(trial.train_flops)
    return Cost(sum(by_state.values()), view.running_s, sum(flops), len(flops), dict(by_state))


def _wall_s(trials: Sequence[FrozenTrial]) -> float:
    begun = [trial.datetime_start for trial in trials if trial.datetime_start is not None]
    ended = [trial.datetime_complete for trial in trials if trial.datetime_complete is not None]
    return max(0.0, (max(ended) - min(begun)).total_seconds()) if begun and ended else 0.0
