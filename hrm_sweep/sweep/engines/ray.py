"""ray: each worker is a task of Ray Core, on this machine or on any node of a cluster. The extra [ray].

Ray decides where a worker runs, which GPU or part of one it gets, and starts it again where a node is lost. It knows
nothing of trials: that of a lost worker is recovered, and continued from its checkpoint, by the next worker that asks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any

from hrm_sweep.errors import StorageError
from hrm_sweep.sweep.engines.base import WorkerPlan
from hrm_sweep.sweep.engines.remote import Errand, Minder, Order, errand_for
from hrm_sweep.sweep.storage import sqlite_file

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is loaded: nobody asked for reports to its makers
import ray

_NODE_DEATHS = 10  # after so many Ray gives a worker up; whoever conducts the study then starts another
_LAST_GRACE_S = 40.0


@ray.remote(num_cpus=0)
class _Orders:
    """What the workers of one engine are to do. It lives beside the process that conducts the study."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._begun: set[int] = set()

    def give(self, order: Order) -> list[int]:
        """Returns the slots whose workers have begun."""
        self._order = order
        return sorted(self._begun)

    def current(self, slot: int) -> Order:
        self._begun.add(slot)
        return self._order


def _work(errand: Errand, storage_url: str, orders: Any, slot: int) -> str | None:
    """The body of a task. The URL comes as an argument, for Ray shows a task's environment to everybody."""

    def order() -> Order:
        try:
            found: Order = ray.get(orders.current.remote(slot))
        except ray.exceptions.RayActorError:
            return Order.STOP  # nobody conducts any more
        return found

    if order() is not Order.GO_ON:
        return None  # it waited for its turn until there was nothing to do
    return Minder(errand, storage_url).mind(order)


class RayEngine:
    """Connects at the first start. A Ray that was not there before is started on this machine, and ended by `close`."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._plan = plan
        self._orders: Any = None
        self._order = Order.GO_ON
        self._tasks: dict[Any, int] = {}  # reference to the result: slot
        self._complaints: list[str] = []
        self._started_ray = False

    def start(self, workers: int) -> None:
        if workers and self._orders is None:
            self._connect()
        elif workers and not self._is_heard():
            self._orders = self._new_orders()
        for _ in range(workers):
            slot = next(slot for slot in range(len(self._tasks) + 1) if slot not in self._tasks.values())
            task = ray.remote(_work).options(
                name=f"hrm-sweep worker {slot}",
                num_cpus=self._plan.threads,
                num_gpus=self._gpus(),
                max_retries=_NODE_DEATHS,
            )
            self._tasks[task.remote(errand_for(self._plan, slot), self._plan.study.storage_url, self._orders, slot)] = (
                slot
            )

    def _connect(self) -> None:
        if not ray.is_initialized():
            with _signals_kept():
                ray.init(address=self._plan.place.address, **_options(self._plan.place.address))
            self._started_ray = True
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        hosts = {node["NodeManagerHostname"] for node in nodes if node["Alive"]}
        if len(hosts) > 1 and sqlite_file(self._plan.study.storage_url) is not None:
            self.close()
            raise StorageError(
                f"SQLite serves the workers of one machine, and this Ray cluster has {len(hosts)}; "
                "use --storage postgresql+psycopg://user@host/database"
            )
        self._orders = self._new_orders()

    def _new_orders(self) -> Any:
        """On the node of this process: on another one it would be lost with that."""
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        return _Orders.options(scheduling_strategy=here).remote(self._order)  # type: ignore[attr-defined]

    def _is_heard(self) -> bool:
        """Whether the actor that passes on orders lives. Workers whose actor is gone hand back their trials and end."""
        try:
            ray.get(self._orders.give.remote(self._order))
        except ray.exceptions.RayActorError:
            return False
        return True

    def _gpus(self) -> float:
        """A trial whose device is `auto` takes a GPU where the cluster has any."""
        available: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        return self._plan.gpus if self._plan.needs_gpu or available.get("GPU", 0) > 0 else 0

    def alive(self) -> int:
        """Workers that run or wait for their turn."""
        if self._tasks:
            done, _ = ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
            self._collect(done)
        return len(self._tasks)

    def _collect(self, done: list[Any]) -> None:
        for task in done:
            slot = self._tasks.pop(task)
            try:
                complaint = ray.get(task)
            except ray.exceptions.TaskCancelledError:
                continue
            except ray.exceptions.RayError as error:
                complaint = f"Ray lost worker {slot}: {str(error).strip().splitlines()[0]}"
            if complaint is not None:
                self._complaints.append(complaint)

    def drain(self) -> None:
        self._give(Order.DRAIN)

    def stop(self) -> None:
        self._give(Order.STOP)

    def kill(self) -> None:
        self._give(Order.KILL)
        self._wait(_LAST_GRACE_S)
        self._cancel(list(self._tasks))

    def _give(self, order: Order) -> None:
        """Tell all; those that still wait for their turn are called off."""
        self._order = order
        if self._orders is not None:
            try:
                begun = ray.get(self._orders.give.remote(order))
            except ray.exceptions.RayActorError:
                return  # its workers end by themselves
            self._cancel([task for task, slot in self._tasks.items() if slot not in begun])

    def _cancel(self, tasks: list[Any]) -> None:
        for task in tasks:
            ray.cancel(task, force=True)

    def _wait(self, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        while self.alive() and time.monotonic() < give_up:
            ray.wait(list(self._tasks), timeout=0.5)

    def close(self) -> None:
        if self.alive():
            self._give(Order.STOP)
            self._wait(_LAST_GRACE_S)
            self._cancel(list(self._tasks))
        if self._orders is not None:
            ray.kill(self._orders)
            self._orders = None
        if self._started_ray:
            ray.shutdown()
            self._started_ray = False
        self._tasks.clear()

    def complaints(self) -> list[str]:
        self.alive()
        found, self._complaints = self._complaints, []
        return found


def _options(address: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    if address is None and "RAY_ADDRESS" not in os.environ:
        options |= {"include_dashboard": False}
    return options


@contextlib.contextmanager
def _signals_kept() -> Any:
    """Ray's start replaces what the process does on SIGTERM; put it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
