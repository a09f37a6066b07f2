"""RecordedRun: what any run directory is read into, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from hrm_sweep.config import RunConfig
from hrm_sweep.runs.environment import Environment
from hrm_sweep.runs.formats.curves import Curves, no_rows
from hrm_sweep.runs.status import Status


class Source(StrEnum):
    """Who wrote a run directory."""

    OURS = "ours"
    REFERENCE = "reference"


@dataclass(frozen=True)
class RecordedRun:
    """One run as it lies on disk. What is missing is None or empty, and `problems` says why.

    weights   (step, path) of every `step_N` file, by step.
    problems  one sentence for everything that is there and could not be read.
    """

    path: Path
    source: Source
    config: RunConfig | None = None
    train: Curves = field(default_factory=no_rows)
    evaluations: Curves = field(default_factory=no_rows)
    status: Status | None = None
    environment: Environment | None = None
    weights: tuple[tuple[int, Path], ...] = ()
    problems: tuple[str, ...] = ()
