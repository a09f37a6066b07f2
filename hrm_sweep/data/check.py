"""Examines a puzzle folder that somebody else made: everything that is wrong with it, not only the first thing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hrm_sweep.data.folder import (
    FIELDS,
    IDENTIFIERS_FILE,
    METADATA_FILE,
    VALUE_FIELDS,
    IntArray,
    PuzzleSet,
    Split,
    SplitMetadata,
    array_paths,
    read_array,
    read_identifiers,
    read_metadata,
    require_order,
    require_same_task,
    require_shapes,
    require_values,
)
from hrm_sweep.data.solver import count_solutions
from hrm_sweep.data.sudoku import agree, are_solutions, board_of, digits_of_tokens, row_keys
from hrm_sweep.errors import DataError

# Of each split so many puzzles are looked at for a second solution; a thousand take about half a second.
_PUZZLES_SOLVED = 500

_EXAMPLES_AT_ONCE = 1 << 14

# mean_puzzle_examples may be rounded.
_MEAN_TOLERANCE = 0.01


class Level(StrEnum):
    """How bad a finding is: an error is refused by training or spoils it, a warning is worth knowing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class FolderFinding:
    """Something about a file of a puzzle folder; `file` is relative to it."""

    level: Level
    file: str
    message: str


@dataclass
class _Findings:
    folder: Path
    found: list[FolderFinding] = field(default_factory=list)

    def error(self, path: Path, message: str) -> None:
        self.found.append(FolderFinding(Level.ERROR, self._relative(path), message))

    def warning(self, path: Path, message: str) -> None:
        self.found.append(FolderFinding(Level.WARNING, self._relative(path), message))

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()

    def add(self, error: DataError) -> None:
        """Make a finding of an error, whose message begins with the file."""
        file, _, message = str(error).removeprefix(f"{self.folder}{os.sep}").partition(": ")
        self.found.append(FolderFinding(Level.ERROR, Path(file).as_posix(), message))

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Add a DataError that is raised in the block, and go on behind it."""
        try:
            yield
        except DataError as error:
            self.add(error)


def check_folder(path: str | Path) -> list[FolderFinding]:
    """All findings on a puzzle folder of any task, errors first. Empty: nothing to complain about.

    Every array is read whole. Raises DataError when `path` is no folder.
    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: expected a puzzle folder, found {'a file' if path.exists() else 'nothing'}")
    findings = _Findings(path)
    train, test = _check_split(path / "train", findings), _check_split(path / "test", findings)
    if train is not None:
        _check_identifiers(path / IDENTIFIERS_FILE, train.metadata, findings)
        _check_length_of_epoch(path / "train" / METADATA_FILE, train, findings)
    if train is not None and test is not None:
        with findings.collected():
            require_same_task(path, train.metadata, test.metadata)
            _check_against_train(path / "test", train, test, findings)
    return sorted(findings.found, key=lambda finding: finding.level)


def _check_split(path: Path, findings: _Findings) -> Split | None:
    """The split, when it can be read to the end."""
    complain = findings.error if path.name == "train" else findings.warning
    without = "nothing to train on" if path.name == "train" else "training works, evaluation does not"
    if not path.is_dir():
        complain(path, f"no such folder: {without}")
        return None
    try:
        metadata = read_metadata(path / METADATA_FILE)
    except DataError as error:
        findings.add(error)
        return None
    for stray in sorted(path.glob(f"*__{FIELDS[0]}.npy")):
        name = stray.name.removesuffix(f"__{FIELDS[0]}.npy")
        if name not in metadata.sets:
            findings.warning(stray, f"never read, for {name} is not among sets in {METADATA_FILE}")
    read = [_check_set(path, name, metadata, findings) for name in metadata.sets]
    sets = tuple(puzzle_set for puzzle_set in read if puzzle_set is not None)
    if len(sets) < len(read):
        return None
    split = Split(metadata, sets)
    if split.n_examples == 0:
        complain(path, f"no example in it: {without}")
    return split


def _check_set(folder: Path, name: str, metadata: SplitMetadata, findings: _Findings) -> PuzzleSet | None:
    """The set, when its files can be read, hold what they may, and fit each other."""
    before = len(findings.found)
    paths = array_paths(folder, name)
    arrays: dict[str, IntArray] = {}
    for key, path in paths.items():
        with findings.collected():
            arrays[key] = read_array(path, key)
    for key in VALUE_FIELDS:
        if key in arrays:
            with findings.collected():
                require_values(paths[key], key, arrays[key], metadata)
    if len(arrays) < len(FIELDS):
        return None
    puzzle_set = PuzzleSet(name, **arrays)
    with findings.collected():
        require_shapes(puzzle_set, metadata, paths)
    with findings.collected():
        require_order(puzzle_set, paths)
    if len(findings.found) > before:
        return None
    empty = int((np.diff(puzzle_set.puzzle_indices) == 0).sum())
    if empty:
        findings.warning(paths["puzzle_indices"], f"{empty} puzzles have no example")
    _check_labels(paths["labels"], puzzle_set, metadata, findings)
    _check_sudoku(paths["labels"], puzzle_set, metadata, findings)
    return puzzle_set


