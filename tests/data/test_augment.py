"""Symmetries: whatever is done to a puzzle, its solution stays its solution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrm_sweep.data.augment import augmented_tokens, random_cell_orders, symmetric_tokens, tokens
from hrm_sweep.data.generator import generate
from hrm_sweep.data.solver import count_solutions
from hrm_sweep.data.sudoku import BOARDS, Puzzles, agree, are_solutions

PUZZLES = {
    4: generate(4, 12, seed=0, min_blanks=4, max_blanks=10),
    6: generate(6, 12, seed=0, min_blanks=10, max_blanks=24),
    9: generate(9, 12, seed=0, min_blanks=40, max_blanks=60),
}


@settings(max_examples=40, deadline=None)
@given(size=st.sampled_from([4, 6, 9]), copies=st.integers(0, 12), seed=st.integers(0, 2**32))
def test_every_augmented_puzzle_is_a_puzzle_with_its_solution(size: int, copies: int, seed: int) -> None:
    puzzles = PUZZLES[size]
    inputs, labels = augmented_tokens(puzzles, copies, np.random.default_rng(seed))
    questions, answers = inputs - np.uint8(1), labels - np.uint8(1)
    assert inputs.shape == labels.shape == (12 * (1 + copies), size * size)
    assert inputs.dtype == labels.dtype == np.uint8
    assert are_solutions(BOARDS[size], answers).all()
    assert agree(questions, answers).all()
    assert (count_solutions(size, questions) == 1).all()
    blanks = (questions == 0).sum(axis=1).reshape(12, 1 + copies)
    assert (blanks == (puzzles.questions == 0).sum(axis=1)[:, None]).all()


def test_the_original_stands_first_in_its_group() -> None:
    inputs, labels = augmented_tokens(PUZZLES[9], 5, np.random.default_rng(0))
    originals = tokens(PUZZLES[9])
    assert (inputs[::6] == originals[0]).all()
    assert (labels[::6] == originals[1]).all()


def test_the_same_generator_makes_the_same_copies() -> None:
    first, again, other = (
        augmented_tokens(PUZZLES[6], 3, np.random.default_rng(seed))[0].tobytes() for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_copies_of_one_puzzle_differ() -> None:
    inputs, _ = augmented_tokens(PUZZLES[9], 50, np.random.default_rng(0))
    assert len(np.unique(inputs, axis=0)) == len(inputs)


@pytest.mark.parametrize("size", [4, 6, 9])
def test_every_move_of_cells_that_keeps_boxes_together_is_drawn(size: int) -> None:
    """The number of moves is known: lines within bands, bands, both ways, and the transposition of square boxes."""
    board = BOARDS[size]
    orders = random_cell_orders(board, 40_000 if size < 9 else 2_000, np.random.default_rng(0))
    assert (np.sort(orders, axis=1) == np.arange(board.cells)).all()

    def lines(thickness: int) -> int:
        bands = size // thickness
        return math.factorial(bands) * math.factorial(thickness) ** bands

    square = board.box_height == board.box_width
    moves = lines(board.box_height) * lines(board.box_width) * (2 if square else 1)
    seen = len(np.unique(orders, axis=0))
    assert seen == moves if size < 9 else seen > 1990


def test_all_symmetries_of_a_4x4_puzzle_are_drawn_evenly() -> None:
    """A grid without symmetries of its own has 4! * 128 different ones; none may be favoured."""
    question = np.array([[1, 2, 3, 0, 3, 0, 0, 2, 0, 0, 0, 0, 4, 0, 2, 0]], np.uint8)
    answer = np.array([[1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]], np.uint8)
    inputs, _ = symmetric_tokens(Puzzles(4, question, answer), np.zeros(60_000, np.int64), np.random.default_rng(0))
    counts = np.unique(inputs, axis=0, return_counts=True)[1]
    assert len(counts) == 24 * 128
    assert counts.max() < 60  # expected 19.5, standard deviation 4.4
