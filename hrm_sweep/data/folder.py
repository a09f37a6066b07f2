"""The puzzle folder: the on-disk format of HRM_SPEC 4, read memory-mapped and written atomically.

    DIR/identifiers.json
    DIR/{train,test}/dataset.json
    DIR/{train,test}/SET__{inputs,labels,puzzle_identifiers,puzzle_indices,group_indices}.npy

Any task has this form: sudoku, mazes, ARC. A folder without a test split (or with one that holds no example) can be
opened and trained on; asking for its `test` is what raises.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hrm_sweep.data.replace import folder_replaced_atomically
from hrm_sweep.errors import DataError

IntArray = npt.NDArray[np.integer[Any]]

SPLITS = ("train", "test")
FIELDS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
VALUE_FIELDS = ("inputs", "labels", "puzzle_identifiers")
METADATA_FILE = "dataset.json"
IDENTIFIERS_FILE = "identifiers.json"

# What is read of inputs and labels when a folder is opened: all of it up to this size, evenly spaced rows beyond. A
# pass over 200 MB in the page cache takes about 20 ms; `check_folder` reads everything.
_OPENING_SCAN_BYTES = 200_000_000


@dataclass(frozen=True)
class SplitMetadata:
    """The content of dataset.json.

    pad_id                   token of padded cells and of the inputs of padded rows.
    ignore_label_id          label that is not counted (it becomes -100), None when every label counts.
    blank_identifier_id      puzzle identifier of padded rows.
    vocab_size, seq_len      tokens are 0 .. vocab_size - 1; cells of a puzzle.
    num_puzzle_identifiers   rows of the puzzle embedding.
    total_groups             groups of all sets together; an epoch draws one puzzle of each.
    mean_puzzle_examples     mean number of examples of a puzzle.
    sets                     names of the sets, in the order in which they are trained and tested.
    """

    pad_id: int
    ignore_label_id: int | None
    blank_identifier_id: int
    vocab_size: int
    seq_len: int
    num_puzzle_identifiers: int
    total_groups: int
    mean_puzzle_examples: float
    sets: tuple[str, ...]

    def to_json(self) -> str:
        mean = self.mean_puzzle_examples
        return json.dumps(
            {
                "pad_id": self.pad_id,
                "ignore_label_id": self.ignore_label_id,
                "blank_identifier_id": self.blank_identifier_id,
                "vocab_size": self.vocab_size,
                "seq_len": self.seq_len,
                "num_puzzle_identifiers": self.num_puzzle_identifiers,
                "total_groups": self.total_groups,
                "mean_puzzle_examples": int(mean) if mean == int(mean) else mean,
                "sets": list(self.sets),
            }
        )


@dataclass(frozen=True)
class PuzzleSet:
    """One named set of a split.

    inputs, labels       (examples, seq_len) integers.
    puzzle_identifiers   (puzzles,)
    puzzle_indices       (puzzles + 1,) puzzle p has the examples puzzle_indices[p] .. puzzle_indices[p + 1] - 1.
    group_indices        (groups + 1,)  group g has the puzzles group_indices[g] .. group_indices[g + 1] - 1.
    """

    name: str
    inputs: IntArray
    labels: IntArray
    puzzle_identifiers: IntArray
    puzzle_indices: IntArray
    group_indices: IntArray

    @property
    def n_examples(self) -> int:
        return len(self.inputs)

    @property
    def n_puzzles(self) -> int:
        return len(self.puzzle_identifiers)

    @property
    def n_groups(self) -> int:
        return len(self.group_indices) - 1

    def puzzle_of(self, examples: IntArray) -> IntArray:
        """The puzzle that each of these examples belongs to."""
        return np.searchsorted(self.puzzle_indices, examples, side="right") - 1


@dataclass(frozen=True)
class Split:
    """One half of a puzzle folder. The arrays of a split that was read from disk are memory-mapped and read-only."""

    metadata: SplitMetadata
    sets: tuple[PuzzleSet, ...]

    @property
    def n_examples(self) -> int:
        return sum(puzzle_set.n_examples for puzzle_set in self.sets)


@dataclass(frozen=True)
class PuzzleFolder:
    """An open puzzle folder. `identifiers` names the puzzle identifiers; empty when the folder has no such file."""

    path: Path
    train: Split
    test_split: Split | None
    identifiers: tuple[str, ...]

    @property
    def test(self) -> Split:
        """The test split. Raises DataError when there is none, or when it holds no example."""
        if self.test_split is None or self.test_split.n_examples == 0:
            found = "no such folder" if self.test_split is None else "no example in it"
            raise DataError(
                f"{self.path / 'test'}: {found}, but evaluation needs test puzzles; add a test split "
                "in the layout of the train split (docs/data.md)"
            )
        return self.test_split


def open_folder(path: str | Path) -> PuzzleFolder:
    """Open a puzzle folder for training and evaluation.

    Raises DataError, naming file, what was found, what was expected and what to do: files that are missing or
    truncated, of a wrong dtype or shape, indices out of order, tokens outside the vocabulary.
    """
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise DataError(
            f"{path}: expected a puzzle folder, found {found}; "
            f"build one with `hrm-sweep data sudoku --output-dir {path}`"
        )
    train = read_split(path / "train")
    test = read_split(path / "test") if (path / "test").exists() else None
    if train.n_examples == 0:
        raise DataError(f"{path / 'train'}: no example in it; training needs at least one")
    if test is not None:
        require_same_task(path, train.metadata, test.metadata)
    return PuzzleFolder(path, train, test, read_identifiers(path / IDENTIFIERS_FILE))


def read_split(path: Path, *, scan_bytes: int | None = _OPENING_SCAN_BYTES) -> Split:
    """One split of a puzzle folder. Up to `scan_bytes` of each array of tokens are looked at; None means all."""
    metadata = read_metadata(path / METADATA_FILE)
    return Split(metadata, tuple(read_set(path, name, metadata, scan_bytes) for name in metadata.sets))


def read_metadata(path: Path) -> SplitMetadata:
    """Read dataset.json. Raises DataError naming the key."""
    record = _read_json(path)
    if not isinstance(record, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(record).__name__}")
    sets = _value(record, "sets", path)
    if not isinstance(sets, list) or not sets or not all(isinstance(name, str) and name for name in sets):
        raise DataError(f"{path}: sets: expected a list of at least one name, found {sets!r}")
    ignore = _value(record, "ignore_label_id", path)
    mean = _value(record, "mean_puzzle_examples", path)
    if isinstance(mean, bool) or not isinstance(mean, int | float) or not 0 <= mean < float("inf"):
        raise DataError(f"{path}: mean_puzzle_examples: expected a number >= 0, found {mean!r}")
    metadata = SplitMetadata(
        pad_id=_whole(record, "pad_id", path, 0),
        ignore_label_id=None if ignore is None else _whole(record, "ignore_label_id", path, None),
        blank_identifier_id=_whole(record, "blank_identifier_id", path, 0),
        vocab_size=_whole(record, "vocab_size", path, 1),
        seq_len=_whole(record, "seq_len", path, 1),
        num_puzzle_identifiers=_whole(record, "num_puzzle_identifiers", path, 1),
        total_groups=_whole(record, "total_groups", path, 0),
        mean_puzzle_examples=mean,
        sets=tuple(sets),
    )
    for key, value, bound in (
        ("pad_id", metadata.pad_id, metadata.vocab_size),
        ("blank_identifier_id", metadata.blank_identifier_id, metadata.num_puzzle_identifiers),
    ):
        if value >= bound:
            raise DataError(f"{path}: {key}: expected a value from 0 to {bound - 1}, found {value}")
    return metadata


def _value(record: Mapping[str, Any], key: str, path: Path) -> Any:
    if key not in record:
        raise DataError(f"{path}: {key}: missing; docs/data.md lists the keys of this file")
    return record[key]


def _whole(record: Mapping[str, Any], key: str, path: Path, least: int | None) -> int:
    value = _value(record, key, path)
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        expected = "a whole number" if least is None else f"a whole number >= {least}"
        raise DataError(f"{path}: {key}: expected {expected}, found {value!r}")
    return value


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: missing; a puzzle folder has one in each split (docs/data.md)") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def read_identifiers(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return ()
    names = _read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path}: expected a list of names, one for each puzzle identifier")
    return tuple(names)


def require_same_task(path: Path, train: SplitMetadata, test: SplitMetadata) -> None:
    for key in ("seq_len", "vocab_size", "num_puzzle_identifiers"):
        if getattr(train, key) != getattr(test, key):
            raise DataError(
                f"{path / 'test' / METADATA_FILE}: {key} is {getattr(test, key)}, but {getattr(train, key)} in the "
                "train split; both splits are fed to one model, so they must agree"
            )


def read_set(folder: Path, name: str, metadata: SplitMetadata, scan_bytes: int | None) -> PuzzleSet:
    paths = array_paths(folder, name)
    puzzle_set = PuzzleSet(name, **{field: read_array(paths[field], field) for field in FIELDS})
    require_shapes(puzzle_set, metadata, paths)
    require_order(puzzle_set, paths)
    for field in VALUE_FIELDS:
        require_values(paths[field], field, getattr(puzzle_set, field), metadata, scan_bytes)
    return puzzle_set


def array_paths(folder: Path, name: str) -> dict[str, Path]:
    """The files of the set `name`, by field."""
    return {field: folder / f"{name}__{field}.npy" for field in FIELDS}


def read_array(path: Path, field: str) -> IntArray:
    """A read-only integer array, mapped into memory. Raises DataError when the file is no such array."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: missing; docs/data.md lists the files of a split") from None
    except (ValueError, EOFError) as error:
        array = _read_empty_array(path)
        if array is None:
            raise DataError(
                f"{path}: truncated, or not a .npy file ({error}); delete the folder, then build or copy it again"
            ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path}: expected an array, found an archive of arrays; save it with numpy.save")
    if not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{path}: expected an array of integers, found {array.dtype}")
    dimensions = 2 if field in ("inputs", "labels") else 1
    if array.ndim != dimensions:
        raise DataError(f"{path}: expected {dimensions} dimension(s), found the shape {array.shape}")
    if field not in ("inputs", "labels") and array.dtype not in (np.int32, np.int64):
        return array.astype(np.int64)  # indices that can be subtracted and drawn between; rare, so not mapped
    # A plain view: indexing a np.memmap object costs several times the gather itself.
    return array.view(np.ndarray)


