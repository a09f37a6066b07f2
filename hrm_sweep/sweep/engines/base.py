"""What an engine is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hrm_sweep.sweep.child import TRAINING
from hrm_sweep.sweep.study import Study


@dataclass(frozen=True)
class WorkerPlan:
    """What every worker of a call is told.

    threads  CPU threads of a trial.
    until    seconds since 1970 after which no new trial is started; None for no limit.
    devices  the value of CUDA_VISIBLE_DEVICES for each slot, in turn; empty leaves it alone.
    """

    study: Study
    threads: int
    until: float | None = None
    devices: tuple[str, ...] = ()
    training: str = TRAINING


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
