"""What the dashboard shows of a study: a note with the summary, and figures. Written by whoever has just ended a trial.

At most every 30 s, by one process at a time: the right to write is taken under the study's lock, and what was computed
is dropped if somebody else has taken it since.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from optuna_dashboard._custom_plot_data import SYSTEM_ATTR_PLOT_DATA
from optuna_dashboard._note import note_str_key_prefix, note_ver_key

from hrm_sweep.report.study_figures import StudyPoints, TrialPoint, study_figures
from hrm_sweep.report.study_note import StudyNote
from hrm_sweep.report.terminal import TO_BE_RETRIED
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit import pruner_of
from hrm_sweep.sweep.audit_account import audit_account
from hrm_sweep.sweep.confirm.kept import known_confirmation
from hrm_sweep.sweep.goals import curve_of, front, is_feasible, score, shown_goals
from hrm_sweep.sweep.notes import OURS
from hrm_sweep.sweep.remedies import values_of
from hrm_sweep.sweep.storage import study_lock
from hrm_sweep.sweep.study import ENDED, Chain, Study
from hrm_sweep.sweep.study_attributes import Value, replace_system_attributes, system_attributes
from hrm_sweep.sweep.view import importances

WRITTEN_EVERY_S = 30.0
OBJECTIVES = "dashboard:objective_names"  # what the dashboard calls the objective, otherwise "Objective 0"


@dataclass(frozen=True)
class _Right:
    """The right to write the page: as of when, for which state of the study, and whether nobody has had it before."""

    at: float
    signature: str
    is_first: bool

    def written(self) -> dict[str, Value]:
        return {attributes.PAGE: f"{self.at} {self.signature}"}


def keep_study_page(study: Study, say: Callable[[str], None], *, every_s: float = WRITTEN_EVERY_S) -> None:
    """`refresh_study_page` for those who have more to do: what goes wrong is said, and costs nobody a trial."""
    try:
        refresh_study_page(study, every_s=every_s)
    except Exception as error:
        say(f"the page of the study in the dashboard could not be written: {type(error).__name__}: {error}")


def refresh_study_page(study: Study, *, every_s: float = WRITTEN_EVERY_S) -> bool:
    """Write the page anew if it was not within `every_s` seconds and something has changed; returns whether it was.

    0 is for an end, after which nobody would do it later.
    """
    right = _take(study, every_s)
    if right is None:
        return False
    points = study_points(study)
    names = [str(goal.metric) for goal in study.space.objective.goals]
    content = {OBJECTIVES: names, **_figures(points), **_note(study, points, right)}
    with study_lock(study.storage_url, study.name):
        if system_attributes(study, attributes.PAGE) != right.written():
            return False
        figures = f"{SYSTEM_ATTR_PLOT_DATA}%"
        note = [f"{note_str_key_prefix(None)}%"] if note_ver_key(None) in content else []
        replace_system_attributes(study, content, like=[figures, *note])
    return True


def _take(study: Study, every_s: float) -> _Right | None:
    """Whoever has this right is the only one who writes."""
    with study_lock(study.storage_url, study.name):
        before = system_attributes(study, attributes.PAGE)
        at, _, signature = str(before.get(attributes.PAGE, "0 none")).partition(" ")
        right = _Right(round(time.time(), 3), _signature(study), is_first=not before)
        if signature == right.signature or right.at - float(at) < every_s:
            return None
        replace_system_attributes(study, right.written())
        return right


def _signature(study: Study) -> str:
    """Changes when the page should: trials that have ended, whether the best was measured on unseen puzzles, and what
    was confirmed."""
    ended = sum(trial.state.is_finished() for trial in study.trials())
    holdout = study.attribute(attributes.HOLDOUT)
    known = known_confirmation(study)
    confirmed = "" if known is None else f", {hashlib.sha256(repr(known).encode()).hexdigest()[:8]} confirmed"
    measured = f"holdout of {holdout['trial'] if holdout else 'none'}"
    return f"{ended} ended, {measured}, budget {study.space.budget.trials}{confirmed}"


def study_points(study: Study) -> StudyPoints:
    """The trials as they stand, retries counted as one, for figures and the note."""
    objective = study.space.objective
    maximize = objective.goal == "maximize"
    trials = [_point(study, chain, maximize=maximize) for chain in study.chains() if chain.is_given_out]
    return StudyPoints(objective.metric, maximize, list(study.space.parameters), trials)


def _point(study: Study, chain: Chain, *, maximize: bool) -> TrialPoint:
    trial = chain.last
    curve = sorted((step, value) for step, value in curve_of(trial).items() if math.isfinite(value))
    seen = [value for _, value in curve]
    best = score(trial) if trial.state is TrialState.COMPLETE else None
    if best is None and seen:
        best = max(seen) if maximize else min(seen)
    given = trial.user_attrs
    return TrialPoint(
        number=trial.number,
        outcome=TO_BE_RETRIED if study.is_due(chain) else ENDED.get(trial.state, "running"),
        reason=_reason(trial),
        values=values_of(trial),
        curve=curve,
        best=best,
        flops=_number(given.get(attributes.TRAIN_FLOPS)),
        act_steps=_number(given.get(attributes.ACT_STEPS)),
        is_feasible=is_feasible(trial),
    )


def _reason(trial: FrozenTrial) -> str | None:
    """The pruner, or the cause of failure."""
    if trial.state is TrialState.PRUNED:
        return pruner_of(trial.user_attrs)
    if trial.state is TrialState.FAIL:
        return str(trial.user_attrs.get(attributes.CAUSE, "")) or None
    return None


def _number(given: Any) -> float | None:
    return float(given) if isinstance(given, int | float) and math.isfinite(given) and given > 0 else None


def _figures(points: StudyPoints) -> dict[str, str]:
    return {f"{SYSTEM_ATTR_PLOT_DATA}{name}:0": figure for name, figure in study_figures(points).items()}


def _note(study: Study, points: StudyPoints, right: _Right) -> dict[str, Value]:
    """The study's note, unless somebody has written or edited it in the dashboard: then it is theirs."""
    version = system_attributes(study, note_ver_key(None)).get(note_ver_key(None))
    if version is not None and (version != OURS or right.is_first):
        return {}
    ended = sum(study.has_ended(chain) for chain in study.chains())
    holdout = study.attribute(attributes.HOLDOUT)
    shares, n = importances(study)
    objective = study.space.objective
    note = StudyNote(
        name=study.name,
        points=points,
        ended=ended,
        budget=study.space.budget.trials,
        page=f"/dashboard/studies/{study.id}/trials?numbers=",
        as_of=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(right.at)),
        unseen=None if holdout is None else (holdout["exact_accuracy"], holdout["n"]),
        importances=shares,
        importances_of=n,
        confirmed=() if (known := known_confirmation(study)) is None else tuple(known.lines()),
        audit=audit_account(study).standing(),
        goals=shown_goals(objective),
        front=[(trial.number, trial.values) for trial in front(objective, study.trials())] if objective.beside else [],
    )
    return {note_ver_key(None): OURS, f"{note_str_key_prefix(None)}0": note.markdown()}
