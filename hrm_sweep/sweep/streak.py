"""Failures in a row for one cause: after too many of them a study is without hope. DESIGN contract 3.

Counted from the trials in the storage, so that it is the same for every worker, and after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from optuna.trial import TrialState

from hrm_sweep.runs import Cause
from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.study import Chain, Study

_SAYS_NOTHING = (Cause.KILLED, Cause.PREEMPTED)  # of machines that died; the trials have nothing to do with it


@dataclass(frozen=True)
class Streak:
    """So many failures in a row, and what the last of them said.

    trials  numbers of the last attempts, the latest first.
    """

    cause: Cause
    trials: tuple[int, ...]
    message: str


def too_many_failures(study: Study, all_chains: Sequence[Chain]) -> Streak | None:
    """The last failures when they are as many as `stop_after_same_cause` allows, None otherwise or where it is off."""
    limit = study.space.stop_after_same_cause
    if limit is None:
        return None
    streak = last_failures(study, all_chains)
    return streak if streak is not None and len(streak.trials) >= limit else None


def last_failures(study: Study, all_chains: Sequence[Chain]) -> Streak | None:
    """The failures for one cause with which the study has ended its last trials, in the order in which they ended.

    Only those count that are not tried again. Trials that were killed or preempted for good, or that another program
    failed without a cause, neither count nor break the row.
    """
    ended = [chain for chain in all_chains if study.has_ended(chain)]
    ended.sort(key=lambda chain: (chain.last.datetime_complete or datetime.min, chain.last.number), reverse=True)
    row: list[Chain] = []
    for chain in ended:
        if chain.last.state is TrialState.FAIL and (chain.cause is None or chain.cause in _SAYS_NOTHING):
            continue
        if chain.last.state is not TrialState.FAIL or (row and chain.cause is not row[0].cause):
            break
        row.append(chain)
    if not row or row[0].cause is None:
        return None
    message = str(row[0].last.user_attrs.get(attributes.MESSAGE, ""))
    return Streak(row[0].cause, tuple(chain.last.number for chain in row), message)
