"""What a plan has to know of a data folder, read from it, or, where it is not there yet, from what builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hrm_sweep.config import DataConfig, RunConfig
from hrm_sweep.data import SplitMetadata, open_folder
from hrm_sweep.data.request import resolved
from hrm_sweep.data.resolve import data_folder
from hrm_sweep.errors import DataError

_BYTES_BESIDE_CELLS = 12  # of a row: identifier and two indices, 4 bytes each

PUBLISHED_ROWS = {"sapientinc/sudoku-extreme": (3_831_994, 422_786)}
"""Rows for training and for testing of published sets, so that a plan of one needs no download."""


@dataclass(frozen=True)
class PuzzleFacts:
    """How many puzzles of which shape a run trains and is evaluated on.

    train          as in dataset.json.
    test_examples  None where only building the folder would tell.
    train_rows     examples in the train split, with augmentation.
    folder         where they lie; `is_built` says whether they do so already.
    """

    train: SplitMetadata
    test_examples: int | None
    train_rows: int
    folder: Path
    is_built: bool

    @property
    def bytes(self) -> int:
        """On disk: a byte for each cell of inputs and labels, where tokens fit into one."""
        rows = self.train_rows + (self.test_examples or 0)
        return rows * (2 * self.train.seq_len + _BYTES_BESIDE_CELLS)

    @staticmethod
    def of(config: RunConfig) -> PuzzleFacts:
        """Builds nothing. Raises DataError when the folder is unusable, or when it is missing and nothing says how it
        is built; ConfigError for a `data` block that contradicts itself."""
        path = data_folder(config)
        if path.exists() or config.data is None or config.data_path is not None:
            folder = open_folder(path)
            test = folder.test.n_examples  # a run is judged by evaluations: raises where there is nothing to judge by
            return PuzzleFacts(folder.train.metadata, test, folder.train.n_examples, path, is_built=True)
        return _foreseen(resolved(config.data), path)


def _foreseen(request: DataConfig, path: Path) -> PuzzleFacts:
    """The facts that the folder of this sudoku request will have."""
    train, test = request.subsample_size, request.test_size
    if request.csv is not None:
        rows = [_data_lines(Path(name)) for name in request.csv]
        train, test = min(train or rows[0], rows[0]), rows[1]
    elif request.hub in PUBLISHED_ROWS:
        rows = list(PUBLISHED_ROWS[request.hub])
        train, test = min(train or rows[0], rows[0]), rows[1]
    if train is None:
        raise DataError(
            f"data: how many puzzles {request.hub} has is not known before it is fetched; set data.subsample_size, or "
            "build the folder first with `hrm-sweep data sudoku`"
        )
    facts = SplitMetadata(
        pad_id=0,
        ignore_label_id=0,
        blank_identifier_id=0,
        vocab_size=request.size + 2,  # padding, blank, digits
        seq_len=request.size**2,
        num_puzzle_identifiers=1,
        total_groups=train,
        mean_puzzle_examples=1,
        sets=("all",),
    )
    return PuzzleFacts(facts, test, train * (1 + request.num_aug), path, is_built=False)


def _data_lines(path: Path) -> int:
    """Lines of a CSV file but for its heading."""
    with path.open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)
