"""Puzzle folders: the format, the order of batches, sudoku to fill them with. Nothing here needs torch."""

from hrm_sweep.data.batches import IGNORED_LABEL, Batch, padded, take_examples, test_batches, train_iteration
from hrm_sweep.data.build import build_folder, data_folder_for, ensure_data
from hrm_sweep.data.check import FolderFinding, Level, check_folder
from hrm_sweep.data.folder import PuzzleFolder, PuzzleSet, Split, SplitMetadata, open_folder, write_folder

__all__ = [
    "IGNORED_LABEL",
    "Batch",
    "FolderFinding",
    "Level",
    "PuzzleFolder",
    "PuzzleSet",
    "Split",
    "SplitMetadata",
    "build_folder",
    "check_folder",
    "data_folder_for",
    "ensure_data",
    "open_folder",
    "padded",
    "take_examples",
    "test_batches",
    "train_iteration",
    "write_folder",
]
