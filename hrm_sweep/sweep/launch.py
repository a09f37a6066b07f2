"""Starts a trial's training: in a process of its own, or, to look at it with a debugger, in a thread of this one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from hrm_sweep.runs import State, Status, StopReason
from hrm_sweep.sweep import child
from hrm_sweep.sweep.child import Control, Job


class Child(Protocol):
    """A training that was started."""

    @property
    def pid(self) -> int: ...

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""

    @property
    def is_under_way(self) -> bool:
        """Whether the first step is done."""

    def wait(self, timeout_s: float) -> None:
        """Until it says something or ends, at most this long."""

    def ask_to_stop(self, reason: StopReason) -> None: ...

    def kill(self) -> None:
        """End it, and whatever it started, without asking."""

    def close(self) -> None:
        """Let go of what belongs to it; it must have ended."""


Launcher = Callable[[Job], Child]


class ChildProcess:
    """Training in a process of its own, forked from a server that has torch loaded: 20 ms instead of 2 s.

    Where there is no fork (Windows) the process is spawned, and loads torch itself.
    """

    def __init__(self, job: Job) -> None:
        can_fork = "forkserver" in multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if can_fork else "spawn")
        if can_fork:
            context.set_forkserver_preload([child.__name__, job.training.partition(":")[0]])
        self._connection, theirs = context.Pipe()
        self._under_way = False
        # As a daemon: should this worker end by an error of its own, multiprocessing ends the child. A daemon may not
        # start processes; one that has to is ended by `kill`, and in any case by the end of the pipe.
        is_daemon = job.processes == 1
        self._process = context.Process(target=child.main, args=(theirs, job), daemon=is_daemon)  # type: ignore[attr-defined]
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def exit_code(self) -> int | None:
        code: int | None = self._process.exitcode
        return code

    @property
    def is_under_way(self) -> bool:
        with contextlib.suppress(EOFError, OSError):  # it ended; the exit code tells how
            while not self._under_way and self._connection.poll():
                self._under_way = self._connection.recv() == child.UNDER_WAY
        return self._under_way

    def wait(self, timeout_s: float) -> None:
        self._process.join(timeout_s)

    def ask_to_stop(self, reason: StopReason) -> None:
        with contextlib.suppress(OSError):  # it ended by itself in the meantime
            self._connection.send(str(reason))

    def kill(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError, AttributeError):
            self._process.kill()  # not yet, or nowhere, a group of its own
        self._process.join()

    def close(self) -> None:
        self._connection.close()
        self._process.close()


class ChildThread:
    """Training in a thread of this process: breakpoints work, and nothing is isolated. For the debug engine."""

    def __init__(self, job: Job) -> None:
        self._under_way = threading.Event()
        self._control = Control(self._under_way.set)
        self._status: Status | None = None
        self._job = job
        self._thread = threading.Thread(target=self._train, name=f"training {job.run_dir}", daemon=True)
        self._thread.start()

    def _train(self) -> None:
        self._status = child.train(self._job, self._control)

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def exit_code(self) -> int | None:
        if self._thread.is_alive():
            return None
        return 0 if self._status is not None and self._status.state is not State.FAILED else 1

    @property
    def is_under_way(self) -> bool:
        return self._under_way.is_set()

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def ask_to_stop(self, reason: StopReason) -> None:
        self._control.reason = reason

    def kill(self) -> None:
        self._control.reason = StopReason.REQUESTED  # a thread cannot be killed; it ends at its next step
        self._thread.join()

    def close(self) -> None:
        self._thread.join()
