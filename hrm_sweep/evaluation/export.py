"""A checkpoint of ours as a run directory of the reference: what its own evaluation reads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch

from hrm_sweep.config import RunConfig
from hrm_sweep.config.reference import all_config_text
from hrm_sweep.errors import CheckpointError, RunDirectoryError
from hrm_sweep.model.checkpoint import config_of_checkpoint, load_state, with_reference_names
from hrm_sweep.runs import RunDirectory, disk_full_explained

CONFIG = "all_config.yaml"


def export_checkpoint(checkpoint: Path, config: RunConfig, data_path: Path, target: Path) -> Path:
    """Write the folder `target` with all_config.yaml and step_N, whole or not at all; returns step_N.

    data_path  where the reference will find the puzzles.

    `forward_dtype` is what the run was computed in, which the two initial states show: bfloat16 becomes float32 where
    the device has none. Raises CheckpointError for a checkpoint that cannot be used, RunDirectoryError when `target` is
    there and not an empty folder, or cannot be written, DiskFullError.
    """
    require_free(target)
    state, config = load_state(checkpoint), config_of_checkpoint(config, checkpoint)
    weights = with_reference_names(state["model"])
    dtype = str(state["model"]["inner.H_init"].dtype).removeprefix("torch.")
    step = _step_of(state, checkpoint)
    config = config.model_copy(update={"arch": config.arch.model_copy(update={"forward_dtype": dtype})})
    try:
        with disk_full_explained(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
            try:
                (unfinished / CONFIG).write_text(all_config_text(config, data_path), encoding="utf-8")
                torch.save(weights, RunDirectory(unfinished).step_weights(step))
                unfinished.chmod(0o755)
                if target.exists():
                    target.rmdir()  # it is empty; Windows renames onto nothing
                unfinished.rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer hides the operating system's reason
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RunDirectoryError(f"{target}: cannot be written ({reason}); name another folder") from None
    return RunDirectory(target).step_weights(step)


def require_free(target: Path) -> None:
    """Raises RunDirectoryError unless `target` is nothing yet, or an empty folder."""
    if target.is_dir() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        found = "a folder with files in it" if target.is_dir() else "a file"
        raise RunDirectoryError(f"{target}: there is {found}, which stays as it is; name a new folder")


def _step_of(state: dict[str, object], checkpoint: Path) -> int:
    optimizer = state.get("optimizer")
    steps = optimizer.get("steps") if isinstance(optimizer, dict) else None
    if not isinstance(steps, int):
        raise CheckpointError(f"{checkpoint}: does not say at which optimizer step it was written")
    return steps
