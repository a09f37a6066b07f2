"""What studies there are, and the disk they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.errors import StudyError
from hrm_sweep.runs import RunDirectory, State, read_status
from hrm_sweep.sweep.confirm.kept import known_confirmation
from hrm_sweep.sweep.goals import score
from hrm_sweep.sweep.holdout import best_trial
from hrm_sweep.sweep.remedies import is_remedy
from hrm_sweep.sweep.status import chain_state
from hrm_sweep.sweep.storage import open_storage
from hrm_sweep.sweep.study import Study, open_study, study_names


@dataclass(frozen=True)
class StudyLine:
    """A study as `hrm-sweep studies` lists it.

    counts      trials by state, as `hrm-sweep status` counts them: a trial and its retries are one.
    remedies    how many of its trials are the remedy of another one.
    best        the best value and the number of its trial; None when nothing completed.
    disk_bytes  what its run directories take.
    confirmed   (what its confirmation says of the best trial, the confirmation's verdict); None where there is none.
    """

    name: str
    metric: str
    budget: int
    counts: dict[str, int]
    remedies: int
    best: tuple[float, int] | None
    disk_bytes: int
    confirmed: tuple[str, str] | None = None


def list_studies(storage_url: str) -> list[StudyLine]:
    """Every study of hrm-sweep in the storage, by name; those of other programs are left out. Raises StorageError."""
    lines = []
    for name in study_names(open_storage(storage_url)):
        try:
            study = open_study(storage_url, name)
        except StudyError:
            continue
        trials = study.chains()
        best = best_trial(study)
        value = None if best is None else score(best)
        lines.append(
            StudyLine(
                name=name,
                metric=study.space.objective.metric,
                budget=study.space.budget.trials,
                counts=dict(Counter(chain_state(study, trial) for trial in trials)),
                remedies=sum(map(is_remedy, trials)),
                best=None if best is None or value is None else (value, best.number),
                disk_bytes=_size_of(study.folder),
                confirmed=None if best is None else _confirmed(study, best.number),
            )
        )
    return lines


def _confirmed(study: Study, best: int) -> tuple[str, str] | None:
    known = known_confirmation(study)
    if known is None:
        return None
    score = known.of_trial(best)
    confirmed = None if score is None else score.confirmed
    return ("not this trial" if confirmed is None else f"{confirmed.value:.3f}", known.words)


def clean_study(study: Study) -> tuple[int, int]:
    """Remove the checkpoints and step_N weights of a study's runs; returns (files, bytes) that were freed.

    Metrics, configs, logs and diagnoses stay, and so do the checkpoints of runs that are still going on.
    """
    files = freed = 0
    for path in list(_checkpoints(study.folder)):
        size = path.stat().st_size if path.stat().st_nlink == 1 else 0  # best.pt may be another name of last.pt
        path.unlink()
        files, freed = files + 1, freed + size
    return files, freed


def _checkpoints(folder: Path) -> Iterator[Path]:
    for child in sorted(folder.iterdir()) if folder.is_dir() else []:
        directory = RunDirectory(child)
        status = read_status(directory.status)
        going_on = status is not None and status.state is State.RUNNING and status.owner.is_alive()
        if not directory.is_run() or going_on:
            continue
        yield from (path for path in (directory.last_checkpoint, directory.best_checkpoint) if path.is_file())
        yield from (path for _, path in directory.all_step_weights())


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
