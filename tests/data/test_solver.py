"""The solver: right on every board, and its ratings those of the published layout."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_data import FIXTURES

from hrm_sweep.data.generator import random_grids
from hrm_sweep.data.solver import candidates_of, count_solutions, propagate, rate, solve
from hrm_sweep.data.sudoku import BOARDS, Board, Digits, agree, are_solutions, row_keys


def solutions_by_force(board: Board, question: list[int]) -> list[list[int]]:
    """Every solution of one puzzle: each blank cell in turn gets every digit that no neighbour has."""
    if 0 not in question:
        return [question]
    cell = question.index(0)
    row, column = divmod(cell, board.size)
    neighbours = {
        digit
        for other, digit in enumerate(question)
        if other // board.size == row
        or other % board.size == column
        or (
            other // board.size // board.box_height == row // board.box_height
            and other % board.size // board.box_width == column // board.box_width
        )
    }
    return [
        solution
        for digit in range(1, board.size + 1)
        if digit not in neighbours
        for solution in solutions_by_force(board, [*question[:cell], digit, *question[cell + 1 :]])
    ]


def real_puzzles() -> tuple[Digits, Digits, list[int]]:
    """Questions, answers and ratings of 60 real hard puzzles."""
    with (FIXTURES / "sudoku-extreme-mini" / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    questions = np.array([[int(cell) for cell in row["question"].replace(".", "0")] for row in rows], np.uint8)
    answers = np.array([[int(cell) for cell in row["answer"]] for row in rows], np.uint8)
    return questions, answers, [int(row["rating"]) for row in rows]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), blanks=st.integers(0, 16))
def test_4x4_puzzles_have_as_many_solutions_as_there_are(seed: int, blanks: int) -> None:
    rng = np.random.default_rng(seed)
    question = random_grids(BOARDS[4], 1, rng)
    question[0, rng.permutation(16)[:blanks]] = 0
    expected = solutions_by_force(BOARDS[4], question[0].tolist())
    assert count_solutions(4, question, limit=1000).tolist() == [len(expected)]
    assert solve(4, question)[0].tolist() in expected


@pytest.mark.parametrize(("size", "blanks"), [(6, 22), (9, 40)])
def test_larger_puzzles_have_as_many_solutions_as_there_are(size: int, blanks: int) -> None:
    rng = np.random.default_rng(5)
    questions = random_grids(BOARDS[size], 20, rng)
    for question in questions:
        question[rng.permutation(size * size)[:blanks]] = 0
    expected = [len(solutions_by_force(BOARDS[size], question)) for question in questions.tolist()]
    assert max(expected) > 1
    assert count_solutions(size, questions, limit=10**6).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from([4, 6, 9]), seed=st.integers(0, 2**32), wrong=st.integers(1, 3))
def test_a_puzzle_with_wrong_givens_has_a_solution_only_if_that_solves_it(size: int, seed: int, wrong: int) -> None:
    rng = np.random.default_rng(seed)
    questions = random_grids(BOARDS[size], 4, rng)
    questions[rng.random(questions.shape) < 0.4] = 0
    for _ in range(wrong):
        questions[:, rng.integers(size * size)] = rng.integers(0, size + 1)
    solutions, found = solve(size, questions), count_solutions(size, questions)
    solved = found > 0
    assert are_solutions(BOARDS[size], solutions).tolist() == solved.tolist()
    assert agree(questions, solutions)[solved].all()


def test_an_empty_board_has_many_solutions() -> None:
    empty = np.zeros((1, 16), np.uint8)
    assert count_solutions(4, empty, limit=1000).tolist() == [288]
    assert count_solutions(9, np.zeros((1, 81), np.uint8), limit=2).tolist() == [2]


def test_no_puzzles_are_no_trouble() -> None:
    assert count_solutions(9, np.zeros((0, 81), np.uint8)).shape == (0,)
    assert solve(6, np.zeros((0, 36), np.uint8)).shape == (0, 36)


@pytest.mark.parametrize("wrong", [[1, 1], [1, 0, 0, 0, 1]], ids=["twice in a row", "twice in a column"])
def test_singles_find_a_digit_given_twice(wrong: list[int]) -> None:
    question = np.array([wrong + [0] * (16 - len(wrong))], np.uint8)
    _, alive = propagate(BOARDS[4], candidates_of(BOARDS[4], question))
    assert alive.tolist() == [False]


def test_real_puzzles_are_solved() -> None:
    questions, answers, _ = real_puzzles()
    assert (solve(9, questions) == answers).all()
    assert (count_solutions(9, questions) == 1).all()


def test_ratings_are_those_of_the_published_layout() -> None:
    """Exactly alike for singles-only puzzles, and all but alike in order for the others (docs/data.md)."""
    questions, _, published = real_puzzles()
    ours = rate(9, questions)
    assert ((ours == 0) == (np.array(published) == 0)).all()
    assert (ours == published).mean() > 0.9
    assert abs(ours - published).max() <= 0.05 * max(published)


def test_a_rating_does_not_depend_on_the_company() -> None:
    questions, _, _ = real_puzzles()
    assert [int(rate(9, question[None])[0]) for question in questions[:10]] == rate(9, questions)[:10].tolist()


@pytest.mark.parametrize("size", [4, 6, 9])
def test_a_grid_with_two_cells_swapped_is_no_solution(size: int) -> None:
    grid = random_grids(BOARDS[size], 1, np.random.default_rng(0))
    assert are_solutions(BOARDS[size], grid).all()
    left = np.flatnonzero(np.arange(size * size) % size != size - 1)
    swapped = np.tile(grid, (len(left), 1))
    rows = np.arange(len(left))
    swapped[rows, left], swapped[rows, left + 1] = grid[0, left + 1], grid[0, left]
    assert not are_solutions(BOARDS[size], swapped).any()
    assert not are_solutions(BOARDS[size], np.where(grid == 1, 0, grid)).any()
    assert not are_solutions(BOARDS[size], np.where(grid == 1, size + 1, grid)).any()


def test_rows_that_differ_in_one_cell_have_other_keys() -> None:
    rows = np.array(list(itertools.product(range(5), repeat=4)), np.uint8)
    assert len(np.unique(row_keys(rows))) == len(rows)
    wide = np.tile(np.random.default_rng(0).integers(0, 10, 81).astype(np.uint8), (82, 1))
    wide[np.arange(81), np.arange(81)] += 1
    assert len(np.unique(row_keys(wide))) == 82
    assert (row_keys(wide) == row_keys(wide.copy())).all()
