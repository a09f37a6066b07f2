"""Puzzles from the generator."""

from __future__ import annotations

from hrm_sweep.config import DataConfig
from hrm_sweep.data.generator import Progress, generate
from hrm_sweep.data.sudoku import Puzzles

# The two splits come from streams of their own: a larger train split leaves the test split as it is.
_TEST_STREAM, _TRAIN_STREAM = 1, 0


def generated(request: DataConfig, progress: Progress | None = None) -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles for a resolved request; no puzzle stands in both. Raises DataError."""
    assert request.min_blanks is not None
    assert request.max_blanks is not None
    assert request.subsample_size is not None
    assert request.test_size is not None

    def made(count: int, stream: int, exclude: Puzzles | None) -> Puzzles:
        return generate(
            request.size,
            count,
            seed=(request.seed, stream),
            min_blanks=request.min_blanks or 0,
            max_blanks=request.max_blanks or 0,
            min_rating=request.min_difficulty or None,
            max_rating=request.max_difficulty,
            exclude=exclude,
            progress=progress,
        )

    test = made(request.test_size, _TEST_STREAM, None)
    return made(request.subsample_size, _TRAIN_STREAM, test), test
