"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two test processes on two cores: one thread each, before torch is imported anywhere.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a name that breaks careless code."""
    path = tmp_path / "a folder with 'quotes' and spaces"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture(scope="session")
def sudoku_4x4() -> Path:
    """A data folder of 1000 + 200 4x4 sudoku with 7 blanks, as the reference's tools write it."""
    return FIXTURES / "sudoku-4x4"
