"""RunDirectory: a property for every file of a run. No other code spells these names."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.errors import DiskFullError, RunDirectoryError


@dataclass(frozen=True)
class RunDirectory:
    """The folder of one training run. Reading is always allowed; one process at a time writes, see `locked`."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def lost_metrics(self) -> Path:
        """Rows that a resume cut off, because they lay after the checkpoint it continued from."""
        return self.path / "metrics.lost.jsonl"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def diagnosis(self) -> Path:
        return self.path / "diagnosis.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        return self.checkpoints / "last.pt"

    @property
    def best_checkpoint(self) -> Path:
        return self.checkpoints / "best.pt"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def step_weights(self, step: int) -> Path:
        """Model weights in the reference's format, `step_N` in the root as the reference has it."""
        return self.path / f"step_{step}"

    def all_step_weights(self) -> list[tuple[int, Path]]:
        """(step, path) of every `step_N` file, by step."""
        found = [(path.name.removeprefix("step_"), path) for path in self.path.glob("step_*") if path.is_file()]
        return sorted((int(step), path) for step, path in found if step.isdigit())

    def is_run(self) -> bool:
        """Whether this looks like a run directory of ours."""
        return self.config.is_file()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the right to write. Raises RunDirectoryError when another live process has it.

        The lock belongs to the operating system: it ends with the process that holds it, however that ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock.open("a") as handle:
            if not _try_lock(handle.fileno()):
                raise RunDirectoryError(
                    f"{self.path}: another process is writing this run; wait for it, stop it, or name another --run-dir"
                )
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt  # exists on Windows only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl  # exists everywhere else

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise.

    A reader sees the old file or the new one, never a part. Raises DiskFullError when there is no room.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(descriptor)
    temporary = Path(name)
    try:
        with disk_full_explained(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "no space left" while writing `path` into a DiskFullError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"{path}: could not be written, the disk is full ({os.strerror(error.errno)}); "
                "free some space (`hrm-sweep clean STUDY` removes checkpoints) and continue the run with --resume"
            ) from None
        raise
