"""The digest of a split follows its puzzles, and nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np

from hrm_sweep.data import open_folder
from hrm_sweep.data.digest import split_digest


def test_a_copy_has_the_same_digest_whatever_the_type_of_its_numbers(sudoku_4x4: Path, tmp_path: Path) -> None:
    test = open_folder(sudoku_4x4).test
    shutil.copytree(sudoku_4x4, tmp_path / "copy")
    wider = dataclasses.replace(
        test, sets=tuple(dataclasses.replace(one, inputs=one.inputs.astype(np.int64)) for one in test.sets)
    )
    assert split_digest(test) == split_digest(open_folder(tmp_path / "copy").test) == split_digest(wider)
    assert split_digest(test) != split_digest(open_folder(sudoku_4x4).train)


def test_one_other_cell_is_another_digest(sudoku_4x4: Path) -> None:
    test = open_folder(sudoku_4x4).test
    for part in ("inputs", "labels"):
        changed = np.array(getattr(test.sets[0], part))
        changed[-1, -1] += 1
        other = dataclasses.replace(test, sets=(dataclasses.replace(test.sets[0], **{part: changed}), *test.sets[1:]))
        assert split_digest(other) != split_digest(test)
