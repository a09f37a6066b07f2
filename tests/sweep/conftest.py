"""Studies of runs that take no time, in an empty folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from small_studies import STORAGE, MakeStudy, small_space

from hrm_sweep.sweep.storage import quiet_optuna
from hrm_sweep.sweep.study import Study, create_or_continue

quiet_optuna()  # as the command line does


@pytest.fixture
def make_study(folder: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStudy:
    """Makes a study in the current folder, whose trials and workers find the stand-in training."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)

    def make(**changes: Any) -> Study:
        space = small_space(**changes)
        return create_or_continue(STORAGE, space.name, space)

    return make
