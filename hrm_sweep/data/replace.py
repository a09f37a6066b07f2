"""A folder that appears completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hrm_sweep.errors import DataError


@contextlib.contextmanager
def folder_replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place when the block ends well, and vanishes otherwise.

    A reader that opened files of the old folder keeps them. Raises DataError when there is no room, or no permission.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        temporary.chmod(0o755)
        yield temporary
        _put_in_place(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: {_explain(error)}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


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