def _read_empty_array(path: Path) -> IntArray | None:
    """An array without elements, which cannot be mapped; None when that is not what the file is."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        return None
    return array if isinstance(array, np.ndarray) and array.size == 0 else None


def require_shapes(puzzle_set: PuzzleSet, metadata: SplitMetadata, paths: Mapping[str, Path]) -> None:
    if puzzle_set.inputs.shape[1] != metadata.seq_len:
        raise DataError(
            f"{paths['inputs']}: rows of {puzzle_set.inputs.shape[1]} cells, but seq_len is {metadata.seq_len} "
            f"in {METADATA_FILE}"
        )
    if puzzle_set.labels.shape != puzzle_set.inputs.shape:
        raise DataError(
            f"{paths['labels']}: expected the shape of the inputs, {puzzle_set.inputs.shape}, "
            f"found {puzzle_set.labels.shape}"
        )


def require_order(puzzle_set: PuzzleSet, paths: Mapping[str, Path]) -> None:
    """puzzle_indices cut the examples into puzzles, group_indices cut the puzzles into groups that are not empty."""
    for field, end, parts, what in (
        ("puzzle_indices", puzzle_set.n_examples, puzzle_set.n_puzzles, "examples"),
        ("group_indices", puzzle_set.n_puzzles, None, "puzzles"),
    ):
        indices: IntArray = getattr(puzzle_set, field)
        path = paths[field]
        if len(indices) == 0 or (parts is not None and len(indices) != parts + 1):
            expected = (
                "at least 1 entry" if parts is None else f"{parts + 1} entries (one more than puzzle_identifiers)"
            )
            raise DataError(f"{path}: expected {expected}, found {len(indices)}")
        if indices[0] != 0 or indices[-1] != end:
            raise DataError(
                f"{path}: expected to run from 0 to {end}, the number of {what}, found {indices[0]} to {indices[-1]}"
            )
        steps = np.diff(indices.astype(np.int64))
        # A puzzle without examples is skipped in training; a group without puzzles cannot be drawn from.
        least = 1 if field == "group_indices" else 0
        if len(steps) and steps.min() < least:
            at = int(np.argmax(steps < least))
            raise DataError(
                f"{path}: out of order: entry {at + 1} is {indices[at + 1]} after {indices[at]}; "
                f"expected {'rising' if least else 'never falling'} numbers"
            )


def require_values(
    path: Path, field: str, array: IntArray, metadata: SplitMetadata, scan_bytes: int | None = None
) -> None:
    """Tokens lie in the vocabulary, puzzle identifiers among those that are counted in dataset.json."""
    key = "num_puzzle_identifiers" if field == "puzzle_identifiers" else "vocab_size"
    bound: int = getattr(metadata, key)
    if scan_bytes is not None and array.nbytes > scan_bytes:
        array = array[:: -(-array.nbytes // scan_bytes)]
    if array.size == 0 or (array.min() >= 0 and array.max() < bound):
        return
    bad = (array < 0) | (array >= bound)
    if field == "labels" and metadata.ignore_label_id is not None:
        bad &= array != metadata.ignore_label_id  # a label that is not counted may be any number, for example -100
    if bad.any():
        raise DataError(
            f"{path}: expected values from 0 to {bound - 1} ({key} in {METADATA_FILE} is {bound}), "
            f"found {array[bad][0]}; correct the file or {key}"
        )


def write_split(path: Path, split: Split) -> None:
    """Write one split into the folder `path`, which is made. Not atomic by itself: see `write_folder`."""
    path.mkdir(parents=True)
    (path / METADATA_FILE).write_text(split.metadata.to_json(), encoding="utf-8")
    for puzzle_set in split.sets:
        for field in FIELDS:
            _save_array(path / f"{puzzle_set.name}__{field}.npy", getattr(puzzle_set, field))


def _save_array(path: Path, array: IntArray) -> None:
    """The bytes of numpy.save, which does not tell a full disk from another failure."""
    with path.open("wb") as file:
        contiguous = np.ascontiguousarray(array)
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(contiguous))
        file.write(contiguous.data)


def write_folder(
    path: Path,
    *,
    train: Split,
    test: Split | None,
    identifiers: Sequence[str],
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write a puzzle folder: it is there completely or not at all, and takes the place of a folder that was there.

    `notes` are further text files by name. Raises DataError when the disk is full or the place cannot be written.
    """
    with folder_replaced_atomically(path) as temporary:
        for name, split in (("train", train), ("test", test)):
            if split is not None:
                write_split(temporary / name, split)
        (temporary / IDENTIFIERS_FILE).write_text(json.dumps(list(identifiers)), encoding="utf-8")
        for name, text in (notes or {}).items():
            (temporary / name).write_text(text, encoding="utf-8")
