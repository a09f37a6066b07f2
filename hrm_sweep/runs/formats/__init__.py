"""Run directories of any origin: each format has `recognises(path)` and `read(path)`. Beside them, exported metrics."""

from __future__ import annotations

import shlex
from pathlib import Path

from hrm_sweep.errors import RunDirectoryError
from hrm_sweep.runs.formats import ours, reference
from hrm_sweep.runs.formats.curves import Curves, CurvesBuilder, Series, read_curves
from hrm_sweep.runs.formats.recorded import RecordedRun, Source
from hrm_sweep.runs.formats.wandb import read_history

__all__ = ["Curves", "CurvesBuilder", "RecordedRun", "Series", "Source", "read_curves", "read_history", "read_run"]

_NEAR = 4  # so many run directories are named in place of one that is not there


def read_run(path: Path) -> RecordedRun:
    """The run in the folder `path`. Raises RunDirectoryError when the folder is missing, closed or holds no run."""
    try:
        return _read_run(path)
    except OSError as error:  # a folder that may not be looked into
        raise RunDirectoryError(f"{error.filename or path}: cannot be read: {error.strerror}") from None


def _read_run(path: Path) -> RecordedRun:
    if not path.exists():
        raise RunDirectoryError(f"{path}: there is no such folder; {_first_attempts(path) or _meant_instead(path)}")
    if not path.is_dir():
        raise RunDirectoryError(f"{path}: expected the folder of a run, found a file; name the folder it lies in")
    for recognises, read in ((ours.recognises, ours.read), (reference.recognises, reference.read)):
        if recognises(path):
            return read(path)
    if runs := _runs_in(path):
        raise RunDirectoryError(f"{path}: a folder of runs, not a run: {_name_one(path, runs)}")
    raise RunDirectoryError(
        f"{path}: not a run directory; expected config.yaml and metrics.jsonl (hrm-sweep), "
        "or all_config.yaml and step_N files (the reference implementation)"
    )


def _runs_in(path: Path) -> list[Path]:
    return [child for child in sorted(path.iterdir()) if child.is_dir() and ours.recognises(child)]


def _first_attempts(path: Path) -> str | None:
    """What to name instead of `path`, if it is called as the run directory of a trial and lies beside some; else None.
    Which trial is a retry of which one stands in the database alone."""
    if not path.name.isdecimal() or not path.parent.is_dir():
        return None
    runs = [run for run in _runs_in(path.parent) if run.name.isdecimal()]
    near = sorted(sorted(runs, key=lambda run: abs(int(run.name) - int(path.name)))[:_NEAR])
    if not near:
        return None
    return (
        "a trial that was tried again is in the folder of its first attempt, which has a lower number; "
        f"nearest are {', '.join(map(str, near))}"
    )


def _meant_instead(given: Path) -> str:
    """What to name instead of a folder that does not exist; its place may have been left out, which is trials/."""
    path = Path("trials", given)
    if path.is_dir() and ours.recognises(path):
        return f"did you mean {path}?"
    if path.is_dir() and (runs := _runs_in(path)):
        return f"{path} is a folder of runs: {_name_one(path, runs)}"
    return _first_attempts(path) or "name a run directory, for example one under trials/"


def _name_one(folder: Path, runs: list[Path]) -> str:
    judging = shlex.join(["hrm-sweep", "diagnose", "--study", folder.resolve().name])
    return f"name one of them, for example {runs[0]} (`{judging}` judges a study as a whole)"
