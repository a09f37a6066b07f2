"""Where puzzles come from: one file and one function each, a resolved request in, train and test puzzles out."""

from __future__ import annotations

from collections.abc import Callable

from hrm_sweep.config import DataConfig
from hrm_sweep.data.generator import Progress
from hrm_sweep.data.sources.csv_files import from_csv_files
from hrm_sweep.data.sources.generated import generated
from hrm_sweep.data.sources.hub import from_hub
from hrm_sweep.data.sudoku import Puzzles

Source = Callable[[DataConfig, Progress | None], tuple[Puzzles, Puzzles]]

# By the value of `data.source`.
SOURCES: dict[str, Source] = {"generator": generated, "csv": from_csv_files, "hub": from_hub}


def puzzles_of(request: DataConfig, progress: Progress | None = None) -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles of a resolved request. Raises DataError."""
    return SOURCES[request.source](request, progress)
