"""Run directories for hosts that share no file system: handed on through a folder behind any URL that fsspec knows.

    URL/STUDY/0007/current          the name of a version, replaced last: what it names is whole
    URL/STUDY/0007/VERSION/...      the run directory as it was at the end of an attempt, or when it was preempted

A host that continues a trial first takes the current version, unless its own directory descends from that. An attempt
that ends without notice (SIGKILL, power) pushes nothing: its retry continues from the last version on another host, and
from the last checkpoint on the same one.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any

import fsspec

from hrm_sweep.data.replace import folder_replaced_atomically
from hrm_sweep.errors import UsageError
from hrm_sweep.runs import RunDirectory

_CURRENT = "current"
_DESCENT = ".version"  # in a run directory: the version that it was last pushed as, or pulled from


def require_artifacts(url: str) -> None:
    """Raises UsageError when nothing can be kept under this URL, as far as one can tell without trying."""
    if "://" not in url:
        raise UsageError(f"--artifacts: expected a URL such as s3://bucket/folder or file:///folder, found {url!r}")
    try:
        fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(f"--artifacts {url}: {error}") from None


class Artifacts:
    """What hosts hand on of one study's runs, under a URL."""

    def __init__(self, url: str, study: str) -> None:
        self._files, root = fsspec.core.url_to_fs(url)
        self._root = f"{root.rstrip('/')}/{study}"

    def push(self, directory: RunDirectory) -> None:
        """Put a run directory there as its current version. Raises OSError; the version before then stays current."""
        home = self._home(directory)
        before, version = self._current(home), uuid.uuid4().hex
        for path in _files_of(directory):
            target = f"{home}/{version}/{path.relative_to(directory.path).as_posix()}"
            self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), target)
        # Beside it and moved, for writing a file in place would let others read the half of it.
        self._files.pipe_file(f"{home}/{_CURRENT}.{version}", version.encode())
        self._files.mv(f"{home}/{_CURRENT}.{version}", f"{home}/{_CURRENT}")
        (directory.path / _DESCENT).write_text(version, encoding="utf-8")
        if before is not None:
            with contextlib.suppress(OSError):  # it only takes room
                self._files.rm(f"{home}/{before}", recursive=True)

    def pull(self, directory: RunDirectory) -> bool:
        """Replace a run directory by the current version, all at once; returns whether there was need to.

        Raises OSError when it cannot be fetched, DataError when it cannot be written.
        """
        home = self._home(directory)
        version = self._current(home)
        if version is None or version == _descent(directory):
            return False
        with folder_replaced_atomically(directory.path) as folder:
            source = f"{home}/{version}"
            for found in self._files.find(source):
                target = folder / found[len(source) :].lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(found, str(target))
            (folder / _DESCENT).write_text(version, encoding="utf-8")
        return True

    def _home(self, directory: RunDirectory) -> str:
        return f"{self._root}/{directory.path.name}"

    def _current(self, home: str) -> str | None:
        self._files.invalidate_cache()  # object stores remember listings, and others write here
        try:
            content: Any = self._files.cat_file(f"{home}/{_CURRENT}")
        except FileNotFoundError:
            return None
        return bytes(content).decode()


def _files_of(directory: RunDirectory) -> list[Path]:
    """What is whole; files that a killed writer left unfinished begin with a dot, and so do lock and descent."""
    return sorted(path for path in directory.path.rglob("*") if path.is_file() and not path.name.startswith("."))


def _descent(directory: RunDirectory) -> str | None:
    try:
        return (directory.path / _DESCENT).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
