"""The symmetries of a sudoku: changes of a puzzle that leave it a puzzle, of its solution that leave it the solution.

Digits are renamed; bands and stacks, rows within bands and columns within stacks are permuted; where boxes are square
the grid is transposed. All of it for many puzzles at once: one table lookup moves the cells, another names the digits.
"""

from __future__ import annotations

import numpy as np

from hrm_sweep.data.folder import IntArray
from hrm_sweep.data.sudoku import BLANK_TOKEN, Board, Digits, Puzzles

# Copies made together: their indices take 64-bit numbers, 10 MB of them for 81 cells.
_COPIES_AT_ONCE = 1 << 14

# A given and its digit in one byte, so that one lookup moves question and answer together.
_GIVEN = 16


def tokens(puzzles: Puzzles) -> tuple[Digits, Digits]:
    """Inputs and labels (N, cells): 1 for a blank, digit + 1 otherwise."""
    return puzzles.questions + np.uint8(1), puzzles.answers + np.uint8(1)


def augmented_tokens(puzzles: Puzzles, copies: int, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Inputs and labels (N * (1 + copies), cells): each puzzle, followed by `copies` random symmetric ones of it."""
    board, each = puzzles.board, 1 + copies
    inputs = np.empty((len(puzzles) * each, board.cells), np.uint8)
    labels = np.empty_like(inputs)
    inputs[::each], labels[::each] = tokens(puzzles)
    rows = np.arange(len(inputs)).reshape(len(puzzles), each)[:, 1:].ravel()
    for start in range(0, len(rows), _COPIES_AT_ONCE):
        part = rows[start : start + _COPIES_AT_ONCE]
        inputs[part], labels[part] = symmetric_tokens(puzzles, part // each, rng)
    return inputs, labels


def symmetric_tokens(puzzles: Puzzles, rows: IntArray, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Inputs and labels (len(rows), cells): a random symmetric puzzle of each puzzle that `rows` names."""
    board = puzzles.board
    packed = puzzles.answers + _GIVEN * (puzzles.questions != 0).astype(np.uint8)
    cells = random_cell_orders(board, len(rows), rng) + (rows * board.cells)[:, None]
    moved = packed.ravel().take(cells)
    # One table for each copy, in one flat array: packed byte -> label, and -> input.
    width = 2 * _GIVEN
    label_of = np.zeros((len(rows), width), np.uint8)
    label_of[:, 1 : board.size + 1] = _shuffled(len(rows), board.size, rng) + 2
    label_of[:, _GIVEN:] = label_of[:, :_GIVEN]
    input_of = label_of.copy()
    input_of[:, :_GIVEN] = BLANK_TOKEN
    entry = moved + (np.arange(len(rows)) * width)[:, None]
    return input_of.ravel().take(entry), label_of.ravel().take(entry)


def random_cell_orders(board: Board, count: int, rng: np.random.Generator) -> IntArray:
    """(count, cells): which cell of the old grid stands at each place of the new one."""
    rows = _random_lines(count, board.size, board.box_height, rng)
    columns = _random_lines(count, board.size, board.box_width, rng)
    by_row, by_column = rows[:, :, None], columns[:, None, :]
    cells = by_row * board.size + by_column
    if board.box_height == board.box_width:
        transposed = rng.random(count) < 0.5
        cells[transposed] = cells[transposed].transpose(0, 2, 1)
    return cells.reshape(count, board.cells)


def _random_lines(count: int, size: int, thickness: int, rng: np.random.Generator) -> IntArray:
    """(count, size): rows in bands of `thickness`, the bands permuted and the rows within each. Columns alike."""
    bands = size // thickness
    band = _shuffled(count, bands, rng)[:, :, None]
    within = rng.random((count, bands, thickness)).argsort(axis=2)
    return (band * thickness + within).reshape(count, size)


def _shuffled(count: int, length: int, rng: np.random.Generator) -> IntArray:
    """(count, length): independent random orders of 0 .. length - 1."""
    return rng.random((count, length)).argsort(axis=1)
