"""Conducts one call of `run`: keeps workers alive until the budget is reached, and passes on what the user wants."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from hrm_sweep.errors import StorageError
from hrm_sweep.sweep.budget import Account, account, recover
from hrm_sweep.sweep.engines.base import Engine
from hrm_sweep.sweep.stopping import request_stop, requested_stop
from hrm_sweep.sweep.storage import patiently, study_lock
from hrm_sweep.sweep.study import Study

_POLL_S = 0.25
_LOOK_EVERY_S = 1.0
"""Between looks at the database, while no worker starts or ends: a look costs some 5 ms, beside trials that want every
core."""
_END_WITHIN_S = 29.0  # of a stop; workers do it by themselves, so this is for one that cannot
_GIVE_UP_AFTER = 5  # deaths per worker without a trial having ended; one cause may well kill all workers at once


class Wish(Enum):
    """What the user wants of a running study."""

    GO_ON = 0
    DRAIN = 1
    STOP = 2
    KILL = 3  # also what becomes of a STOP after half a minute


@dataclass(frozen=True)
class Conducted:
    """How a call ended."""

    account: Account
    interrupted: bool


def conduct(
    study: Study,
    engine: Engine,
    jobs: int,
    *,
    until: float | None = None,
    wish: Callable[[], Wish] = lambda: Wish.GO_ON,
    show: Callable[[Account], None] = lambda account: None,
    say: Callable[[str], None] = lambda line: None,
) -> Conducted:
    """Run the study until its budget is reached, `until` has come, too many trials failed in a row for one cause, or
    somebody wishes otherwise, here or with `hrm-sweep stop`. What was asked before this call does not count any more.

    wish   asked all the time; it only ever rises.
    show   is given the account at every look.
    say    one line for the user.

    Raises StorageError when the workers die again and again without getting a trial done.
    """
    _recover(study)
    if patiently(lambda: requested_stop(study)) is not None:
        patiently(lambda: request_stop(study, None))
    try:
        interrupted = _keep_going(study, engine, jobs, until=until, wish=wish, show=show, say=say)
    finally:
        engine.close()
    _recover(study)
    last = patiently(lambda: account(study))
    show(last)
    return Conducted(last, interrupted)


def _keep_going(
    study: Study,
    engine: Engine,
    jobs: int,
    *,
    until: float | None,
    wish: Callable[[], Wish],
    show: Callable[[Account], None],
    say: Callable[[str], None],
) -> bool:
    """Until no worker is left and none is to be started; returns whether the user wished it."""
    obeyed, kill_at = Wish.GO_ON, math.inf
    ended_at_last_death, deaths = -1, 0
    now, look_at, alive = patiently(lambda: account(study)), 0.0, 0
    while True:
        if time.monotonic() >= look_at or engine.alive() != alive:
            look_at, alive = time.monotonic() + _LOOK_EVERY_S, engine.alive()
            now = patiently(lambda: account(study))
            if now.lost:
                _recover(study)
                look_at = 0.0
                continue
            show(now)
        wanted = wish()
        if time.monotonic() >= kill_at:
            wanted = Wish.KILL
        if wanted.value > obeyed.value:
            if wanted is Wish.STOP:
                kill_at = time.monotonic() + _END_WITHIN_S
            {Wish.DRAIN: engine.drain, Wish.STOP: engine.stop, Wish.KILL: engine.kill}[wanted]()
            obeyed = wanted
        for complaint in engine.complaints():
            say(complaint)
            deaths = deaths + 1 if now.ended == ended_at_last_death else 1
            ended_at_last_death = now.ended
            if deaths >= _GIVE_UP_AFTER * max(1, jobs):
                raise StorageError(f"{deaths} workers died without getting a trial done; the last: {complaint}")
        is_asked = obeyed is not Wish.GO_ON or now.stop is not None
        may_start = not is_asked and now.streak is None and (until is None or time.time() < until)
        if engine.alive() == 0 and (now.is_reached or not may_start):
            break
        if may_start:
            wanted_workers = min(jobs, now.left + now.due + now.running)
            if engine.alive() == 0 and wanted_workers == 0:
                break  # only trials of other programs are still running
            missing = wanted_workers - engine.alive()
            if missing > 0:
                engine.start(missing)
                look_at = 0.0
        time.sleep(_POLL_S)
    return is_asked


def _recover(study: Study) -> None:
    def once() -> None:
        with study_lock(study.storage_url, study.name):
            recover(study)

    patiently(once)
