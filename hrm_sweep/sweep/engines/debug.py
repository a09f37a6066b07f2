"""debug: the worker loop in this process and training in a thread of it, so that breakpoints work.

It runs one trial at a time, isolates nothing, and `start` returns only when there is nothing left to do.
"""

from __future__ import annotations

from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.launch import ChildThread
from hrm_sweep.sweep.worker import Orders, work


class DebugEngine:
    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._orders = Orders()

    def start(self, workers: int) -> None:
        if workers:
            work(
                self._plan.study,
                self._orders,
                threads=self._plan.threads,
                until=float("inf") if self._plan.until is None else self._plan.until,
                launch=ChildThread,
                training=self._plan.training,
                artifacts=self._plan.artifacts,
            )

    def alive(self) -> int:
        return 0

    def drain(self) -> None:
        self._orders.drain.set()

    def stop(self) -> None:
        self._orders.end.set()

    def kill(self) -> None:
        self._orders.end.set()

    def close(self) -> None:
        pass

    def complaints(self) -> list[str]:
        return []
