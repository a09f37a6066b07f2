"""Where a study stands, for somebody who looks in from outside: read from the storage alone, and changing nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from hrm_sweep.sweep import attributes
from hrm_sweep.sweep.audit_account import audit_account
from hrm_sweep.sweep.budget import SILENCE_S, account, owner_of
from hrm_sweep.sweep.confirm.kept import known_confirmation
from hrm_sweep.sweep.stopping import Stop
from hrm_sweep.sweep.streak import Streak
from hrm_sweep.sweep.study import STATES, Chain, Study

_RECENT = 50  # so many trials that ended last tell the rate
_FEWEST_FOR_A_RATE = 3


@dataclass(frozen=True)
class WorkerLine:
    """A worker and the trial it is at. Times are seconds since 1970.

    state  alive; silent: of another host, and not heard of for long; gone: the next `run`, or `reap`, recovers it.
    heard  when it last said that it lives; on this host, now.
    """

    host: str
    pid: int
    trial: int
    since: float
    heard: float
    state: str


@dataclass(frozen=True)
class Rate:
    """Trials an hour, measured from the last ones that ended, in the time in which any was running.

    low, high  95 % interval of the rate, as of counting `trials` events that have nothing to do with each other.
    """

    per_hour: float
    low: float
    high: float
    trials: int

    def seconds_for(self, trials: int) -> tuple[float, float, float]:
        """How long so many trials take: (at best, expected, at worst)."""
        return 3600 * trials / self.high, 3600 * trials / self.per_hour, 3600 * trials / self.low


@dataclass(frozen=True)
class Audited:
    """Trials that pruners condemned: `pruned` of them ended there, `running` go on all the same, `ended` have come to
    their end, `better` of these in the better half. said: the same in words."""

    condemned: int
    pruned: int
    running: int
    ended: int
    better: int
    said: str


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment.

    budget      trials of the whole study; `ended` of them will not be tried again, `due` wait for a retry, `left` may
                still be started.
    trials      by state: of each trial its last attempt.
    attempts    of all trials together.
    causes      of the trials that failed for good.
    retried     causes of attempts that another one followed or will follow.
    hours_left  at the measured rate: (at best, expected, at worst); None where nothing can be said.
    foreign     running trials of other programs, which nobody can recover but by hand.
    stop        how it was asked to stop, if it was.
    streak      failures in a row for which it is not continued, if there are too many.
    confirmed   what its confirmation found, a line each; empty where there is none.
    audited     what pruners condemned; None where they condemned nothing.
    enough      why it has ended before its budget, if it has.
    """

    name: str
    budget: int
    ended: int
    due: int
    left: int
    trials: dict[str, int]
    attempts: int
    causes: dict[str, int]
    retried: dict[str, int]
    workers: tuple[WorkerLine, ...]
    rate: Rate | None
    hours_left: tuple[float, float, float] | None
    foreign: tuple[int, ...]
    stop: Stop | None
    streak: Streak | None
    confirmed: tuple[str, ...] = ()
    audited: Audited | None = None
    enough: str | None = None

    @property
    def is_reached(self) -> bool:
        return self.ended >= self.budget or (self.left == self.due == 0 and not self.workers)


def study_status(study: Study) -> StudyStatus:
    """Look at the study now."""
    now = study.time()
    standing, all_chains = account(study), study.chains()
    trials = [trial for chain in all_chains for trial in chain.attempts]
    ended = [chain for chain in all_chains if study.has_ended(chain)]
    failed = [chain for chain in ended if chain.last.state is TrialState.FAIL]
    final = {chain.last.number for chain in failed}
    running = [trial for trial in trials if trial.state is TrialState.RUNNING]
    rate = measured_rate(ended, trials)
    to_do = standing.left + standing.due + standing.running + standing.lost
    return StudyStatus(
        name=study.name,
        budget=study.space.budget.trials,
        ended=len(ended),
        due=standing.due,
        left=standing.left,
        trials=dict(Counter(chain_state(study, chain) for chain in all_chains)),
        attempts=len(trials),
        causes=dict(Counter(_cause(chain.last) for chain in failed)),
        retried=dict(
            Counter(_cause(one) for one in trials if one.state is TrialState.FAIL and one.number not in final)
        ),
        workers=tuple(_worker(trial, now) for trial in running if owner_of(trial) is not None),
        rate=rate,
        hours_left=None if rate is None else (to_do / rate.high, to_do / rate.per_hour, to_do / rate.low),
        foreign=tuple(trial.number for trial in running if owner_of(trial) is None),
        stop=standing.stop,
        streak=standing.streak,
        confirmed=() if (known := known_confirmation(study)) is None else tuple(known.lines()),
        audited=_audited(study),
        enough=None if standing.enough is None else str(standing.enough),
    )


def _audited(study: Study) -> Audited | None:
    found = audit_account(study)
    if not found.condemned:
        return None
    running = sum(trial.state == "running" for trial in found.audited)
    return Audited(found.condemned, found.pruned, running, len(found.ended), len(found.better), found.standing())


def chain_state(study: Study, chain: Chain) -> str:
    """How a trial stands, in words: by its last attempt, or that another one is due."""
    return "to be retried" if study.is_due(chain) else STATES[chain.last.state]


def _cause(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(attributes.CAUSE, "unknown"))


def _worker(trial: FrozenTrial, now: float) -> WorkerLine:
    owner = owner_of(trial)
    assert owner is not None
    heard = float(trial.user_attrs.get(attributes.ALIVE_AT, 0))
    if owner.on_this_host():
        alive = owner.is_alive()
        heard, state = (now, "alive") if alive else (heard, "gone")
    else:
        state = "gone" if now - heard > SILENCE_S else "silent" if now - heard > SILENCE_S / 2 else "alive"
    since = now if trial.datetime_start is None else trial.datetime_start.timestamp()
    return WorkerLine(owner.host, owner.pid, trial.number, since, heard, state)


def measured_rate(ended: Sequence[Chain], trials: Sequence[FrozenTrial]) -> Rate | None:
    """How many trials end in an hour, from the ends of the last 50. None before three have ended.

    n ends bound n - 1 spans of time; of these only the time counts in which any attempt was running, so that a night
    in which the machine was off does not. The interval is that of a Poisson count, by its square root.
    """
    ends = sorted(end for chain in ended if (end := _completed(chain.last)) is not None)[-_RECENT:]
    if len(ends) < _FEWEST_FOR_A_RATE:
        return None
    busy_s = _busy_s(trials, ends[0], ends[-1])
    if busy_s <= 0:
        return None
    n = len(ends) - 1
    wide = 1.96 * math.sqrt(n)
    return Rate(3600 * n / busy_s, 3600 * max(n - wide, n / 3) / busy_s, 3600 * (n + wide) / busy_s, len(ends))


def _busy_s(trials: Sequence[FrozenTrial], begin: float, end: float) -> float:
    """Seconds between `begin` and `end` in which any of the attempts was running."""
    spans = sorted(
        (max(begin, trial.datetime_start.timestamp()), min(end, _completed(trial) or end))
        for trial in trials
        if trial.datetime_start is not None and trial.state is not TrialState.WAITING
    )
    busy, reached = 0.0, begin
    for start, stop in spans:
        if stop > reached:
            busy += stop - max(start, reached)
            reached = stop
    return busy


def _completed(trial: FrozenTrial) -> float | None:
    return None if trial.datetime_complete is None else trial.datetime_complete.timestamp()
