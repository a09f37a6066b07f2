"""Solves many sudokus at once with naked and hidden singles, and by trying values where those end.

Everything here works on candidates: (size, size, N) uint16, one bit for each digit still possible in a cell, boards
last, so that one numpy call does one cell of all boards. Several thousand boards a millisecond and sweep on one core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hrm_sweep.data.folder import IntArray
from hrm_sweep.data.sudoku import BOARDS, Board, Digits

Candidates = npt.NDArray[np.uint16]
Mask = npt.NDArray[np.bool_]

# Boards worked on together: their temporary arrays just fit a second-level cache.
_BOARDS_AT_ONCE = 2048

_COUNT_OF_BITS = np.array([bits.bit_count() for bits in range(1 << max(BOARDS))], np.uint8)


@dataclass(frozen=True)
class Search:
    """What a search found, board by board.

    solutions   number of solutions, counted up to the limit of the search.
    first       (N, cells) one of the solutions; zeros where there is none.
    tried       candidate values that were tried.
    """

    solutions: npt.NDArray[np.int64]
    first: Digits
    tried: npt.NDArray[np.int64]


def solve(size: int, questions: Digits) -> Digits:
    """A solution of each puzzle, (N, cells); zeros where there is none."""
    return search(BOARDS[size], candidates_of(BOARDS[size], questions), limit=1).first


def count_solutions(size: int, questions: Digits, limit: int = 2) -> npt.NDArray[np.int64]:
    """The number of solutions of each puzzle, counted up to `limit`."""
    return search(BOARDS[size], candidates_of(BOARDS[size], questions), limit=limit).solutions


def rate(size: int, questions: Digits) -> npt.NDArray[np.int64]:
    """The rating of each puzzle with a single solution: how many candidate values have to be tried to solve it.

    The solver applies naked and hidden singles until nothing changes, then tries the values of the cell with the
    fewest candidates (the first such cell in reading order), and so on for each of them, until no branch is left. 0
    means that singles alone solve the puzzle. The order of the values makes no difference, for all are tried.
    """
    return search(BOARDS[size], candidates_of(BOARDS[size], questions), limit=2).tried


def candidates_of(board: Board, questions: Digits) -> Candidates:
    """The candidates (size, size, N) of questions (N, cells): the given digit, or every digit."""
    bits = np.array([board.all_digits, *(1 << digit for digit in range(board.size))], np.uint16)
    return np.ascontiguousarray(bits[questions].T).reshape(board.size, board.size, len(questions))


def digits_of(board: Board, candidates: Candidates) -> Digits:
    """(N, cells) digits, 0 where a cell has several candidates."""
    digit = np.zeros(board.all_digits + 1, np.uint8)
    digit[1 << np.arange(board.size)] = np.arange(1, board.size + 1)
    return np.ascontiguousarray(digit[candidates.reshape(board.cells, -1)].T)


def propagate(board: Board, candidates: Candidates) -> tuple[Candidates, Mask]:
    """Naked and hidden singles until nothing changes. Returns the candidates, and which boards (N,) are still alive."""
    alive = np.ones(candidates.shape[-1], bool)
    result = np.empty_like(candidates)
    working, where = candidates, np.arange(candidates.shape[-1])
    while len(where):
        swept, dead = _sweep(board, working)
        moving = (swept != working).any(axis=(0, 1)) & ~dead
        alive[where[dead]] = False
        if moving.all():
            working = swept
            continue
        result[:, :, where[~moving]] = swept[:, :, ~moving]
        where, working = where[moving], swept[:, :, moving]
    return result, alive


def _sweep(board: Board, candidates: Candidates) -> tuple[Candidates, Mask]:
    """One round of naked singles, then one of hidden singles. Returns new candidates, and the impossible boards."""
    n = board.size
    single = (candidates & (candidates - np.uint16(1))) == 0
    fixed = candidates * single
    dead = np.zeros(candidates.shape[-1], bool)
    taken = np.zeros_like(candidates)
    for fixed_view, taken_view, axes in (
        (fixed, taken, (1,)),
        (fixed, taken, (0,)),
        (board.boxes(fixed), board.boxes(taken), (1, 3)),
    ):
        digits = np.bitwise_or.reduce(fixed_view, axis=axes, keepdims=True)
        # A digit that is fixed twice in a unit makes the sum differ from the union.
        twice = digits != np.add.reduce(fixed_view, axis=axes, keepdims=True, dtype=np.uint16)
        dead |= twice.any(axis=tuple(range(twice.ndim - 1)))
        taken_view |= digits
    left = candidates & ~(taken * ~single)

    hidden = np.zeros_like(candidates)
    boxes = board.boxes(left)
    in_box = [boxes[:, row, :, column] for row in range(board.box_height) for column in range(board.box_width)]
    by_row, possible = _held_by_one([left[:, column] for column in range(n)])
    dead |= (possible != board.all_digits).any(axis=0)
    hidden |= by_row[:, None]
    by_column, possible = _held_by_one(list(left))
    dead |= (possible != board.all_digits).any(axis=0)
    hidden |= by_column
    by_box, possible = _held_by_one(in_box)
    dead |= (possible != board.all_digits).any(axis=(0, 1))
    board.boxes(hidden)[...] |= by_box[:, None, :, None]
    hidden &= left
    # Two digits whose only place is one cell.
    dead |= ((hidden & (hidden - np.uint16(1))) != 0).any(axis=(0, 1))
    return np.where(hidden != 0, hidden, left), dead


def _held_by_one(cells: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """Digits that are possible in exactly one of the cells of a unit, and in at least one."""
    once = cells[0].copy()
    more = np.zeros_like(once)
    for cell in cells[1:]:
        more |= once & cell
        once |= cell
    return once & ~more, once


def search(board: Board, candidates: Candidates, *, limit: int) -> Search:
    """Search every board until it has shown `limit` solutions, or until no branch is left. Boards: (size, size, N)."""
    boards = candidates.shape[-1]
    solutions = np.zeros(boards, np.int64)
    tried = np.zeros(boards, np.int64)
    first = np.zeros((boards, board.cells), np.uint8)
    waiting = [
        (candidates[:, :, at : at + _BOARDS_AT_ONCE], np.arange(at, min(at + _BOARDS_AT_ONCE, boards)))
        for at in range(0, boards, _BOARDS_AT_ONCE)
    ]
    while waiting:
        nodes, owners = waiting.pop()
        needed = solutions[owners] < limit
        nodes, owners = nodes[:, :, needed], owners[needed]
        nodes, alive = propagate(board, nodes)
        nodes, owners = nodes[:, :, alive], owners[alive]
        solved = ((nodes & (nodes - np.uint16(1))) == 0).all(axis=(0, 1))
        np.add.at(solutions, owners[solved], 1)
        first[owners[solved]] = digits_of(board, nodes[:, :, solved])
        children, parents = _branches(board, nodes[:, :, ~solved])
        owners = owners[~solved][parents]
        np.add.at(tried, owners, 1)
        waiting += [
            (children[:, :, at : at + _BOARDS_AT_ONCE], owners[at : at + _BOARDS_AT_ONCE])
            for at in range(0, len(owners), _BOARDS_AT_ONCE)
        ]
    return Search(np.minimum(solutions, limit), first, tried)


def fewest_candidates(board: Board, nodes: IntArray) -> IntArray:
    """For each board the first cell, in reading order, of those with the fewest candidates above one."""
    counts: Digits = _COUNT_OF_BITS[nodes.reshape(board.cells, -1)]
    counts[counts == 1] = board.size + 1
    cells: IntArray = counts.argmin(axis=0)
    return cells


def _branches(board: Board, nodes: Candidates) -> tuple[Candidates, IntArray]:
    """A copy of each board for each value of the cell that is tried. Returns the copies, and which board each is of."""
    flat = nodes.reshape(board.cells, -1)
    cell = fewest_candidates(board, nodes)
    values = flat[cell, np.arange(flat.shape[1])]
    parents, digits = np.nonzero((values[:, None] >> np.arange(board.size, dtype=np.uint16)) & 1)
    children = flat[:, parents]
    children[cell[parents], np.arange(len(parents))] = np.uint16(1) << digits.astype(np.uint16)
    return children.reshape(board.size, board.size, -1), parents
