"""Where puzzles come from: one file and one function each, a resolved request in, train and test puzzles out."""

from __future__ import annotations

from hrm_sweep.config import DataConfig
from hrm_sweep.data.generator import Progress
from hrm_sweep.data.sources.generated import generated
from hrm_sweep.data.sudoku import Puzzles


def puzzles_of(request: DataConfig, progress: Progress | None = None) -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles of a resolved request. Raises DataError."""
    return generated(request, progress)
