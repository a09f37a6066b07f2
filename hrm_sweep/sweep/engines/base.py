"""What an engine is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Protocol

from hrm_sweep.errors import UsageError
from hrm_sweep.sweep.child import TRAINING
from hrm_sweep.sweep.early import EarlyWorker
from hrm_sweep.sweep.study import Study


@dataclass(frozen=True)
class Place:
    """Where engines beyond this machine put their workers.

    address    of a Ray cluster; None for one of this machine's own.
    minutes    that each Slurm job may take; None leaves it to the partition.
    partition  of Slurm; None leaves it to the cluster.
    """

    address: str | None = None
    minutes: int | None = None
    partition: str | None = None


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker of a call is told.

    threads    CPU threads of a trial.
    until      seconds since 1970 after which no new trial is started; None for no limit.
    devices    the value of CUDA_VISIBLE_DEVICES for each slot, in turn; empty leaves it alone. For this machine.
    gpus       of each worker, or the part of one. For engines that find the device themselves.
    needs_gpu  whether a trial cannot do without; else it takes one where there is one.
    artifacts  URL of a folder through which hosts hand on run directories; None where they share a file system.
    early      a process that may become the first worker, if it is to run on this machine.
    """

    study: Study
    threads: int
    until: float | None = None
    devices: tuple[str, ...] = ()
    gpus: float = 0
    needs_gpu: bool = False
    place: Place = Place()
    artifacts: str | None = None
    training: str = TRAINING
    early: EarlyWorker | None = None


class Engine(Protocol):
    """Starts workers of a study and ends them. It knows nothing of trials."""

    def start(self, workers: int) -> None:
        """Start so many more workers."""

    def alive(self) -> int:
        """How many workers are running."""

    def drain(self) -> None:
        """Let every worker end after its running trial."""

    def stop(self) -> None:
        """Let every worker checkpoint its trial, hand it back and end, within 30 s."""

    def kill(self) -> None:
        """End every worker at once. Their trials are recovered by whoever continues the study."""

    def close(self) -> None:
        """Let go of the workers. One that still runs is stopped, and killed if it does not end."""

    def complaints(self) -> list[str]:
        """What workers that ended by an error said last, each once."""


def require_address(address: str | None) -> None:
    """Raises UsageError for what is no address of a Ray cluster."""
    if address is not None and address != "auto" and ":" not in address:
        raise UsageError(f"--address: expected auto, host:port or ray://host:port, found {address!r}")


def minutes(text: str) -> int:
    """A time limit as people write it: 4h, 90m, 2d, or minutes. Raises UsageError."""
    unit = {"d": 24 * 60, "h": 60, "m": 1}.get(text[-1:])
    number = text[:-1] if unit else text
    if not number.isdecimal() or int(number) == 0:
        raise UsageError(f"--time: expected a whole number with d, h or m, for example 4h, found {shlex.quote(text)}")
    return int(number) * (unit or 1)
