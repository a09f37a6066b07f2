"""local: workers are processes of this machine, and end when this process does."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.remote import complaint, worker_command
from hrm_sweep.sweep.environment import DRAIN, STORAGE_VARIABLE
from hrm_sweep.sweep.study import TRIALS

_LAST_GRACE_S = 40.0  # a worker may take 30 s to checkpoint and hand back its trial


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    log: Path
    log_began: int
    heard: bool = False
    told_to_end: bool = False


class LocalEngine:
    """`hrm-sweep worker` processes. Each is in a session of its own, so that a Ctrl-C in the terminal reaches only us,
    and holds one end of a pipe to us, so that it notices our death."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._workers: list[_Worker] = []

    def start(self, workers: int) -> None:
        for _ in range(workers):
            slot = self._free_slot()
            log = TRIALS / self._plan.study.name / f"worker-{slot}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            log_began = log.stat().st_size if log.is_file() else 0
            process = self._early_process(slot, log) or self._new_process(slot, log)
            for ended in self._workers[slot : slot + 1]:
                _close_pipe(ended)
            self._workers[slot : slot + 1] = [_Worker(process, log, log_began)]

    def _early_process(self, slot: int, log: Path) -> subprocess.Popen[str] | None:
        """The process that was started before, if this is the first worker."""
        if self._plan.early is None:
            return None
        return self._plan.early.become(worker_command(self._plan)[2:], self._environment(slot), log)

    def _new_process(self, slot: int, log: Path) -> subprocess.Popen[str]:
        with log.open("a", encoding="utf-8") as output:
            return subprocess.Popen(
                [sys.executable, *worker_command(self._plan)],
                env={**os.environ, **self._environment(slot)},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _free_slot(self) -> int:
        """The first slot whose worker has ended, or a new one."""
        for slot, worker in enumerate(self._workers):
            if worker.process.poll() is not None:
                return slot
        return len(self._workers)

    def _environment(self, slot: int) -> dict[str, str]:
        """What a worker needs besides the environment of this process."""
        devices = self._plan.devices
        chosen = {"CUDA_VISIBLE_DEVICES": devices[slot % len(devices)]} if devices else {}
        return {STORAGE_VARIABLE: self._plan.study.storage_url, **chosen}

    def alive(self) -> int:
        return sum(worker.process.poll() is None for worker in self._workers)

    def drain(self) -> None:
        for worker in self._workers:
            pipe = worker.process.stdin
            if worker.process.poll() is None and pipe is not None:
                try:
                    pipe.write(f"{DRAIN}\n")
                    pipe.flush()
                except OSError:
                    continue  # it ended in this moment

    def stop(self) -> None:
        for worker in self._workers:
            worker.told_to_end = worker.told_to_end or worker.process.poll() is None
            worker.process.terminate()

    def kill(self) -> None:
        for worker in self._workers:
            worker.told_to_end = worker.told_to_end or worker.process.poll() is None
            worker.process.kill()
            worker.process.wait()

    def close(self) -> None:
        for worker in self._workers:
            _close_pipe(worker)  # which a tied worker takes for our death
        for worker in self._workers:
            try:
                worker.process.wait(timeout=_LAST_GRACE_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()

    def complaints(self) -> list[str]:
        found = []
        for worker in self._workers:
            if worker.heard:
                continue
            code, told = worker.process.poll(), worker.told_to_end
            said = complaint(code, Path(), worker.log, worker.log_began, told_to_end=told)
            if said is not None:
                worker.heard = True
                found.append(said)
        return found


def _close_pipe(worker: _Worker) -> None:
    with contextlib.suppress(OSError):  # a last order that could not be written
        if worker.process.stdin is not None:
            worker.process.stdin.close()
