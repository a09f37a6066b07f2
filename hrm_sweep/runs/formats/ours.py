"""Our own run directory, finished or live or killed in mid-write: DESIGN contract 2."""

from __future__ import annotations

from pathlib import Path

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import ConfigError
from hrm_sweep.runs.directory import RunDirectory
from hrm_sweep.runs.environment import read_environment
from hrm_sweep.runs.formats.curves import read_curves
from hrm_sweep.runs.formats.recorded import RecordedRun, Source
from hrm_sweep.runs.status import read_status


def recognises(path: Path) -> bool:
    """Any of our own files is enough: the config of a damaged run may be missing."""
    run = RunDirectory(path)
    return run.config.is_file() or run.metrics.is_file() or run.status.is_file()


def read(path: Path) -> RecordedRun:
    run = RunDirectory(path)
    problems: list[str] = []
    train, evaluations, left_out = read_curves(run.metrics)
    if left_out:
        problems.append(f"{run.metrics}: {left_out} line(s) are no metric rows (torn in mid-write?) and were left out")
    status = read_status(run.status)
    if status is None and run.status.is_file():
        problems.append(f"{run.status}: not a status that this version understands")
    return RecordedRun(
        path=path,
        source=Source.OURS,
        config=config_of(run.config, problems),
        train=train,
        evaluations=evaluations,
        status=status,
        environment=read_environment(run.environment),
        weights=tuple(run.all_step_weights()),
        problems=tuple(problems),
    )


def config_of(path: Path, problems: list[str]) -> RunConfig | None:
    """The config, or None with the reason added to `problems`."""
    if not path.is_file():
        problems.append(f"{path}: there is no such file")
        return None
    try:
        return load_config(path)
    except ConfigError as error:
        problems.append(str(error))
        return None