def _check_labels(path: Path, puzzle_set: PuzzleSet, metadata: SplitMetadata, findings: _Findings) -> None:
    if metadata.ignore_label_id is None:
        return
    nothing_counts = sum(
        int((puzzle_set.labels[rows] == metadata.ignore_label_id).all(axis=1).sum()) for rows in _parts(puzzle_set)
    )
    if nothing_counts:
        findings.warning(path, f"{nothing_counts} examples have no label that counts; each is as good as solved")


def _check_sudoku(path: Path, puzzle_set: PuzzleSet, metadata: SplitMetadata, findings: _Findings) -> None:
    """Rules of sudoku, where the task is one."""
    board = board_of(metadata, puzzle_set.labels)
    if board is None:
        return
    labels, questions = digits_of_tokens(puzzle_set.labels), digits_of_tokens(puzzle_set.inputs)
    solved = are_solutions(board, labels)
    _complain_of_rows(path, ~solved, "labels are no solved sudoku, while the rest of the set is", findings)
    contradicted = solved & ~agree(questions, labels)
    _complain_of_rows(path, contradicted, "labels contradict the digits that the inputs give", findings)
    sample = np.linspace(0, puzzle_set.n_examples - 1, min(_PUZZLES_SOLVED, puzzle_set.n_examples)).astype(int)
    ambiguous = int((count_solutions(board.size, questions[sample]) > 1).sum())
    if ambiguous:
        findings.warning(
            path, f"{ambiguous} of {len(sample)} puzzles looked at have several solutions; the labels know one of them"
        )


def _complain_of_rows(path: Path, bad: npt.NDArray[np.bool_], what: str, findings: _Findings) -> None:
    if bad.any():
        findings.error(path, f"{int(bad.sum())} examples, the first is number {int(bad.argmax())}: {what}")


def _check_identifiers(path: Path, metadata: SplitMetadata, findings: _Findings) -> None:
    if not path.exists():
        findings.warning(path, "missing; puzzles are then known by number only")
        return
    with findings.collected():
        names = read_identifiers(path)
        if len(names) != metadata.num_puzzle_identifiers:
            findings.warning(
                path, f"{len(names)} names, but num_puzzle_identifiers is {metadata.num_puzzle_identifiers}"
            )


def _check_length_of_epoch(path: Path, train: Split, findings: _Findings) -> None:
    """What the number of optimizer steps is computed from: HRM_SPEC 3."""
    groups = sum(puzzle_set.n_groups for puzzle_set in train.sets)
    if groups != train.metadata.total_groups:
        findings.error(
            path,
            f"total_groups is {train.metadata.total_groups}, but the sets have {groups} groups; "
            "the length of training is computed from it",
        )
    puzzles = sum(puzzle_set.n_puzzles for puzzle_set in train.sets)
    mean = train.n_examples / max(1, puzzles)
    if abs(mean - train.metadata.mean_puzzle_examples) > _MEAN_TOLERANCE * mean:
        findings.warning(
            path,
            f"mean_puzzle_examples is {train.metadata.mean_puzzle_examples:g}, but a puzzle has {mean:g} examples on "
            "average; the length of training is computed from it",
        )


def _check_against_train(path: Path, train: Split, test: Split, findings: _Findings) -> None:
    """Test examples that training sees too, and puzzle identifiers that it never sees."""
    known = np.concatenate([_example_keys(puzzle_set) for puzzle_set in train.sets])
    asked = np.concatenate([_example_keys(puzzle_set) for puzzle_set in test.sets])
    seen = int(np.isin(asked, known).sum())
    if seen:
        findings.warning(path, f"{seen} of {len(asked)} test examples have inputs that stand in the train split too")
    trained = np.concatenate([np.unique(puzzle_set.puzzle_identifiers) for puzzle_set in train.sets])
    tested = np.unique(np.concatenate([puzzle_set.puzzle_identifiers for puzzle_set in test.sets]))
    untrained = int((~np.isin(tested, trained)).sum())
    if untrained:
        findings.warning(
            path, f"{untrained} of {len(tested)} puzzle identifiers never occur in training; their embedding stays zero"
        )


def _example_keys(puzzle_set: PuzzleSet) -> npt.NDArray[np.uint64]:
    """A number for the inputs of each example. Inputs are tokens: those above 65,535 may be taken for one another."""
    parts = [row_keys(puzzle_set.inputs[rows].astype(np.uint16).view(np.uint8)) for rows in _parts(puzzle_set)]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _parts(puzzle_set: PuzzleSet) -> Iterator[slice]:
    """Slices of examples, so that what is computed from a mapped array never needs the whole of it in memory."""
    for start in range(0, puzzle_set.n_examples, _EXAMPLES_AT_ONCE):
        yield slice(start, start + _EXAMPLES_AT_ONCE)
