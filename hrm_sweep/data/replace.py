"""A folder that appears completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hrm_sweep.errors import DataError

_SUFFIX = ".part"


@contextlib.contextmanager
def folder_replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block ends well, and vanishes otherwise.

    A reader that opened files of the old folder keeps them. What a process left that was killed here is removed by the
    next one. Raises DataError when there is no room, or no permission.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_what_the_dead_left(path)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_SUFFIX))
        temporary.chmod(0o755)
        with _marked_as_alive(temporary):
            yield temporary
            _put_in_place(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: {_explain(error)}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _marked_as_alive(folder: Path) -> Iterator[bool]:
    """Hold a lock on a folder, which ends with this process. Yields whether nobody else held it."""
    if os.name == "nt":  # has no such locks; there nothing of the dead is removed
        yield False
        return
    import fcntl  # not on Windows

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _remove_what_the_dead_left(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError), _marked_as_alive(left) as owner_is_dead:
            if owner_is_dead:
                shutil.rmtree(left, ignore_errors=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    # rename() replaces an empty folder but not a full one: that one is first moved aside, into the folder that goes.
    if path.exists() and any(path.iterdir()):
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
        try:
            path.rename(aside / "old")
            temporary.rename(path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    else:
        temporary.rename(path)


def _explain(error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"could not be written, the disk is full ({reason}); free some space, then run the same command again"
    return f"could not be written: {reason}; choose another place, or make this one writable"
