"""Our own run directory, finished or live or killed in mid-write: DESIGN contract 2."""

from __future__ import annotations

import json
from pathlib import Path

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import ConfigError
from hrm_sweep.runs.directory import RunDirectory
from hrm_sweep.runs.environment import read_environment
from hrm_sweep.runs.formats.curves import no_rows, read_curves
from hrm_sweep.runs.formats.recorded import RecordedRun, Source
from hrm_sweep.runs.status import read_status


def recognises(path: Path) -> bool:
    """Any of our own files is enough: the config of a damaged run may be missing."""
    run = RunDirectory(path)
    return run.config.is_file() or run.metrics.is_file() or run.status.is_file()


def read(path: Path) -> RecordedRun:
    run = RunDirectory(path)
    problems: list[str] = []
    train, evaluations, left_out = no_rows(), no_rows(), 0
    try:
        train, evaluations, left_out = read_curves(run.metrics)
    except OSError as error:
        problems.append(f"{run.metrics}: cannot be read: {error.strerror}")
    if left_out:
        problems.append(f"{run.metrics}: {left_out} line(s) are no metric rows (torn in mid-write?) and were left out")
    status = read_status(run.status)
    environment = read_environment(run.environment)
    for file, found in ((run.status, status), (run.environment, environment)):
        if found is None and file.exists():
            problems.append(f"{file}: {_why_not_understood(file)}")
    return RecordedRun(
        path=path,
        source=Source.OURS,
        config=config_of(run.config, problems),
        train=train,
        evaluations=evaluations,
        status=status,
        environment=environment,
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
        newer = "; if a newer hrm-sweep wrote it, update hrm-sweep" if "unknown key" in str(error) else ""
        problems.append(f"{error}{newer}")
        return None


def _why_not_understood(path: Path) -> str:
    """Why a JSON file of a run was not understood, and what to do."""
    try:
        version = json.loads(path.read_text(encoding="utf-8")).get("version", 1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, AttributeError, RecursionError):
        return "damaged: not a JSON object"
    if isinstance(version, int) and version > 1:
        return f"written by a newer hrm-sweep (version {version}, this one reads 1); update hrm-sweep"
    return "not understood by this version; it is damaged, or of a newer hrm-sweep: update hrm-sweep"
