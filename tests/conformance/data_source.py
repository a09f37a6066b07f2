"""What every source of puzzles promises. A new source proves itself by a subclass with the fixture `request_of_it`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hrm_sweep.config import DataConfig
from hrm_sweep.data.request import resolved
from hrm_sweep.data.solver import count_solutions
from hrm_sweep.data.sources import puzzles_of
from hrm_sweep.data.sudoku import BOARDS, agree, are_solutions

# Changes of a request, by DataConfig key, and the request that results.
RequestOfIt = Callable[..., DataConfig]


class DataSourceConformance:
    """Subclass it as `class TestMySource(DataSourceConformance)`; the source must have 20 puzzles or more."""

    @pytest.fixture
    def request_of_it(self) -> RequestOfIt:
        raise NotImplementedError

    def test_every_puzzle_is_a_puzzle_with_its_only_solution(self, request_of_it: RequestOfIt) -> None:
        request = request_of_it()
        for puzzles in puzzles_of(resolved(request)):
            assert len(puzzles) > 0
            assert puzzles.questions.shape == puzzles.answers.shape == (len(puzzles), request.size**2)
            assert puzzles.questions.dtype == puzzles.answers.dtype == np.uint8
            assert are_solutions(BOARDS[request.size], puzzles.answers).all()
            assert agree(puzzles.questions, puzzles.answers).all()
            assert (count_solutions(request.size, puzzles.questions) == 1).all()

    def test_the_same_request_gives_the_same_puzzles(self, request_of_it: RequestOfIt) -> None:
        for first, again in zip(
            puzzles_of(resolved(request_of_it(seed=5))), puzzles_of(resolved(request_of_it(seed=5))), strict=True
        ):
            assert first.questions.tobytes() == again.questions.tobytes()
            assert first.answers.tobytes() == again.answers.tobytes()

    def test_another_seed_gives_other_training_puzzles(self, request_of_it: RequestOfIt) -> None:
        first, other = (puzzles_of(resolved(request_of_it(seed=seed, subsample_size=10)))[0] for seed in (5, 6))
        assert first.questions.tobytes() != other.questions.tobytes()

    def test_as_many_training_puzzles_as_asked_for(self, request_of_it: RequestOfIt) -> None:
        assert len(puzzles_of(resolved(request_of_it(subsample_size=10)))[0]) == 10

    def test_no_test_puzzle_is_trained_on(self, request_of_it: RequestOfIt) -> None:
        train, test = puzzles_of(resolved(request_of_it()))
        assert not {row.tobytes() for row in train.questions} & {row.tobytes() for row in test.questions}

    def test_blanks_lie_in_the_range_asked_for(self, request_of_it: RequestOfIt) -> None:
        blanks = np.concatenate(
            [(puzzles.questions == 0).sum(axis=1) for puzzles in puzzles_of(resolved(request_of_it()))]
        )
        low, high = int(np.quantile(blanks, 0.2)), int(np.quantile(blanks, 0.8))
        for puzzles in puzzles_of(resolved(request_of_it(min_blanks=low, max_blanks=high, subsample_size=None))):
            kept = (puzzles.questions == 0).sum(axis=1)
            assert len(kept) > 0
            assert kept.min() >= low
            assert kept.max() <= high
