"""Several processes of this machine that train one run together.

The process that was asked to train starts them, passes on what the first of them has to say and what it is asked, and
ends all of them when one fails; it does not train itself. Each learns its rank from the variables that torchrun sets.
torchrun's own agent is not in between: of ranks that end at about the same time it reports the one that it happens to
see first, often one that has only lost its neighbour, and a retry is decided by the cause.

A rank belongs to the process group of the process that started it, and ends at once when that one dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from hrm_sweep.config import RunConfig
from hrm_sweep.runs import Cause, MetricRow, RunDirectory, State, Status, StopReason
from hrm_sweep.training.loop import Run
from hrm_sweep.training.ranks import RankLostError, Ranks

_POLL_S = 0.05
_LAST_WORDS_S = 5.0
"""How long a rank that has only lost another one is waited upon for that other one to say why it ended."""

_LOOPBACK = "127.0.0.1"
_ORDERS_TO_DIE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP} if os.name != "nt" else {signal.SIGTERM}


@dataclass(frozen=True)
class SharedRun:
    """A run that several processes are to train, each with `threads` CPU threads. Its data folder is there."""

    config: RunConfig
    directory: RunDirectory
    status: Status
    resume: bool
    threads: int


@dataclass(frozen=True)
class UnderWay:
    """The first step is done."""


@dataclass(frozen=True)
class Line:
    """Something to say in the log."""

    text: str


@dataclass(frozen=True)
class Failed:
    """Why a rank ended. Not at first hand: because it lost another one."""

    cause: Cause
    message: str
    at_first_hand: bool


def train_together(
    job: SharedRun,
    processes: int,
    *,
    stop: Callable[[], StopReason | None],
    on_row: Callable[[MetricRow], None],
    say: Callable[[str], None],
) -> Status:
    """Train `job` in so many processes and return how it ended. `stop`, `on_row` and `say` are those of `run_training`,
    and are called in this process; `stop` several times a second."""
    store = _store()
    group: list[_Rank] = []
    try:
        for rank in range(processes):
            group.append(_Rank(rank, processes, store.port, job))
        ended = _follow(group, stop, on_row, say)
    finally:
        for one in group:
            one.end()
    if isinstance(ended, Status):
        return ended
    return job.status.ended(State.FAILED, cause=ended.cause, exit_code=1, message=ended.message)


def _store() -> TCPStore:
    """Where ranks find each other: a free port that nobody reaches from another machine."""
    listening = socket.create_server((_LOOPBACK, 0))
    port = listening.getsockname()[1]
    return TCPStore(_LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach())


def _follow(
    group: Sequence[_Rank],
    stop: Callable[[], StopReason | None],
    on_row: Callable[[MetricRow], None],
    say: Callable[[str], None],
) -> Status | Failed:
    """Until the first says how the run ended, when all have done their part, or one has failed and it is known why."""
    under_way, asked = False, False
    give_up = float("inf")
    while True:
        wait([thing for one in group for thing in one.news()], _POLL_S)
        for message in [message for one in group for message in one.messages()]:
            match message:
                case MetricRow():
                    on_row(message)
                case Line():
                    say(message.text)
                case UnderWay():
                    under_way = True
                case Status():
                    return message
        failures = [failure for one in group if (failure := one.failure()) is not None]
        for failure in failures:
            if failure.at_first_hand:
                return failure
        if failures:
            give_up = min(give_up, time.monotonic() + _LAST_WORDS_S)
            if time.monotonic() >= give_up:
                return failures[0]
        if under_way and not asked and (reason := stop()) is not None:
            asked = True
            group[0].ask_to_stop(reason)


class _Rank:
    """One process of the group, seen from the one that started it."""

    def __init__(self, rank: int, count: int, port: int, job: SharedRun) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would not survive CUDA, nor threads
        self.name = f"rank {rank} of {count}"
        self._is_first = rank == 0
        self._said: Failed | None = None
        self._is_open = True
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_rank_main, args=(rank, count, port, theirs, job), name=self.name)
        self.process.start()
        theirs.close()

    def news(self) -> Iterator[Connection | int]:
        """What becomes ready when there is something to see."""
        if self._is_open:
            yield self._connection
        if self.process.is_alive():
            yield self.process.sentinel

    def messages(self) -> Iterator[object]:
        """What it has said since."""
        try:
            while self._is_open and self._connection.poll():
                message = self._connection.recv()
                if isinstance(message, Failed):
                    self._said = message
                yield message
        except (EOFError, OSError):
            self._is_open = False

    def failure(self) -> Failed | None:
        """Why it failed, if it has."""
        if self._said is not None:
            if self._is_first:
                return self._said
            return Failed(self._said.cause, f"{self._said.message} ({self.name})", self._said.at_first_hand)
        code = self.process.exitcode
        if code is None or self._is_open:  # it may have left a last word
            return None
        if code == 0 and not self._is_first:  # it has done its part
            return None
        if code >= 0:
            return Failed(Cause.BUG, f"{self.name} ended with exit code {code}", at_first_hand=True)
        number = signal.Signals(-code)
        cause = Cause.KILLED if number in _ORDERS_TO_DIE else Cause.BUG
        return Failed(cause, f"{self.name} ended by {number.name}", at_first_hand=True)

    def ask_to_stop(self, reason: StopReason) -> None:
        with contextlib.suppress(OSError):  # it has just ended by itself
            self._connection.send(reason)

    def end(self) -> None:
        """At once: what it had to do is done, or lost."""
        self.process.kill()
        self.process.join()
        self.process.close()
        self._connection.close()


class _Wishes:
    """What the first rank is asked by the process that started it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_under_way = False
        self._reason: StopReason | None = None

    def stop(self) -> StopReason | None:
        if not self._is_under_way:
            self._is_under_way = True
            self._connection.send(UnderWay())
        while self._connection.poll():
            self._reason = self._connection.recv()
        return self._reason


def _rank_main(rank: int, count: int, port: int, connection: Connection, job: SharedRun) -> None:
    """Entry point of a rank."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):  # of a terminal or a scheduler: the process that started us decides
        signal.signal(number, signal.SIG_IGN)
    os.environ.update(_torchrun_variables(rank, count, port))
    from hrm_sweep.training.session import explain_failure, prepare  # here, for it imports this module

    is_first = rank == 0
    try:
        torch.set_num_threads(job.threads)
        continues = job.resume and job.directory.last_checkpoint.is_file()
        prepared = prepare(job.config, rank=rank, processes=count, resume=continues)
        ranks = Ranks.join(prepared.device.torch_device)
        run = Run(
            prepared,
            job.directory,
            job.status,
            stop=_Wishes(connection).stop,
            on_row=connection.send,
            say=lambda line: connection.send(Line(line)) if is_first else None,
            ranks=ranks,
        )
        status = run.train(job.resume)
        ranks.leave()
    except RankLostError as error:
        connection.send(Failed(Cause.BUG, str(error), at_first_hand=False))
        sys.exit(1)
    except Exception as error:  # the border of a rank: whatever happened becomes the cause of the run's failure
        cause, message = explain_failure(error)
        if cause is Cause.BUG:
            traceback.print_exc()
        connection.send(Failed(cause, message, at_first_hand=True))
        sys.exit(1)
    if is_first:
        connection.send(status)  # the last word, after which every rank may be ended


def _torchrun_variables(rank: int, count: int, port: int) -> dict[str, str]:
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": _LOOPBACK,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is there already, no rank has to open it
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
