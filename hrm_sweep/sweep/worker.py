"""A worker: takes trials of one study, one after another, until there is nothing left or it is asked to end.

It never imports torch. Ask it to end with SIGTERM or SIGUSR2: the running trial checkpoints and is handed back as
preempted, within 30 s. Tied to its parent (`--tied`), it does the same when the parent dies, and takes no further trial
after the parent wrote `drain`.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import TextIO

from hrm_sweep.runs import Owner, StopReason
from hrm_sweep.sweep.artifacts import Artifacts
from hrm_sweep.sweep.budget import Claim, Nothing, claim
from hrm_sweep.sweep.child import TRAINING
from hrm_sweep.sweep.launch import ChildProcess, Launcher
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.trial import Surroundings, run_trial

_PAUSE_S = 0.5  # between looks at a study whose budget is given out
DRAIN = "drain"


@dataclass
class Orders:
    """What a worker was told from outside."""

    drain: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)

    def ending(self) -> StopReason | None:
        return StopReason.PREEMPTED if self.end.is_set() else None


def work(
    study: Study,
    orders: Orders,
    *,
    threads: int,
    until: float = float("inf"),
    launch: Launcher = ChildProcess,
    training: str = TRAINING,
    artifacts: str | None = None,
) -> int:
    """Run trials until the budget is reached, the time `until` (seconds since 1970) has come, or orders say so.

    Returns how many attempts it ran. Raises StorageError when the database stays away.
    """
    owner = Owner.this_process()
    handed_on = None if artifacts is None else Artifacts(artifacts, study.name)
    surroundings = Surroundings(launch, threads, orders.ending, _say, training, handed_on)
    attempts = 0
    while not orders.drain.is_set() and not orders.end.is_set() and time.time() < until:
        taken = _claim_patiently(study, owner)
        if taken is Nothing.FOR_GOOD:
            break
        if isinstance(taken, Nothing):
            orders.end.wait(_PAUSE_S)
            continue
        run_trial(study, taken, surroundings)
        attempts += 1
    return attempts


def _claim_patiently(study: Study, owner: Owner) -> Claim | Nothing:
    tries = itertools.count()
    return patiently(lambda: claim(study, owner, again=next(tries) > 0))


def obey_signals(orders: Orders) -> None:
    """Let SIGTERM and SIGUSR2 (what submitit sends before a time limit) end this worker in order."""

    def end(number: int, frame: FrameType | None) -> None:
        orders.end.set()

    signal.signal(signal.SIGTERM, end)
    if hasattr(signal, "SIGUSR2"):
        signal.signal(signal.SIGUSR2, end)


def tie_to_parent(orders: Orders, commands: TextIO = sys.stdin) -> None:
    """Read orders from the parent; the end of the pipe is the end of the parent."""

    def listen() -> None:
        for line in commands:
            if line.strip() == DRAIN:
                orders.drain.set()
                _say("taking no further trial")
        orders.end.set()

    threading.Thread(target=listen, name="orders", daemon=True).start()


def limit_threads(threads: int) -> None:
    """Keep the numeric libraries of children, which inherit this environment, to their share of the cores."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
