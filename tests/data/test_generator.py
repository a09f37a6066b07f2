"""The generator: single solutions, all different, the same again from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from hrm_sweep.data.generator import dig, generate, random_grids
from hrm_sweep.data.solver import count_solutions, rate
from hrm_sweep.data.sudoku import BOARDS, Puzzles, agree, are_solutions
from hrm_sweep.errors import DataError


def blanks_of(puzzles: Puzzles) -> list[int]:
    return (puzzles.questions == 0).sum(axis=1).tolist()


@pytest.mark.parametrize(
    ("size", "count", "low", "high"),
    [
        (4, 1000, 4, 7),
        (4, 200, 11, 12),
        (4, 50, 0, 1),
        (6, 200, 10, 20),
        (6, 40, 24, 28),
        (9, 60, 40, 56),
        (9, 20, 0, 5),
    ],
)
def test_puzzles_are_different_and_have_one_solution_and_the_blanks_asked_for(
    size: int, count: int, low: int, high: int
) -> None:
    puzzles = generate(size, count, seed=0, min_blanks=low, max_blanks=high)
    assert len(puzzles) == count
    assert are_solutions(BOARDS[size], puzzles.answers).all()
    assert agree(puzzles.questions, puzzles.answers).all()
    assert (count_solutions(size, puzzles.questions) == 1).all()
    assert len(np.unique(puzzles.questions, axis=0)) == count
    assert set(blanks_of(puzzles)) <= set(range(low, high + 1))


def test_the_number_of_blanks_is_spread_over_the_range() -> None:
    counts = np.bincount(blanks_of(generate(9, 300, seed=1, min_blanks=30, max_blanks=39)), minlength=40)[30:]
    assert counts.min() >= 10
    assert counts.sum() == 300


def test_the_same_seed_makes_the_same_puzzles_and_another_seed_others() -> None:
    first, again, other = (
        generate(6, 80, seed=seed, min_blanks=10, max_blanks=20).questions.tobytes() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_a_larger_request_begins_with_the_puzzles_of_a_smaller_one() -> None:
    small, large = (generate(4, count, seed=3, min_blanks=4, max_blanks=8) for count in (50, 700))
    assert (large.questions[:50] == small.questions).all()
    assert (large.answers[:50] == small.answers).all()


def test_excluded_puzzles_are_not_made_again() -> None:
    """4x4 grids with one blank: there are 288 * 16 of them, so two draws of 2000 would share many."""
    test = generate(4, 2000, seed=(0, 1), min_blanks=1, max_blanks=1)
    train = generate(4, 2000, seed=(0, 0), min_blanks=1, max_blanks=1, exclude=test)
    both = np.concatenate([test.questions, train.questions])
    assert len(np.unique(both, axis=0)) == 4000
    unaware = generate(4, 2000, seed=(0, 0), min_blanks=1, max_blanks=1)
    assert len(np.unique(np.concatenate([test.questions, unaware.questions]), axis=0)) < 4000


@pytest.mark.parametrize(("low", "high"), [(1, None), (None, 0), (3, 8)])
def test_ratings_lie_in_the_range_asked_for(low: int | None, high: int | None) -> None:
    puzzles = generate(9, 8, seed=0, min_blanks=50, max_blanks=64, min_rating=low, max_rating=high)
    ratings = rate(9, puzzles.questions)
    assert len(ratings) == 8
    assert ratings.min() >= (low or 0)
    assert high is None or ratings.max() <= high


def test_every_4x4_grid_is_made_sooner_or_later() -> None:
    """Not evenly: some come about twice as often as others."""
    grids = random_grids(BOARDS[4], 20_000, np.random.default_rng(0))
    counts = np.unique(grids, axis=0, return_counts=True)[1]
    assert len(counts) == 288
    assert counts.max() < 4 * counts.min()


@pytest.mark.parametrize("size", [4, 6, 9])
def test_a_puzzle_dug_to_the_end_needs_all_its_givens(size: int) -> None:
    board, rng = BOARDS[size], np.random.default_rng(0)
    answers = random_grids(board, 3, rng)
    questions = dig(board, answers, np.full(3, board.cells), rng)
    for question in questions:
        givens = np.flatnonzero(question)
        fewer = np.tile(question, (len(givens), 1))
        fewer[np.arange(len(givens)), givens] = 0
        assert (count_solutions(size, fewer) == 2).all()


def test_more_puzzles_than_there_are_is_an_error_that_says_so() -> None:
    """There are 288 solved 4x4 grids."""
    assert len(generate(4, 280, seed=0, min_blanks=0, max_blanks=0)) == 280
    with pytest.raises(DataError, match=r"only 288 of 289 puzzles of size 4 with 0 to 0 blanks could be made"):
        generate(4, 289, seed=0, min_blanks=0, max_blanks=0)


def test_a_difficulty_that_is_never_met_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrm_sweep.data.generator._BARREN_ROUNDS", 2)
    with pytest.raises(DataError, match=r"only 0 of 1 .* 20 blanks and a difficulty of 100000 or more .* wider range"):
        generate(9, 1, seed=0, min_blanks=10, max_blanks=20, min_rating=100000)


def test_progress_is_told_until_all_are_made() -> None:
    told: list[tuple[int, int]] = []
    generate(4, 100, seed=0, min_blanks=4, max_blanks=8, progress=lambda made, count: told.append((made, count)))
    assert told[-1] == (100, 100)
    assert [made for made, _ in told] == sorted(made for made, _ in told)
