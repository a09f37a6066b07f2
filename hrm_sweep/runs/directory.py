"""RunDirectory: a property for every file of a run. No other code spells these names."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.errors import DiskFullError, RunDirectoryError

_UNFINISHED = ".part"  # ends the name of a file that is still being written


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
    def unseen(self) -> Path:
        """What its best checkpoint does on each puzzle that no choice was made by; of runs of a confirmation."""
        return self.path / "unseen.json"

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
    def tracker(self) -> Path:
        """What the tracker that the config asks for was told so far."""
        return self.path / "tracker.json"

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    def step_weights(self, step: int) -> Path:
        """Model weights in the reference's format, `step_N` in the root as the reference has it."""
        return self.path / f"step_{step}"

    def all_step_weights(self) -> list[tuple[int, Path]]:
        """(step, path) of every `step_N` file, by step."""
        found = [(path.name.removeprefix("step_"), path) for path in self.path.glob("step_*") if path.is_file()]
        return sorted((int(step), path) for step, path in found if step.isdecimal())

    def is_run(self) -> bool:
        """Whether this looks like a run directory of ours."""
        return self.config.is_file()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the right to write. Raises RunDirectoryError when another live process has it, or when the folder cannot
        be made or locked; DiskFullError when there is no room for it.

        The lock belongs to the operating system: it ends with the process that holds it, however that ends. Files
        that a killed writer left unfinished are removed, of those that only the holder of the lock writes.
        """
        with contextlib.ExitStack() as stack:
            try:
                with disk_full_explained(self.path):
                    self.path.mkdir(parents=True, exist_ok=True)
                    handle = stack.enter_context(self.lock.open("a"))
                    free = _try_lock(handle.fileno())
            except OSError as error:
                raise RunDirectoryError(
                    f"{self.path}: cannot be used as a run directory ({error.strerror}); name another --run-dir"
                ) from None
            if not free:
                raise RunDirectoryError(
                    f"{self.path}: another process is writing this run; wait for it, stop it, or name another --run-dir"
                )
            ours = ("step_*", self.status.name, self.metrics.name, self.environment.name)
            left = [self.path.glob(f".{name}.*{_UNFINISHED}") for name in ours]
            for unfinished in itertools.chain(self.checkpoints.glob(f".*{_UNFINISHED}"), *left):
                unfinished.unlink(missing_ok=True)
            yield


def _try_lock(descriptor: int) -> bool:
    """Whether this process has the lock now. Raises OSError where the file system has no locks."""
    try:
        if os.name == "nt":
            import msvcrt  # exists on Windows only

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl  # exists everywhere else

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # somebody has it: EAGAIN here, EACCES on Windows
        return False
    return True


@contextlib.contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path` that takes its place when the block ends well, and vanishes otherwise.

    A reader sees the old file or the new one, never a part. Raises DiskFullError when there is no room.
    """
    with disk_full_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("r+b") as handle:
                os.fsync(handle.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn "no space left" (or a quota or limit) while writing `path` into a DiskFullError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFullError(
                f"{path}: could not be written: {os.strerror(error.errno)}; "
                "free some space (`hrm-sweep clean STUDY` removes checkpoints) and continue the run with --resume"
            ) from None
        raise
