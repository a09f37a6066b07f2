"""Kills workers and their children with SIGKILL, at moments and of a choice that a seed decides."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from hrm_sweep.runs import Owner, State, read_status


def workers_of(parent: int) -> list[int]:
    """The processes `hrm-sweep worker` that `parent` started."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended in this moment
            continue
        if int(fields[1]) == parent and fields[0] not in "ZX" and b"worker" in words:
            found.append(int(entry.name))
    return found


def descendants_of(parent: int) -> list[int]:
    """Every process that `parent` started, directly or not, and it itself first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended in this moment
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [parent]
    for pid in found:
        found += children.get(pid, [])
    return found


def children_of_trials(folder: Path) -> list[Owner]:
    """The processes that are training in the run directories of a study, as their status files say."""
    all_status = [read_status(path) for path in folder.glob("[0-9]*/status.json")]
    running = [status.owner for status in all_status if status is not None and status.state is State.RUNNING]
    return [owner for owner in running if owner.is_alive()]


def trials_begun(folder: Path) -> int:
    return len(list(folder.glob("[0-9]*")))


class Killer(threading.Thread):
    """Kills `kills` times while a study of `budget` trials runs in `folder`, and stops and starts what it is given.

    interruption   called once, half way, with a function that makes one more kill.
    """

    def __init__(
        self,
        folder: Path,
        budget: int,
        kills: int,
        rng: random.Random,
        interruption: Callable[[Callable[[], None]], None] = lambda kill: None,
    ) -> None:
        super().__init__(name="killer", daemon=True)
        self._folder, self._rng, self._interruption = folder, rng, interruption
        # When so many trials have begun, for a kill each; the last few are left to end in peace.
        self._moments: Sequence[int] = sorted(rng.choices(range(1, max(2, budget - 2)), k=kills))
        self._over = threading.Event()
        self.killed: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for number, moment in enumerate(self._moments):
                while trials_begun(self._folder) < moment and not self._over.wait(0.02):
                    pass
                self._over.wait(self._rng.uniform(0, 0.5))
                self._kill()
                if number == len(self._moments) // 2:
                    self._interruption(self._kill)
        except BaseException as error:
            self.error = error

    def _kill(self) -> None:
        """One worker, or one child of a worker, whichever there is."""
        while not self._over.is_set():
            workers, children = workers_of(os.getpid()), [owner.pid for owner in children_of_trials(self._folder)]
            kind, victims = ("child", children) if children and self._rng.random() < 0.5 else ("worker", workers)
            if victims:
                victim = self._rng.choice(victims)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self.killed.append(kind)
                return
            self._over.wait(0.02)

    def finish(self) -> None:
        """Raises what went wrong in the thread."""
        self._over.set()
        self.join()
        if self.error is not None:
            raise self.error
