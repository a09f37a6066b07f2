"""slurm: each worker is a Slurm job, submitted through submitit. The extra [slurm].

A job that comes to its time limit is told so by SIGUSR2, hands its trial back with a checkpoint, and is requeued; in
its next life it takes trials again, that one first. Jobs outlive the process that submitted them.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import submitit

from hrm_sweep.errors import StorageError, UsageError
from hrm_sweep.runs import replaced_atomically
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.remote import Errand, Minder, Order, errand_for
from hrm_sweep.sweep.environment import STORAGE_VARIABLE
from hrm_sweep.sweep.storage import sqlite_file

_WARNING_S = 90  # before the time limit; a worker needs up to 30 s to hand back its trial
_MOST_TIME_OUTS = 1000  # the budget ends a study, not the number of time limits it went through
_ORDER = "order"


class SlurmEngine:
    """`executor` is for tests: one of submitit's that needs no Slurm."""

    def __init__(self, plan: WorkerPlan, executor: submitit.Executor | None = None) -> None:
        self._plan = plan
        self._folder = plan.study.folder / "slurm"
        self._executor = executor
        self._jobs: dict[Any, int] = {}  # those that have not ended: slot
        self._complaints: list[str] = []

    def start(self, workers: int) -> None:
        if not workers:
            return
        if self._executor is None:
            self._executor = self._slurm()
        if not self._jobs:
            self._give(Order.GO_ON)
        free = (slot for slot in range(len(self._jobs) + workers) if slot not in self._jobs.values())
        slots = [next(free) for _ in range(workers)]
        begun = []
        # In the environment, which Slurm keeps for each life of a job: what submitit writes into files, others may see.
        with _environment(STORAGE_VARIABLE, self._plan.study.storage_url), self._executor.batch():
            for slot in slots:
                begun.append(self._executor.submit(_Work(errand_for(self._plan, slot), self._order_file())))
        self._jobs.update(zip(begun, slots, strict=True))

    def _slurm(self) -> submitit.Executor:
        plan = self._plan
        if sqlite_file(plan.study.storage_url) is not None:
            raise StorageError(
                "SQLite serves the workers of one machine; for Slurm use --storage postgresql+psycopg://user@host/database"
            )
        if shutil.which("sbatch") is None:
            raise UsageError("--engine slurm: no sbatch on the PATH; call it on a machine that submits to Slurm")
        executor = submitit.SlurmExecutor(self._folder.resolve(), max_num_timeout=_MOST_TIME_OUTS)
        given = {"time": plan.place.minutes, "partition": plan.place.partition}
        if plan.gpus and plan.needs_gpu:
            given["gpus_per_node"] = math.ceil(plan.gpus)
        executor.update_parameters(
            job_name=f"hrm-sweep {plan.study.name}",
            nodes=1,
            ntasks_per_node=1,
            cpus_per_task=plan.threads,
            signal_delay_s=_WARNING_S,
            stderr_to_stdout=True,
            additional_parameters={"requeue": True},
            **{name: value for name, value in given.items() if value is not None},
        )
        return executor

    def _order_file(self) -> Path:
        return self._folder.resolve() / _ORDER

    def alive(self) -> int:
        """Jobs that run, wait for their turn, or were requeued."""
        for job in list(self._jobs):
            if job.done():
                slot = self._jobs.pop(job)
                complaint = _complaint_of(job)
                if complaint is not None:
                    self._complaints.append(f"worker {slot}: {complaint}")
        return len(self._jobs)

    def drain(self) -> None:
        self._give(Order.DRAIN)
        self._call_off("PENDING")

    def stop(self) -> None:
        self._give(Order.STOP)
        self._call_off("PENDING")

    def kill(self) -> None:
        self._give(Order.KILL)
        self._call_off()

    def _give(self, order: Order) -> None:
        """In a file, for that is what all hosts see."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with replaced_atomically(self._order_file()) as temporary:
            temporary.write_text(order, encoding="utf-8")

    def _call_off(self, state: str | None = None) -> None:
        for job in self._jobs:
            if state is None or job.state == state:
                job.cancel(check=False)

    def close(self) -> None:
        if self.alive():
            self.stop()
            for job in list(self._jobs):
                job.wait()
        self.alive()

    def complaints(self) -> list[str]:
        found, self._complaints = self._complaints, []
        return found


class _Work:
    """What a job does. submitit writes it to a file, and calls `checkpoint` when SIGUSR2 has come."""

    def __init__(self, errand: Errand, order_file: Path) -> None:
        self._errand, self._order_file = errand, order_file
        self._minder: Minder | None = None

    def __call__(self) -> str | None:
        if self._order() is not Order.GO_ON:
            return None  # it waited for its turn until there was nothing to do
        self._minder = Minder(self._errand, os.environ[STORAGE_VARIABLE])
        return self._minder.mind(self._order)

    def _order(self) -> Order:
        try:
            return Order(self._order_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Order.GO_ON  # nobody conducts any more, which is no reason to end

    def checkpoint(self) -> Any:
        """Hand the trial back; then the same again, in the next life of the job."""
        if self._minder is not None:
            self._minder.hand_back()
        return submitit.helpers.DelayedSubmission(_Work(self._errand, self._order_file))


def _complaint_of(job: Any) -> str | None:
    """What went wrong with a job that has ended."""
    error = job.exception()
    if error is not None:
        return str(error).strip().splitlines()[-1]
    found: str | None = job.result()
    return found


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
