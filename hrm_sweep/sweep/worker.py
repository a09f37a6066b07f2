"""A worker: takes trials of one study, one after another, until there is nothing left or it is asked to end.

It never imports torch, but where its study asks for a Gaussian process (sampler gp, `stop_when: {terminator: true}`).
Ask it to end with SIGTERM or SIGUSR2: the running trial checkpoints and is handed back as preempted, within 30 s,
whatever the database or the training does in the meantime. The first Ctrl-C lets the running trial end, the second is a
SIGTERM. Tied to its parent (`--tied`), it ends when the parent dies, and takes no further trial after the parent wrote
`drain`. `hrm-sweep stop` reaches it through the storage.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TextIO

from hrm_sweep.runs import Owner, StopReason
from hrm_sweep.sweep.artifacts import Artifacts
from hrm_sweep.sweep.budget import Claim, Nothing, claim
from hrm_sweep.sweep.child import TRAINING
from hrm_sweep.sweep.environment import DRAIN
from hrm_sweep.sweep.launch import ChildProcess, Launcher
from hrm_sweep.sweep.stopping import Stop, StopListener
from hrm_sweep.sweep.storage import patiently
from hrm_sweep.sweep.study import Study
from hrm_sweep.sweep.study_page import keep_study_page
from hrm_sweep.sweep.terminator import Lookout
from hrm_sweep.sweep.trial import Surroundings, run_trial

_PAUSE_S = 0.5  # between looks at a study whose budget is given out
LEAVE_AFTER_S = 27.0
"""A worker that was asked to end and has not is ended without ceremony: whoever asked may take the machine away after
30 s. A child has 22 s of that for its checkpoint, and ends with its worker; the trial is recovered by the next."""


@dataclass
class Orders:
    """What a worker was told from outside."""

    drain: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)

    def ending(self) -> StopReason | None:
        return StopReason.PREEMPTED if self.end.is_set() else None

    def end_soon(self) -> None:
        """Let this process end in order, and after 27 s in any case."""
        if self.end.is_set():
            return
        self.end.set()
        last = threading.Timer(LEAVE_AFTER_S, _leave)
        last.daemon = True
        last.start()


def _leave() -> None:
    _say(f"not done after {LEAVE_AFTER_S:g} s: leaving the trial to whoever recovers it")
    os._exit(1)


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
    asked = StopListener(study)

    def ending() -> StopReason | None:
        return StopReason.PREEMPTED if asked.heard() is Stop.NOW else orders.ending()

    surroundings = Surroundings(launch, threads, ending, _say, training, handed_on)
    lookout = Lookout(study, _say)
    lookout.look()  # at a study that had begun before it was asked for
    attempts = 0
    while not orders.drain.is_set() and not orders.end.is_set() and time.time() < until:
        taken = _claim_patiently(study, owner)
        if taken is Nothing.FOR_NOW:
            orders.end.wait(_PAUSE_S)
            continue
        if isinstance(taken, Nothing):
            _say(taken.value)
            break
        run_trial(study, taken, surroundings)
        attempts += 1
        if ending() is None:
            lookout.look()
        keep_study_page(study, _say)
    if attempts and not orders.end.is_set():
        keep_study_page(study, _say, every_s=0.0)
    return attempts


def _claim_patiently(study: Study, owner: Owner) -> Claim | Nothing:
    tries = itertools.count()
    return patiently(lambda: claim(study, owner, again=next(tries) > 0))


_kept_open: list[socket.socket] = []  # the interpreter knows only its number


def obey_signals(orders: Orders) -> None:
    """Let SIGTERM and SIGUSR2 (what submitit sends before a time limit) end this worker in order, and a Ctrl-C after
    its trial.

    Python calls a signal handler when the main thread next gets there, which may wait a minute for a locked database.
    So the number of each signal goes through a socket, which the interpreter writes at once, to a thread of its own.
    """
    receives, sends = socket.socketpair()
    sends.setblocking(False)
    signal.set_wakeup_fd(sends.fileno(), warn_on_full_buffer=False)
    for name in ("SIGINT", "SIGTERM", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda number, frame: None)

    def listen() -> None:
        while True:
            for number in receives.recv(64):
                if number == signal.SIGINT and not orders.drain.is_set():
                    orders.drain.set()
                    _say("taking no further trial (Ctrl-C again: checkpoint and end now)")
                else:
                    orders.end_soon()

    threading.Thread(target=listen, name="signals", daemon=True).start()
    _kept_open.append(sends)


def tie_to_parent(orders: Orders, commands: TextIO = sys.stdin) -> None:
    """Read orders from the parent; the end of the pipe is the end of the parent."""

    def listen() -> None:
        for line in commands:
            if line.strip() == DRAIN:
                orders.drain.set()
                _say("taking no further trial")
        orders.end_soon()

    threading.Thread(target=listen, name="orders", daemon=True).start()


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
