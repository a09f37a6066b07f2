"""A real puzzle folder to damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_up_data import FIXTURES, Damaged


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """A copy of the 4x4 sudoku of the reference, still whole."""
    shutil.copytree(FIXTURES / "sudoku-4x4", tmp_path / "copy")
    return Damaged(tmp_path / "copy")
