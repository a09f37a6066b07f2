"""What the puzzles say before a run is looked at."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hrm_sweep.data import PuzzleSet, Split, SplitMetadata, open_folder, write_folder
from hrm_sweep.diagnosis.data_facts import DataFacts, find_data, gather_data_facts


def folder(path: Path, train: np.ndarray, test: np.ndarray | None, *, identifiers: int = 1) -> DataFacts:
    """A folder of puzzles of 4 cells: train and test are (n, 2, 4), inputs beside labels; tokens as in sudoku."""

    def split(puzzles: np.ndarray) -> Split:
        n = len(puzzles)
        metadata = SplitMetadata(0, 0, 0, 4, 4, identifiers, n, 1, ("all",))
        index = np.arange(n + 1, dtype=np.int32)
        puzzle_set = PuzzleSet("all", puzzles[:, 0], puzzles[:, 1], np.zeros(n, np.int32), index, index)
        return Split(metadata, (puzzle_set,))

    write_folder(path, train=split(train), test=None if test is None else split(test), identifiers=["<blank>"])
    return gather_data_facts(open_folder(path))


HALF_GIVEN = np.array([[[2, 3, 1, 1], [2, 3, 3, 2]], [[3, 2, 1, 1], [3, 2, 2, 3]]], dtype=np.uint8)


def test_copying_and_guessing_are_worth_what_a_model_without_reasoning_gets(tmp_path: Path) -> None:
    facts = folder(tmp_path / "d", HALF_GIVEN, HALF_GIVEN).test
    assert facts.copied_share == 0.5
    assert facts.copying_accuracy == 0.75  # half is given, and half of the others is guessed right
    assert facts.copying_loss == pytest.approx(0.5 * math.log(2))
    assert facts.label_entropy == pytest.approx(math.log(2))
    assert facts.contradicted == 0
    assert facts.ignored_givens == 0


def test_equal_puzzles_in_both_splits_are_counted(tmp_path: Path) -> None:
    other = HALF_GIVEN.copy()
    other[1, 0, 0] = 1
    assert folder(tmp_path / "same", HALF_GIVEN, HALF_GIVEN).overlap == 1
    assert folder(tmp_path / "half", HALF_GIVEN, other).overlap == 0.5
    assert folder(tmp_path / "twice", HALF_GIVEN[:1], np.repeat(HALF_GIVEN, 2, axis=0)).overlap == 0.5
    assert folder(tmp_path / "none", HALF_GIVEN, None).overlap is None


def test_a_task_that_is_not_of_filling_in_has_no_givens(tmp_path: Path) -> None:
    maze = np.array([[[1, 2, 1, 1], [1, 2, 3, 1]]], dtype=np.uint8)
    assert folder(tmp_path / "d", maze, maze).train.contradicted is None


def test_an_empty_split_has_no_facts(tmp_path: Path) -> None:
    facts = folder(tmp_path / "d", HALF_GIVEN, HALF_GIVEN[:0])
    assert facts.test.is_empty
    assert facts.overlap is None


def test_the_folder_is_found_beside_and_above_a_run_that_was_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hrm_sweep.config import config_from_mapping

    folder(tmp_path / "moved" / "data" / "d", HALF_GIVEN, HALF_GIVEN)
    run = tmp_path / "moved" / "trials" / "study" / "0001"
    run.mkdir(parents=True)
    monkeypatch.chdir(run)
    config = config_from_mapping({"data_path": "data/d"}, "test")
    facts, problem = find_data(config, run, None)
    assert problem == ""
    assert facts is not None
    assert facts.path == tmp_path / "moved" / "data" / "d"
    nowhere, problem = find_data(config_from_mapping({"data_path": "data/other"}, "test"), run, None)
    assert nowhere is None
    assert problem == "the data folder data/other was not found; name it with --data"
