"""Builds puzzle folders of sudoku from a DataConfig, and keeps them for the next time."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from hrm_sweep.config import DataConfig
from hrm_sweep.data.augment import augmented_tokens, symmetric_tokens, tokens
from hrm_sweep.data.folder import open_folder, write_folder
from hrm_sweep.data.generator import Progress
from hrm_sweep.data.request import fingerprint, resolved, short_hash
from hrm_sweep.data.sources import puzzles_of
from hrm_sweep.data.sudoku import IDENTIFIERS, Digits, Puzzles, row_keys, sudoku_split
from hrm_sweep.errors import DataError

# Marks a folder as built here, and says from what.
BUILD_FILE = "build.json"

# How often a copy that equals a test puzzle is drawn anew before the original takes its place.
_REDRAWS = 20


@dataclass(frozen=True)
class Built:
    """What stands in a folder that was built, or that was found there already (`reused`)."""

    path: Path
    train_puzzles: int
    train_rows: int
    test_puzzles: int
    shared_puzzles: int  # puzzles of the source's train file that stand in its test file too
    reused: bool


def data_folder_for(config: DataConfig, root: Path = Path("data")) -> Path:
    """Where `ensure_data` puts this request. Builds nothing. Raises ConfigError, and DataError for a missing CSV."""
    request = resolved(config)
    return root / f"sudoku-{request.size}x{request.size}-{short_hash(fingerprint(request))}"


def ensure_data(config: DataConfig, root: Path = Path("data"), progress: Progress | None = None) -> Path:
    """The folder of this request under `root`, built when it is not there yet.

    Any number of processes may ask at once: one builds, the others wait. A folder is there completely or not at all.
    Raises ConfigError for a request that contradicts itself, DataError when it cannot be built.
    """
    folder = data_folder_for(config, root)
    if _found(folder, fingerprint(resolved(config))) is None:
        with _locked(root / f".{folder.name}.lock"):
            build_folder(config, folder, progress)  # finds it, when another process built it meanwhile
    return folder


def build_folder(
    config: DataConfig, output_dir: Path, progress: Progress | None = None, *, replace: bool = False
) -> Built:
    """Build the folder `output_dir`, or find that it holds this very request already.

    A folder that was built here from another request is replaced only with `replace`: runs may have been trained on it,
    and would be diagnosed and continued on puzzles that they never saw. Raises DataError for such a folder, for one
    with anything else in it, and when the request cannot be built; ConfigError for a request that contradicts itself.
    """
    request = resolved(config)
    marks = fingerprint(request)
    found = _found(output_dir, marks)
    if found is not None:
        return found
    _require_replaceable(output_dir, marks, replace)
    train, test = puzzles_of(request, progress)
    test_keys = np.sort(row_keys(test.questions))
    shared = int(np.isin(row_keys(train.questions), test_keys).sum())
    rng = np.random.default_rng(np.random.SeedSequence([request.seed, 2]))
    inputs, labels = augmented_tokens(train, request.num_aug, rng)
    if request.num_aug:
        _redraw_test_puzzles(train, inputs, labels, 1 + request.num_aug, test_keys, rng)
    counts = {
        "train_puzzles": len(train),
        "train_rows": len(inputs),
        "test_puzzles": len(test),
        "shared_puzzles": shared,
    }
    write_folder(
        output_dir,
        train=sudoku_split(request.size, inputs, labels, 1 + request.num_aug),
        test=sudoku_split(request.size, *tokens(test), 1),
        identifiers=IDENTIFIERS,
        notes={BUILD_FILE: json.dumps({"fingerprint": marks, "built": counts}, indent=1)},
    )
    return Built(output_dir, **counts, reused=False)


def _redraw_test_puzzles(
    train: Puzzles, inputs: Digits, labels: Digits, each: int, test_keys: np.ndarray[Any, Any], rng: np.random.Generator
) -> None:
    """Draw copies anew that are puzzles of the test split, in place: small boards have so few puzzles that some are."""
    rows = np.arange(len(inputs))
    for redraw in range(_REDRAWS + 1):
        rows = rows[np.isin(row_keys(inputs[rows] - np.uint8(1)), test_keys)]
        rows = rows[rows % each != 0]  # the originals stay as they are
        if len(rows) == 0:
            return
        if redraw < _REDRAWS:
            inputs[rows], labels[rows] = symmetric_tokens(train, rows // each, rng)
        else:
            inputs[rows], labels[rows] = inputs[rows // each * each], labels[rows // each * each]


def _found(folder: Path, marks: dict[str, Any]) -> Built | None:
    """What a folder holds that was built from this very request and is whole; None for any other, or none."""
    record = _build_record(folder)
    if record is None or record.get("fingerprint") != marks:
        return None
    try:
        open_folder(folder)
    except DataError:
        return None
    return Built(folder, **record["built"], reused=True)


def _require_replaceable(folder: Path, marks: dict[str, Any], replace: bool) -> None:
    """Raise DataError where something would be lost with this folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    record = _build_record(folder)
    if record is None:
        raise DataError(
            f"{folder}: holds something that was not built by `hrm-sweep data`; "
            "name another folder, or move this one away first"
        )
    if not replace and record.get("fingerprint") != marks:
        raise DataError(
            f"{folder}: holds other puzzles ({_difference(record.get('fingerprint'), marks)}), and runs may have been "
            "trained on them; name another folder, or replace them with --replace"
        )


def _difference(there: Any, asked: dict[str, Any]) -> str:
    """In what a folder's request differs from the one that is asked for: `max_blanks 6, asked for 8`."""
    before = there.get("request") if isinstance(there, dict) else None
    if not isinstance(before, dict):
        return f"{BUILD_FILE} does not say of which request"
    differing = [
        f"{key} {before.get(key)}, asked for {value}"
        for key, value in asked["request"].items()
        if before.get(key) != value
    ]
    return "; ".join(differing) or "built by another version, or from files that have changed since"


def _build_record(folder: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / BUILD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and "built" in record else None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for, then hold, a lock that the operating system takes back when this process ends, however it ends.

    Its file is removed by whoever holds the lock; who waited for a file that is gone by then takes the lock of the next
    one, so that at most one process builds. Where there are no such locks (Windows) several may; they build the same.
    """
    if os.name == "nt":
        yield
        return
    import fcntl  # not on Windows

    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("a")
        except OSError as error:
            raise DataError(f"{path.parent}: cannot be written: {error.strerror}; make it writable") from None
        with handle:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX)
            if not _is_open_file(handle, path):
                continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def _is_open_file(handle: IO[str], path: Path) -> bool:
    """Whether the file that is open is the one of this name, and not one that was removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
