"""Makes sudokus with a single solution, many at a time, and the same ones again from the same seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from hrm_sweep.data.folder import IntArray
from hrm_sweep.data.solver import Candidates, candidates_of, digits_of, fewest_candidates, propagate, rate, search
from hrm_sweep.data.sudoku import BOARDS, Board, Digits, Puzzles, concatenated, row_keys
from hrm_sweep.errors import DataError

# Changes when the same seed gives other puzzles, so that folders cached before are not taken for the new ones.
GENERATOR_VERSION = 1

# Boards made together. The sizes of successive rounds do not depend on how many puzzles are wanted: therefore a larger
# request begins with the puzzles of a smaller one.
_FIRST_ROUND, _LARGEST_ROUND = 32, 512

# A request is given up after this many rounds without one new puzzle that fits it (about 10,000 puzzles made).
_BARREN_ROUNDS = 20

Progress = Callable[[int, int], None]


def generate(
    size: int,
    count: int,
    *,
    seed: int | tuple[int, ...],
    min_blanks: int,
    max_blanks: int,
    min_rating: int | None = None,
    max_rating: int | None = None,
    exclude: Puzzles | None = None,
    progress: Progress | None = None,
) -> Puzzles:
    """`count` different puzzles, each with a single solution.

    The number of blanks of each is drawn evenly from min_blanks .. max_blanks; where no further given can be taken
    away before that, the puzzle counts if it has min_blanks. Ratings are those of `solver.rate`. None of the puzzles
    of `exclude` is made again. `progress` is called with (made so far, count).

    Raises DataError when such puzzles are too rare, or when there are not that many.
    """
    parts: list[Puzzles] = []
    known = row_keys(exclude.questions) if exclude is not None else np.empty(0, np.uint64)
    found = barren = made = 0
    rounds = _rounds()
    while found < count:
        if barren == _BARREN_ROUNDS:
            raise DataError(
                f"only {found} of {count} puzzles of size {size} with {min_blanks} to {max_blanks} blanks"
                f"{_rating_asked(min_rating, max_rating)} could be made: {made:,} were tried, the last ones all in "
                "vain; ask for fewer puzzles, for another number of blanks, or for a wider range of difficulty"
            )
        number, boards = next(rounds)
        rng = np.random.default_rng(np.random.SeedSequence([*_as_tuple(seed), size, number]))
        candidates = _random_puzzles(BOARDS[size], boards, min_blanks, max_blanks, rng)
        fitting = _new_ones(candidates, known)
        fitting = _of_rating(fitting, min_rating, max_rating).take(slice(count - found))
        known = np.concatenate([known, row_keys(fitting.questions)])
        parts.append(fitting)
        made, found, barren = made + boards, found + len(fitting), 0 if len(fitting) else barren + 1
        if progress is not None:
            progress(found, count)
    return concatenated(parts, size)


def _rounds() -> Iterator[tuple[int, int]]:
    """(number, boards) of round 0, 1, ...: few boards first, so that a small request is quick."""
    boards = _FIRST_ROUND
    for number in itertools.count():
        yield number, boards
        boards = min(2 * boards, _LARGEST_ROUND)


def _random_puzzles(board: Board, boards: int, min_blanks: int, max_blanks: int, rng: np.random.Generator) -> Puzzles:
    """At most `boards` puzzles: those that ended with `min_blanks` or more."""
    answers = random_grids(board, boards, rng)
    questions = dig(board, answers, rng.integers(min_blanks, max_blanks + 1, boards), rng)
    return Puzzles(board.size, questions, answers).take((questions == 0).sum(axis=1) >= min_blanks)


def _new_ones(puzzles: Puzzles, known: npt.NDArray[np.uint64]) -> Puzzles:
    """The puzzles whose keys are not `known`, each once, in their order."""
    keys, first = np.unique(row_keys(puzzles.questions), return_index=True)
    return puzzles.take(np.sort(first[~np.isin(keys, known)]))


def _of_rating(puzzles: Puzzles, low: int | None, high: int | None) -> Puzzles:
    if low is None and high is None:
        return puzzles
    ratings = rate(puzzles.size, puzzles.questions)
    return puzzles.take((ratings >= (low or 0)) & (ratings <= (ratings if high is None else high)))


def _as_tuple(seed: int | tuple[int, ...]) -> tuple[int, ...]:
    return seed if isinstance(seed, tuple) else (seed,)


def _rating_asked(low: int | None, high: int | None) -> str:
    if low is None and high is None:
        return ""
    return f" and a difficulty of {low or 0}" + (" or more" if high is None else f" to {high}")


def random_grids(board: Board, count: int, rng: np.random.Generator) -> Digits:
    """`count` random solved grids, (count, cells).

    A random value is set in a random cell of those with the fewest candidates, singles follow, and so on until the
    grid is full; a grid that becomes impossible is begun again.
    """
    grids = np.zeros((count, board.cells), np.uint8)
    empty = candidates_of(board, np.zeros((1, board.cells), np.uint8))
    working, where = np.repeat(empty, count, axis=2), np.arange(count)
    while len(where):
        flat = working.reshape(board.cells, -1)
        _set_random_value(board, flat, rng)
        working, alive = propagate(board, flat.reshape(working.shape))
        working[:, :, ~alive] = empty
        full = ((working & (working - np.uint16(1))) == 0).all(axis=(0, 1))
        grids[where[full]] = digits_of(board, working[:, :, full])
        where, working = where[~full], np.ascontiguousarray(working[:, :, ~full])
    return grids


def _set_random_value(board: Board, flat: Candidates, rng: np.random.Generator) -> None:
    """Set a random candidate in a random one of the cells with the fewest candidates of each board, in place."""
    boards = np.arange(flat.shape[1])
    shuffled = rng.random(flat.shape).argsort(axis=0)
    cell = shuffled[fewest_candidates(board, np.take_along_axis(flat, shuffled, axis=0)), boards]
    values = (flat[cell, boards][:, None] >> np.arange(board.size, dtype=np.uint16)) & 1
    digit = (values * rng.random(values.shape)).argmax(axis=1)
    flat[cell, boards] = np.uint16(1) << digit.astype(np.uint16)


def dig(board: Board, answers: Digits, blanks: IntArray, rng: np.random.Generator) -> Digits:
    """Take givens away in random order while the solution stays the only one, up to `blanks` (N,) of each grid.

    Returns questions (N, cells). One with fewer blanks than asked for has no given left that could go.
    """
    questions = answers.copy()
    order = rng.random(answers.shape).argsort(axis=1)
    missing = blanks.copy()
    for cells in order.T:
        rows = np.flatnonzero(missing > 0)
        if len(rows) == 0:
            break
        at = cells[rows]
        trial = questions[rows]
        trial[np.arange(len(rows)), at] = 0
        candidates = candidates_of(board, trial)
        # The given may go exactly when no solution has another digit there.
        other = board.all_digits & ~(1 << (answers[rows, at].astype(np.int64) - 1))
        candidates.reshape(board.cells, -1)[at, np.arange(len(rows))] = other
        may_go = search(board, candidates, limit=1).solutions == 0
        questions[rows[may_go], at[may_go]] = 0
        missing[rows[may_go]] -= 1
    return questions
