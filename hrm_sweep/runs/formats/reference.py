"""A run directory of the reference implementation: `all_config.yaml`, one or more `step_N`, and no metrics."""

from __future__ import annotations

from pathlib import Path

from hrm_sweep.runs.directory import RunDirectory
from hrm_sweep.runs.formats.ours import config_of
from hrm_sweep.runs.formats.recorded import RecordedRun, Source

CONFIG = "all_config.yaml"


def recognises(path: Path) -> bool:
    return (path / CONFIG).is_file() or bool(RunDirectory(path).all_step_weights())


def read(path: Path) -> RecordedRun:
    problems: list[str] = []
    return RecordedRun(
        path=path,
        source=Source.REFERENCE,
        config=config_of(path / CONFIG, problems),
        weights=tuple(RunDirectory(path).all_step_weights()),
        problems=tuple(problems),
    )
