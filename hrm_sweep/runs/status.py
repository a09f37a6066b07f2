"""status.json: what became of a run, and who is running it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import socket
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from hrm_sweep.runs.directory import replaced_atomically

VERSION = 1  # of status.json, where the file says none; what a newer version writes is not guessed at


class State(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    COMPLETED = "completed"  # trained to its end, or until it was solved
    STOPPED = "stopped"  # ended early on request or by its time limit; can be continued
    PRUNED = "pruned"  # a sweep's pruner ended it
    FAILED = "failed"  # see Cause


class Cause(StrEnum):
    """Why a run failed; DESIGN contract 4."""

    OOM = "oom"
    NAN = "nan"
    CONFIG = "config"
    DATA = "data"
    PREEMPTED = "preempted"
    KILLED = "killed"
    STALLED = "stalled"
    NO_METRIC = "no_metric"
    STORAGE = "storage"
    BUG = "bug"


@dataclass(frozen=True)
class Owner:
    """A process that cannot be mistaken for a later one with the same pid: host, pid and the process's start time."""

    host: str
    pid: int
    started: str

    @staticmethod
    def this_process() -> Owner:
        return Owner(socket.gethostname(), os.getpid(), process_start(os.getpid()) or "")

    def on_this_host(self) -> bool:
        return self.host == socket.gethostname()

    def is_alive(self) -> bool:
        """Whether the process still runs; only meaningful on its own host."""
        started = process_start(self.pid)
        return started is not None and started == self.started


def process_start(pid: int) -> str | None:
    """When process `pid` started, in the system's own unit; None when there is no such process (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except (OSError, UnicodeDecodeError):
        return None
    else:
        return None if fields[0] in "ZX" else fields[19]
    try:  # no /proc (macOS, Windows): only whether it exists
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "unknown"
    return "unknown"


@dataclass(frozen=True)
class Status:
    """The content of status.json. Times are seconds since 1970.

    peak_bytes  the most memory that the run has taken, of its GPU or of the machine; None where that is not known.
    """

    state: State
    owner: Owner
    started_at: float
    updated_at: float
    step: int = 0
    total_steps: int | None = None
    cause: Cause | None = None
    exit_code: int | None = None
    message: str = ""
    ended_at: float | None = None
    peak_bytes: int | None = None

    @staticmethod
    def starting() -> Status:
        now = time.time()
        return Status(State.RUNNING, Owner.this_process(), started_at=now, updated_at=now)

    def at_step(self, step: int, total_steps: int, peak_bytes: int | None = None) -> Status:
        return dataclasses.replace(
            self, step=step, total_steps=total_steps, peak_bytes=peak_bytes, updated_at=time.time()
        )

    def ended(
        self, state: State, *, cause: Cause | None = None, exit_code: int | None = None, message: str = ""
    ) -> Status:
        now = time.time()
        return dataclasses.replace(
            self, state=state, cause=cause, exit_code=exit_code, message=message, updated_at=now, ended_at=now
        )


def write_status(path: Path, status: Status) -> None:
    with replaced_atomically(path) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(status), indent=1), encoding="utf-8")


def read_status(path: Path) -> Status | None:
    """The status, or None when there is none, or none that this version understands."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.get("version", VERSION) > VERSION:
            return None
        owner = record["owner"]
        return Status(
            state=State(record["state"]),
            owner=Owner(str(owner["host"]), _count(owner["pid"]), str(owner["started"])),
            started_at=_seconds(record["started_at"]),
            updated_at=_seconds(record["updated_at"]),
            step=_count(record.get("step", 0)),
            total_steps=_count(record["total_steps"]) if record.get("total_steps") is not None else None,
            cause=Cause(record["cause"]) if record.get("cause") else None,
            exit_code=record.get("exit_code"),
            message=str(record.get("message", "")),
            ended_at=_seconds(record["ended_at"]) if record.get("ended_at") is not None else None,
            peak_bytes=_count(record["peak_bytes"]) if record.get("peak_bytes") is not None else None,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"expected a number of steps or a process, found {value!r}")
    return value


def _seconds(value: Any) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"expected a time, found {value!r}")
    return float(value)


class StopReason(StrEnum):
    """Why a run is asked to end early."""

    REQUESTED = "requested"  # a person, or a time limit: keep a checkpoint to continue from
    PREEMPTED = "preempted"  # the machine is needed or going away: keep a checkpoint to continue from
    PRUNED = "pruned"  # a pruner: nothing will continue from it
