"""Weights that somebody names: by the run they belong to, ours or of the reference, or by their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.config import RunConfig, load_config
from hrm_sweep.errors import CheckpointError, RunDirectoryError
from hrm_sweep.runs.directory import RunDirectory
from hrm_sweep.runs.formats import ours, read_run, reference
from hrm_sweep.runs.formats.recorded import RecordedRun, Source


@dataclass(frozen=True)
class NamedCheckpoint:
    """A file of weights, the configuration it was trained with, and where that came from.

    folder  the run directory; the file's own folder where it lies in none.
    source  who wrote the run, None where it lies in none.
    """

    path: Path
    config: RunConfig
    folder: Path
    source: Source | None


def best_checkpoint(run: RecordedRun) -> Path:
    """The best checkpoint of a run of ours, else its last, else the last `step_N`. Raises CheckpointError: none."""
    directory = RunDirectory(run.path)
    weights = [path for _, path in run.weights]
    for path in (directory.best_checkpoint, directory.last_checkpoint, *reversed(weights)):
        if path.is_file():
            return path
    raise CheckpointError(
        f"{run.path}: no checkpoint in it (checkpoints/best.pt, checkpoints/last.pt or step_N); a pruned trial "
        "keeps none, and `hrm-sweep clean` removes them"
    )


def named_checkpoint(path: Path, config: Path | None = None) -> NamedCheckpoint:
    """The checkpoint that `path` names: a run directory, or a file of weights in one or anywhere.

    `config` names the configuration (a file or a run directory) where none lies beside the weights, or another is
    meant. Raises CheckpointError, RunDirectoryError and ConfigError, which say what is missing.
    """
    if path.is_file():
        run = next((found for folder in (path.parent, path.parent.parent) if (found := _run_in(folder))), None)
        checkpoint = path
    else:
        run = read_run(path)
        checkpoint = best_checkpoint(run)
    if config is not None:
        known: RunConfig | None = load_config(config)
    else:
        known = None if run is None else run.config
    if known is None:
        if run is not None and run.problems:
            raise RunDirectoryError("; ".join(run.problems))
        raise CheckpointError(
            f"{path}: no config.yaml or all_config.yaml beside it, so its architecture is not known; name it with "
            "--config FILE, or name the run directory"
        )
    return NamedCheckpoint(
        checkpoint, known, path.parent if run is None else run.path, None if run is None else run.source
    )


def _run_in(folder: Path) -> RecordedRun | None:
    """The run in a folder; a folder that holds `step_N` alone is none, for it does not say what they are."""
    if ours.recognises(folder):
        return ours.read(folder)
    return reference.read(folder) if (folder / reference.CONFIG).is_file() else None
