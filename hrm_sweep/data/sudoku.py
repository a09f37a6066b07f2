"""Sudoku: boards, their tokens, and puzzles as arrays. Sizes 4, 6 (boxes of 2 rows by 3 columns) and 9."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrm_sweep.data.folder import IntArray, PuzzleSet, Split, SplitMetadata

Digits = npt.NDArray[np.uint8]

PAD_TOKEN = 0
BLANK_TOKEN = 1  # digit d is token d + 1
SET_NAME = "all"
IDENTIFIERS = ("<blank>",)

# A task whose shape is that of sudoku is one when so many of its labels are solved grids.
_SUDOKU_SHARE = 0.5

# Rows looked at together where a check needs temporary arrays: a few megabytes, which stay in the cache.
_ROWS_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Board:
    """The shape of a sudoku: `size` digits, boxes of `box_height` rows by `box_width` columns."""

    size: int
    box_height: int
    box_width: int
    fewest_givens: int  # no puzzle with fewer givens has a single solution

    @property
    def cells(self) -> int:
        return self.size * self.size

    @property
    def vocab_size(self) -> int:
        return self.size + 2

    @property
    def all_digits(self) -> int:
        """Bit mask of every digit; digit d is bit d - 1."""
        return (1 << self.size) - 1

    def boxes(self, grids: IntArray) -> IntArray:
        """A view of (size, size, N) as (bands, rows of a box, stacks, columns of a box, N)."""
        n, h, w = self.size, self.box_height, self.box_width
        return grids.reshape(n // h, h, n // w, w, grids.shape[-1])


BOARDS = {4: Board(4, 2, 2, 4), 6: Board(6, 2, 3, 8), 9: Board(9, 3, 3, 17)}


@dataclass(frozen=True)
class Puzzles:
    """Puzzles with their solutions. Row by row, 0 = blank.

    questions, answers   (N, size * size) uint8
    """

    size: int
    questions: Digits
    answers: Digits

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def board(self) -> Board:
        return BOARDS[self.size]

    def take(self, rows: IntArray | npt.NDArray[np.bool_] | slice) -> Puzzles:
        return Puzzles(self.size, self.questions[rows], self.answers[rows])


def no_puzzles(size: int) -> Puzzles:
    empty = np.empty((0, size * size), np.uint8)
    return Puzzles(size, empty, empty)


def concatenated(parts: list[Puzzles], size: int) -> Puzzles:
    if not parts:
        return no_puzzles(size)
    return Puzzles(
        size,
        np.concatenate([part.questions for part in parts]),
        np.concatenate([part.answers for part in parts]),
    )


def are_solutions(board: Board, answers: Digits) -> npt.NDArray[np.bool_]:
    """Whether each row of (N, cells) holds every digit once in every row, column and box."""
    good = np.empty(len(answers), bool)
    n, full = board.size, board.all_digits
    # Digits from 1; a cell that is none (blank, too large) gets no bit and is missed.
    bit_of = np.zeros(256, np.uint16)
    bit_of[1 : n + 1] = 1 << np.arange(n)
    for start in range(0, len(answers), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        bits = np.ascontiguousarray(bit_of[answers[rows]].T).reshape(n, n, -1)
        in_rows = np.bitwise_or.reduce(bits, axis=1) == full
        in_columns = np.bitwise_or.reduce(bits, axis=0) == full
        in_boxes = np.bitwise_or.reduce(board.boxes(bits), axis=(1, 3)) == full
        good[rows] = in_rows.all(axis=0) & in_columns.all(axis=0) & in_boxes.all(axis=(0, 1))
    return good


def agree(questions: Digits, answers: Digits) -> npt.NDArray[np.bool_]:
    """Whether every given of a question stands in its answer, row by row of (N, cells)."""
    good = np.empty(len(questions), bool)
    for start in range(0, len(questions), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        good[rows] = ((questions[rows] == 0) | (questions[rows] == answers[rows])).all(axis=1)
    return good


def digits_of_tokens(cells: IntArray) -> Digits:
    """Tokens as digits, 0 for whatever is none: blank, padding, a label that does not count."""
    return (np.clip(cells, BLANK_TOKEN, 255) - BLANK_TOKEN).astype(np.uint8)


def board_of(metadata: SplitMetadata, labels: IntArray) -> Board | None:
    """The board of a task whose labels (N, cells) these are, None where it is no sudoku.

    Its shape and vocabulary are those of a board, and most labels are solved grids; by chance none is.
    """
    boards = (board for board in BOARDS.values() if (board.cells, board.vocab_size) == _shape(metadata))
    board = next(boards, None)
    if board is None or not len(labels):
        return None
    return board if are_solutions(board, digits_of_tokens(labels)).mean() >= _SUDOKU_SHARE else None


def _shape(metadata: SplitMetadata) -> tuple[int, int]:
    return metadata.seq_len, metadata.vocab_size


def row_keys(rows: Digits) -> npt.NDArray[np.uint64]:
    """A 64-bit number for each row of (N, cells), equal for equal rows and, but for bad luck, only for those."""
    words = -(-rows.shape[1] // 8)
    factors = np.random.default_rng(0x6B657973).integers(1, 2**63, words, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        padded = np.zeros((len(part), words * 8), np.uint8)
        padded[:, : rows.shape[1]] = part
        mixed = padded.view(np.uint64) * factors
        mixed ^= mixed >> np.uint64(29)
        keys[start : start + len(part)] = (mixed * factors[::-1]).sum(axis=1, dtype=np.uint64)
    return keys


def sudoku_split(size: int, inputs: Digits, labels: Digits, puzzles_per_group: int) -> Split:
    """A split in which every row is a puzzle of one example, and neighbours form groups. `inputs`, `labels`: tokens."""
    board, rows = BOARDS[size], len(inputs)
    puzzle_set = PuzzleSet(
        name=SET_NAME,
        inputs=inputs,
        labels=labels,
        puzzle_identifiers=np.zeros(rows, np.int32),
        puzzle_indices=np.arange(rows + 1, dtype=np.int32),
        group_indices=np.arange(0, rows + 1, puzzles_per_group, dtype=np.int32),
    )
    metadata = SplitMetadata(
        pad_id=PAD_TOKEN,
        ignore_label_id=PAD_TOKEN,
        blank_identifier_id=0,
        vocab_size=board.vocab_size,
        seq_len=board.cells,
        num_puzzle_identifiers=1,
        total_groups=rows // puzzles_per_group,
        mean_puzzle_examples=1,
        sets=(SET_NAME,),
    )
    return Split(metadata, (puzzle_set,))
