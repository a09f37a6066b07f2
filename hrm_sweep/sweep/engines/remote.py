"""A worker beyond this process's reach: started and minded where an engine placed it, and told what to do from afar.

Whatever places it (a Ray task, a Slurm job) has a Minder there, which starts `hrm-sweep worker` as a process of its own
and ties it to itself by a pipe, so that the worker hands back its trial when the minder is gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.environment import DRAIN, STORAGE_VARIABLE
from hrm_sweep.sweep.failures import end_of_log
from hrm_sweep.sweep.study import TRIALS

_LOOK_EVERY_S = 0.5
_GRACE_S = 30.0


class Order(StrEnum):
    """What workers are to do, in the order in which it can change."""

    GO_ON = "go on"
    DRAIN = "drain"  # end after the running trial
    STOP = "stop"  # checkpoint the trial, hand it back and end
    KILL = "kill"  # end at once


@dataclass(frozen=True)
class Errand:
    """What a minder needs to know. It holds no storage URL, so that it may be written to a disk.

    command      after the Python of the place.
    environment  what the worker needs besides the environment of the place.
    folder       the current folder, which all hosts share, or fill from the artifacts.
    log          relative to the folder.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    log: Path


def errand_for(plan: WorkerPlan, slot: int) -> Errand:
    passed_on = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    log = TRIALS / plan.study.name / f"worker-{slot}.log"
    return Errand(tuple(worker_command(plan)), passed_on, Path.cwd(), log)


def worker_command(plan: WorkerPlan) -> list[str]:
    """What starts a worker of this plan, after the name of the Python. The storage goes into its environment."""
    command = ["-m", "hrm_sweep", "worker", "--study", plan.study.name, "--tied"]
    command += ["--threads", str(plan.threads), "--training", plan.training]
    command += [] if plan.artifacts is None else ["--artifacts", plan.artifacts]
    return command + ([] if plan.until is None else ["--until", str(plan.until)])


def complaint(code: int | None, folder: Path, log: Path, log_began: int, *, told_to_end: bool) -> str | None:
    """What a worker that ended by an error said last; None for one that did not. `log` is relative to `folder`.

    told_to_end   whether it was sent a signal to end: one that had not loaded far enough to obey in order ends by it.
    """
    if not code or (told_to_end and -code in (signal.SIGTERM, signal.SIGKILL)):
        return None
    lines = end_of_log(folder / log, log_began).strip().splitlines()
    said = lines[-1] if lines and code > 0 else "it said nothing"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"a worker ended by {how}: {said} ({log})"


class Minder:
    """Starts a worker and sees to it that it follows orders."""

    def __init__(self, errand: Errand, storage_url: str) -> None:
        self._errand = errand
        log = errand.folder / errand.log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as output:
            self._log_began = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, *errand.command],
                cwd=errand.folder,
                env={**os.environ, **errand.environment, STORAGE_VARIABLE: storage_url},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def mind(self, order: Callable[[], Order]) -> str | None:
        """Until the worker has ended. Returns what it complained about, if it did."""
        done = Order.GO_ON
        try:
            while self._process.poll() is None:
                wanted = order()
                if wanted is not done:
                    self._pass_on(wanted)
                    done = wanted
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_LOOK_EVERY_S)
        finally:
            self.hand_back()
        return None if done is Order.KILL else self._complaint(told_to_end=done is Order.STOP)

    def _pass_on(self, order: Order) -> None:
        if order is Order.DRAIN and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it ended in this moment
                self._process.stdin.write(f"{DRAIN}\n")
                self._process.stdin.flush()
        elif order is Order.STOP:
            self._process.terminate()
        elif order is Order.KILL:
            self._process.kill()

    def hand_back(self) -> None:
        """Let the worker checkpoint its trial, hand it back and end, within 30 s; does nothing when it has ended."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()  # which a tied worker takes for our death
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        self._process.kill()
        self._process.wait()

    def _complaint(self, *, told_to_end: bool) -> str | None:
        errand, code = self._errand, self._process.returncode
        return complaint(code, errand.folder, errand.log, self._log_began, told_to_end=told_to_end)
