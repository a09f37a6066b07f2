"""Why a trial failed, and whether it is worth another attempt. DESIGN contract 4."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.runs import Cause, State, Status

_RETRIES: Mapping[Cause, int] = {
    Cause.OOM: 1,
    Cause.PREEMPTED: 5,
    Cause.KILLED: 5,
    Cause.STALLED: 5,
    Cause.STORAGE: 3,
    Cause.NAN: 0,
    Cause.CONFIG: 0,
    Cause.DATA: 0,
    Cause.NO_METRIC: 0,
    Cause.BUG: 0,
}

_LOG_TAIL_BYTES = 8192
_OOM_SIGNS = ("out of memory", "outofmemoryerror", "can't allocate memory", "cannot allocate memory", "memoryerror")
_STORAGE_SIGNS = ("no space left on device", "disk quota exceeded")


@dataclass(frozen=True)
class Failure:
    """Why a trial failed, and what its process said."""

    cause: Cause
    message: str


def retries_of(cause: Cause, policy: Mapping[Cause, int]) -> int:
    """How many further attempts a failure of this cause gets: as the search space says, or the default."""
    return policy.get(cause, _RETRIES[cause])


def with_smaller_micro_batches(config: RunConfig, memory_failures: int, processes: int) -> RunConfig:
    """The same training in less memory: after each attempt that ran out of it, a process (of so many) has half as many
    rows in memory at once. The batch of an optimizer step stays the same."""
    if not memory_failures:
        return config
    rows = config.global_batch_size // processes
    rows = min(rows, config.micro_batch_size or rows)
    return config.model_copy(update={"micro_batch_size": max(1, -(-rows // 2**memory_failures))})


def explain_end(status: Status | None, exit_code: int | None, printed: str, *, oom_killed: bool = False) -> Failure:
    """Why a child process that was not stopped by us ended without completing its run.

    status      the last status.json of this attempt; None when it wrote none.
    exit_code   of the process; negative for the signal that ended it.
    printed     the end of what it printed.
    oom_killed  whether the kernel killed a process of this machine or container for memory in the meantime.
    """
    if status is not None and status.state is State.FAILED and status.cause is not None:
        if status.cause is Cause.KILLED and oom_killed:  # one of the processes that trained together
            return Failure(Cause.OOM, f"{status.message}, while the kernel killed for want of memory")
        return Failure(status.cause, status.message)
    said = _last_line(printed)
    if any(sign in printed.lower() for sign in _OOM_SIGNS):
        return Failure(Cause.OOM, said)
    if any(sign in printed.lower() for sign in _STORAGE_SIGNS):
        return Failure(Cause.STORAGE, said)
    if exit_code is not None and exit_code < 0:
        name = _signal_name(-exit_code)
        if name == "SIGKILL" and oom_killed:
            return Failure(Cause.OOM, "ended by SIGKILL, while the kernel killed for want of memory")
        if name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"):
            return Failure(Cause.KILLED, f"ended by {name}")
        return Failure(Cause.BUG, f"ended by {name}, having printed last: {said or 'nothing'}")
    return Failure(Cause.BUG, f"ended with exit code {exit_code}, having printed last: {said or 'nothing'}")


def oom_kills() -> int:
    """How many processes the kernel has killed for memory in this container so far; 0 where it does not say."""
    try:
        for line in Path("/sys/fs/cgroup/memory.events").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def end_of_log(log: Path, since: int) -> str:
    """The end of a log file, but nothing before byte `since`, where this attempt began."""
    try:
        with log.open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(since, handle.tell() - _LOG_TAIL_BYTES))
            return handle.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _last_line(tail: str) -> str:
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
