"""Which examples make a batch, in which order: HRM_SPEC 4. Pure functions of a split and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrm_sweep.data.folder import IntArray, PuzzleSet, Split, SplitMetadata

IGNORED_LABEL = -100

# Puzzles are drawn this many groups at a time, so that memory does not grow with the length of an interval.
_GROUPS_AT_ONCE = 1 << 16
# Sets the second generator, of examples within a puzzle, apart from the first.
_EXAMPLES_STREAM = 0x6578


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together.

    inputs              (B, S) int32
    labels              (B, S) int32, -100 where a cell is not counted
    puzzle_identifiers  (B,) int32
    effective           rows that are examples; the rest, at the end, is padding
    """

    inputs: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int32]
    puzzle_identifiers: npt.NDArray[np.int32]
    effective: int


def train_iteration(
    split: Split, *, seed: int, iteration: int, global_batch_size: int, epochs_per_iter: int, skip: int = 0
) -> Iterator[tuple[str, Batch]]:
    """The (set name, batch) pairs of training iteration 1, 2, ...: one evaluation interval of `epochs_per_iter` epochs.

    Sets are taken one after another, each with a random generator of its own, Philox(seed + counter), whose counter
    goes up by one with every set. A group gives one puzzle, a puzzle as many of its examples as still fit; what does
    not fill a batch at the end of a set is dropped. `skip` leaves out that many batches at the start, at little cost.
    """
    counter = (iteration - 1) * len(split.sets)
    for puzzle_set in split.sets:
        counter += 1
        rng = np.random.Generator(np.random.Philox(seed + counter))
        for number, (puzzles, taken) in enumerate(
            _drawn_puzzles(puzzle_set, rng, global_batch_size=global_batch_size, epochs=epochs_per_iter)
        ):
            if skip:
                skip -= 1
                continue
            examples, puzzle_of_example = _examples_of(puzzle_set, puzzles, taken, (seed, counter, number))
            yield puzzle_set.name, _gather(puzzle_set, split.metadata, examples, puzzle_of_example)


def _drawn_puzzles(
    puzzle_set: PuzzleSet, rng: np.random.Generator, *, global_batch_size: int, epochs: int
) -> Iterator[tuple[IntArray, IntArray]]:
    """For each full batch: the puzzles drawn (P,), and how many examples are taken of each (P,)."""
    # int32 halves the memory of the order, which is the only thing here that grows with the interval.
    epochs_of_groups = np.empty((epochs, puzzle_set.n_groups), np.int32)
    for epoch in epochs_of_groups:
        epoch[:] = rng.permutation(puzzle_set.n_groups)
    order = epochs_of_groups.ravel()
    waiting = np.empty(0, np.int64)
    for start in range(0, len(order), _GROUPS_AT_ONCE):
        groups = order[start : start + _GROUPS_AT_ONCE]
        # One call with arrays draws the same numbers as a call for each group in turn; a test holds numpy to that.
        drawn = rng.integers(puzzle_set.group_indices[groups], puzzle_set.group_indices[groups + 1])
        waiting = np.concatenate([waiting, drawn])
        sizes = (puzzle_set.puzzle_indices[waiting + 1] - puzzle_set.puzzle_indices[waiting]).astype(np.int64)
        filled = np.cumsum(sizes)
        first = before = 0
        while True:
            last = int(np.searchsorted(filled, before + global_batch_size))
            if last >= len(filled):
                break
            taken = sizes[first : last + 1].copy()
            taken[-1] -= filled[last] - before - global_batch_size
            yield waiting[first : last + 1], taken
            first, before = last + 1, int(filled[last])
        waiting = waiting[first:]


def _examples_of(
    puzzle_set: PuzzleSet, puzzles: IntArray, taken: IntArray, stream: tuple[int, int, int]
) -> tuple[IntArray, IntArray]:
    """The examples taken, (B,), and the puzzle of each, (B,)."""
    starts = puzzle_set.puzzle_indices[puzzles].astype(np.int64)
    sizes = puzzle_set.puzzle_indices[puzzles + 1] - starts
    if len(sizes) == taken.sum() and sizes.max(initial=0) == 1:
        return starts, puzzles
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([*stream, _EXAMPLES_STREAM])))
    parts = [
        start + rng.permutation(int(size))[:count] for start, size, count in zip(starts, sizes, taken, strict=True)
    ]
    return np.concatenate(parts), np.repeat(puzzles, taken)


def test_batches(split: Split, *, batch_size: int) -> Iterator[tuple[str, Batch]]:
    """The (set name, batch) pairs of a whole split, in order; the last batch of each set is padded to `batch_size`."""
    for puzzle_set in split.sets:
        for start in range(0, puzzle_set.n_examples, batch_size):
            examples = np.arange(start, min(start + batch_size, puzzle_set.n_examples))
            batch = _gather(puzzle_set, split.metadata, examples, puzzle_set.puzzle_of(examples))
            yield puzzle_set.name, padded(batch, split.metadata, batch_size)


# pytest would otherwise take an imported `test_batches` for a test.
test_batches.__test__ = False  # type: ignore[attr-defined]


def padded(batch: Batch, metadata: SplitMetadata, batch_size: int) -> Batch:
    """The batch with rows added up to `batch_size`: pad_id, ignored labels, the blank identifier."""
    missing = batch_size - len(batch.inputs)
    if missing <= 0:
        return batch
    rows = ((0, missing), (0, 0))
    return Batch(
        inputs=np.pad(batch.inputs, rows, constant_values=metadata.pad_id),
        labels=np.pad(batch.labels, rows, constant_values=IGNORED_LABEL),
        puzzle_identifiers=np.pad(batch.puzzle_identifiers, (0, missing), constant_values=metadata.blank_identifier_id),
        effective=batch.effective,
    )


def take_examples(split: Split, indices: IntArray) -> Batch:
    """The examples `indices`, counted over all sets in order, as one batch without padding. Raises IndexError."""
    indices = np.asarray(indices)
    if indices.size and not (indices.min() >= 0 and indices.max() < split.n_examples):
        raise IndexError(f"examples are numbered 0 to {split.n_examples - 1}, got {indices.min()} to {indices.max()}")
    cells = (len(indices), split.metadata.seq_len)
    inputs, labels = np.empty(cells, np.int32), np.empty(cells, np.int32)
    identifiers = np.empty(len(indices), np.int32)
    first = 0
    for puzzle_set in split.sets:
        here = (indices >= first) & (indices < first + puzzle_set.n_examples)
        examples = indices[here] - first
        part = _gather(puzzle_set, split.metadata, examples, puzzle_set.puzzle_of(examples))
        inputs[here], labels[here], identifiers[here] = part.inputs, part.labels, part.puzzle_identifiers
        first += puzzle_set.n_examples
    return Batch(inputs, labels, identifiers, len(indices))


def _gather(puzzle_set: PuzzleSet, metadata: SplitMetadata, examples: IntArray, puzzles: IntArray) -> Batch:
    labels = puzzle_set.labels[examples].astype(np.int32)
    if metadata.ignore_label_id is not None:
        labels[labels == metadata.ignore_label_id] = IGNORED_LABEL
    return Batch(
        inputs=puzzle_set.inputs[examples].astype(np.int32),
        labels=labels,
        puzzle_identifiers=puzzle_set.puzzle_identifiers[puzzles].astype(np.int32),
        effective=len(examples),
    )
